#!/bin/sh
# make check-valgrind: runs test programs under valgrind; an error or a leak fails.
#
#     tools/valgrind.sh PROGRAM...
#
# Check runs each test in a process of its own: what a test leaves behind is lost, and said, when that process ends.
# "Possibly lost" does not count: SQLite keeps pointers to the inside of its blocks only.
set -eu

if ! command -v valgrind >/dev/null; then
    echo "valgrind: valgrind is missing; ./bootstrap --dev installs it" >&2
    exit 1
fi

tools=$(cd "$(dirname "$0")" && pwd)
CK_TIMEOUT_MULTIPLIER=10
CK_VERBOSITY=minimal
export tools CK_TIMEOUT_MULTIPLIER CK_VERBOSITY

for program; do
    case $program in
        */test_sandbox) ;; # valgrind itself needs what the sandbox forbids
        # Every place of every input, or very many bytes, which takes minutes here: the sanitizers see the same.
        */test_chunked | */test_ctl_top | */test_dump_queue | */test_housekeeper_loss | */test_upstream_tls) ;;
        *) echo "$program" ;;
    esac
done | xargs -n 1 -P "$(nproc)" sh -c '
    if out=$(valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
        --show-leak-kinds=definite,indirect --suppressions="$tools/valgrind.supp" "./$1" 2>&1); then
        echo "ok    $1"
    else
        echo "FAIL  $1"
        echo "$out"
        exit 1
    fi' test
