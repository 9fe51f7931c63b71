# shellcheck shell=bash disable=SC2034,SC2154 # bench.sh and the files it sources share their variables
# Sourced by bench.sh: the programs that are measured and those around them, how they are started and ended.
#
# A "side" is what one column of a comparison drives: a program at a port, with a begin of the path. port[SIDE],
# root[SIDE] (the process; its children belong to it) and prefix[SIDE] say where it is.

declare -A port root prefix
pids=

fail() {
    echo "bench: $*" >&2
    tail -n 5 "$dir"/*.err >&2 2>/dev/null || :
    exit 1
}

# start CPUS NAME COMMAND...: in the background; root[NAME] is its process.
start() {
    local cpus=$1 name=$2
    shift 2
    taskset -c "$cpus" "$@" >"$dir/$name.out" 2>"$dir/$name.err" &
    root[$name]=$!
    pids="$! $pids"
}

# end PID: returns when it has gone.
end() {
    kill "$1" 2>/dev/null || return 0
    timeout 20 tail -s 0.05 --pid="$1" -f /dev/null || kill -KILL "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

# stop NAME...
stop() {
    local name rest pid
    for name in "$@"; do
        end "${root[$name]}"
        rest=
        for pid in $pids; do [ "$pid" = "${root[$name]}" ] || rest="$rest $pid"; done
        pids=$rest
    done
}

stop_all() {
    local pid
    for pid in $pids; do end "$pid"; done
    pids=
    rm -rf "$dir"
}

# wait_for WHAT COMMAND...
wait_for() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || fail "$what: not within 20 s"
        sleep 0.05
    done
}

listens() {
    (exec 5<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# next_port: one that nobody listens on, in $free_port.
next_port() {
    free_port=$last_port
    while
        free_port=$((free_port + 1))
        listens $free_port
    do :; done
    last_port=$free_port
}

# side NAME PROGRAM PREFIX: another begin of the path at a program that runs.
side() {
    port[$1]=${port[$2]} root[$1]=${root[$2]} prefix[$1]=$3
}

# ---- the load: benchload with the streams, and the providers

start_load() {
    mkfifo "$dir/commands" "$dir/answers"
    taskset -c "$load_cpu" "$build/tests/bench/benchload" --port-file "$dir/ports" \
        <"$dir/commands" >"$dir/answers" 2>"$dir/streams.err" &
    load_pid=$!
    pids="$! $pids"
    exec 3>"$dir/commands" 4<"$dir/answers"
    wait_for "the provider of streams" test -s "$dir/ports"
    read -r stream_port last_port <"$dir/ports"
    for name in provider collector; do
        next_port
        port[$name]=$free_port
        start "$load_cpu" $name "$build/tests/bench/benchload" --provider "$free_port"
        wait_for $name listens "$free_port"
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/tls.key" -out "$dir/tls.pem" 2>/dev/null
    next_port
    port[tls]=$free_port
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
    wait_for "the provider with TLS" listens "${port[tls]}"
}

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

# ---- claviger

# keys COUNT [WORD [COUNT WORD]...]: a list of keys that hold the word.
keys() {
    local i list="" number=0
    while [ $# -gt 0 ]; do
        for i in $(seq "$1"); do
            number=$((number + 1))
            list="$list\"sk-bench-${2:-key}-$(printf %04d "$number")-0000000000\", "
        done
        shift
        [ $# = 0 ] || shift
    done
    echo "{${list%, }}"
}

# claviger NAME CPUS WORKERS [OPTIONS [ACCESS]]: a daemon, with more options in its configuration and with or without
# a request log.
claviger() {
    local name=$1 base="http://127.0.0.1:${port[provider]}/"
    next_port
    port[$name]=$free_port prefix[$name]=
    cat >"$dir/$name.conf" <<END
listen       = {"127.0.0.1:$free_port"}
workers      = $3
state_db     = "$dir/$name.db"
pid_file     = "$dir/$name.pid"
control      = "$dir/$name.sock"
log { target = "$dir/$name.log" access = ${5:-true} }
provider openai    { base_url = "$base" keys = $(keys 2) }
provider streams   { type = openai base_url = "http://127.0.0.1:$stream_port/" keys = $(keys 1) }
provider https     { type = openai base_url = "https://127.0.0.1:${port[tls]}/" keys = $(keys 1)
                     ca_file = "$dir/tls.pem" }
provider pool1     { type = openai base_url = "$base" keys = $(keys 1) }
provider pool8     { type = openai base_url = "$base" keys = $(keys 8) }
provider pool64    { type = openai base_url = "$base" keys = $(keys 64) }
provider marked    { type = openai base_url = "$base" keys = $(keys 64) }
provider spent     { type = openai base_url = "$base" keys = $(keys 60 spent 4 key) }
${4:-admin_listen = {\}}
END
    start "$2" "$name" "$build/clavigerd" -c "$dir/$name.conf"
    wait_for "clavigerd ($name)" "$build/clavigerctl" -c "$dir/$name.conf" status
}

# ---- nginx and haproxy

temp_paths() {
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $dir/$1-$kind;"; done
}

# nginx_proxy NAME CPUS WORKERS
nginx_proxy() {
    local name=$1 forwarded
    forwarded='proxy_set_header Connection ""; proxy_set_header Authorization "Bearer sk-bench-key-0001-0000000000";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Proto $scheme;'
    next_port
    port[$name]=$free_port prefix[$name]=
    cat >"$dir/$name.conf" <<END
worker_processes $3; daemon off; pid $dir/$name.pid; error_log $dir/$name-error.log;
events { worker_connections 16384; }
http {
    $(temp_paths "$name")
    access_log $dir/$name.log combined buffer=64k flush=100ms;
    keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 256k;
    upstream usual { server 127.0.0.1:${port[provider]} max_fails=0; keepalive 1024;
        $(for _ in 1 2 3 4 5 6; do echo "server 127.0.0.1:${port[provider]} max_fails=0 backup;"; done) }
    upstream streams { server 127.0.0.1:$stream_port; keepalive 16; }
    upstream tls { server 127.0.0.1:${port[tls]}; keepalive 1024; }
    proxy_http_version 1.1; proxy_next_upstream error timeout http_429 non_idempotent;
    $forwarded
    server {
        listen 127.0.0.1:$free_port backlog=4096 reuseport;
        location ^~ /streams/ { proxy_pass http://streams/; proxy_buffering off; }
        location ^~ /https/ { proxy_pass https://tls/; proxy_ssl_verify on; proxy_ssl_name 127.0.0.1;
            proxy_ssl_trusted_certificate $dir/tls.pem; }
        location ~ ^/[a-z0-9]+/(.*) { proxy_pass http://usual/\$1; }
    }
}
END
    start "$2" "$name" nginx -c "$dir/$name.conf"
    wait_for "nginx ($name)" listens "$free_port"
}

haproxy_proxy() {
    next_port
    port[haproxy]=$free_port prefix[haproxy]=
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
    bind 127.0.0.1:$free_port
    use_backend tls if { path_beg /https/ }
    default_backend usual
backend usual
    http-request set-header Authorization "Bearer sk-bench-key-0001-0000000000"
    server a 127.0.0.1:${port[provider]}
backend tls
    http-request set-header Host 127.0.0.1
    server a 127.0.0.1:${port[tls]} ssl verify required ca-file tls.pem verifyhost 127.0.0.1
END
    start "$1" haproxy haproxy -db -f "$dir/haproxy.conf"
    wait_for haproxy listens "$free_port"
}

# ---- Portkey

# portkey CPUS: 1 when it is not to be had; $why says why. npm fetches what package-lock.json names, once for a build
# tree. It listens on every address, with no key in it.
portkey() {
    local home=$build/bench-portkey gateway
    gateway=$home/node_modules/@portkey-ai/gateway/build/start-server.js
    for program in node npm; do
        command -v $program >/dev/null || { why="$program is missing"; return 1; }
    done
    if [ ! -e "$gateway" ] || ! cmp -s "$here/portkey/package-lock.json" "$home/package-lock.json"; then
        mkdir -p "$home"
        cp -f "$here/portkey/package.json" "$here/portkey/package-lock.json" "$home/"
        chmod u+w "$home"/*.json
        if ! (cd "$home" && timeout 60 npm ci --ignore-scripts --no-audit --no-fund) >"$dir/npm.err" 2>&1; then
            rm -rf "$home"
            why="npm could not fetch it within 60 s"
            return 1
        fi
    fi
    next_port
    port[portkey]=$free_port prefix[portkey]=
    NODE_ENV=production start "$1" portkey node "$gateway" --port="$free_port" --headless
    wait_for Portkey listens "$free_port"
}
