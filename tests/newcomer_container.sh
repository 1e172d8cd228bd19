#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Show that a fresh clone passes `make demo` and `make test` on a machine that has
# nothing but git, make and Python 3, without network: once as an ordinary user, once
# as root, in a minimal Debian container whose file system is thrown away afterwards.
# Needs root, systemd-nspawn and the base tree that tests/e2e/tree.py builds.

set -eu

checkout=$(cd "$(dirname "$0")/.." && pwd)

if [ "$(id -u)" -ne 0 ]; then
    echo "newcomer_container.sh: not root: it starts a container; run it with sudo" >&2
    exit 2
fi
if ! command -v systemd-nspawn >/dev/null; then
    echo "newcomer_container.sh: systemd-nspawn is missing: install systemd-container" >&2
    exit 2
fi

tree=$(python3 "$checkout/tests/e2e/tree.py" newcomer)

# Expanded by the shell in the container, not by this one.
# shellcheck disable=SC2016
inside='
set -eu
git config --system safe.directory "*"
useradd --create-home newcomer

try() {
    begin=$(date +%s)
    if ! su - "$1" -c "cd qualvosec && make $2" >/tmp/output 2>&1; then
        cat /tmp/output
        echo "FAIL make $2 as $1"
        exit 1
    fi
    seconds=$(($(date +%s) - begin))
    tail -n 12 /tmp/output
    if [ "$seconds" -gt "$3" ]; then
        echo "FAIL make $2 as $1: good, but $seconds s are more than $3 s: is the machine busy?"
        exit 1
    fi
    echo "PASS make $2 as $1: $seconds s (at most $3 s)"
}

for who in newcomer root; do
    su - "$who" -c "git clone -q /mnt/checkout qualvosec"
    try "$who" demo 20
    try "$who" test 120
    su - "$who" -c "cd qualvosec && git status --porcelain" >/tmp/changed
    if [ -s /tmp/changed ]; then
        cat /tmp/changed
        echo "FAIL: the two commands left files in the checkout"
        exit 1
    fi
done
'

name="qve2e-$$-newcomer"
code=0
systemd-nspawn -q -D "$tree" -M "$name" --register=no --keep-unit --private-network \
    --volatile=overlay --resolv-conf=off --timezone=off --pipe \
    --bind-ro="$checkout:/mnt/checkout" \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -c "$inside" || code=$?
# systemd-nspawn leaves this directory where /run is no tmpfs.
rmdir "/run/systemd/nspawn/propagate/$name" 2>/dev/null || true
exit "$code"
