#!/bin/sh
# make demo: two fake providers, a daemon with three keys for each, and requests that survive a 429 and a 401.
#
#     tools/demo.sh BUILD-TREE
#
# Exit status 0 only when every answer and every key state is as it should be.
set -eu

build=$1
dir=$build/run-demo
pids=

fail() {
    echo "demo: $*" >&2
    if [ -f "$dir/daemon.log" ]; then
        echo "demo: the daemon's log:" >&2
        cat "$dir/daemon.log" >&2
    fi
    exit 1
}

# ended PID: whether it is gone after at most 10 s.
ended() {
    tries=0
    while kill -0 "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || return 1
        sleep 0.1
    done
}

stop_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || continue
        ended "$pid" || kill -KILL "$pid" 2>/dev/null || :
    done
    pids=
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start_fake NAME: a provider that rate-limits the first key, does not know the second and answers the third.
start_fake() {
    cat >"$dir/$1.script" <<END
key sk-demo-$1-first-0001 429 retry-after=30
key sk-demo-$1-second-0002 401
default api
END
    "$build/tests/e2e/fakeprovider" --script "$dir/$1.script" --port-file "$dir/$1.port" --log "$dir/$1.log" &
    pids="$! $pids"
    tries=0
    while [ ! -s "$dir/$1.port" ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "the fake provider $1 does not start"
        sleep 0.1
    done
}

provider_section() {
    cat <<END
provider $1 {
    type     = $1
    base_url = "http://127.0.0.1:$(cat "$dir/$1.port")"
    keys     = {"sk-demo-$1-first-0001", "sk-demo-$1-second-0002", "sk-demo-$1-third-0003"}
}
END
}

# start_daemon PORT: whether it serves there.
start_daemon() {
    cat >"$dir/claviger.conf" <<END
listen       = {"127.0.0.1:$1"}
admin_listen = {}
workers      = 2
state_db     = "$dir/state.db"
pid_file     = "$dir/claviger.pid"
control      = "$dir/claviger.sock"

$(provider_section anthropic)
$(provider_section openai)
limits { shutdown_timeout = 3s }
END
    "$build/clavigerd" -c "$dir/claviger.conf" >"$dir/daemon.log" 2>&1 &
    daemon=$!
    tries=0
    while kill -0 $daemon 2>/dev/null; do
        # Whoever else has the port does not know what this header means.
        if curl -s --noproxy '*' --max-time 5 -D - -o /dev/null "http://127.0.0.1:$1/" | grep -qi '^X-Claviger-Error:'; then
            if kill -0 $daemon 2>/dev/null; then
                pids="$daemon $pids"
                return 0
            fi
        fi
        tries=$((tries + 1))
        [ $tries -lt 100 ] || break
        sleep 0.1
    done
    kill $daemon 2>/dev/null || :
    return 1
}

# ask PATH BODY CURL-OPTION...: the request as a client sends it, and its answer. No key.
ask() {
    path=$1
    body=$2
    shift 2
    echo
    echo "\$ curl http://127.0.0.1:$port$path -d '$body'"
    status=$(curl -s --noproxy '*' --max-time 10 -o "$dir/answer" -w '%{http_code}' \
        -H 'Content-Type: application/json' "$@" -d "$body" "http://127.0.0.1:$port$path") || fail "no answer"
    echo "$status $(cat "$dir/answer")"
    [ "$status" = 200 ] || fail "200 was expected"
}

# expect NAME QUERY VALUE
expect() {
    got=$(sqlite3 "$dir/state.db" "$2") || fail "sqlite3 cannot read the database"
    [ "$got" = "$3" ] || fail "$1: \"$got\", expected \"$3\""
}

for program in curl sqlite3; do
    command -v $program >/dev/null || fail "$program is missing; ./bootstrap installs it"
done

rm -rf "$dir"
mkdir -p "$dir"
start_fake anthropic
start_fake openai

port=
for try in 0 1 2 3 4 5 6 7 8 9; do
    candidate=$((20000 + ($$ * 13 + try * 997) % 10000))
    if start_daemon $candidate; then
        port=$candidate
        break
    fi
done
[ -n "$port" ] || fail "the daemon does not start"

echo "Two fake providers and a daemon on 127.0.0.1:$port, with three keys for each provider. At both providers the first"
echo "key is rate-limited (429), the second is not known (401), the third works. The client brings no key at all:"

ask /anthropic/v1/messages \
    '{"model":"demo","max_tokens":16,"messages":[{"role":"user","content":"hello"}]}' -H 'anthropic-version: 2023-06-01'
ask /openai/v1/chat/completions '{"model":"demo","messages":[{"role":"user","content":"hello"}]}'

echo
echo "What the providers saw, a line a request:"
cat "$dir/anthropic.log" "$dir/openai.log"

echo
echo "\$ sqlite3 -box state.db 'SELECT * FROM keys'"
sqlite3 -box "$dir/state.db" 'SELECT * FROM keys' || fail "sqlite3 cannot read the database"

for provider in anthropic openai; do
    [ "$(wc -l <"$dir/$provider.log")" -eq 3 ] || fail "$provider: three upstream requests were expected"
    expect "states of $provider" \
        "SELECT group_concat(state, ' ') FROM (SELECT state FROM keys WHERE provider = '$provider' ORDER BY position)" \
        "temporary permanent valid"
done

# The states are known: one request each from now on.
ask /openai/v1/chat/completions '{"model":"demo","messages":[{"role":"user","content":"again"}]}'
[ "$(wc -l <"$dir/openai.log")" -eq 4 ] || fail "openai: one more upstream request was expected"

kill -TERM "$daemon"
ended "$daemon" || fail "the daemon does not end"
wait "$daemon" || fail "the daemon ended with status $?"
stop_all
echo
echo "demo: as it should be"
