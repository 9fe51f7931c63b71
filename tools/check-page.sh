#!/bin/sh
# make check-page: the status page of a daemon in a headless Chromium, as a phone and a desktop show it. The pictures
# stay in run-page/.
#
#     tools/check-page.sh SOURCE-TREE BUILD-TREE
#
# Exit status: 0 passed, 1 failed, 77 could not be tried here, with the reason.
set -eu

source=$1
build=$2
dir=$build/run-page

not_tried() {
    echo "check-page: not tried: $*" >&2
    exit 77
}

command -v node >/dev/null || not_tried "node is missing; ./bootstrap --dev installs it"
chromium=
for program in chromium chromium-browser google-chrome; do
    if command -v $program >/dev/null; then
        chromium=$program
        break
    fi
done
[ -n "$chromium" ] || not_tried "Chromium is missing; install the package chromium"

rm -rf "$dir"
mkdir -p "$dir"
CLAVIGERD=$build/clavigerd
CLAVIGERCTL=$build/clavigerctl
FAKEPROVIDER=$build/tests/e2e/fakeprovider
export CLAVIGERD CLAVIGERCTL FAKEPROVIDER
status=0
timeout -k 10 150 node "$source/tests/page/page.mjs" "$chromium" "$dir" || status=$?
[ $status -eq 0 ] || tail -n 20 "$dir/chromium.log" >&2
rm -rf "$dir/profile"
exit $status
