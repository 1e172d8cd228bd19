#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Copy-install of QualvoSec: install.sh install|uninstall|users [client|admin|server ...]
# `part` installs what is named and nothing that it shares with others (common), for packages.
# Started by make, which hands over every directory as an environment variable;
# the Makefile says what they mean. Writes below $DESTDIR only; `users` works on the
# running system. Programs and the module tree are put in place by rename, so that a
# running daemon never sees half of an installation.

set -eu
umask 022

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

# What ends up in a sed expression, a unit and a sudo rule must be a plain path.
plain_path() {
    case $2 in
    /*) ;;
    *) fail "$1: '$2' is not an absolute path: start it with /" ;;
    esac
    case $2 in
    *[!A-Za-z0-9/._+@-]*) fail "$1: '$2' has a character that no installation path needs" ;;
    esac
}

user_name() {
    case $2 in
    [a-z_]*) ;;
    *) fail "$1: '$2' is not a user name" ;;
    esac
    case $2 in
    *[!a-z0-9_-]*) fail "$1: '$2' is not a user name" ;;
    esac
}

check_paths() {
    [ -z "$DESTDIR" ] || case $DESTDIR in
    /*) ;;
    *) fail "DESTDIR: '$DESTDIR' is not an absolute path: start it with /" ;;
    esac
    plain_path PREFIX "$PREFIX"
    plain_path SBINDIR "$SBINDIR"
    plain_path LIBEXECDIR "$LIBEXECDIR"
    plain_path DATADIR "$DATADIR"
    plain_path DOCDIR "$DOCDIR"
    plain_path MANDIR "$MANDIR"
    plain_path CONFDIR "$CONFDIR"
    plain_path SAMPLEDIR "$SAMPLEDIR"
    plain_path STATEDIR "$STATEDIR"
    plain_path HELPERSTATEDIR "$HELPERSTATEDIR"
    plain_path HELPERLOGDIR "$HELPERLOGDIR"
    plain_path RUNDIR "$RUNDIR"
    [ -z "$SUDOERSDIR" ] || plain_path SUDOERSDIR "$SUDOERSDIR"
    [ -z "$UNITDIR" ] || plain_path UNITDIR "$UNITDIR"
    [ -z "$BASHCOMPDIR" ] || plain_path BASHCOMPDIR "$BASHCOMPDIR"
    [ -z "$RCDIR" ] || plain_path RCDIR "$RCDIR"
    [ -z "$SYSUSERSDIR" ] || plain_path SYSUSERSDIR "$SYSUSERSDIR"
    [ -z "$NEEDRESTARTDIR" ] || plain_path NEEDRESTARTDIR "$NEEDRESTARTDIR"
    [ -z "$LOGROTATEDIR" ] || plain_path LOGROTATEDIR "$LOGROTATEDIR"
    [ -z "$NEWSYSLOGDIR" ] || plain_path NEWSYSLOGDIR "$NEWSYSLOGDIR"
    user_name SERVICEUSER "$SERVICEUSER"
    user_name SERVERUSER "$SERVERUSER"
    case $RCSYSTEM in
    '' | freebsd | openbsd | netbsd | openrc) ;;
    *) fail "RCSYSTEM: '$RCSYSTEM' is not one of freebsd, openbsd, netbsd, openrc" ;;
    esac
}

wanted() { # PART: is it among those to be installed?
    case " $parts " in
    *" $1 "*) return 0 ;;
    esac
    return 1
}

programs() { # the programs of the chosen parts, one a line: DIRECTORY NAME
    if wanted client; then
        say "$SBINDIR qualvosec"
        say "$LIBEXECDIR qualvosec-helper"
        say "$LIBEXECDIR qualvosec-transaction"
    fi
    if wanted admin; then say "$SBINDIR qualvosec-admin"; fi
    if wanted server; then say "$SBINDIR qualvosec-server"; fi
}

configs() { # configuration files of the chosen parts, one a line
    if wanted client; then
        say qualvosec.conf
        say helper.conf
    fi
    if wanted admin; then say qualvosec_admin.conf; fi
    if wanted server; then say qualvosec_server.conf; fi
}

units() {
    if wanted client; then
        say qualvosec.service
        say qualvosec-helper.socket
        say qualvosec-helper@.service
        say qualvosec-once.service
        say qualvosec-once.timer
    fi
    if wanted server; then say qualvosec-server.service; fi
}

# A directory that is there keeps its owner and mode: /usr/local is often shared.
folder() { # PATH [MODE]
    [ -d "$1" ] || install -d -m "${2:-0755}" "$1"
}

pages() { # the manual pages of the chosen parts, one a line
    for path in man/*.[58]; do
        case ${path##*/} in
        qualvosec-admin.* | qualvosec_admin.*) wanted admin || continue ;;
        qualvosec-server.* | qualvosec_server.*) wanted server || continue ;;
        qualvosec-manifest.*) wanted common || continue ;;
        *) wanted client || continue ;;
        esac
        say "${path##*/}"
    done
}

services() { # names of rc.d and OpenRC scripts
    [ -n "$RCDIR" ] && [ -n "$RCSYSTEM" ] || return 0
    if wanted client; then say qualvosec; fi
    if wanted server; then say qualvosec_server; fi
}

# What other programs of the system are told about us, one a line: DIRECTORY SOURCE NAME
extras() {
    if [ -n "$BASHCOMPDIR" ]; then
        programs | while read -r where name; do
            [ "$where" != "$SBINDIR" ] ||
                say "$BASHCOMPDIR share/bash-completion/completions/$name $name"
        done
    fi
    if [ -n "$SYSUSERSDIR" ]; then
        if wanted client; then say "$SYSUSERSDIR etc/sysusers.d/qualvosec.conf qualvosec.conf"; fi
        if wanted server; then
            say "$SYSUSERSDIR etc/sysusers.d/qualvosec-server.conf qualvosec-server.conf"
        fi
    fi
    if [ -n "$NEEDRESTARTDIR" ] && wanted client; then
        say "$NEEDRESTARTDIR etc/needrestart/qualvosec.conf qualvosec.conf"
    fi
    if [ -n "$LOGROTATEDIR" ] && wanted server; then
        say "$LOGROTATEDIR etc/logrotate.d/qualvosec-server qualvosec-server"
    fi
    if [ -n "$NEWSYSLOGDIR" ] && wanted server; then
        say "$NEWSYSLOGDIR etc/newsyslog.conf.d/qualvosec.conf qualvosec.conf"
    fi
}

# Copies with the time of the source: bytecode records it, and two installations
# of one tree are equal. $4 and following: sed expressions.
place() { # MODE SOURCE TARGET [SED ...]
    mode=$1 source=$2 target=$3
    shift 3
    [ -f "$source" ] || fail "$source: is missing: is the checkout complete?"
    if [ -e "$target.new" ] || [ -L "$target.new" ]; then rm -f "$target.new"; fi
    if [ $# -gt 0 ]; then
        sed "$@" "$source" >"$target.new"
    else
        cp "$source" "$target.new"
    fi
    chmod "$mode" "$target.new"
    touch -r "$source" "$target.new"
    mv -f "$target.new" "$target"
}

find_interpreter() {
    command -v "$PYTHON" >/dev/null ||
        fail "$PYTHON: is not there: install Python 3.6 or newer, or name it with PYTHON="
    trusted=trusted
    if [ -n "$DESTDIR" ] || [ "$(id -u)" -ne 0 ] || [ "$TRUST_PYTHON" = yes ]; then trusted=; fi
    # 1: it has told why. Anything else is not the answer of a Python 3.
    interpreter=$("$PYTHON" -IBS tools/interpreter.py $trusted) || {
        [ $? -ne 1 ] || exit 1
        interpreter=
    }
    [ -n "$interpreter" ] ||
        fail "$PYTHON: is no Python 3.6 or newer: name another with PYTHON="
}

install_modules() {
    new=$DESTDIR$DATADIR/.qualvosec.new
    rm -rf "$new"
    # A directory at a time: as many files one by one take most of an installation.
    (cd lib && find qualvosec \( -name '.*' -o -name __pycache__ \) -prune -o -type d -print) |
        while read -r name; do
            folder "$new/$name"
            cp "lib/$name"/*.py "$new/$name/"
            for source in "lib/$name"/*.py; do
                touch -r "$source" "$new/$name/${source##*/}"
            done
        done
    find "$new" -name '*.py' -exec chmod 0644 {} +
    place 0644 lib/qualvosec/paths.py "$new/qualvosec/paths.py" \
        -e "s|^PYTHON = \".*\"\$|PYTHON = \"$interpreter\"|" \
        -e "s|^SBIN_DIR = \".*\"\$|SBIN_DIR = \"$SBINDIR\"|" \
        -e "s|^LIBEXEC_DIR = \".*\"\$|LIBEXEC_DIR = \"$LIBEXECDIR\"|" \
        -e "s|^CONFIG_DIR = \".*\"\$|CONFIG_DIR = \"$CONFDIR\"|" \
        -e "s|^STATE_DIR = \".*\"\$|STATE_DIR = \"$STATEDIR\"|" \
        -e "s|^HELPER_STATE_DIR = \".*\"\$|HELPER_STATE_DIR = \"$HELPERSTATEDIR\"|" \
        -e "s|^HELPER_LOG_DIR = \".*\"\$|HELPER_LOG_DIR = \"$HELPERLOGDIR\"|" \
        -e "s|^RUN_DIR = \".*\"\$|RUN_DIR = \"$RUNDIR\"|" \
        -e "s|^SERVICE_USER = \".*\"\$|SERVICE_USER = \"$SERVICEUSER\"|"
    if [ "$BYTECODE" = yes ]; then compile_modules; fi
    rm -rf "$DESTDIR$DATADIR/.qualvosec.old"
    if [ -d "$DESTDIR$DATADIR/qualvosec" ]; then
        mv "$DESTDIR$DATADIR/qualvosec" "$DESTDIR$DATADIR/.qualvosec.old"
    fi
    mv "$new/qualvosec" "$DESTDIR$DATADIR/qualvosec"
    rmdir "$new"
    rm -rf "$DESTDIR$DATADIR/.qualvosec.old"
}

compile_modules() {
    # Without bytecode the resident daemon compiles at every start and is larger.
    # -d: what the bytecode names as its source is the final place, not the stage.
    "$interpreter" -IBS -m compileall -q -f -d "$DATADIR/qualvosec" "$new/qualvosec" ||
        fail "byte-compiling failed"
}

install_programs() {
    programs | while read -r where name; do
        folder "$DESTDIR$where"
        place 0755 "bin/$name" "$DESTDIR$where/$name" \
            -e "1s|^#!.*|#!$interpreter -IBS|" \
            -e "s|^LIB = .*|LIB = \"$DATADIR\"|"
    done
}

# What is shown as a default has to be that of this installation.
place_config() { # NAME TARGET
    place 0644 "etc/$1" "$DESTDIR$2" -e "s|/etc/qualvosec/|$CONFDIR/|" \
        -e "s|/var/lib/qualvosec\$|$STATEDIR|"
}

# A configuration that is there belongs to the administrator; the sample beside
# it always shows what this version knows.
install_configs() {
    [ -n "$(configs)" ] || return 0
    folder "$DESTDIR$CONFDIR"
    folder "$DESTDIR$SAMPLEDIR"
    configs | while read -r name; do
        place_config "$name" "$SAMPLEDIR/$name.sample"
        if [ ! -e "$DESTDIR$CONFDIR/$name" ]; then
            place_config "$name" "$CONFDIR/$name"
        fi
    done
    if wanted admin; then
        place 0644 etc/patch.yaml "$DESTDIR$SAMPLEDIR/patch.yaml.sample"
    fi
    # Who owns the directory can take helper.conf away; an old client's user may.
    if [ -z "$DESTDIR" ] && [ "$(id -u)" -eq 0 ] && [ -n "$(find "$CONFDIR" -prune ! -user 0)" ]; then
        chown 0:0 "$CONFDIR"
        say "$CONFDIR belongs to root now: the helper works with no other"
    fi
    if wanted client; then
        for when in pre-patch post-patch pre-reboot; do
            folder "$DESTDIR$CONFDIR/hooks.d/$when.d"
        done
    fi
}

install_sudoers() {
    [ -n "$SUDOERSDIR" ] && wanted client || return 0
    folder "$DESTDIR$SUDOERSDIR" 0750
    # sudo skips names with a dot: the new rule is checked before it counts.
    new=$DESTDIR$SUDOERSDIR/.qualvosec.check
    place 0440 etc/sudoers.d/qualvosec "$new" -e "$helper_sed" -e "s|^qualvosec |$SERVICEUSER |"
    if command -v visudo >/dev/null && ! visudo -c -q -f "$new"; then
        rm -f "$new"
        fail "$SUDOERSDIR/qualvosec: visudo refuses the rule: with doas give SUDOERSDIR="
    fi
    mv -f "$new" "$DESTDIR$SUDOERSDIR/qualvosec"
}

install_units() {
    [ -n "$UNITDIR" ] || return 0
    units | while read -r name; do
        folder "$DESTDIR$UNITDIR"
        place 0644 "systemd/$name" "$DESTDIR$UNITDIR/$name" \
            -e "s|/usr/local/sbin/|$SBINDIR/|" -e "s|/etc/qualvosec/|$CONFDIR/|" \
            -e "s|^ListenStream=/run/|ListenStream=$RUNDIR/|" \
            -e "$helper_sed" -e "s|^SocketUser=qualvosec\$|SocketUser=$SERVICEUSER|" \
            -e "s|^User=qualvosec\$|User=$SERVICEUSER|" \
            -e "s|^Group=qualvosec\$|Group=$SERVICEUSER|" \
            -e "s|^User=qualvosec-server\$|User=$SERVERUSER|" \
            -e "s|^Group=qualvosec-server\$|Group=$SERVERUSER|"
    done
}

install_documents() {
    folder "$DESTDIR$DOCDIR"
    if wanted common; then
        folder "$DESTDIR$DOCDIR/docs"
        for name in README.md CHANGELOG.md LICENSE docs/*.md; do
            place 0644 "$name" "$DESTDIR$DOCDIR/$name"
        done
    fi
    if wanted client || wanted server; then folder "$DESTDIR$DOCDIR/examples"; fi
    if wanted client; then
        place 0644 etc/doas.conf.sample "$DESTDIR$DOCDIR/examples/doas.conf" \
            -e "$helper_sed" -e "s| nopass qualvosec as | nopass $SERVICEUSER as |"
        if [ -n "$UNITDIR" ]; then
            place 0644 systemd/hardened.conf "$DESTDIR$DOCDIR/examples/systemd-hardened.conf"
        fi
    fi
    if wanted server; then
        place 0644 etc/nginx/qualvosec.conf "$DESTDIR$DOCDIR/examples/nginx-qualvosec.conf"
    fi
}

install_pages() {
    pages | while read -r name; do
        folder "$DESTDIR$MANDIR/man${name##*.}"
        place 0644 "man/$name" "$DESTDIR$MANDIR/man${name##*.}/$name" \
            -e "s|/usr/local/libexec/qualvosec/|$LIBEXECDIR/|g" \
            -e "s|/usr/local/sbin/|$SBINDIR/|g" -e "s|/etc/qualvosec/|$CONFDIR/|g" \
            -e "s|/usr/local/share/doc/qualvosec/|$DOCDIR/|g" \
            -e "s|/var/lib/qualvosec-helper|$HELPERSTATEDIR|g" \
            -e "s|/var/lib/qualvosec\\([^-]\\)|$STATEDIR\\1|g" \
            -e "s|/var/lib/qualvosec\$|$STATEDIR|g" -e "s|/var/log/qualvosec-helper|$HELPERLOGDIR|g" \
            -e "s|/run/qualvosec-helper\.sock|$RUNDIR/qualvosec-helper.sock|" \
            -e "s|/etc/sudoers.d/|${SUDOERSDIR:-/etc/sudoers.d}/|g" \
            -e "s| nopass qualvosec as | nopass $SERVICEUSER as |" \
            -e "s|^\.Sy qualvosec ,\$|.Sy $SERVICEUSER ,|" \
            -e "s|sudo -u qualvosec |sudo -u $SERVICEUSER |" -e "s|\* qualvosec /|* $SERVICEUSER /|"
    done
}

# Scripts of the BSDs have the system's name behind theirs, those of OpenRC do not.
install_services() {
    services | while read -r name; do
        folder "$DESTDIR$RCDIR"
        source=rc.d/$name.$RCSYSTEM mode=0555
        if [ "$RCSYSTEM" = openrc ]; then source=etc/openrc/$name mode=0755; fi
        place "$mode" "$source" "$DESTDIR$RCDIR/$name" \
            -e "s|/usr/local/bin/python3|$interpreter|" -e "s|/usr/pkg/bin/python3|$interpreter|" \
            -e "s|/usr/local/sbin/|$SBINDIR/|" -e "s|/usr/pkg/sbin/|$SBINDIR/|" \
            -e "s|/usr/local/etc/qualvosec/|$CONFDIR/|" -e "s|/usr/pkg/etc/qualvosec/|$CONFDIR/|" \
            -e "s|\([ =]\)/etc/qualvosec/|\1$CONFDIR/|" -e "s|/var/lib/qualvosec\$|$STATEDIR|" \
            -e "s|_runas:=qualvosec-server}|_runas:=$SERVERUSER}|" \
            -e "s|_runas:=qualvosec}|_runas:=$SERVICEUSER}|" \
            -e "s|^# \(.*_runas=\"*\)qualvosec-server|# \1$SERVERUSER|" \
            -e "s|^# \(qualvosec_runas=\"*\)qualvosec|# \1$SERVICEUSER|" \
            -e "s|=\"_qualvosec\"|=\"$SERVICEUSER\"|" \
            -e "s|=\"_qualvosec-server\"|=\"$SERVERUSER\"|" \
            -e "s|=\"qualvosec:qualvosec\"|=\"$SERVICEUSER:$SERVICEUSER\"|" \
            -e "s|=\"qualvosec-server:qualvosec-server\"|=\"$SERVERUSER:$SERVERUSER\"|"
    done
}

# Of these files, those that an administrator may change are configuration as well.
install_extras() {
    extras | while read -r where source name; do
        case $where in
        "$NEEDRESTARTDIR" | "$LOGROTATEDIR" | "$NEWSYSLOGDIR")
            [ ! -e "$DESTDIR$where/$name" ] || continue
            ;;
        esac
        folder "$DESTDIR$where"
        place 0644 "$source" "$DESTDIR$where/$name" \
            -e "s|^u qualvosec |u $SERVICEUSER |" -e "s|^u qualvosec-server |u $SERVERUSER |" \
            -e "s| /var/lib/qualvosec | $STATEDIR |" \
            -e "s|qualvosec-server:qualvosec-server |$SERVERUSER:$SERVERUSER |" \
            -e "s|\(create 0640\) qualvosec-server qualvosec-server|\1 $SERVERUSER $SERVERUSER|" \
            -e "s|\( su\) qualvosec-server qualvosec-server|\1 $SERVERUSER $SERVERUSER|"
    done
}

# How a service is enabled and started; nothing where no service manager is known.
starting() { # NAME, as systemd has it
    script=$(say "$1" | tr - _)
    case $RCSYSTEM in
    freebsd) say "sysrc ${script}_enable=YES && service $script start" ;;
    openbsd) say "rcctl enable $script && rcctl start $script" ;;
    netbsd) say "echo $script=YES >>/etc/rc.conf && service $script start" ;;
    openrc) say "rc-update add $script && rc-service $script start" ;;
    *)
        case $UNITDIR in
        '') ;;
        /etc/systemd/system | /lib/systemd/system | /usr/lib/systemd/system | \
            /usr/local/lib/systemd/system)
            say "systemctl daemon-reload && systemctl enable --now $1"
            ;;
        # Where systemd does not look by itself: systemctl(1), enable.
        *) say "systemctl daemon-reload && systemctl enable --now $UNITDIR/$1.service" ;;
        esac
        ;;
    esac
}

next_steps() {
    [ -z "$DESTDIR" ] || return 0
    say ""
    say "QualvoSec is installed and starts $interpreter. Next, as root:"
    if wanted client || wanted server; then
        say "  make install-users                    the system users, if they are not there yet"
    fi
    if wanted client; then
        say "on a host:"
        say "  edit $CONFDIR/qualvosec.conf    server, and fqdn unless the machine's own name is a full one"
        say "  $SBINDIR/qualvosec -c $CONFDIR/qualvosec.conf configtest"
        start=$(starting qualvosec)
        [ -z "$start" ] || say "  $start"
        say "  Where doas is used instead of sudo: see $DOCDIR/examples/doas.conf"
    fi
    if wanted admin; then
        say "where the manifest is edited:"
        say "  $SBINDIR/qualvosec-admin add --help   once /srv/patching/patch.yaml is there, empty at first"
    fi
    if wanted server; then
        say "on the server, unless another web server serves /srv/patching:"
        start=$(starting qualvosec-server)
        [ -z "$start" ] || say "  $start"
    fi
}

targets() { # the directories that the chosen parts are put into, one a line
    say "$DATADIR"
    say "$SBINDIR"
    say "$DOCDIR"
    say "$MANDIR"
    say "$CONFDIR"
    say "$SAMPLEDIR"
    if wanted client; then
        say "$LIBEXECDIR"
        say "$SUDOERSDIR"
    fi
    if wanted client || wanted server; then
        say "$UNITDIR"
        [ -z "$RCSYSTEM" ] || say "$RCDIR"
    fi
    extras | while read -r where source name; do say "$where"; done
}

# What cannot be written would else be told file by file. Of a directory that is not
# there yet the next one above it counts.
check_writable() {
    targets | while read -r folder; do
        [ -n "$folder" ] || continue
        folder=$DESTDIR$folder
        while [ ! -e "$folder" ] && [ "$folder" != / ]; do folder=$(dirname "$folder"); done
        [ -d "$folder" ] || fail "$folder: is not a directory: remove it or choose another place"
        if [ ! -w "$folder" ] || [ ! -x "$folder" ]; then
            [ "$(id -u)" -eq 0 ] ||
                fail "$folder: cannot be written: do it as root, or stage with DESTDIR="
            fail "$folder: cannot be written: is its file system mounted read-only?"
        fi
    done || exit 1
}

uninstall() {
    programs | while read -r where name; do
        rm -f "$DESTDIR$where/$name"
    done
    pages | while read -r name; do
        rm -f "$DESTDIR$MANDIR/man${name##*.}/$name"
    done
    services | while read -r name; do
        rm -f "$DESTDIR$RCDIR/$name"
    done
    extras | while read -r where source name; do
        rm -f "$DESTDIR$where/$name"
    done
    configs | while read -r name; do
        rm -f "$DESTDIR$SAMPLEDIR/$name.sample"
    done
    rm -f "$DESTDIR$SAMPLEDIR/patch.yaml.sample"
    if [ -n "$SUDOERSDIR" ]; then rm -f "$DESTDIR$SUDOERSDIR/qualvosec"; fi
    if [ -n "$UNITDIR" ]; then
        units | while read -r name; do
            rm -f "$DESTDIR$UNITDIR/$name"
        done
    fi
    for name in README.md CHANGELOG.md LICENSE docs/*.md; do
        rm -f "$DESTDIR$DOCDIR/$name"
    done
    for name in doas.conf nginx-qualvosec.conf systemd-hardened.conf; do
        rm -f "$DESTDIR$DOCDIR/examples/$name"
    done
    rm -rf "$DESTDIR$DATADIR/qualvosec" "$DESTDIR$DATADIR/.qualvosec.new" \
        "$DESTDIR$DATADIR/.qualvosec.old"
    remove_empty "$DOCDIR/examples" "$DOCDIR/docs" "$DOCDIR" "$DATADIR" "$LIBEXECDIR" \
        "$CONFDIR/hooks.d/pre-patch.d" "$CONFDIR/hooks.d/post-patch.d" \
        "$CONFDIR/hooks.d/pre-reboot.d" "$CONFDIR/hooks.d" "$CONFDIR"
    [ -n "$DESTDIR" ] || say "configuration in $CONFDIR and state in $STATEDIR are left as they are"
}

remove_empty() { # our own directories only: never one that others use, too
    for name in "$@"; do
        rmdir "$DESTDIR$name" 2>/dev/null || :
    done
}

nologin() {
    for shell in /usr/sbin/nologin /sbin/nologin /usr/bin/false; do
        if [ -x "$shell" ]; then
            say "$shell"
            return
        fi
    done
    say /bin/false
}

make_user() { # NAME DESCRIPTION
    if id -u "$1" >/dev/null 2>&1; then
        say "user $1 is there"
        if command -v getent >/dev/null && ! getent group "$1" >/dev/null; then
            fail "group $1: is missing, and the service needs it: make it, then try again"
        fi
        return
    fi
    if command -v pw >/dev/null; then # FreeBSD
        pw useradd "$1" -c "$2" -d /nonexistent -s "$(nologin)" -w no
    elif [ "$(uname -s)" = OpenBSD ] || [ "$(uname -s)" = NetBSD ]; then
        useradd -g =uid -c "$2" -s "$(nologin)" -d /var/empty -r 100..999 "$1"
    elif command -v useradd >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --comment "$2" --shell "$(nologin)" "$1"
    elif command -v adduser >/dev/null; then # busybox
        addgroup -S "$1"
        adduser -S -D -H -h /nonexistent -s "$(nologin)" -G "$1" -g "$2" "$1"
    else
        fail "no tool to create users was found: create the system user $1 without a login shell"
    fi
    say "user $1 created"
}

users() {
    [ -z "$DESTDIR" ] || fail "users are made on the running system: leave DESTDIR empty"
    [ "$(id -u)" -eq 0 ] || fail "users can be made by root only"
    if wanted client; then
        make_user "$SERVICEUSER" "QualvoSec client"
        # systemd makes it by itself; elsewhere nobody else does.
        install -d -m 0700 "$STATEDIR"
        chown "$SERVICEUSER" "$STATEDIR"
    fi
    if wanted server; then make_user "$SERVERUSER" "QualvoSec manifest server"; fi
}

verb=${1:-}
[ $# -eq 0 ] || shift
parts=${*:-client admin server}
for part in $parts; do
    case $part in
    client | admin | server) ;;
    common) [ "$verb" = part ] || fail "common: is part of every installation" ;;
    *) fail "$part: no such part: use client, admin or server" ;;
    esac
done
# What all parts share. Packages take each part on its own.
[ "$verb" = part ] || parts="common $parts"
system=$(uname -s)
case $RCSYSTEM in
freebsd | openbsd | netbsd) system=$RCSYSTEM ;;
esac
if [ "$UNITDIR" = auto ]; then
    UNITDIR=
    if [ "$system" = Linux ] && [ -z "$RCSYSTEM" ]; then UNITDIR=$PREFIX/lib/systemd/system; fi
fi
if [ "$SYSUSERSDIR" = auto ]; then
    SYSUSERSDIR=
    if [ -n "$UNITDIR" ]; then SYSUSERSDIR=$PREFIX/lib/sysusers.d; fi
fi
if [ "$NEEDRESTARTDIR" = auto ]; then
    NEEDRESTARTDIR=
    if [ "$system" = Linux ]; then NEEDRESTARTDIR=$SYSCONFDIR/needrestart/conf.d; fi
fi
if [ "$LOGROTATEDIR" = auto ]; then
    LOGROTATEDIR=
    if [ "$system" = Linux ]; then LOGROTATEDIR=$SYSCONFDIR/logrotate.d; fi
fi
state=/var/db/qualvosec
if [ "$system" = Linux ]; then state=/var/lib/qualvosec; fi
if [ "$STATEDIR" = auto ]; then STATEDIR=$state; fi
if [ "$HELPERSTATEDIR" = auto ]; then HELPERSTATEDIR=$state-helper; fi
underscore= # before the names of system users, as on OpenBSD
case $system in
openbsd | OpenBSD) underscore=_ ;;
esac
if [ "$SERVICEUSER" = auto ]; then SERVICEUSER=${underscore}qualvosec; fi
if [ "$SERVERUSER" = auto ]; then SERVERUSER=${underscore}qualvosec-server; fi
check_paths
helper_sed="s|/usr/local/libexec/qualvosec/qualvosec-helper|$LIBEXECDIR/qualvosec-helper|"

case $verb in
install | part)
    [ "$verb" = part ] || check_writable
    find_interpreter
    if wanted common; then
        folder "$DESTDIR$DATADIR"
        install_modules
    fi
    install_programs
    install_configs
    install_sudoers
    install_units
    install_documents
    install_pages
    install_services
    install_extras
    next_steps
    ;;
uninstall)
    check_writable
    uninstall
    ;;
users) users ;;
*) fail "'$verb': no such command: use install, uninstall or users" ;;
esac
