#!/bin/sh
# Makefile.am names every source and test that there is.
set -eu
cd "$(dirname "$0")/../.."

status=0
for file in $(find src tests/unit tests/e2e tests/fuzz -name '*.[ch]' | sort); do
    case $file in
        # A test program's one source is implied by its name.
        tests/*/test_*.c) name=${file%.c} ;;
        *) name=$file ;;
    esac
    if ! tr -s ' \t\\' '\n' <Makefile.am | grep -qxF "$name"; then
        echo "sources: Makefile.am does not name $name" >&2
        status=1
    fi
done
for script in tests/bench/*.sh tests/lint/*.sh tests/system/*.sh tools/*.sh $(find man etc lib -name '*.in' | sort); do
    if ! tr -s ' \t\\' '\n' <Makefile.am | grep -qxF "$script"; then
        echo "sources: Makefile.am does not name $script" >&2
        status=1
    fi
done
exit $status
