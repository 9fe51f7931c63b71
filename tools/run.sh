#!/bin/sh
# make run: the daemon in the foreground, on a configuration and a database under the build tree.
#
#     tools/run.sh BUILD-TREE
#
# Keys come from ANTHROPIC_API_KEYS or ANTHROPIC_API_KEY and OPENAI_API_KEYS or OPENAI_API_KEY (the plural holds
# several, separated by commas). A provider without a key passes each client's own credential on. CLAVIGER_LISTEN and
# CLAVIGER_ADMIN_LISTEN name other addresses than 127.0.0.1:8080 and :8081.
set -eu

build=$1
run=$build/run
conf=$run/claviger.conf

# key_list PLURAL SINGULAR: the line for the first of the two that is set. `claviger` is what clients are given in
# place of a key; it is none.
key_list() {
    for name; do
        eval "value=\${$name-}"
        if [ -n "$value" ] && [ "$value" != claviger ]; then
            echo "    keys = {\"env:$name\"}"
            return
        fi
    done
}

umask 077
mkdir -p "$run"
cat >"$conf" <<END
# Written by make run, each time anew.
listen       = {"${CLAVIGER_LISTEN:-127.0.0.1:8080}"}
admin_listen = {"${CLAVIGER_ADMIN_LISTEN:-127.0.0.1:8081}"}
state_db     = "$run/state.db"
pid_file     = "$run/claviger.pid"
control      = "$run/claviger.sock"

provider anthropic {
    type = anthropic
$(key_list ANTHROPIC_API_KEYS ANTHROPIC_API_KEY)
}
provider openai {
    type = openai
$(key_list OPENAI_API_KEYS OPENAI_API_KEY)
}
provider copilot {
    type = copilot
}
END

exec "$build/clavigerd" -c "$conf"
