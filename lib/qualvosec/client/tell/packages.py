# SPDX-License-Identifier: BSD-2-Clause
"""What the last run did, package by package, for /packages: packages.json.

Kept only where `monitoring_packages` is enabled, since anybody who may connect then
reads which versions this host runs. The daemon itself holds counts: the names
go from root's answer into the file, and from there, as they stand, to whoever asks.
The file is bounded, because 64 connections may ask for it at once; what does not
fit is counted in `left_out`. Root's own list ends at 500 entries of each kind; the numbers
beside it do not, and are null where nobody knows them.
"""

import json
import os

from qualvosec import files
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.root.record import Told
from qualvosec.client.tell.status import instant

NAME = "packages.json"
MAX_BYTES = 64 * 1024
_NOTHING = Told("", "", "", 0, 0, "", False, "", (), upgraded_count=None, kept_count=None)


def text(told: Told = _NOTHING) -> str:
    """Return the JSON object about what root told; at most MAX_BYTES long."""
    most = len(told.upgraded) + len(told.kept)
    total = None if told.upgraded_count is None or told.kept_count is None else (
        told.upgraded_count + told.kept_count)
    while True:
        upgraded, kept = told.upgraded[:most], told.kept[:most]
        found = json.dumps({
            "v": 1, "window": told.window or None, "outcome": told.outcome or None,
            "finished": instant(told.finished), "pending": told.pending,
            "upgraded_count": told.upgraded_count, "kept_count": told.kept_count,
            "upgraded": [dict(zip(("name", "old", "new"), row)) for row in upgraded],
            "kept": [dict(zip(("name", "why"), row)) for row in kept],
            "left_out": None if total is None else total - len(upgraded) - len(kept)},
            indent=1) + "\n"
        if len(found) <= MAX_BYTES:
            return found
        most //= 2


def keep(directory: str, told: Told) -> None:
    """Write what a finished run did, unless it stands there already; raises StateError."""
    if not told.finished:
        return
    found = text(told)
    path = os.path.join(directory, NAME)
    try:
        if not os.path.lexists(path) or load(directory) != found:
            files.write_atomic(path, found.encode("ascii"))
    except files.FileError as error:
        raise StateError("%s: /packages does not tell of the last run" % error) from error


def load(directory: str) -> str:
    """Return the object that was kept last, one without packages before; raises FileError."""
    path = os.path.join(directory, NAME)
    if not os.path.lexists(path):
        return text()
    return files.read_bounded(path, MAX_BYTES, {os.geteuid()}).decode("ascii", "replace")
