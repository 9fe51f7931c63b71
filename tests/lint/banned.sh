#!/bin/sh
# No call of a function that this project does not use: unbounded or ambiguous string functions, alloca, and sleeps (the
# worker's loop never sleeps but in epoll, and a test never sleeps to let time pass). Variable length arrays are the
# compiler's to find (-Wvla).
# usage: banned.sh [SRCDIR]
set -eu
cd "${1:-.}"

# shellcheck disable=SC2016 # the program's $ are awk's
find src tests -name '*.[ch]' | sort | xargs awk '
BEGIN {
    count = split("sprintf vsprintf strcpy stpcpy strcat strtok atoi atol atoll alloca __builtin_alloca" \
        " sleep usleep nanosleep clock_nanosleep", banned, " ")
}

FNR == 1 {
    comment = 0
}

# The line without comments and without what stands in strings.
function code_of(line,    code, found)
{
    code = ""
    while (line != "") {
        if (comment) {
            found = index(line, "*/")
            if (found == 0)
                return code
            line = substr(line, found + 2)
            code = code " "
            comment = 0
        } else if (!match(line, /["\047]|\/\*|\/\//)) {
            return code line
        } else {
            code = code substr(line, 1, RSTART - 1)
            line = substr(line, RSTART)
            if (substr(line, 1, 2) == "//")
                return code
            if (substr(line, 1, 2) == "/*") {
                comment = 1
                line = substr(line, 3)
            } else if (match(line, /^"([^"\\]|\\.)*"/) || match(line, /^\047([^\047\\]|\\.)*\047/)) {
                code = code "\"\""
                line = substr(line, RLENGTH + 1)
            } else {
                line = substr(line, 2)
            }
        }
    }
    return code
}

{
    lines++
    code = code_of($0)
    for (i = 1; i <= count; i++) {
        if (code ~ ("(^|[^A-Za-z0-9_])" banned[i] "[ \t]*[(]")) {
            printf "%s:%d: %s() is banned\n", FILENAME, FNR, banned[i]
            bad = 1
        }
    }
}

END {
    if (lines == 0) {
        print "banned: found nothing to look at"
        bad = 1
    }
    exit bad
}' >&2
