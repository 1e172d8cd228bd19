# SPDX-License-Identifier: BSD-2-Clause
"""The last accepted answer of the fetch process: policy.json, the client's only cache.

It is read back as carefully as state.json. What does not read is moved aside
and fetched again: until then there is no policy, and nothing is patched.
"""

import json
import os
from typing import Mapping
from typing import Tuple

from qualvosec import files
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.decide.statedir import move_aside
from qualvosec.client.decide.statedir import read_own
from qualvosec.contract import shape

NAME = "policy.json"
MAX_BYTES = 1 << 17   # the fetch process writes at most 64 KiB; ours adds when and from where


def load(directory: str, uid: int) -> Tuple[object, str]:
    """Return (what was saved or None, why it was moved aside or "").

    The caller checks it, as it does every line of the fetch process.
    Raises StateError when the file can be neither read nor moved aside.
    """
    data, why = read_own(directory, NAME, MAX_BYTES, uid)
    if data is None:
        return None, why
    try:
        value = shape.parse(data)
        if type(value) is not dict:
            raise shape.ShapeError("is not an object")
        return value, ""
    except shape.ShapeError as error:
        path = os.path.join(directory, NAME)
        return None, move_aside(path, "%s: %s" % (path, error))


def drop(directory: str) -> None:
    """Forget the last accepted answer, its serial included; raises StateError."""
    try:
        os.unlink(os.path.join(directory, NAME))
        files.sync_directory(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError("%s: cannot be removed: %s" % (
            os.path.join(directory, NAME), (error.strerror or str(error)).lower())) from error


def forget_name(directory: str) -> None:
    """Forget for which name the last answer was accepted, not its serial; raises StateError."""
    value, _ = load(directory, os.geteuid())
    if isinstance(value, dict):
        save(directory, dict(value, fqdn=""))


def save(directory: str, line: Mapping[str, object]) -> None:
    """Make an accepted answer durable; raises StateError."""
    data = json.dumps(dict(line), sort_keys=True).encode("ascii") + b"\n"
    if len(data) > MAX_BYTES:
        raise StateError("%s: an answer of %d bytes is too large to keep" % (NAME, len(data)))
    try:
        files.write_atomic(os.path.join(directory, NAME), data)
    except files.FileError as error:
        raise StateError("%s; the policy cannot be kept" % error) from error
