#!/bin/sh
# make check-clients: the official npm packages through the daemon and the fake provider.
#
#     tools/check-clients.sh SOURCE-TREE BUILD-TREE
#
# Works in a copy under the build tree; npm fetches the packages that package-lock.json names.
set -eu

source=$1
build=$2
dir=$build/run-clients

for program in node npm; do
    if ! command -v $program >/dev/null; then
        echo "check-clients: $program is missing; ./bootstrap --dev installs it" >&2
        exit 1
    fi
done

mkdir -p "$dir"
for file in "$source"/tests/clients/*; do
    [ -f "$file" ] || continue
    cp -f "$file" "$dir/"
done
chmod -R u+w "$dir"
cd "$dir"
npm ci --no-audit --no-fund --loglevel=error

CLAVIGERD=$build/clavigerd
CLAVIGERCTL=$build/clavigerctl
FAKEPROVIDER=$build/tests/e2e/fakeprovider
export CLAVIGERD CLAVIGERCTL FAKEPROVIDER
npm test
