#!/bin/sh
# Every C file is as clang-format (version 14, .clang-format) writes it.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v clang-format >/dev/null; then
    echo "format: clang-format is missing; ./bootstrap --dev installs it" >&2
    exit 1
fi
find src tests -name '*.[ch]' -print | sort | xargs clang-format --dry-run -Werror
