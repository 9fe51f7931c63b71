#!/bin/sh
# The end-to-end tests inside the sandbox of the systemd unit: as a service of the systemd that tools/check-unit.sh boots,
# with every setting of the unit that takes something away. The daemons' own seccomp filter is on beside it.
set -eu

share=/run/trial
: >$share/booted
units=/run/trial-units

fail() {
    echo "sandboxed: FAILED: $*"
    cat /run/tests.out || :
    exit 1
}

# The unit's sandbox, without the places that only an installed daemon writes to: tests write to /tmp.
{
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nTimeoutStartSec=400\n'
    printf 'ExecStart=/bin/sh %s/run-tests.sh\nStandardOutput=file:/run/tests.out\nStandardError=file:/run/tests.out\n' $share
    sed -n '/^# What the daemon does not need/,/^\[Install\]/p' $share/claviger.service | grep -v '^\[Install\]\|^ReadWritePaths='
    printf 'Environment=CLAVIGERD=%s/clavigerd CLAVIGERCTL=%s/clavigerctl FAKEPROVIDER=%s/fakeprovider\n' $share $share $share
    printf 'Environment=FAULTS_LIBRARY=%s/faults.so\n' $share
} >$units/claviger-tests.service
grep -q '^SystemCallFilter=' $units/claviger-tests.service || fail "the unit's sandbox was not found"

cat >$share/run-tests.sh <<'END'
failed=
grep -q '^Seccomp:.*2' /proc/self/status || failed="no filter"
for test in /run/trial/tests/test_*; do
    "$test" || failed="$failed $test"
done
test -z "$failed" || { echo "failed: $failed"; exit 1; }
END

systemctl daemon-reload
systemctl start claviger-tests || fail "a test failed in the unit's sandbox"
grep -E '^[0-9]+%: Checks: ' /run/tests.out | awk '{ sub(",", "", $3); checks += $3 } END { print "ok    " NR " programs, " checks " checks in the sandbox of the unit" }'
