#!/bin/sh
# The manual pages are clean at mandoc's warning level.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v mandoc >/dev/null; then
    echo "man: mandoc is missing; ./bootstrap --dev installs it" >&2
    exit 1
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
awk -f tools/metrics.awk src/io/metrics.def >"$dir/metrics.mdoc"
if [ "$(grep -c '^METRIC(' src/io/metrics.def)" != "$(grep -c '^\.It Li claviger_' "$dir/metrics.mdoc")" ]; then
    echo "man: tools/metrics.awk does not understand every entry of src/io/metrics.def" >&2
    exit 1
fi
for page in man/*.in; do
    name=$(basename "$page" .in)
    # As installed: the directories written in.
    sed -e 's|@VERSION@|0|g' -e 's|@prefix@|/usr|g' -e 's|@sbindir@|/usr/sbin|g' -e 's|@sysconfdir@|/etc|g' \
        -e 's|@localstatedir@|/var|g' -e 's|@runstatedir@|/run|g' -e 's|@docdir@|/usr/share/doc/claviger|g' \
        -e "/^@METRICS@\$/{r $dir/metrics.mdoc" -e 'd;}' \
        "$page" >"$dir/$name"
    if grep -n '@[a-z]*dir@' "$dir/$name"; then
        echo "man: $page: a directory that Makefile.am does not fill in" >&2
        status=1
    fi
    (cd "$dir" && mandoc -T lint -W warning "$name") || status=1
done
exit $status
