#!/bin/bash
# How many instructions a worker executes for a request: counted by valgrind, so that the number depends on the code
# and its libraries but not on the machine's mood.
#
#     tests/bench/instructions.sh [--keep DIR] BUILD-TREE [BUDGET]
#
# One daemon with one worker, and one program that is both its client and its provider: a request begins when the one
# before it is answered. Between two measurements the master is told to reopen its log, and valgrind writes down what
# was counted up to there. With BUDGET (lines of a name and a number) the exit status is 1 when a number is more than
# 5 % over its budget. --keep leaves the profiles in DIR, for callgrind_annotate.
set -eu

keep=
if [ "$1" = --keep ]; then
    keep=$2
    shift 2
fi
build=$1
budget=${2:-}
slack=5

fail() {
    echo "bench-instructions: $*" >&2
    [ ! -s "$dir/error.log" ] || tail -n 30 "$dir/error.log" >&2
    [ ! -s "$dir/daemon.log" ] || grep -v 'HTTP\| 200 ' "$dir/daemon.log" | tail -n 20 >&2
    exit 1
}

command -v valgrind >/dev/null || { echo "bench-instructions: valgrind is missing; ./bootstrap --dev installs it" >&2; exit 1; }

dir=$(mktemp -d)
master=
load=
clean_up() {
    for pid in $master $load; do
        kill "$pid" 2>/dev/null || continue
        timeout 20 tail -s 0.1 --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || :
    done
    if [ -n "$keep" ]; then
        mkdir -p "$keep"
        mv "$dir"/*.profile "$keep" 2>/dev/null || :
    fi
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for WHAT COMMAND...: until it succeeds, at most 60 s.
wait_for() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || fail "$what: not within 60 s"
        [ -z "$master" ] || kill -0 "$master" 2>/dev/null || fail "$what: the daemon has ended"
        sleep 0.05
    done
}

# ---- the two programs

mkfifo "$dir/commands" "$dir/answers"
"$build/tests/bench/benchload" --port-file "$dir/ports" <"$dir/commands" >"$dir/answers" &
load=$!
exec 3>"$dir/commands" 4<"$dir/answers"
wait_for "the provider" test -s "$dir/ports"
read -r provider_port port <"$dir/ports"

# ask WORDS...: has benchload do it.
ask() {
    local answer
    echo "$*" >&3
    read -r -t 120 answer <&4 || fail "benchload did not do: $*"
    [ "$answer" = "done" ] || fail "benchload said: $answer"
}

cat >"$dir/bench.conf" <<END
listen       = {"127.0.0.1:$port"}
admin_listen = {}
workers      = 1
watchdog     = 10m
state_db     = "$dir/state.db"
pid_file     = "$dir/pid"
control      = "$dir/control.sock"
provider anthropic {
    base_url = "http://127.0.0.1:$provider_port/base"
    keys     = {"sk-ant-bench-usual-000000000000"}
}
provider openai {
    base_url = "http://127.0.0.1:$provider_port/base"
    keys     = {"sk-bench-limited-00000000000000", "sk-bench-usual-0000000000000000"}
}
log { target = "$dir/daemon.log" access = true }
END
valgrind --quiet --tool=callgrind --callgrind-out-file="$dir/out.%p" --dump-before=log_reopen \
    "$build/clavigerd" -c "$dir/bench.conf" >"$dir/error.log" 2>&1 &
master=$!
wait_for "the daemon" "$build/clavigerctl" -c "$dir/bench.conf" status

# ---- what is counted

dumps=0

# Master, admin and worker.
all_have_dumped() {
    [ "$(grep -l '^totals:' "$dir"/out.*.$dumps | wc -l)" = 3 ]
}

# Has every process write down what it counted since the last time; the worker's file is the one with the most.
part=
instructions=
dump() {
    dumps=$((dumps + 1))
    kill -USR1 "$master"
    wait_for "valgrind's count" all_have_dumped
    read -r instructions part <<END
$(awk '/^totals:/ { print $2, FILENAME }' "$dir"/out.*.$dumps | sort -rn | head -n 1)
END
}

status=0

# count NAME TIMES COMMAND...: the worker's instructions while benchload does it, divided by TIMES.
count() {
    local name=$1 times=$2 each allowed
    shift 2
    dump
    ask "$@"
    dump
    each=$((instructions / times))
    mv "$part" "$dir/$name.profile"
    if [ -z "$budget" ]; then
        echo "$name $each"
        return
    fi
    allowed=$(awk -v name="$name" '$1 == name { print $2 }' "$budget")
    [ -n "$allowed" ] || fail "$budget has no line for $name"
    if [ $((each * 100)) -gt $((allowed * (100 + slack))) ]; then
        echo "FAIL  $name: $each instructions, the budget is $allowed ($budget)"
        status=1
    elif [ $((each * 100)) -lt $((allowed * (100 - slack))) ]; then
        echo "ok    $name: $each instructions; the budget of $allowed can be lowered"
    else
        echo "ok    $name: $each instructions, the budget is $allowed"
    fi
}

ask requests 50 1 0 /anthropic/v1/models
ask requests 20 1 10240 /anthropic/v1/messages
count get-1k 300 requests 300 1 0 /anthropic/v1/models
count post-10k 200 requests 200 1 10240 /anthropic/v1/messages
ask requests 300 64 0 /anthropic/v1/models
count get-1k-64 1000 requests 1000 64 0 /anthropic/v1/models
ask slowly 20 2 /openai/v1/models
count failover 100 slowly 100 2 /openai/v1/models
ask open 1 /anthropic/v1/events
ask events 20
count event 300 events 300
ask close
exit $status
