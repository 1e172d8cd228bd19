#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What a newcomer does, with the commands of README.md and no others: make demo and make
# test in a fresh clone on a machine that has nothing but git, make and Python 3, without
# network, once as an ordinary user and once as root; then, in a fresh Debian that has none
# of these, the quick start from the first apt-get to a host that has patched itself, with
# the embedded server and with nginx. What can only be run on another system is checked as
# far as that goes, and told. Everything happens in containers whose file systems are thrown
# away. Needs root, systemd-nspawn, a Debian mirror and what tests/e2e needs. See
# tests/newcomer.py.

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

# Of a work tree of git the history is elsewhere, where the container does not reach.
cloned=$checkout
work=$(mktemp -d "${TMPDIR:-/tmp}/qualvosec-newcomer.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
if [ ! -d "$checkout/.git" ]; then
    cloned=$work/checkout
    git clone -q "$checkout" "$cloned"
    chmod 755 "$work"
fi

tree=$(python3 -B tests/e2e/tree.py newcomer)
name="qve2e-$$-newcomer"
code=0
# As process 2: process 1 has to wait for those that lost their parents.
systemd-nspawn -q --as-pid2 -D "$tree" -M "$name" --register=no --keep-unit --private-network \
    --volatile=overlay --resolv-conf=off --timezone=off --pipe \
    --bind-ro="$cloned:/mnt/checkout" \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    python3 -B /mnt/checkout/tests/newcomer.py clone || code=1
# systemd-nspawn leaves this directory where /run is no tmpfs.
rmdir "/run/systemd/nspawn/propagate/$name" 2>/dev/null || true

python3 -B tests/newcomer_staged.py || code=1
# As the installer calls a machine of which nobody says anything, and with a full name.
python3 -B tests/newcomer.py debian debian server || code=1
python3 -B tests/newcomer.py debian web01.example.org nginx || code=1
# No registry that a Debian machine reaches has an Alpine: whoever has one names it.
if [ -n "${QUALVOSEC_ALPINE:-}" ]; then
    python3 -B tests/newcomer_alpine.py "$QUALVOSEC_ALPINE" || code=1
else
    echo "SKIP alpine: NOT RUN: set QUALVOSEC_ALPINE to the root of an Alpine that has make," \
        "python3 and doas"
fi
exit "$code"
