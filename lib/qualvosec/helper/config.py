# SPDX-License-Identifier: BSD-2-Clause
"""What the host's administrator allows: helper.conf and the veto file.

Both belong to root and nobody else may write them; the daemon and the manifest
cannot change them. A faulty helper.conf is an error, never a default: it
may have been meant to forbid something. A veto that cannot be read is a veto.
"""

import os
import time
from typing import Any
from typing import NamedTuple
from typing import Tuple

from qualvosec import files
from qualvosec import ini
from qualvosec.contract import veto as vetoes
from qualvosec.contract.call import KEYS
from qualvosec.helper import managers
from qualvosec.helper.managers import base

MAX_BYTES = 65536
_LIMITS = {"min_hours_between_reboots": (0, 8760), "reboot_delay": (0, 3600),
           "hook_timeout": (1, 86400)}  # others: up to a day


class Config(NamedTuple):
    """Keys of helper.conf; times in seconds unless the name says hours."""

    allow: Tuple[str, ...] = tuple(sorted(KEYS))
    allow_reboot: bool = True
    min_hours_between_reboots: int = 6
    lock_wait: int = 600
    reboot_delay: int = 60
    package_manager: str = "auto"
    hook_timeout: int = 300
    refresh_wait: int = 600


def read(path: str) -> Config:
    """Return the settings, defaults where there is no file; raises Refused or FileError."""
    if not os.path.lexists(path):
        return Config()
    try:
        data = files.read_bounded(path, MAX_BYTES, {0, os.geteuid()})
        found = ini.parse(data.decode("utf-8"), {"general": Config._fields}).get("general", {})
        return Config()._replace(**{key: _value(key, item) for key, item in found.items()})
    except (ini.IniError, UnicodeDecodeError) as error:
        raise base.Refused("%s: %s" % (path, error)) from None


def _value(key: str, item: ini.Setting) -> Any:
    if key == "allow":
        words = item.value.replace(",", " ").split()
        return tuple(ini.choice(ini.Setting(word, item.line), key, sorted(KEYS))
                     for word in words)
    if key == "allow_reboot":
        return ini.boolean(item, key)
    if key == "package_manager":
        return ini.choice(item, key, ["auto"] + sorted(managers.KINDS))
    return ini.integer(item, key, *_LIMITS.get(key, (0, 86400)))


def veto(path: str, now: float) -> str:
    """Return why nothing disruptive may start, empty when there is no veto (contract/veto.py)."""
    if not os.path.lexists(path):
        return ""
    try:
        text = files.read_bounded(path, vetoes.MAX_BYTES, {0, os.geteuid()})
        why = vetoes.reason(text.decode("utf-8", "replace"),
                            time.strftime("%Y-%m-%d", time.localtime(now)))
    except files.FileError as error:
        why = str(error)
    return "veto: %s" % why if why else ""
