# shellcheck shell=bash disable=SC2034,SC2154 # bench.sh and the files it sources share their variables
# Sourced by bench.sh: rounds of load, what they cost, and the lines that go into the data:
#
#     @ SCENARIO REFERENCE                                        the side that the others are compared with
#     load SCENARIO ROUND SIDE rate p50 p75 p90 p99 cpu           requests a second; microseconds, cpu for a request
#     event SCENARIO ROUND SIDE rate p50 p75 p90 p99 cpu          the same of events; rate and cpu may be "-"
#     memory SIDE STREAMS bytes                                   for a stream
#     fact NAME VALUE
#     note TEXT                                                   for the report's end

header= # what load() sends too

# The processes of a side: root and its children's children.
tree() {
    local pid=$1 child
    echo "$pid"
    for child in $(cat "/proc/$pid/task/"*/children 2>/dev/null); do tree "$child"; done
}

# cpu_ns SIDE: what its processes have used. To the nanosecond where the kernel tells it, otherwise to the tick.
if [ -r /proc/self/schedstat ]; then
    cpu_ns() {
        local pid
        for pid in $(tree "${root[$1]}"); do cat "/proc/$pid/task/"*/schedstat; done |
            awk '{ n += $1 } END { printf "%.0f\n", n }'
    }
else
    cpu_ns() {
        local pid
        for pid in $(tree "${root[$1]}"); do sed 's/.*) //' "/proc/$pid/stat"; done |
            awk -v tick=$((1000000000 / $(getconf CLK_TCK))) '{ n += ($12 + $13) * tick } END { printf "%.0f\n", n }'
    }
fi

memory_kib() {
    local pid
    for pid in $(tree "${root[$1]}"); do cat "/proc/$pid/smaps_rollup"; done |
        awk '/^Private_Dirty/ { n += $2 } END { print n }'
}

# The script for wrk that posts $1 bytes of JSON.
post_script() {
    local script=$dir/post-$1.lua
    [ -e "$script" ] || cat >"$script" <<END
local head = '{"model":"gpt-bench","messages":[{"role":"user","content":"'
local tail = '"}]}'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = head .. string.rep("y", $1 - #head - #tail) .. tail
END
    echo "$script"
}

# load SIDE SECONDS CONNECTIONS BODY PATH: a round, "rate p50 p75 p90 p99 cpu" in $measured. $header is sent too.
load() {
    local side=$1 body=$4 before after
    local more=()
    [ "$body" = 0 ] || more+=(-s "$(post_script "$body")")
    [ -z "$header" ] || more+=(-H "$header")
    [ "$side" != portkey ] || more+=(-H "Authorization: Bearer sk-bench-key-0001-0000000000"
        -H "x-portkey-provider: openai" -H "x-portkey-custom-host: http://127.0.0.1:${port[provider]}/v1")
    before=$(cpu_ns "$side")
    taskset -c "$load_cpu" wrk -t1 -c"$3" -d"$2"s --timeout 10s --latency "${more[@]}" \
        "http://127.0.0.1:${port[$side]}${prefix[$side]}$5" >"$dir/wrk" 2>&1 || fail "wrk: $(cat "$dir/wrk")"
    after=$(cpu_ns "$side")
    if grep 'Non-2xx\|Socket errors' "$dir/wrk" >&2; then fail "$side $5: not all were answered well"; fi
    measured=$(awk -v ns=$((after - before)) '
        function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1000 : t * 1000000 }
        /^ +(50|75|90|99)%/ { p = p sprintf(" %.0f", us($2)) }
        /requests in/ { n = $1 }
        /^Requests\/sec/ { rate = $2 }
        END { if (n == 0) exit 1; printf "%.1f%s %.3f\n", rate, p, ns / 1000 / n }' "$dir/wrk") ||
        fail "$side $5: no answers"
}

# in_turn ROUND SIDE...: the sides in an order that is turned round in every second round, so that what changes in
# the machine meanwhile hits all of them alike.
in_turn() {
    local round=$1 list=
    shift
    if [ $((round % 2)) = 1 ]; then
        echo "$@"
    else
        for side in "$@"; do list="$side $list"; done
        echo "$list"
    fi
}

declare -A warm # processes that have had some load

# scenario NAME ROUNDS SECONDS CONNECTIONS BODY PATH SIDE...: interleaved rounds; the last side is the reference.
scenario() {
    local name=$1 rounds=$2 seconds=$3 connections=$4 body=$5 path=$6 round side
    shift 6
    echo "bench: $name" >&2
    echo "@ $name ${*: -1}" >>"$data"
    for side in "$@"; do
        [ -z "${warm[${root[$side]}]-}" ] || continue
        warm[${root[$side]}]=yes
        load "$side" 1 "$connections" "$body" "$path"
    done
    for round in $(seq "$rounds"); do
        for side in $(in_turn "$round" "$@"); do
            load "$side" "$seconds" "$connections" "$body" "$path"
            echo "load $name $round $side $measured" >>"$data"
        done
    done
}

note() {
    echo "note $*" >>"$data"
    echo "bench: $*" >&2
}
