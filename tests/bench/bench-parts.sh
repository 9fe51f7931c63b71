# shellcheck shell=bash disable=SC2034,SC2154 # bench.sh and the files it sources share their variables
# Sourced by bench.sh: scenarios that need daemons of their own.

# The metrics at a port of the admin listener.
metrics_of() {
    (exec 5<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&5 && timeout 5 cat <&5)
}

# scrape PORT: once a second, as Prometheus would do less often.
scrape() {
    (
        taskset -pc "$load_cpu" $BASHPID
        while :; do
            metrics_of "$1" || :
            sleep 1
        done
    ) >/dev/null 2>&1 &
    pids="$! $pids"
}

# ---- streams

# open_streams SIDE COUNT; 0 = none. `ask close` ends them.
open_streams() {
    ask port "${port[$1]}"
    [ "$2" = 0 ] || ask open "$2" "${prefix[$1]}/streams/v1/events"
}

# beside ROUNDS COUNT...: GET beside so many idle streams.
beside() {
    local rounds=$1 round proxy count
    shift
    for proxy in claviger nginx; do
        echo "@ beside-$proxy 0" >>"$data"
    done
    echo "bench: beside idle streams" >&2
    for round in $(seq "$rounds"); do
        for proxy in $(in_turn "$round" claviger nginx); do
            for count in $(in_turn "$round" "$@" 0); do
                open_streams "$proxy" "$count"
                load "$proxy" 1 64 0 /openai/v1/models
                echo "load beside-$proxy $round $count $measured" >>"$data"
                ask close
            done
        done
    done
}

# events NAME ROUNDS STREAMS SIDE...: how long an event to each of so many streams takes through each side, and straight
# from the provider; how many pass in a second, each sent when the one before has arrived everywhere.
events() {
    local name=$1 rounds=$2 streams=$3 round side before after start times cpu
    local count=$((streams < 10 ? 3000 : 300))
    shift 3
    echo "bench: $name" >&2
    echo "@ $name direct" >>"$data"
    port[direct]=$stream_port prefix[direct]='' root[direct]=$load_pid
    for round in $(seq "$rounds"); do
        for side in $(in_turn "$round" "$@" direct); do
            open_streams "$side" "$streams"
            ask timed 100
            times=$said
            before=$(cpu_ns "$side")
            start=$EPOCHREALTIME
            ask events $count
            after=$EPOCHREALTIME
            cpu=$(($(cpu_ns "$side") - before))
            awk -v head="event $name $round $side" -v n=$((count * streams)) -v times="$times" \
                -v us=$((${after/[.,]/} - ${start/[.,]/})) -v ns="$cpu" \
                'BEGIN { printf "%s %.0f %s %.3f\n", head, n * 1000000 / us, times, ns / 1000 / n }' >>"$data"
            ask close
        done
    done
}

# memory COUNT...: of an idle stream, in processes that have done next to nothing before.
memory() {
    local count side before after
    echo "bench: memory of streams" >&2
    for count in "$@"; do
        for side in claviger-16K claviger-8K nginx-fresh; do
            case $side in
                claviger-*) claviger "$side" "$proxy_cpu" 1 "admin_listen = {} limits { header_size = ${side#*-} }" ;;
                *) nginx_proxy "$side" "$proxy_cpu" 1 ;;
            esac
            ask port "${port[$side]}"
            ask requests 200 10 0 /streams/v1/models
            before=$(memory_kib "$side")
            open_streams "$side" "$count"
            after=$(memory_kib "$side")
            echo "memory $side $count $(((after - before) * 1024 / count))" >>"$data"
            ask close
            stop "$side"
        done
    done
}

# ---- workers and what they share

# workers ROUNDS COUNT...: so many workers on all CPUs, which the load shares.
workers() {
    local rounds=$1 count
    shift
    for count in "$@"; do
        claviger "claviger-$count" "$cpus" "$count"
        nginx_proxy "nginx-$count" "$cpus" "$count"
        scenario "workers-$count" "$rounds" 1 64 0 /openai/v1/models "claviger-$count" "nginx-$count"
        stop "claviger-$count" "nginx-$count"
    done
}

# metric NAME LABELS: the sum of what the daemon in $admin_port has counted.
metric() {
    metrics_of "$admin_port" | awk -v name="$1" -v labels="$2" '
        index($1, name "{") == 1 && index($1, labels) { n += $2 } END { printf "%.0f\n", n }'
}

refused() {
    exec 5<>"/dev/tcp/127.0.0.1/${port[provider]}"
    printf 'GET /refused HTTP/1.1\r\n\r\n' >&5
    for _ in 1 2 3 4; do read -r -t 5 line <&5; done
    exec 5>&-
    echo "$line"
}

# resting NAME: how many keys of the pool "spent" rest, in $resting. A mark that meets a busy database gets there later,
# so 60 are waited for.
resting() {
    local tries=0
    while
        resting=$("$build/clavigerctl" -c "$dir/$1.conf" keys spent | grep -c ' temporary ' || :)
        [ "$resting" != 60 ] && [ $tries -lt 40 ]
    do
        tries=$((tries + 1))
        sleep 0.05
    done
}

# Whether nothing is counted any more, of requests whose client has gone.
has_settled() {
    local before
    before=$(metric claviger_passthrough_total '"marked"')
    sleep 0.1
    [ "$(metric claviger_passthrough_total '"marked"')" = "$before" ]
}

# Whether this many requests to the pool "marked" have been counted, which happens a moment after their last byte.
has_counted() {
    [ "$(metric claviger_passthrough_total '"marked"')" = "$1" ]
}

# marks ROUNDS WORKERS...: half of all answers are a 429 for a millisecond, so a request makes a mark, on average;
# beside requests without. Then a pool whose 60 first keys are refused for long. Each mark must be known to every
# worker, and be in the database when the daemon has ended.
marks() {
    local rounds=$1 count name before attempts requests marked known again kept
    shift
    for count in "$@"; do
        name=marks-$count
        next_port
        admin_port=$free_port
        claviger "$name" "$cpus" "$count" "admin_listen = {\"127.0.0.1:$admin_port\"}"
        side "marked-$count" "$name" /marked/v1/half
        side "unmarked-$count" "$name" /marked/v1/models
        scenario "$name" "$rounds" 1 8 0 "" "marked-$count" "unmarked-$count"

        # Requests whose client sees them to their end can be counted.
        ask port "${port[$name]}"
        wait_for "$name: the end of its requests" has_settled
        before=$(refused)
        requests=$(metric claviger_passthrough_total '"marked"')
        attempts=$(metric claviger_failover_attempts_sum '"marked"')
        marked=$(metric claviger_key_pool_state_transitions_total '"marked"')
        ask requests 20000 8 0 /marked/v1/half
        wait_for "$name: 20000 counted requests" has_counted $((requests + 20000))
        requests=20000
        attempts=$(($(metric claviger_failover_attempts_sum '"marked"') - attempts))
        marked=$(($(metric claviger_key_pool_state_transitions_total '"marked"') - marked))
        [ $((attempts - requests)) = $(($(refused) - before)) ] ||
            fail "$name: the provider has refused $(($(refused) - before)) of $attempts attempts for $requests requests"
        echo "fact marks-each-$count $(awk "BEGIN { print $marked / $requests }")" >>"$data"

        before=$(refused)
        ask requests 2000 64 0 /spent/v1/models
        again=$(refused)
        resting "$name"
        known=$resting
        ask requests 2000 64 0 /spent/v1/models
        echo "fact marks-doubled-$count $((again - before - 60))" >>"$data"
        again=$(($(refused) - again))
        stop "$name"
        claviger "$name" "$cpus" "$count" # with the same database
        resting "$name"
        kept=$resting
        stop "$name"
        [ "$known $again $kept" = "60 0 60" ] ||
            note "$name: of 60 marks $known were known, $kept were kept, $again requests met such a key again"
        echo "fact marks-lost-$count $((60 - known + again + 60 - kept))" >>"$data"
    done
}

# ---- Portkey

# portkey_beside ROUNDS: one request of a chat through both.
portkey_beside() {
    echo "bench: Portkey" >&2
    if ! portkey "$proxy_cpu"; then
        note "without Portkey: $why"
        return
    fi
    side claviger-chat claviger /openai
    load portkey 3 64 300 /v1/chat/completions # compiles itself meanwhile
    scenario portkey "$1" 2 64 300 /v1/chat/completions claviger-chat portkey
    stop portkey
}

# ---- what can be seen

# everything ROUNDS ROUNDS-OF-PARTS: dumps, traces, usage and metrics all on, and all off; then each of them alone,
# for its price.
everything() {
    local collector dumps parts="metrics usage dump trace trace-0.01 all-but-dump" scraped scraped_port
    collector="endpoint = \"http://127.0.0.1:${port[collector]}/v1/traces\""
    dumps='dump { dir_size = 64M dir ='
    mkdir "$dir/dumps-all" "$dir/dumps-dump"
    next_port
    scraped_port=$free_port
    scraped="admin_listen = {\"127.0.0.1:$scraped_port\"}"
    claviger off "$proxy_cpu" 1 "usage = false admin_listen = {}"
    claviger all "$proxy_cpu" 1 "$scraped $dumps \"$dir/dumps-all\" } trace { $collector }"
    scrape $scraped_port
    scenario everything-get-1k "$1" 1 64 0 /openai/v1/models all off
    scenario everything-post-10k "$1" 1 64 10240 /openai/v1/chat/completions all off
    events events-everything $((2 + $1)) 100 all off
    stop all
    [ "$2" != 0 ] || { stop off; return 0; }
    claviger metrics "$proxy_cpu" 1 "usage = false $scraped"
    claviger usage "$proxy_cpu" 1 "admin_listen = {}"
    claviger dump "$proxy_cpu" 1 "usage = false admin_listen = {} $dumps \"$dir/dumps-dump\" }"
    claviger trace "$proxy_cpu" 1 "usage = false admin_listen = {} trace { $collector }"
    claviger trace-0.01 "$proxy_cpu" 1 "usage = false admin_listen = {} trace { $collector share = 0.01 }"
    claviger all-but-dump "$proxy_cpu" 1 "admin_listen = {} trace { $collector }"
    # shellcheck disable=SC2086 # a list of sides
    scenario parts-get-1k "$2" 1 64 0 /openai/v1/models $parts off
    # shellcheck disable=SC2086
    scenario parts-post-10k "$2" 1 64 10240 /openai/v1/chat/completions $parts off
    # shellcheck disable=SC2086
    stop $parts off
}
