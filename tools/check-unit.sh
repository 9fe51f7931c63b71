#!/bin/sh
# make check-unit: boots the machine's systemd in namespaces of its own, on a throw-away layer over the root file
# system, with the installed tree and its unit, and runs a script of tests/system there: unit.sh, or sandboxed.sh, which
# runs the test programs that are named. Nothing outside is changed.
#
#     tools/check-unit.sh SOURCE-TREE BUILD-TREE SCRIPT [TEST...]
#
# Exit status: 0 passed, 1 failed, 77 could not be tried here, with the reason.
set -eu

not_tried() {
    echo "check-unit: not tried: $*" >&2
    exit 77
}

# ---- first stage: outside

outside() {
    source=$1
    build=$2
    script=$3
    shift 3
    [ "$(id -u)" = 0 ] || not_tried "it takes root"
    for program in curl sqlite3 unshare pivot_root nsenter mount systemd-analyze systemd-sysusers systemd-tmpfiles; do
        command -v $program >/dev/null || not_tried "$program is missing; ./bootstrap --dev installs it"
    done
    [ -x /lib/systemd/systemd ] || not_tried "there is no systemd; ./bootstrap --dev installs it"
    grep -qw cgroup2 /proc/filesystems || not_tried "the kernel has no cgroup2"
    grep -qw overlay /proc/filesystems || not_tried "the kernel has no overlay file system"

    share=$(mktemp -d)
    trap 'rm -rf "$share"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make -s -C "$build" install DESTDIR="$share/tree" >"$share/install.log" 2>&1 || {
        cat "$share/install.log" >&2
        exit 1
    }
    cp "$build/tests/e2e/fakeprovider" "$share/"
    cp "$source/tests/system/$script" "$share/script.sh"
    mkdir "$share/tests"
    for test; do
        cp "$build/clavigerd" "$build/clavigerctl" "$build/tests/e2e/faults.so" "$share/"
        cp "$build/$test" "$share/tests/"
    done
    cp "$source/tools/check-unit.sh" "$share/boot.sh"
    find "$share/tree" -name claviger.service -exec cp {} "$share/" \;

    # A cgroup of its own, so that systemd sees this one as the root of all.
    mkdir "$share/cgroup"
    unshare --mount --propagation private sh "$share/boot.sh" --enter "$share" >"$share/log" 2>&1 || :
    if [ ! -e "$share/booted" ]; then
        sed 's/^/check-unit: /' "$share/log" >&2
        not_tried "the namespaces, or systemd in them, cannot be had here"
    fi
    cat "$share/result" 2>/dev/null || :
    if [ "$(cat "$share/status" 2>/dev/null)" != 0 ]; then
        echo "check-unit: failed; what systemd said:" >&2
        tail -n 60 "$share/log" >&2
        exit 1
    fi
    echo "check-unit: as it should be"
}

# ---- second stage: in a mount namespace; leaves the cgroup when all is over

enter() {
    share=$1
    mount -t cgroup2 none "$share/cgroup"
    group=$share/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/claviger-check.$$
    mkdir "$group"
    status=0
    # In the inner shell $$ is that shell.
    # shellcheck disable=SC2016
    timeout -k 5 450 sh -c 'echo $$ >"$1/cgroup.procs" && exec unshare --cgroup --pid --fork --kill-child --mount \
        --uts --ipc --net --propagation private sh "$2/boot.sh" --boot "$2"' sh "$group" "$share" || status=$?
    [ ! -e "$group/cgroup.kill" ] || echo 1 >"$group/cgroup.kill"
    tries=0
    while [ -d "$group" ] && [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        find "$group" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || :
        rmdir "$group" 2>/dev/null || sleep 0.1
    done
    exit $status
}

# ---- third stage: in all the namespaces; becomes systemd

boot() {
    share=$1
    # The layer: what is written goes to memory.
    layer=$share/layer
    mkdir -p "$layer"
    mount -t tmpfs tmpfs "$layer"
    mkdir "$layer/upper" "$layer/work" "$layer/root"
    cp -a "$share/tree/." "$layer/upper/"
    mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" overlay "$layer/root"
    cd "$layer/root"
    mount -t tmpfs tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mkdir run/trial run/old
    mount --rbind "$share" run/trial
    mount --rbind /dev dev
    mount --rbind /sys sys
    mount -t proc proc proc
    mount -t cgroup2 none sys/fs/cgroup
    pivot_root . run/old
    cd /
    umount -l /run/old
    # The kernel's settings are the host's too.
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys

    # Only these units exist: none of the host's services, nor its settings.
    units=/run/trial-units
    mkdir $units
    for target in sysinit basic shutdown local-fs network network-online nss-lookup time-sync umount multi-user exit; do
        printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $target >$units/$target.target
    done
    cat >>$units/exit.target <<END
Requires=systemd-exit.service
After=systemd-exit.service
AllowIsolate=yes
END
    cat >$units/systemd-exit.service <<END
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/systemctl --force exit
END
    cat >$units/trial.service <<END
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
TimeoutStartSec=430
ExecStart=/bin/sh /run/trial/script.sh
StandardOutput=file:/run/trial/result
StandardError=file:/run/trial/result
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS >/run/trial/status; systemctl --no-block --force exit'
END
    cat >$units/trial.target <<END
[Unit]
Requires=trial.service
DefaultDependencies=no
AllowIsolate=yes
END
    cp /run/trial/claviger.service $units/
    mkdir $units/claviger.service.d
    printf '[Service]\nStandardOutput=file:/run/stderr\nStandardError=file:/run/stderr\n' \
        >$units/claviger.service.d/trial.conf
    env -i container=claviger-check SYSTEMD_UNIT_PATH=$units PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --version
    exec env -i container=claviger-check SYSTEMD_UNIT_PATH=$units SYSTEMD_GENERATOR_PATH=/run/none \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=trial.target --log-target=console \
        --log-level=notice --show-status=no
}

case $1 in
    --enter) enter "$2" ;;
    --boot) boot "$2" ;;
    *) outside "$@" ;;
esac
