#!/bin/sh
# Every shell script is clean for shellcheck, which also finds what is not POSIX in one for /bin/sh; those parse in the
# small shells that are here.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v shellcheck >/dev/null; then
    echo "shell: shellcheck is missing; ./bootstrap --dev installs it" >&2
    exit 1
fi

status=0
for script in bootstrap .ci/run etc/init.d/claviger.in tests/lint/*.sh tests/system/*.sh tools/*.sh; do
    shellcheck -S warning "$script" || status=1
    head -n 1 "$script" | grep -q '^#!/bin/sh' || continue
    for shell in 'dash' 'busybox sh'; do
        command -v "${shell%% *}" >/dev/null || continue
        $shell -n "$script" || status=1
    done
done
exit $status
