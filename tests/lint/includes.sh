#!/bin/sh
# Includes go leftwards only: base <- core <- io <- (worker, master) <- programs. Worker and master never include each
# other, core includes nothing that does input or output, and each third-party header belongs to one module.
# usage: includes.sh [SRCDIR]
set -eu
cd "${1:-.}"

# shellcheck disable=SC2016 # the program's $ are awk's
find src -name '*.[ch]' | sort | xargs awk '
function complain(why)
{
    printf "%s:%d: %s: %s\n", FILENAME, FNR, shown, why
    bad = 1
}

# The layer of a file, by its path.
function layer_of(path)
{
    if (path == "src/heritage.h")
        return "heritage"
    if (match(path, "^src/[a-z]+/"))
        return substr(path, 5, RLENGTH - 5)
    return "programs"
}

BEGIN {
    # which layers each one may include
    may["base"] = " base "
    may["core"] = " base core "
    may["io"] = " base core io "
    may["heritage"] = " base core io "
    may["worker"] = " base core io heritage worker "
    may["master"] = " base core io heritage master "
    may["programs"] = " base core io heritage worker master programs "

    # third-party headers: what the include begins with, and the files that may
    owner["microhttpd.h"] = "^src/worker/(listener|listener_[a-z0-9_]+|admin|admin_clients|admin_pages)[.][ch]$"
    owner["curl/"] = "^src/worker/upstream[a-z0-9_]*[.][ch]$"
    owner["sqlite3.h"] = "^src/io/(store[a-z0-9_]*|housekeeper)[.][ch]$"
    owner["confuse.h"] = "^src/io/conf[a-z0-9_]*[.][ch]$"
    owner["seccomp.h"] = "^src/io/sandbox(_rules)?[.][ch]$"
    owner["jansson.h"] = "^src/clavigerctl[a-z0-9_]*[.][ch]$"
    owner["openssl/"] = "^src/(base/digest|io/conf_tls|worker/upstream_tls)[.]c$"
    owner["gnutls/"] = "^src/worker/listener_tls[.]c$"

    # core is pure: these headers can neither read, write, wait nor ask for the time
    pure = " ctype.h errno.h inttypes.h limits.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h" \
        " stdlib.h string.h strings.h "
}

/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    shown = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", shown)
    quoted = substr(shown, 1, 1) == "\""
    sub(/[>"][^>"]*$/, "", shown)
    name = substr(shown, 2)
    shown = shown (quoted ? "\"" : ">")
    layer = layer_of(FILENAME)
    includes++

    # however it is written, a third-party header stays with its module
    for (prefix in owner) {
        if (index(name, prefix) == 1 && FILENAME !~ owner[prefix])
            complain("only for " owner[prefix])
    }
    if (!quoted) {
        if (layer == "core" && index(pure, " " name " ") == 0)
            complain("core is pure: no input or output, no clock, no third-party header")
        next
    }
    if (name == "config.h")
        next
    target = layer_of("src/" name)
    if (target == "programs" && layer != "programs")
        complain("include it by its path from src/, like \"core/key.h\"; what a program owns is for programs")
    else if (!(layer in may))
        complain("no rule for the layer " layer ": add it to tests/lint/includes.sh")
    else if (index(may[layer], " " target " ") == 0)
        complain(layer " may not include " target)
}

END {
    if (includes == 0) {
        print "includes: found nothing to look at"
        bad = 1
    }
    exit bad
}' >&2
