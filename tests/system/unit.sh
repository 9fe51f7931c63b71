#!/bin/sh
# What the systemd unit promises, tried with a systemd: tools/check-unit.sh boots one and runs this in it as a service.
# Everything happens on a throw-away layer over the root file system, in a network of its own.
set -eu

share=/run/trial
: >$share/booted
unit=$share/claviger.service
daemon=$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' $unit)
conf=$(sed -n 's/^ExecStart=[^ ]* -c //p' $unit)
ctl=${daemon%d}ctl
runstate=$(sed -n 's/^ReadWritePaths=\([^-].*\)/\1/p' $unit)
defaults=${conf%/claviger/claviger.conf}/default
checks=0

fail() {
    echo "unit: FAILED: $*"
    systemctl --no-pager status claviger || :
    tail -n 20 /run/stderr || :
    [ -z "${log:-}" ] || tail -n 8 "$log" || :
    exit 1
}

ok() {
    checks=$((checks + 1))
    echo "ok    $*"
}

# within WORDS: runs a command until it succeeds, for 30 s at most.
within() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "this did not come to be: $*"
        sleep 0.1
    done
}

main_pid() {
    systemctl show -P MainPID claviger
}

# ask TEXT: whether an answer 200 comes, to a request with this body.
ask() {
    printf '%s' "$1" >/run/body
    [ "$(curl -s -o /run/answer -w '%{http_code}' --max-time 10 --noproxy '*' --data-binary @/run/body \
        http://127.0.0.1:80/openai/v1/chat/completions)" = 200 ]
}

# field PID NAME: of /proc/PID/status.
field() {
    sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

children() {
    grep -vx "$(main_pid)" /sys/fs/cgroup/system.slice/claviger.service/cgroup.procs
}

has_children() {
    [ "$(children | wc -l)" -ge 3 ]
}

# write_conf LINE: with an additional line.
write_conf() {
    cat >"$conf" <<END
$1
listen = {"127.0.0.1:80"}
workers = 2
user = "${user-claviger}"
provider openai {
    base_url = "http://localhost:$(cat /run/port)/v1"
    keys = {"file:$keys", "env:TRIAL_KEY"}
    default_cooldown = 1h
}
log { target = "$log" }
limits { buffer_memory = 4K shutdown_timeout = 10s }
END
}

# ---- before the start

systemd-analyze verify $unit || fail "systemd-analyze verify complains"
systemd-analyze security --offline=yes --threshold=28 $unit >/run/security 2>&1 ||
    fail "systemd-analyze security: $(tail -n 1 /run/security)"
ok "systemd-analyze: verify; $(sed -n 's/.*\(Overall exposure.*\)/\1/p' /run/security)"

tree=$share/tree
sysusers=$(find $tree -path '*/sysusers.d/claviger.conf')
tmpfiles=$(find $tree -path '*/tmpfiles.d/claviger.conf')
systemd-sysusers "$sysusers"
systemd-tmpfiles --create "$tmpfiles"
state=$(sed -n 's/^d \([^ ]*\/lib\/claviger\) .*/\1/p' "$tmpfiles")
log=$(sed -n 's/^d \([^ ]*\/log\/claviger\) .*/\1/p' "$tmpfiles")/claviger.log
db=$state/state.db
[ "$(stat -c '%U:%G %a' "$state")" = "claviger:claviger 750" ] || fail "$state: $(stat -c '%U:%G %a' "$state")"
ok "sysusers and tmpfiles: $state belongs to claviger"

# A first key that is limited, and two that work: one in a file of root's, one in the environment.
keys=${conf%/*}/openai.keys
printf 'sk-trial-limited-000001\nsk-trial-file-00000002\n' >"$keys"
chmod 600 "$keys"
mkdir -p "$defaults"
echo 'TRIAL_KEY=sk-trial-env-000000003' >"$defaults/claviger"
chmod 600 "$defaults/claviger"
printf 'key sk-trial-limited-000001 429\ndefault api\n' >/run/script
$share/fakeprovider --script /run/script --port-file /run/port --log /run/requests &
within test -s /run/port

# ---- a start that fails

write_conf 'no_such_option = 1'
if systemctl start claviger 2>/dev/null; then fail "a wrong configuration was started"; fi
grep -q 'no_such_option' /run/stderr || fail "the reason is not told"
ok "a wrong configuration: the start fails and the reason is told"
systemctl stop claviger
systemctl reset-failed claviger 2>/dev/null || : # it may be forgotten already

# ---- life

write_conf ''
systemctl start claviger || fail "it does not start"
first=$(main_pid)
ask '{}' || fail "no answer 200: $(cat /run/answer)"
[ "$(sqlite3 "$db" "SELECT group_concat(state, ' ') FROM keys")" = "temporary valid valid" ] || fail "no mark"
ok "Type=notify: serves on port 80 when the start returns; a name is resolved, a key marked"

# Larger than what is held in memory: it goes through a file in the private /tmp.
head -c 1000000 /dev/zero | tr '\0' x >/run/large
ask "$(cat /run/large)" || fail "no answer 200 to a large request"
ok "PrivateTmp: a large request"

has_children || fail "no children"
for pid in $first $(children); do
    [ "$(field "$pid" NoNewPrivs)" = 1 ] || fail "pid $pid: NoNewPrivs"
    [ "$(field "$pid" Seccomp)" = 2 ] || fail "pid $pid: Seccomp"
    # CAP_CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, NET_BIND_SERVICE
    [ "$(field "$pid" CapBnd)" = 00000000000004e3 ] || fail "pid $pid: CapBnd $(field "$pid" CapBnd)"
done
for pid in $(children); do
    [ "$(field "$pid" CapEff)" = 0000000000000000 ] || fail "pid $pid: CapEff $(field "$pid" CapEff)"
    [ "$(field "$pid" Uid | cut -f 1)" = "$(id -u claviger)" ] || fail "pid $pid: Uid $(field "$pid" Uid)"
done
if grep -q 'not in a sandbox' "$log" /run/stderr; then fail "the unit keeps workers from confining themselves"; fi
ok "NoNewPrivileges, SystemCallFilter, CapabilityBoundingSet; workers are claviger, without capabilities"

# inside COMMAND...: sees the files as the daemon does.
inside() {
    nsenter -t "$(main_pid)" -m "$@"
}
for dir in /etc /usr /var /boot "${conf%/*}" "${daemon%/*}"; do
    if inside touch "$dir/a-file" 2>/dev/null; then fail "$dir can be written to"; fi
done
for dir in "${db%/*}" "${log%/*}" "$runstate" /tmp; do
    inside touch "$dir/a-file" || fail "$dir cannot be written to"
    inside rm "$dir/a-file"
done
: >/tmp/outside
[ -z "$(inside find /tmp -name outside)" ] || fail "/tmp is not private"
[ "$(inside ls /home 2>/dev/null | wc -l)" = 0 ] || fail "/home is seen"
[ -z "$(inside find /dev -type b)" ] || fail "block devices are seen"
ok "ProtectSystem, ReadWritePaths, PrivateTmp, ProtectHome, PrivateDevices"

systemctl reload claviger || fail "the reload fails"
[ "$(main_pid)" = "$first" ] || fail "a reload changed the main process"
ask '{}' || fail "no answer 200 after a reload"
write_conf 'no_such_option = 1'
if systemctl reload claviger 2>/dev/null; then fail "the reload of a wrong configuration succeeds"; fi
grep -q 'refused: .*no_such_option' /run/stderr || fail "the reason is not told"
systemctl is-active -q claviger || fail "not active after a refused reload"
ask '{}' || fail "no answer 200 after a refused reload"
write_conf ''
ok "ExecReload: returns whether the new configuration serves; key files of root's are read again"

mv "$log" "$log.1"
systemctl kill -s USR1 --kill-who=main claviger
within test -e "$log"
wrote() {
    ask '{}' && grep -q 'POST /openai/' "$log"
}
within wrote
[ "$(stat -c %U "$log")" = claviger ] || fail "the new log file belongs to $(stat -c %U "$log")"
ok "SIGUSR1: the log file is opened again, by workers too"

systemctl kill -s USR2 --kill-who=main claviger
replaced() {
    [ "$(main_pid)" != "$first" ] && [ ! -e "/proc/$first" ]
}
within replaced
systemctl is-active -q claviger || fail "not active after an upgrade"
second=$(main_pid)
[ "$(cat "$runstate/claviger.pid")" = "$second" ] || fail "the pid file says $(cat "$runstate/claviger.pid")"
"$ctl" -c "$conf" status | grep -q "as pid $second" || fail "clavigerctl finds another master"
ask '{}' || fail "no answer 200 after an upgrade"
[ "$(systemctl show -P NRestarts claviger)" = 0 ] || fail "it was restarted"
systemctl reload claviger || fail "no reload after an upgrade"
ok "SIGUSR2: MAINPID goes to the new master, the unit stays active"

kill -KILL "$second"
revived() {
    pid=$(main_pid)
    [ "$pid" != 0 ] && [ "$pid" != "$second" ] && systemctl is-active -q claviger
}
within revived
ask '{}' || fail "no answer 200 after a restart"
[ "$(wc -l <"$keys")" = 2 ] || fail "the key file was changed"
[ "$(sqlite3 "$db" "SELECT group_concat(state, ' ') FROM keys")" = "temporary valid valid" ] || fail "marks are lost"
ok "Restart=on-failure: back after a SIGKILL, with its marks"

last=$(main_pid)
systemctl stop claviger
[ "$(systemctl show -P Result claviger) $(systemctl show -P ExecMainStatus claviger)" = "success 0" ] ||
    fail "the stop ended as $(systemctl show -P Result claviger)"
[ ! -e "/proc/$last" ] || fail "the master is there still"
ok "stop: status 0"

# As the sample has it.
user=
write_conf ''
systemctl start claviger || fail "it does not start without a user"
ask '{}' || fail "no answer 200 without a user"
systemctl reload claviger || fail "no reload without a user"
systemctl stop claviger
user=claviger
write_conf ''
ok "without a user: the workers are root, with no more than the master"

# ---- the init script where it was installed, without systemd's help

init=$(find $tree -path '*/init.d/claviger')
init=${init#"$tree"}
# expect STATUS VERB
expect() {
    status=0
    SYSTEMCTL_SKIP_REDIRECT=1 "$init" "$2" >/run/said 2>&1 || status=$?
    [ "$status" = "$1" ] || fail "$init $2: status $status, not $1: $(cat /run/said)"
}
expect 3 status
expect 0 configtest
expect 0 start
ask '{}' || fail "no answer 200"
expect 0 status
expect 0 reload
expect 0 upgrade
expect 0 restart
ask '{}' || fail "no answer 200 after a restart"
expect 0 stop
expect 3 status
ok "$init: start, status, reload, upgrade, restart, stop"

echo "unit: $checks checks passed, $(systemctl --version | head -n 1)"
