#!/bin/bash
# How fast clavigerd is beside nginx and haproxy as reverse proxies: a table and pictures.
#
#     tests/bench/bench.sh [--quick] BUILD-TREE REPORT-DIR
#
# One worker of each on the first CPU, driven one after the other in interleaved rounds; wrk and the provider on the
# second CPU. The numbers that count are ratios in the same run; CPU time for a request holds on a busy machine too.
# Request logs are on and written to files everywhere. Needs nginx and wrk; haproxy and gnuplot when they are there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
quick=no
if [ "$1" = --quick ]; then
    quick=yes
    shift
fi
build=$1
report=$2
rounds=3 seconds=2
[ $quick = no ] || { rounds=2 seconds=1; }

missing=
for program in nginx wrk openssl; do
    command -v $program >/dev/null 2>&1 || [ -x /usr/sbin/$program ] || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "bench: these are missing:$missing" >&2
    echo "bench: on Debian: apt-get install --no-install-recommends nginx wrk openssl haproxy gnuplot-nox" >&2
    exit 1
fi
PATH=$PATH:/usr/sbin
proxies="claviger nginx"
if command -v haproxy >/dev/null; then proxies="$proxies haproxy"; else echo "bench: without haproxy, which is missing" >&2; fi

cpus=$(taskset -pc $$ | sed 's/.*: //' | tr ',' '\n' | awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }')
proxy_cpu=$(echo "$cpus" | sed -n 1p)
load_cpu=$(echo "$cpus" | sed -n 2p)
[ -n "$load_cpu" ] || load_cpu=$proxy_cpu
ulimit -n "$(ulimit -Hn)" 2>/dev/null || :

dir=$(mktemp -d)
chmod 711 "$dir" # the worker of nginx may be somebody else
mkdir -p "$report"
report=$(cd "$report" && pwd)
pids=
declare -A port worker

fail() {
    echo "bench: $*" >&2
    tail -n 5 "$dir"/*.err >&2 2>/dev/null || :
    exit 1
}

stop_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || continue
        timeout 20 tail -s 0.1 --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || :
    done
    pids=
    rm -rf "$dir"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start CPU NAME COMMAND...
start() {
    local cpu=$1 name=$2
    shift 2
    taskset -c "$cpu" "$@" >"$dir/$name.out" 2>"$dir/$name.err" &
    pids="$! $pids"
}

# wait_for WHAT COMMAND...
wait_for() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "$what: not within 10 s"
        sleep 0.05
    done
}

# ---- the programs

mkfifo "$dir/commands" "$dir/answers"
taskset -c "$load_cpu" "$build/tests/bench/benchload" --port-file "$dir/ports" <"$dir/commands" >"$dir/answers" 2>"$dir/streams.err" &
pids=$!
exec 3>"$dir/commands" 4<"$dir/answers"
wait_for "the provider of streams" test -s "$dir/ports"
read -r stream_port base <"$dir/ports"

# ask WORDS...: has benchload do it; what it says before "done" is in $said.
ask() {
    local line
    said=
    echo "$*" >&3
    while read -r -t 60 line <&4; do
        [ "$line" != "done" ] || return 0
        said=$line
    done
    fail "benchload did not do: $*"
}

port=([claviger]=$base [nginx]=$((base + 1)) [haproxy]=$((base + 2)) [provider]=$((base + 3)) [tls]=$((base + 4)))
start "$load_cpu" provider "$build/tests/bench/benchload" --provider "${port[provider]}"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/tls.key" -out "$dir/tls.pem" 2>/dev/null

temp_paths() {
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $dir/$1-$kind;"; done
}

cat >"$dir/tls.conf" <<END
worker_processes 1; daemon off; pid $dir/tls.pid; error_log $dir/tls.log;
events { worker_connections 4096; }
http {
    $(temp_paths tls)
    access_log off; keepalive_requests 1000000000;
    server {
        listen 127.0.0.1:${port[tls]} ssl; ssl_certificate $dir/tls.pem; ssl_certificate_key $dir/tls.key;
        location / { return 200 "$(head -c 1024 /dev/zero | tr '\0' x)"; }
    }
}
END
start "$load_cpu" tls nginx -c "$dir/tls.conf"

keys() {
    local i list=
    for i in $(seq "$1"); do list="$list\"sk-bench-key-$(printf %04d "$i")-0000000000\", "; done
    echo "{${list%, }}"
}

cat >"$dir/claviger.conf" <<END
listen       = {"127.0.0.1:${port[claviger]}"}
admin_listen = {}
workers      = 1
state_db     = "$dir/state.db"
pid_file     = "$dir/claviger.pid"
control      = "$dir/control.sock"
log { target = "$dir/claviger.log" access = true }
provider openai    { base_url = "http://127.0.0.1:${port[provider]}/" keys = $(keys 2) }
provider streams   { type = openai base_url = "http://127.0.0.1:$stream_port/" keys = $(keys 1) }
provider https     { type = openai base_url = "https://127.0.0.1:${port[tls]}/" keys = $(keys 1) ca_file = "$dir/tls.pem" }
provider pool1     { type = openai base_url = "http://127.0.0.1:${port[provider]}/" keys = $(keys 1) }
provider pool8     { type = openai base_url = "http://127.0.0.1:${port[provider]}/" keys = $(keys 8) }
provider pool64    { type = openai base_url = "http://127.0.0.1:${port[provider]}/" keys = $(keys 64) }
END
start "$proxy_cpu" claviger "$build/clavigerd" -c "$dir/claviger.conf"
master=${pids%% *}
wait_for clavigerd "$build/clavigerctl" -c "$dir/claviger.conf" status
for size in 8 64; do # all but the last key are marked
    for key in $(seq 0 $((size - 2))); do
        "$build/clavigerctl" -c "$dir/claviger.conf" disable pool$size "$key" >/dev/null
    done
done

forwarded='proxy_set_header Connection ""; proxy_set_header Authorization "Bearer sk-bench-key-0001-0000000000";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Proto $scheme;'
cat >"$dir/nginx.conf" <<END
worker_processes 1; daemon off; pid $dir/nginx.pid; error_log $dir/nginx-error.log;
events { worker_connections 16384; }
http {
    $(temp_paths nginx)
    access_log $dir/nginx.log combined buffer=64k flush=100ms;
    keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 256k;
    upstream usual { server 127.0.0.1:${port[provider]}; server 127.0.0.1:${port[provider]} backup; keepalive 1024; }
    upstream streams { server 127.0.0.1:$stream_port; keepalive 16; }
    upstream tls { server 127.0.0.1:${port[tls]}; keepalive 1024; }
    proxy_http_version 1.1; proxy_next_upstream error timeout http_429 non_idempotent;
    $forwarded
    server {
        listen 127.0.0.1:${port[nginx]} backlog=4096;
        location ^~ /streams/ { proxy_pass http://streams/; proxy_buffering off; }
        location ^~ /https/ { proxy_pass https://tls/; proxy_ssl_verify on; proxy_ssl_name 127.0.0.1;
            proxy_ssl_trusted_certificate $dir/tls.pem; }
        location ~ ^/[a-z0-9]+/(.*) { proxy_pass http://usual/\$1; }
    }
}
END
start "$proxy_cpu" nginx nginx -c "$dir/nginx.conf"
nginx=${pids%% *}

cat >"$dir/haproxy.conf" <<END
global
    nbthread 1
    maxconn 6000
    ca-base $dir
    log stdout format raw local0
defaults
    mode http
    option httplog
    log global
    option forwardfor
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:${port[haproxy]}
    use_backend streams if { path_beg /streams/ }
    use_backend tls if { path_beg /https/ }
    default_backend usual
backend usual
    http-request set-header Authorization "Bearer sk-bench-key-0001-0000000000"
    server a 127.0.0.1:${port[provider]}
backend streams
    server a 127.0.0.1:$stream_port
backend tls
    http-request set-header Host 127.0.0.1
    server a 127.0.0.1:${port[tls]} ssl verify required ca-file tls.pem verifyhost 127.0.0.1
END
haproxy_pid=
case $proxies in
    *haproxy*)
        start "$proxy_cpu" haproxy haproxy -db -f "$dir/haproxy.conf"
        haproxy_pid=${pids%% *}
        ;;
esac
wait_for nginx test -s "$dir/nginx.pid"

child_of() {
    for child in $(cat "/proc/$1/task/$1/children"); do
        [ -z "$2" ] || tr '\0' ' ' <"/proc/$child/cmdline" | grep -q "$2" || continue
        echo "$child"
        return
    done
}
worker=([claviger]=$(child_of "$master" "worker") [nginx]=$(child_of "$nginx" "") [haproxy]=$haproxy_pid)

# ---- measuring

cpu_ticks() {
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}
tick_us=$((1000000 / $(getconf CLK_TCK)))

memory_kib() {
    awk '/^Private_Dirty/ { print $2 }' "/proc/$1/smaps_rollup"
}

# wrk's time in microseconds.
to_us='function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1000 : t * 1000000 }'

# load PROXY CONNECTIONS BODY PATH: "requests-per-second p50-us p99-us cpu-us-per-request" of one round.
load() {
    local body=$3 script="" before after
    if [ "$body" != 0 ]; then
        script=$dir/post-$body.lua
        [ -e "$script" ] || cat >"$script" <<END
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = string.rep("y", $body)
END
    fi
    before=$(cpu_ticks "${worker[$1]}")
    taskset -c "$load_cpu" wrk -t1 -c"$2" -d${seconds}s --latency ${script:+-s "$script"} \
        ${header:+-H "$header"} "http://127.0.0.1:${port[$1]}$4" >"$dir/wrk" 2>&1 || fail "wrk: $(cat "$dir/wrk")"
    after=$(cpu_ticks "${worker[$1]}")
    if grep -q 'Non-2xx' "$dir/wrk"; then fail "$1 $4: $(grep 'Non-2xx' "$dir/wrk")"; fi
    awk -v ticks=$((after - before)) -v tick_us=$tick_us "$to_us"'
        / 50%/ { p50 = us($2) } / 99%/ { p99 = us($2) } /requests in/ { n = $1 } /^Requests\/sec/ { rate = $2 }
        END { if (n == 0) exit 1; printf "%.0f %.0f %.0f %.2f\n", rate, p50, p99, ticks * tick_us / n }' "$dir/wrk"
}

# scenario NAME CONNECTIONS BODY PATH: interleaved rounds; lines "NAME PROXY rate p50 p99 cpu" into the data.
scenario() {
    local name=$1 round proxy
    shift
    echo "bench: $name" >&2
    for proxy in $proxies; do load "$proxy" "$@" >/dev/null || :; done # to warm up
    for round in $(seq $rounds); do
        for proxy in $proxies; do echo "$name $proxy $(load "$proxy" "$@")" >>"$report/data"; done
    done
}

header=
: >"$report/data"
: >"$report/streams"
: >"$report/events"

scenario get-1k 64 0 /openai/v1/models
scenario post-10k 64 10240 /openai/v1/chat
scenario https 64 0 /https/v1/models
if [ $quick = no ]; then
    scenario post-1m 16 1048576 /openai/v1/chat
    scenario get-1024-connections 1024 0 /openai/v1/models
    header="Authorization: Bearer sk-own-key-of-a-client"
    scenario byok 64 0 /openai/v1/models
    header=
    proxies_of_all=$proxies
    proxies="claviger nginx"
    scenario refused-5-percent 64 0 /openai/v1/twentieth
    proxies=claviger
    for size in 1 8 64; do scenario pool-$size 64 0 /pool$size/v1/models; done
    proxies=$proxies_of_all
    for size in 100 1000 100000; do scenario post-$size 64 $size /openai/v1/chat; done
fi

# streams PROXY: added time of an event over 100 streams, memory of a stream, GET beside idle streams.
streams_beside="500 2000"
[ $quick = no ] || streams_beside=500
for proxy in claviger nginx; do
    echo "bench: streams of $proxy" >&2
    ask port "${port[$proxy]}"
    ask open 100 /streams/v1/events
    ask timed $((rounds * 50))
    echo "$proxy $said" >>"$report/events"
    ask close
    for round in $(seq $rounds); do echo "$proxy 0 0 $(load $proxy 64 0 /openai/v1/models)" >>"$report/streams"; done
    for count in $streams_beside; do
        before=$(memory_kib "${worker[$proxy]}")
        ask open "$count" /streams/v1/events
        after=$(memory_kib "${worker[$proxy]}")
        for round in $(seq $rounds); do
            echo "$proxy $count $(((after - before) * 1024 / count)) $(load $proxy 64 0 /openai/v1/models)" >>"$report/streams"
        done
        ask close
    done
done

{
    echo "$("$build/clavigerd" -V | head -n 1), $(nginx -v 2>&1 | sed 's/.*: //')$(
        case $proxies in *haproxy*) haproxy -v | sed -n '1s/ version /\//; 1s/ .*//; 1s/^/, /p' ;; esac)"
    echo "$(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), $rounds rounds of $seconds s, one CPU for the proxy"
    echo
    awk -f "$here/table.awk" "$report/data" "$report/streams" "$report/events"
} >"$report/report.txt"
cat "$report/report.txt"
if command -v gnuplot >/dev/null; then
    awk -v plots="$report" -f "$here/plots.awk" "$report/data" "$report/streams" "$report/events"
    (cd "$report" && gnuplot "$here/pictures.gp")
else
    echo "bench: no pictures: gnuplot is missing (apt-get install gnuplot-nox)" >&2
fi
