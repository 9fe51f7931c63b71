#!/bin/sh
# clang-tidy (.clang-tidy) finds nothing in the programs.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v clang-tidy >/dev/null; then
    echo "tidy: clang-tidy is missing; ./bootstrap --dev installs it" >&2
    exit 1
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
find src -name '*.c' -print | sort | xargs -n 4 -P "$(nproc)" sh -c '
    clang-tidy --quiet "$@" -- -std=c11 -Isrc -D_GNU_SOURCE -DSYSCONFDIR=\"/etc\" -DLOCALSTATEDIR=\"/var\" \
        -DRUNSTATEDIR=\"/run\" -DPACKAGE_VERSION=\"0\" 2>&1' tidy >"$out" || status=1
# Beside its findings it counts the warnings that it kept to itself.
grep -v -E '^[0-9]+ warnings? (generated|treated as errors?)\.?$|^Suppressed |^Use -header-filter' "$out" || :
exit $status
