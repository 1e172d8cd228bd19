# SPDX-License-Identifier: BSD-2-Clause
"""Command line and configuration -> settings; settings -> the bytes of the manifest.

An option of the command line stands in for the key of the same meaning; the configuration may
be missing unless it was named. The manifest comes from a file, from its web server or by stdin.
"""

import argparse
import os
import sys
from typing import NamedTuple

from qualvosec import files
from qualvosec import paths
from qualvosec.admin.settings import Settings
from qualvosec.admin.settings import read
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import UsageError

CONFIG_NAME = "qualvosec_admin.conf"
# As in download.py, which is loaded for a URL alone.
MAX_MANIFEST_BYTES = 32 << 20


class Manifest(NamedTuple):
    """The bytes of a manifest and the name to show for it."""

    name: str
    data: bytes


def settings(options: argparse.Namespace) -> Settings:
    """Return the configuration with the command line's own settings put over it."""
    path = options.config or os.path.join(paths.CONFIG_DIR, CONFIG_NAME)
    try:
        found = read(path)
    except AdminError as error:
        if options.config or os.path.lexists(path):
            raise UsageError(str(error), of_words=False) from None
        found = Settings()
    if options.manifest:
        found = found._replace(manifest=options.manifest)
    logs = [path for group in getattr(options, "log", None) or [] for path in group]
    if logs:
        found = found._replace(log_file_path=tuple(logs))
    return found


def load(settings: Settings) -> Manifest:
    """Read the manifest from where the settings say; raises AdminError."""
    place = settings.source()
    if not place:
        raise UsageError("manifest: is not set: give --manifest FILE or set it in %s"
                         % os.path.join(paths.CONFIG_DIR, CONFIG_NAME), of_words=False)
    try:
        if place == "-":
            return Manifest("stdin", read_stdin(MAX_MANIFEST_BYTES))
        if place.startswith(("http://", "https://")):
            return Manifest(place, _fetch(place, settings.ca_file))
        # The published file is often a symbolic link, and the administrator's own.
        data = files.read_bounded(os.path.realpath(place), MAX_MANIFEST_BYTES)
        return Manifest(place, data)
    except files.FileError as error:
        raise AdminError("manifest: %s" % error) from None


def read_stdin(limit: int) -> bytes:
    """Return all of standard input, at most `limit` bytes; raises AdminError."""
    if sys.stdin is None:
        raise AdminError("stdin: is closed: name a file, or give its content by stdin")
    try:
        data = sys.stdin.buffer.read(limit + 1)
    except OSError as error:
        raise AdminError("stdin: %s" % (error.strerror or str(error)).lower()) from None
    if len(data) > limit:
        raise AdminError("stdin: more than %d bytes: refused" % limit)
    return data


def _fetch(url: str, ca_file: str) -> bytes:
    # A third of the time of most commands would go into loading these, which few need.
    from qualvosec import download
    from qualvosec import tls
    try:
        secure = tls.context(ca_file) if url.startswith("https") else None
        return download.fetch(download.Request(
            url, "QualvoSec-admin/" + paths.VERSION, fresh=True, tls=secure)).body()
    except (download.DownloadError, tls.TlsError) as error:
        raise AdminError(str(error)) from None
