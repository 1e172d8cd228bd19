# SPDX-License-Identifier: BSD-2-Clause
"""The preferences file of one command of apt: what is left out, which archives are taken.

The first record that fits a package decides, so ours stand before the administrator's own,
which go along because the option replaces that file; what stands in preferences.d is read
as ever. A default release would outrank all of it and is set to none. On a system
that also knows another release only the security archives of its own release
count. Facts: apt_preferences(5), os-release(5).
"""

import contextlib
import os
import re
from typing import Collection
from typing import Dict
from typing import Iterable
from typing import Iterator
from typing import List
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec import files
from qualvosec.helper.managers import apt_text
from qualvosec.helper.managers import base

_RELEASE = re.compile(r"(?m)^ +(-?\d+) (.*)\n +release (.*)$")
_PINNED = re.compile(r"(?m)^ +(\S+) -> ")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_+~-]*")
_CODENAMES = ("VERSION_CODENAME", "UBUNTU_CODENAME", "DEBIAN_CODENAME")
_NO_DEFAULT = ["-o", "APT::Default-Release="]


def archives(policy: str, os_release: Sequence[str]) -> Tuple[str, ...]:
    """Return what pins each archive of security updates that `apt-cache policy` lists.

    `os_release` are the words of that file. Archives of other releases do not count where the
    own one has any: a release is known by its codename, its security archive by that
    or by the codename and a suffix.
    """
    own: Dict[str, bool] = {}
    names = codenames(os_release)
    for _, fields, secure in _releases(policy):
        if secure:
            pin = ", ".join("%s=%s" % (key, fields[key]) for key in ("l", "a", "n")
                            if _VALUE.fullmatch(fields.get(key, "")))
            codename = fields.get("n", "")
            own[pin] = any(re.split("[-/]", codename)[0] == name for name in names)
    return tuple(sorted(pin for pin in own if own[pin] or not any(own.values())))


def outranked(policy: str) -> bool:
    """Say whether an archive of security updates has a lower priority than another archive."""
    found = [(priority, secure) for priority, _, secure in _releases(policy)]
    return min([row for row in found if row[1]], default=(0, True))[0] < max(
        [row for row in found if not row[1]], default=(0, False))[0]


def pinned(policy: str, installed: Collection[str]) -> List[str]:
    """Return the installed packages that a pin names, as `apt-cache policy` lists them."""
    return sorted(set(_PINNED.findall(policy.partition("\nPinned packages:\n")[2]))
                  & set(installed))


def hidden(policy: str, tables: str) -> Set[str]:
    """Return whose table (`apt-cache policy NAME...`) has a later version that is for security."""
    indexes = {index for _, index, line in _RELEASE.findall(policy)
               if _is_security(dict(part.partition("=")[::2] for part in line.split(",")))}
    found, name, later = set(), "", False
    for line in tables.splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        later = line == "  Version table:" or (later and not line.startswith(" *** "))
        if later and line.strip().partition(" ")[2] in indexes:
            found.add(name)
    return found


def _is_security(fields: Dict[str, str]) -> bool:
    return apt_text.is_security("%s:%s" % (fields.get("l", ""), fields.get("a", "")))


def _releases(policy: str) -> List[Tuple[int, Dict[str, str], bool]]:
    """Return (priority, what a release says of itself, of security updates) of each index."""
    found = []
    for priority, _, line in _RELEASE.findall(policy):
        fields = dict(part.partition("=")[::2] for part in line.split(","))
        found.append((int(priority), fields, _is_security(fields)))
    return found


def codenames(os_release: Sequence[str]) -> List[str]:
    """Return the codenames of this release, and of the one that it descends from."""
    fields = dict(word.partition("=")[::2] for word in os_release)
    return [name for name in (fields.get(key, "").strip("\"'") for key in _CODENAMES) if name]


def preferences(excluded: Iterable[str], security: Iterable[str], admin: bytes) -> bytes:
    """Return the preferences of one run; `security` are the archives() to take, if not all.

    `a=now`, the installed versions, must stand before the catch-all, or they get
    its 50, too, and everything is upgraded.
    """
    records = []
    for name in sorted(excluded):
        wanted = name if ":" in name else name + ":any"
        records.append(("Package: %s" % wanted, "Pin: release *", -1))
    if security:
        records.append(("Package: *", "Pin: release a=now", 100))
        records += [("Package: *", "Pin: release " + pin, 990) for pin in security]
        records.append(("Package: *", "Pin: release *", 50))
    text = "".join("%s\n%s\nPin-Priority: %d\n\n" % record for record in records)
    return text.encode("ascii") + admin


@contextlib.contextmanager
def options(world: base.World, excluded: Collection[str], security: Collection[str],
            admin: str) -> Iterator[List[str]]:
    """Give the options that name a preferences file, as `admin` does; it is gone afterwards."""
    if not excluded and not security:
        yield []
        return
    folder = os.path.join(world.run_dir, "qualvosec-" + os.urandom(8).hex())
    path = os.path.join(folder, "preferences")
    admin = os.path.realpath(admin)
    try:
        kept = files.read_bounded(admin, 1 << 20) if os.path.isfile(admin) else b""
        os.mkdir(folder, 0o755)
        files.write_atomic(path, preferences(excluded, security, kept), 0o644)
        yield ["-o", "Dir::Etc::Preferences=" + path] + (_NO_DEFAULT if security else [])
    except (OSError, files.FileError) as error:
        raise base.ManagerError("apt preferences: %s" % error) from error
    finally:
        for remove, name in ((os.unlink, path), (os.rmdir, folder)):
            if os.path.exists(name):
                remove(name)
