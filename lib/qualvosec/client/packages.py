# SPDX-License-Identifier: BSD-2-Clause
"""What the last run did, package by package, for /packages: packages.json.

Kept only where `monitoring_packages` is enabled, since anybody who may connect then
reads which versions this host runs. The daemon itself holds counts: the names
go from root's answer into the file, and from there, as they stand, to whoever asks.
The file is bounded, because 64 connections may ask for it at once; what does not
fit is counted in `left_out`. Root's own list ends at 500 entries of each kind.
"""

import json
import os
from typing import Any
from typing import Mapping

from qualvosec import files
from qualvosec.client.snapshot import instant
from qualvosec.client.state import StateError

NAME = "packages.json"
MAX_BYTES = 64 * 1024
_NOTHING: Mapping[str, Any] = {"window": None, "outcome": None, "finished": 0, "upgraded": (),
                               "kept": (), "pending": None}


def text(record: Mapping[str, Any] = _NOTHING) -> str:
    """Return the JSON object about a record that was checked before; at most MAX_BYTES long."""
    most = len(record["upgraded"]) + len(record["kept"])
    total = most
    while True:
        shown = {key: record[key][:most] for key in ("upgraded", "kept")}
        found = json.dumps({
            "v": 1, "window": record["window"], "outcome": record["outcome"],
            "finished": instant(record["finished"]), "pending": record["pending"],
            "upgraded": [dict(zip(("name", "old", "new"), row)) for row in shown["upgraded"]],
            "kept": [dict(zip(("name", "why"), row)) for row in shown["kept"]],
            "left_out": total - len(shown["upgraded"]) - len(shown["kept"])}, indent=1) + "\n"
        if len(found) <= MAX_BYTES:
            return found
        most //= 2


def keep(directory: str, record: Mapping[str, Any]) -> None:
    """Write what a finished run did, unless it stands there already; raises StateError."""
    if not record["finished"]:
        return
    found = text(record)
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
