#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# stage.sh PART PACKAGE VERSION CONTACT EPOCH DESTDIR PREFIX
# Puts one part of QualvoSec where a package of it is made from: what `make install-part`
# puts there, plus what packages have besides: copyright, changelog, compressed pages.

set -eu
umask 022
LC_ALL=C TZ=UTC
export LC_ALL TZ
part=$1 package=$2 version=$3 contact=$4 epoch=$5 stage=$6 prefix=$7
[ -n "$stage" ] || {
    echo "stage.sh: DESTDIR is empty: for a system without packages use make install" >&2
    exit 1
}
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
documents=$prefix/share/doc/$package

make -s install-part PART="$part" DESTDIR="$stage" PREFIX="$prefix" SYSCONFDIR=/etc \
    LIBEXECDIR="$prefix/libexec/qualvosec" DOCDIR="$documents" SAMPLEDIR="$documents/examples" \
    UNITDIR="$prefix/lib/systemd/system" STATEDIR=/var/lib/qualvosec \
    HELPERSTATEDIR=/var/lib/qualvosec-helper SUDOERSDIR=/etc/sudoers.d \
    PYTHON="${QUALVOSEC_PYTHON:-/usr/bin/python3}" BYTECODE=no

# The readme and the changelog: one copy for all, in the package that the others need.
if [ "$part" = common ]; then
    mv "$stage$documents/CHANGELOG.md" "$stage$documents/changelog"
    gzip -9n "$stage$documents/changelog"
fi
rm -f "$stage$documents/LICENSE"

debian() {
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
        printf 'Upstream-Name: QualvoSec\n\nFiles: *\n'
        sed -n 's/^Copyright (c) /Copyright: /p' LICENSE
        printf 'License: BSD-2-Clause\n'
        sed -e '1,/^Copyright/d' -e 's/^$/./' -e 's/^/ /' LICENSE | sed '1{/^ \.$/d;}'
    } >"$stage$documents/copyright"
    {
        printf 'qualvosec (%s) unstable; urgency=medium\n\n' "$version"
        printf '  * Release %s: see changelog.gz of qualvosec-common.\n\n' "${version%-*}"
        printf ' -- %s  %s\n' "$contact" "$(date -u -R -d "@$epoch")"
    } | gzip -9n >"$stage$documents/changelog.Debian.gz"
    if [ "$part" = common ]; then
        install -d -m 0755 "$stage/usr/share/python3/runtime.d"
        install -m 0755 packaging/deb/qualvosec-common.rtupdate \
            "$stage/usr/share/python3/runtime.d/qualvosec-common.rtupdate"
    fi
}

rpm() {
    install -d -m 0755 "$stage$prefix/share/licenses/$package"
    install -m 0644 LICENSE "$stage$prefix/share/licenses/$package/LICENSE"
    # Owned by the service users: see the attributes in CMakeLists.txt.
    case $part in
    client) install -d "$stage/var/lib/qualvosec" ;;
    server) install -d "$stage/var/log/qualvosec-server" ;;
    esac
}

case ${QUALVOSEC_GENERATOR:-} in
DEB) debian ;;
RPM) rpm ;;
*)
    echo "stage.sh: QUALVOSEC_GENERATOR is neither DEB nor RPM: it is for cpack" >&2
    exit 1
    ;;
esac
if [ -d "$stage$prefix/share/man" ]; then
    find "$stage$prefix/share/man" -type f -exec gzip -9n {} +
fi
find "$stage" -type d -exec chmod 0755 {} +
find "$stage" -exec touch -h -d "@$epoch" {} +
