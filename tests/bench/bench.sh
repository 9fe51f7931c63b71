#!/bin/bash
# How fast clavigerd is beside nginx and haproxy as reverse proxies: tables, what must hold, and pictures.
#
#     tests/bench/bench.sh [--quick] [--only SCENARIOS] BUILD-TREE REPORT-DIR
#
# One worker of each on the first CPU, driven one after the other in interleaved rounds; wrk and the providers on the
# second CPU. The numbers that count are ratios in the same run; CPU time for a request holds on a busy machine too.
# Request logs are on and written to files everywhere, but for the scenario that shows what they cost. Needs nginx
# and wrk; haproxy, Portkey (node and npm) and gnuplot when they are there. SCENARIOS is a list of the words that
# stand after "want" below.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
usage() {
    echo "bench: $1" >&2
    echo "usage: bench.sh [--quick] [--only SCENARIOS] BUILD-TREE REPORT-DIR" >&2
    exit 2
}
quick=no only=
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=yes ;;
        --only)
            [ $# -gt 1 ] || usage "--only takes the names of scenarios"
            only=$2
            shift
            ;;
        -*) usage "there is no option $1" ;;
        *) break ;;
    esac
    shift
done
[ $# = 2 ] || usage "a build tree and a directory for the report are wanted"
build=$1
report=$2
for word in $only; do
    grep -qE "^ *(if )?want $word\b" "$here/bench.sh" || usage "there is no scenario $word"
done
for program in clavigerd clavigerctl tests/bench/benchload; do
    [ -x "$build/$program" ] || usage "$build/$program is not there: make it first"
done

missing=
PATH=$PATH:/usr/sbin
for program in nginx wrk openssl; do
    command -v $program >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "bench: these are missing:$missing" >&2
    echo "bench: on Debian: apt-get install --no-install-recommends nginx wrk openssl haproxy gnuplot-nox" >&2
    exit 1
fi

cpus=$(taskset -pc $$ | sed 's/.*: //')
proxy_cpu=$(echo "$cpus" | tr ',' '\n' | awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }' | sed -n 1p)
load_cpu=$(echo "$cpus" | tr ',' '\n' | awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }' | sed -n 2p)
[ -n "$load_cpu" ] || load_cpu=$proxy_cpu
ulimit -n "$(ulimit -Hn)" 2>/dev/null || :

dir=$(mktemp -d)
chmod 711 "$dir" # the worker of nginx may be somebody else
mkdir -p "$report"
report=$(cd "$report" && pwd)
data=$report/data
: >"$data"

. "$here/bench-programs.sh"
. "$here/bench-measure.sh"
. "$here/bench-parts.sh"
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# want WORD: whether these scenarios are to be run.
want() {
    case " ${only:-$1} " in *" $1 "*) return 0 ;; esac
    return 1
}

start_load
claviger claviger "$proxy_cpu" 1
for size in 8 $([ $quick = yes ] || echo 64); do # all but the last key are marked
    for key in $(seq 0 $((size - 2))); do
        "$build/clavigerctl" -c "$dir/claviger.conf" disable pool$size "$key" >/dev/null
    done
    side pool-$size claviger /pool$size
done
side pool-1 claviger /pool1
nginx_proxy nginx "$proxy_cpu" 1
proxies="claviger nginx"
if [ $quick = yes ]; then
    :
elif command -v haproxy >/dev/null; then
    haproxy_proxy "$proxy_cpu"
    proxies="haproxy claviger nginx"
else
    note "without haproxy, which is missing"
fi

# Rounds are of a second. What has to be told apart by a hundredth gets many.
# shellcheck disable=SC2086 # $proxies is a list
if [ $quick = yes ]; then
    want get && scenario get-1k 3 1 64 0 /openai/v1/models $proxies
    want post && scenario post-10k 3 1 64 10240 /openai/v1/chat/completions $proxies
    want https && scenario https 3 1 64 0 /https/v1/models $proxies
    want pool && scenario pool-8 5 1 64 0 /v1/models pool-8 pool-1
    want beside && beside 2 2000
    want events && events events-100 5 100 claviger nginx
    want memory && memory 2000
    want portkey && portkey_beside 1
    want everything && everything 2 0
else
    want get && scenario get-1k 7 1 64 0 /openai/v1/models $proxies
    want post && scenario post-10k 7 1 64 10240 /openai/v1/chat/completions $proxies
    want https && scenario https 7 1 64 0 /https/v1/models $proxies
    want large && scenario post-1m 5 1 16 1048576 /openai/v1/chat/completions $proxies
    want connections && scenario connections-1024 5 1 1024 0 /openai/v1/models $proxies
    want byok && header="Authorization: Bearer sk-own-key-of-a-client" scenario byok 5 1 64 0 /openai/v1/models $proxies
    want refused && scenario refused-5-percent 5 1 64 0 /marked/v1/twentieth claviger nginx
    want pool && scenario pool-8 25 1 64 0 /v1/models pool-8 pool-1
    want pool && scenario pool-64 7 1 64 0 /v1/models pool-64 pool-1
    if want sizes; then
        for size in 100 1000 100000; do
            scenario post-$size 3 1 64 $size /openai/v1/chat/completions claviger nginx
        done
    fi
    if want log; then
        claviger unlogged "$proxy_cpu" 1 "" false
        scenario log 7 1 64 0 /openai/v1/models claviger unlogged
        stop unlogged
    fi
    want beside && beside 7 500 2000
    want events && events events-100 12 100 claviger nginx
    want events && events events-1 4 1 claviger nginx
    want memory && memory 500 1000 2000
    want workers && workers 4 1 2 4
    want marks && marks 4 1 4
    want portkey && portkey_beside 4
    want everything && everything 8 3
fi

{
    echo "$("$build/clavigerd" -V | head -n 1), $(nginx -v 2>&1 | sed 's/.*: //')$(
        [ -z "${root[haproxy]-}" ] || haproxy -v | sed -n '1s/ version /\//; 1s/ .*//; 1s/^/, /p')"
    echo "$(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), CPUs $cpus, kernel $(uname -r), $(date +%F)"
    echo
    awk -f "$here/data.awk" -f "$here/table.awk" -f "$here/rows.awk" "$data"
} >"$report/report.txt"
cat "$report/report.txt"
if command -v gnuplot >/dev/null; then
    rm -f "$report"/*.dat "$report"/*.svg
    awk -v plots="$report" -f "$here/data.awk" -f "$here/plots.awk" "$data"
    (cd "$report" && gnuplot "$here/pictures.gp")
else
    echo "bench: no pictures: gnuplot is missing (apt-get install gnuplot-nox)" >&2
fi
