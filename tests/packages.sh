#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Packages, proved: built twice in different places, umasks, time zones and locales, of the
# checkout and of its release tarball, and found identical; judged by lintian and rpmlint; compared with what `make install` puts
# in place; every configuration file marked as one. As an ordinary user or root, on
# Debian: cmake dpkg-dev rpm cpio lintian rpmlint. With --install [NAME ...], as root, the
# packages also live in booted systems of their own, by default bullseye, bookworm, trixie
# and rpm: see packages_install.py. With --keep FOLDER in front the packages are put there,
# if nothing was wrong with them. Last line: the figures.

set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/qualvosec-packages.XXXXXX")
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
faults=0
keep=
if [ "${1:-}" = --keep ]; then
    mkdir -p "$2"
    keep=$(cd "$2" && pwd)
    shift 2
fi

say() { printf '%s\n' "$*"; }
fault() {
    say "FAULT: $*"
    faults=$((faults + 1))
}
for tool in cmake dpkg-deb dpkg-scanpackages rpmbuild cpio lintian rpmlint; do
    command -v "$tool" >/dev/null || {
        say "packages.sh: $tool is not installed: apt-get install cmake dpkg-dev rpm cpio lintian rpmlint"
        exit 2
    }
done

# Two copies of the tree, so that nothing of the checkout's own place can matter.
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then
    say "the packages are those of the last commit: changes after it are left out"
fi
epoch=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH="$epoch"

copy() { # DIRECTORY
    mkdir -p "$1"
    if git rev-parse -q --verify HEAD >/dev/null 2>&1; then
        git archive HEAD | tar -xf - -C "$1"
    else
        tar --exclude=./build -cf - . | tar -xf - -C "$1"
    fi
}

build() { # DIRECTORY, in an environment of the caller's
    (cd "$1" && cmake -B out -S . && cmake --build out --target package) >"$1.log" 2>&1 || {
        tail -n 30 "$1.log"
        say "packages.sh: the build failed"
        exit 1
    }
}

start=$(date +%s)
copy "$work/one"
(umask 022 && TZ=UTC LC_ALL=C build "$work/one")
# The second of the release tarball, unpacked, which has to know its own time.
other=$work/a-much-longer-place/zwei
if git rev-parse -q --verify HEAD >/dev/null 2>&1; then
    make -s dist DIST="$work/dist.tar.gz"
    mkdir -p "$other"
    (umask 077 && tar -xzf "$work/dist.tar.gz" -C "$other" --strip-components=1)
    (unset SOURCE_DATE_EPOCH && umask 077 && TZ=Pacific/Apia LC_ALL=C.UTF-8 LANGUAGE=de build "$other")
else
    copy "$other"
    (umask 077 && TZ=Pacific/Apia LC_ALL=C.UTF-8 LANGUAGE=de build "$other")
fi
say "two builds: $(($(date +%s) - start)) s"

# In the source itself CMake would replace the Makefile.
copy "$work/inside"
if (cd "$work/inside" && cmake . >/dev/null 2>&1); then fault "cmake . is not refused"; fi
cmp -s Makefile "$work/inside/Makefile" || fault "cmake . replaces the Makefile"

mkdir "$work/packages"
cp "$work"/one/out/*.deb "$work"/one/out/*.rpm "$work/packages/"
cd "$work/packages"
same=0
for package in *; do
    sum=$(sha256sum <"$package")
    if [ "$sum" = "$(sha256sum <"$work/a-much-longer-place/zwei/out/$package")" ]; then
        same=$((same + 1))
        say "identical $(printf '%.16s' "$sum") $package"
    else
        fault "$package: differs between two builds"
    fi
done

# --- linters ------------------------------------------------------------------------

# lintian warns when it is started by root.
lintian --fail-on error,warning --tag-display-limit 0 --allow-root ./*.deb >lintian.out 2>&1 ||
    fault "lintian has complaints"
sed 's/^/     /' lintian.out
deb_errors=$(grep -c '^E:' lintian.out) || :
deb_warnings=$(grep -c '^W:' lintian.out) || :
rpmlint -c "$root/packaging/rpm/rpmlint.toml" ./*.rpm >rpmlint.out 2>&1 || :
sed 's/^/     /' rpmlint.out
rpm_errors=$(grep -c ': E: ' rpmlint.out) || :
rpm_warnings=$(grep -c ': W: ' rpmlint.out) || :
[ "$((rpm_errors + rpm_warnings))" -eq 0 ] || fault "rpmlint has complaints"
grep -q '4 packages' rpmlint.out || fault "rpmlint did not look at all packages"

# --- what is in them ------------------------------------------------------------------

for package in ./*.deb; do
    mkdir -p "$work/deb"
    dpkg-deb -x "$package" "$work/deb"
    dpkg-deb -c "$package" | awk '$1 ~ /^d/ && $1 != "drwxr-xr-x"' >loose
    [ ! -s loose ] || fault "$package: directories that are not 0755: $(cat loose)"
    dpkg-deb -I "$package" conffiles 2>/dev/null | sort >marked || :
    dpkg-deb -c "$package" | awk '$1 !~ /^d/ {print substr($6, 2)}' | grep '^/etc/' | sort >present || :
    cmp -s marked present || fault "$package: conffiles are not the files below /etc"
done
for package in ./*.rpm; do
    mkdir -p "$work/rpm"
    rpm2cpio "$package" | (cd "$work/rpm" && cpio -idm --quiet)
    rpm -qpc "$package" 2>/dev/null | sort >marked
    rpm -qpl "$package" 2>/dev/null | grep '^/etc/' | while read -r name; do
        [ -d "$work/rpm$name" ] || say "$name"
    done | sort >present
    cmp -s marked present || fault "$package: %config is not the files below /etc"
done

# The tree of make install with the same directories, but for documents and samples, which
# packages have elsewhere, compressed pages, and what belongs to one kind alone.
(cd "$work/one" && make -s install DESTDIR="$work/copy" PREFIX=/usr PYTHON=/usr/bin/python3 \
    UNITDIR=/usr/lib/systemd/system STATEDIR=/var/lib/qualvosec \
    HELPERSTATEDIR=/var/lib/qualvosec-helper BYTECODE=no)
find "$work/copy" "$work/deb" "$work/rpm" -path '*/share/man/*' -name '*.gz' -exec gunzip {} +
for kind in deb rpm; do
    for tree in copy "$kind"; do
        (cd "$work/$tree" && find . ! -type d ! -path './usr/share/doc/*' ! -name '*.sample' \
            ! -path './usr/share/licenses/*' ! -path './usr/share/python3/*' -print | sort |
            while read -r name; do
                say "$name $(stat -c %a "$name") $(sha256sum <"$name")"
            done) >"tree-$tree"
    done
    if cmp -s tree-copy "tree-$kind"; then
        say "$kind: the tree of make install, $(wc -l <"tree-$kind") files"
    else
        fault "$kind: not the tree of make install: $(diff tree-copy "tree-$kind" | head -n 10)"
    fi
done

# --- make dist --------------------------------------------------------------------------

if git -C "$root" rev-parse -q --verify HEAD >/dev/null 2>&1; then
    (umask 077 && cd "$root" && TZ=Asia/Tokyo make -s dist DIST="$work/first.tar.gz")
    git clone -q "$root" "$work/clone elsewhere"
    (umask 002 && cd "$work/clone elsewhere" && LC_ALL=C make -s dist DIST="$work/second.tar.gz")
    if cmp "$work/first.tar.gz" "$work/second.tar.gz"; then
        say "identical $(sha256sum <"$work/first.tar.gz" | cut -c1-16) tarball of make dist"
        same=$((same + 1))
    else
        fault "make dist: two tarballs of one commit differ"
    fi
fi

if [ "${1:-}" = --install ]; then
    shift
    # A later version, whose default configuration is another one, too.
    cd "$root"
    copy "$work/later"
    (
        cd "$work/later"
        sed 's/^VERSION = ".*"/VERSION = "1.9.9"/' lib/qualvosec/paths.py >paths.new
        mv paths.new lib/qualvosec/paths.py
        printf '\n# new in this version\n' >>etc/qualvosec.conf
    )
    build "$work/later"
    python3 "$root/tests/packages_install.py" "$work/packages" "$work/later/out" "$@" \
        >"$work/trials" 2>&1 || fault "installation: see above"
    cat "$work/trials"
    say "trials: $(grep -c '^shown ' "$work/trials") things shown," \
        "$(grep -c '^FAULT ' "$work/trials") not so"
fi

if [ -n "$keep" ] && [ "$faults" -eq 0 ]; then
    cp "$work"/packages/*.deb "$work"/packages/*.rpm "$keep/"
    say "the packages are in $keep"
fi
say "packages: $same identical, lintian $deb_errors errors $deb_warnings warnings," \
    "rpmlint $rpm_errors errors $rpm_warnings warnings, $faults faults"
[ "$faults" -eq 0 ]
