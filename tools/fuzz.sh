#!/bin/sh
# Runs the fuzz targets one after the other, each for some seconds, from the corpus in the tree and what earlier runs
# found. Called by `make fuzz`.
# usage: fuzz.sh SRCDIR BUILDDIR SECONDS [TARGET...]
#
# New inputs go to build-fuzz/corpus/TARGET, an input that breaks something to build-fuzz/TARGET-crash-HASH (or -leak-,
# -timeout-). When the mend is there that file belongs into tests/fuzz/corpus/TARGET. To take over what a run found:
#     FUZZ_TARGET=NAME build-fuzz/fuzz -merge=1 tests/fuzz/corpus/NAME build-fuzz/corpus/NAME
set -eu

srcdir=$1
work=$2/build-fuzz
fuzz=$work/fuzz
seconds=$3
shift 3
cd "$work"

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # a list of words
    set -- $(FUZZ_TARGET=list "$fuzz" 2>&1 | tail -n +2)
fi
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=1"
failed=
for target; do
    mkdir -p "corpus/$target"
    if FUZZ_TARGET=$target "$fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=16384 \
        -print_final_stats=1 -artifact_prefix="$target-" "corpus/$target" "$srcdir/tests/fuzz/corpus/$target" \
        >"$target.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$target.log")
        echo "ok    $target: $runs runs"
    else
        failed="$failed $target"
        echo "FAIL  $target. The end of its log:"
        tail -n 60 "$target.log"
    fi
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed" >&2
    exit 1
fi
