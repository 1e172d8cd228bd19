#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What a newcomer does, with the commands of README.md and no others: make demo and make
# test in a fresh clone on a machine that has nothing but git, make and Python 3, without
# network, once as an ordinary user and once as root; then, in a fresh Debian that has none
# of these, the quick start from the first apt-get to a host that has patched itself. What
# can only be run on another system is checked as far as that goes, and told. Everything
# happens in containers whose file systems are thrown away. Needs root, systemd-nspawn, a
# Debian mirror and what tests/e2e needs. See tests/newcomer.py.

set -eu

checkout=$(cd "$(dirname "$0")/.." && pwd)
cd "$checkout"

if [ "$(id -u)" -ne 0 ]; then
    echo "newcomer.sh: not root: it starts a container; run it with sudo" >&2
    exit 2
fi
if ! command -v systemd-nspawn >/dev/null; then
    echo "newcomer.sh: systemd-nspawn is missing: install systemd-container" >&2
    exit 2
fi

tree=$(python3 -B tests/e2e/tree.py newcomer)
python3 -B tests/newcomer.py words try >/dev/null

# Expanded by the shell in the container, not by this one.
# shellcheck disable=SC2016
inside='
set -eu
git config --system safe.directory "*"
useradd --create-home newcomer

try() { # USER COMMAND SECONDS
    begin=$(date +%s)
    if ! su - "$1" -c "cd qualvosec && $2" >/tmp/output 2>&1; then
        cat /tmp/output
        echo "FAIL $2 as $1"
        exit 1
    fi
    seconds=$(($(date +%s) - begin))
    tail -n 12 /tmp/output
    if [ "$seconds" -gt "$3" ]; then
        echo "FAIL $2 as $1: good, but $seconds s are more than $3 s: is the machine busy?"
        exit 1
    fi
    echo "PASS $2 as $1: $seconds s (at most $3 s)"
}

for who in newcomer root; do
    su - "$who" -c "git clone -q /mnt/checkout qualvosec"
    python3 -B /mnt/checkout/tests/newcomer.py words try >/tmp/commands
    while read -r words; do
        case $words in
        *demo*) limit=20 ;;
        *) limit=120 ;;
        esac
        try "$who" "${words%%  *}" "$limit" </dev/null
    done </tmp/commands
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

for system in staged debian; do
    python3 -B tests/newcomer.py "$system" || code=1
done
exit "$code"
