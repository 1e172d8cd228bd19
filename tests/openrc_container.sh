#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The OpenRC scripts under OpenRC as PID 1: install-openrc, then start, status, reload,
# configtest, a crash that is started again, restart and stop of client and server, in a
# Debian in a container that is thrown away. Needs root, systemd-nspawn and a mirror.
# One line for each thing shown; exit code 1 if one is not so.

set -eu
checkout=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" -eq 0 ] || {
    echo "openrc_container.sh: not root: it starts a container; run it with sudo" >&2
    exit 2
}
tree=$(cd "$checkout" && python3 -B -c '
from tests.e2e import tree
tree.TREES["openrc"] = tree.Tree("openrc", "bookworm", [
    "openrc", "python3", "sudo", "procps", "make", "bsdutils"])
print(tree.ensure("openrc"))')
work=$(mktemp -d "${TMPDIR:-/tmp}/qualvosec-openrc.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/out"
(cd "$checkout" && git archive HEAD) | tar -xf - -C "$work/source"

cat >"$work/source/drive" <<'DRIVER'
exec >/out/log 2>&1
show() { # WORDS -- COMMAND: it must succeed
    what=$1
    shift
    if "$@"; then echo "shown $what"; else echo "FAULT $what"; fi
}
fails() { if "$@"; then return 1; fi; }
until_true() { # COMMAND: within half a minute
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || return 1
        sleep 0.5
    done
}
daemon() { pgrep -o -u qualvosec -f "^/usr/bin/python3 -IBS /usr/local/sbin/qualvosec -c"; }
answers() { qualvosec status 2>&1 | grep -q 'QUALVOSEC OK'; }
reloaded() { # asked directly: `status` reads the bad configuration, too
    python3 -c 'import http.client
asked = http.client.HTTPConnection("127.0.0.1", 8037)
asked.request("GET", "/status")
print(asked.getresponse().read().decode())' | grep -q 'configuration was not taken over'
}
server() { pgrep -o -u qualvosec-server -f "^/usr/bin/python3 -IBS /usr/local/sbin/qualvosec-server"; }
new_server() { [ -n "$(server)" ] && [ "$(server)" != "$old" ]; }
new_one() { [ -n "$(daemon)" ] && [ "$(daemon)" != "$old" ]; }

show "server starts with the system" until_true rc-service qualvosec_server status
show "client starts with the system" until_true rc-service qualvosec status
show "daemon runs as its user" until_true daemon
show "configtest is content" rc-service qualvosec configtest
echo 'nonsense' >>/etc/qualvosec/qualvosec.conf
show "configtest refuses a bad configuration" fails rc-service qualvosec configtest
show "reload" rc-service qualvosec reload
show "reload reaches the daemon, which refuses the bad configuration" until_true reloaded
sed -i '$d' /etc/qualvosec/qualvosec.conf
old=$(daemon)
show "restart" rc-service qualvosec restart
show "restart makes a new daemon" until_true new_one
show "daemon is content" until_true answers
old=$(server)
kill -KILL "$old"
show "server that has crashed is started again" until_true new_server
show "log of the server is opened anew" sh -c 'rm /var/log/qualvosec-server/access.log &&
    rc-service qualvosec_server reload && sleep 1 && test -e /var/log/qualvosec-server/access.log'
show "client stops" rc-service qualvosec stop
show "no daemon is left" fails daemon
show "client is stopped" fails rc-service qualvosec status
show "server stops" rc-service qualvosec_server stop
echo end
DRIVER

# Expanded by the shell in the container, not by this one.
# shellcheck disable=SC2016
inside='
set -eu
cp -r /mnt/source /root/source
cd /root/source
make install-openrc PYTHON=/usr/bin/python3 >/dev/null
make install-users >/dev/null
cat >/etc/qualvosec/qualvosec.conf <<CONF
[general]
server: http://127.0.0.1:8080
fqdn: openrc.example.org
monitoring: enable
CONF
mkdir -p /srv/patching
printf "openrc.example.org:\n  patch: false\n" >/srv/patching/patch.yaml
rc-update add qualvosec default
rc-update add qualvosec_server default
ip link set lo up 2>/dev/null || :
(sh /root/source/drive; kill -9 -1) &
exec /sbin/openrc-init
'
name="qvopenrc-$$"
systemd-nspawn -q -D "$tree" -M "$name" --register=no --keep-unit --private-network \
    --volatile=overlay --resolv-conf=off --timezone=off --pipe \
    --bind-ro="$work/source:/mnt/source" --bind="$work/out:/out" \
    env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    sh -c "$inside" >"$work/console" 2>&1 &
container=$!
tries=0
until grep -q '^end$' "$work/out/log" 2>/dev/null || [ "$tries" -ge 90 ]; do
    sleep 1
    tries=$((tries + 1))
done
kill -TERM "$container" 2>/dev/null || :
(sleep 10; kill -KILL "$container" 2>/dev/null) &
impatient=$!
wait "$container" 2>/dev/null || :
# Before its number can be somebody else's.
kill "$impatient" 2>/dev/null || :
wait "$impatient" 2>/dev/null || :
rmdir "/run/systemd/nspawn/propagate/$name" 2>/dev/null || :
if ! grep -q '^end$' "$work/out/log" 2>/dev/null || grep -q '^FAULT' "$work/out/log"; then
    sed 's/^/     /' "$work/console"
    cat "$work/out/log"
    exit 1
fi
grep '^shown' "$work/out/log"
echo "openrc: $(grep -c '^shown' "$work/out/log") things shown"
