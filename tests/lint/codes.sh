#!/bin/sh
# Every error code that the daemon answers with (the table in src/core/reply.c) stands in the manual page.
set -eu
cd "$(dirname "$0")/../.."

page=man/claviger.7.in
codes=$(sed -n 's/^ *\[REPLY_[A-Z_]*\] = {"\([a-z_]*\)", \([0-9]*\),.*/\1 \2/p' src/core/reply.c)
status=0
if [ "$(echo "$codes" | wc -l)" -lt 10 ]; then
    echo "codes: src/core/reply.c: the table was not found" >&2
    exit 1
fi
while read -r code number; do
    if ! grep -qE "^\.(It )?Li $code( |\$)" "$page" || ! grep -qw "$number" "$page"; then
        echo "codes: $page does not tell of $code with $number" >&2
        status=1
    fi
done <<END
$codes
END
exit $status
