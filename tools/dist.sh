#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# dist.sh FILE: the release tarball of the commit that is checked out. Equal commits give
# equal tarballs: names, modes and times are those of the commit, and gzip adds none.

set -eu
version=$(sed -n 's/^VERSION = "\(.*\)"/\1/p' lib/qualvosec/paths.py)
target=${1:-qualvosec-$version.tar.gz}
git rev-parse -q --verify HEAD >/dev/null || {
    echo "make dist: needs a git checkout: take the tarball as it is" >&2
    exit 1
}
trap 'rm -f "$target.tar" "$target.new"' EXIT
git -c tar.umask=0022 -c core.autocrlf=false archive --format=tar --prefix="qualvosec-$version/" \
    HEAD >"$target.tar"
gzip -9n <"$target.tar" >"$target.new"
mv "$target.new" "$target"
