#!/bin/sh
# No unfinished business and no place of one machine in what is delivered.
set -eu
cd "$(dirname "$0")/../.."

status=0
files=$(find src tests man etc lib tools m4 -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.in' -o -name '*.m4' \
    -o -name '*.js' -o -name '*.mjs' \) ! -path '*/node_modules/*' ! -path tests/lint/words.sh | sort)
files="$files configure.ac Makefile.am bootstrap .ci/run README HACKING"
# shellcheck disable=SC2086 # a list of names without spaces
if grep -nwE 'TODO|FIXME|XXX|HACK' $files; then
    echo "words: finish it, or write it down where work is planned" >&2
    status=1
fi
# shellcheck disable=SC2086
if grep -nE '(^|[^a-z.])/(home|root|work)/' $files; then
    echo "words: a path of somebody's machine" >&2
    status=1
fi
# shellcheck disable=SC2086
if grep -nE '[[:space:]]+$' $files; then
    echo "words: white space at the end of a line" >&2
    status=1
fi
exit $status
