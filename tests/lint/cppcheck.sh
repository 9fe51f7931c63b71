#!/bin/sh
# cppcheck finds nothing in the programs.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v cppcheck >/dev/null; then
    echo "cppcheck: cppcheck is missing; ./bootstrap --dev installs it" >&2
    exit 1
fi

# missingIncludeSystem: the libraries' headers need not be there. arrayIndexOutOfBounds: version 2.10 does not see the
# decrement in a loop's condition.
cppcheck --quiet --std=c11 --platform=unix64 --language=c -j "$(nproc)" \
    --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
    --suppress=missingIncludeSystem --suppress=arrayIndexOutOfBounds:src/io/store_file.c \
    -D_GNU_SOURCE -D__linux__ -DSYSCONFDIR='"/etc"' -DLOCALSTATEDIR='"/var"' -DRUNSTATEDIR='"/run"' \
    -DPACKAGE_VERSION='"0"' -Isrc src
