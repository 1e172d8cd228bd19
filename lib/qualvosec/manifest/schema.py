# SPDX-License-Identifier: BSD-2-Clause
"""Parsed values of a manifest -> the policy of a host, or every fault in it.

A host's fields win over its groups' (later groups over earlier), over
.defaults; freeze and packages_blacklist are united over these levels. One
fault in any level that a host uses makes its entry invalid: there is no half
policy. Hosts, groups and reserved sections are mappings that are not empty;
a section that is absent is passed as ABSENT, so that an empty one (its fields
slipped to column 1) is told from it. Pure; takes any value a parser can return.
"""

from functools import lru_cache
from typing import Any
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Optional
from typing import Tuple
from typing import Union

from qualvosec.contract.hosts import HOST_LABEL
from qualvosec.contract.hosts import HOST_NAME
from qualvosec.contract.hosts import MAX_HOST
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.fields import did_you_mean
from qualvosec.manifest.fields import is_label
from qualvosec.manifest.fields import number
from qualvosec.manifest.fields import ordinal
from qualvosec.manifest.fields import shown
from qualvosec.manifest.policy import Policy
from qualvosec.safetext import safe

HEADER = ".manifest"
DEFAULTS = ".defaults"
GROUPS = ".groups"
RESERVED = (HEADER, DEFAULTS, GROUPS)
ABSENT: Mapping[str, object] = {}
# Both package lists travel to the helper in one request of at most 16 KiB.
MAX_PACKAGE_TEXT = 15000
MAX_SERIAL = 10 ** 18 - 1

Path = Tuple[Union[str, int], ...]
Places = Dict[str, Tuple[Path, ...]]

_SHORT_CHARS = 40
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Fault(NamedTuple):
    """Something wrong at a place: (host, field, item) or (".groups", group, field, item)."""

    path: Path
    what: str
    fix: str

    @property
    def message(self) -> str:
        """Return "field: what is wrong: what to do"."""
        return "%s: %s" % (self.what, self.fix)


class Header(NamedTuple):
    """The .manifest section; expires is the ordinal of the last valid day."""

    serial: Optional[int] = None
    expires: Optional[int] = None
    audience: str = ""


class Level(NamedTuple):
    """The fields of one place, read: field name -> value as Policy stores it."""

    path: Path
    values: Dict[str, Any]
    faults: Tuple[Fault, ...]


class Shared(NamedTuple):
    """What several hosts use: .defaults and .groups, each level with its own faults."""

    defaults: Level
    groups: Dict[str, Level]
    faults: Tuple[Fault, ...]       # of .groups as a whole: nobody knows what was in it


def fold(name: str) -> str:
    """Return a host name as it is compared: lower case, no dot at the end.

    ASCII alone is folded: str.lower() makes a K of the Kelvin sign, another name. What
    ends in two dots is no host's name and stays as it is: folded twice is folded once.
    """
    if not name.islower():      # most names are: much faster than to translate them
        name = name.translate(_LOWER)
    return name[:-1] if name.endswith(".") and not name.endswith("..") else name


def host_name_fault(name: str) -> str:
    """Return what is wrong with a host name (RFC 1123), "" when it is good."""
    if len(name) <= MAX_HOST and HOST_NAME.fullmatch(name):
        return ""
    if "*" in name:
        return "a wildcard names no host"
    plain = fold(name)
    if not plain or len(plain) > MAX_HOST:
        return "a host name has 1 to 253 characters"
    for label in plain.split("."):
        if not HOST_LABEL.fullmatch(label):
            return "%s is not a part of a host name" % shown(label)
    return ""


def unknown_field(name: object, known: Mapping[str, object], path: Path) -> Optional[Fault]:
    """Return the fault of a name that no field has; None for x-... fields."""
    text = str(name)
    if text.startswith("x-"):
        return None
    near = did_you_mean(text, known)
    if near:
        return Fault(path, "%s: unknown field" % safe(text, 40), "did you mean %s?" % near)
    return Fault(path, "%s: unknown field" % safe(text, 40), "remove it or name it x-...")


def _not_fields(fields: object, path: Path) -> Fault:
    what = safe(str(path[-1]), 253)
    if len(path) == 1 and path[0] not in RESERVED and path[0] in FIELDS:
        return Fault(path, "%s: a field in column 1" % what, "indent it below its host")
    if fields is None or fields == {}:
        return Fault(path, "%s: no fields" % what, "indent them below it or remove it")
    return Fault(path, "%s: %s instead of fields" % (what, shown(fields)),
                 "write one field: value a line, indented")


@lru_cache(maxsize=4096, typed=True)
def _good_scalar(name: str, value: object) -> Tuple[Any, ...]:
    """Return what a field makes of a value, in a tuple; an empty one if it has a fault.

    In a large manifest the same few values come again and again.
    """
    complaints: List[object] = []
    read = FIELDS[name].read(value, lambda *complaint: complaints.append(complaint))
    return () if complaints else (read,)


def read_level(fields: object, path: Path) -> Level:
    """Read one place's fields and collect its faults; path (name,) is a host's."""
    faults: List[Fault] = []
    values: Dict[str, Any] = {}
    if not isinstance(fields, dict) or not fields:
        return Level(path, values, (_not_fields(fields, path),))
    is_host = len(path) == 1 and path[0] not in RESERVED
    for name, value in fields.items():
        field = FIELDS.get(name)
        place = path + (name,)
        if field is None:
            fault = unknown_field(name, FIELDS, place)
            if fault is not None:
                faults.append(fault)
            continue
        if field.is_host_only and not is_host:
            faults.append(Fault(place, "%s: not possible here" % name,
                                "write it in the entries of hosts"))
            continue
        if type(value) in (bool, int) or (isinstance(value, str) and len(value) < _SHORT_CHARS):
            good = _good_scalar(name, value)
            if good:
                values[name] = good[0]
                continue

        def complain(what: str, fix: str, index: Optional[int] = None,
                     name: str = name, place: Path = place) -> None:
            item = place if index is None else place + (index,)
            faults.append(Fault(item, "%s: %s" % (name, what), fix))

        before = len(faults)
        read = field.read(value, complain)
        if len(faults) == before:
            values[name] = read
    return Level(path, values, tuple(faults))


def read_shared(groups: object, defaults: object) -> Shared:
    """Read .groups and .defaults, ABSENT where the manifest has none."""
    level = Level((DEFAULTS,), {}, ())
    if defaults is not ABSENT:
        level = read_level(defaults, (DEFAULTS,))
    if groups is ABSENT:
        return Shared(level, {}, ())
    if not isinstance(groups, dict) or not groups:
        return Shared(level, {}, (_not_fields(groups, (GROUPS,)),))
    levels = {}
    for name, fields in groups.items():
        place: Path = (GROUPS, name)
        levels[name] = read_level(fields, place)
        if not is_label(name):
            # No host can be in it: a fault, but not one of any host's entry.
            levels[name] = Level(place, {}, (Fault(
                place, "%s: not the name of a group" % safe(str(name), 40),
                "use up to 64 letters, digits, . _ : @ + / -"),))
    return Shared(level, levels, ())


def _merged(levels: List[Level]) -> Tuple[Dict[str, Any], Places]:
    values: Dict[str, Any] = {}
    places: Places = {}
    for level in levels:
        for name, value in level.values.items():
            if FIELDS[name].united and name in values:
                values[name] = tuple(sorted(set(values[name] + value)))
                places[name] += (level.path + (name,),)
            else:
                values[name] = value
                places[name] = (level.path + (name,),)
    return values, places


def _relations(values: Mapping[str, Any], places: Places, host: Path) -> List[Fault]:
    """Return the faults that only the merged fields show, at the host's own field if it has one."""
    def place(name: str) -> Path:
        own = host + (name,)
        return own if own in places.get(name, ()) else host

    faults = []
    for name, fix in (("weekday", "add weekday: 0 (Monday) to 6 or an English day name"),
                      ("hour", "add hour: 0 to 23")):
        if values.get("patch") and name not in values:
            faults.append(Fault(place("patch"), "patch: true without %s" % name, fix))
    duration = values.get("duration", Policy().duration)
    if values.get("splay", 0) > duration:
        faults.append(Fault(place("splay"), "splay: %d is longer than the window"
                            % values["splay"], "use 0 to %d, as in duration" % duration))
    for name, value in values.items():
        if 0 < FIELDS[name].united < len(value):
            faults.append(Fault(place(name), "%s: %d entries over all levels are too many"
                                % (name, len(value)), "keep to %d" % FIELDS[name].united))
    patterns = values.get("packages_whitelist", ()) + values.get("packages_blacklist", ())
    if patterns and sum(len(pattern) + 4 for pattern in patterns) > MAX_PACKAGE_TEXT:
        faults.append(Fault(host, "packages_whitelist and packages_blacklist: too long together",
                            "keep to %d characters, with patterns" % MAX_PACKAGE_TEXT))
    return faults


def merge(host: Level, shared: Shared) -> Tuple[Optional[Policy], List[Fault], Places]:
    """Return a host's policy, the faults that the merge itself shows, and who decided each field.

    The policy is None when this or any level that the host uses has a fault.
    """
    labels = host.values.get("group_membership", ())
    levels = [shared.defaults]
    levels.extend(shared.groups[label] for label in labels if label in shared.groups)
    levels.append(host)
    values, places = _merged(levels)
    if shared.faults or any(level.faults for level in levels):
        return None, [], places
    faults = _relations(values, places, host.path)
    if faults:
        return None, faults, places
    return Policy(**{FIELDS[name].policy: value for name, value in values.items()}), [], places


def effective(host: object, groups: object, defaults: object,
              name: str) -> Tuple[Optional[Policy], List[Fault], Places]:
    """Return one host's policy (None when it has faults), these faults, and who decided each field.

    Only the groups of this host are looked at: a fault in another one is none of its business.
    """
    own = read_level(host, (name,))
    labels = own.values.get("group_membership", ())
    if isinstance(groups, dict) and groups:
        groups = {label: groups[label] for label in labels if label in groups} or ABSENT
    shared = read_shared(groups, defaults)
    policy, faults, places = merge(own, shared)
    found = list(shared.faults + shared.defaults.faults)
    for level in shared.groups.values():
        found.extend(level.faults)
    return policy, found + list(own.faults) + faults, places


def check_header(header: object) -> Tuple[Header, List[Fault]]:
    """Read the .manifest section (ABSENT where there is none): serial, expires, audience, x-..."""
    if header is ABSENT:
        return Header(), []
    if not isinstance(header, dict) or not header:
        return Header(), [_not_fields(header, (HEADER,))]
    faults: List[Fault] = []
    known: Dict[str, Any] = {"serial": None, "expires": None, "audience": ""}
    for name, value in header.items():
        place: Path = (HEADER, name)

        def complain(what: str, fix: str, index: Optional[int] = None,
                     name: str = name, place: Path = place) -> None:
            faults.append(Fault(place, "%s: %s" % (name, what), fix))

        if name == "serial":
            known[name] = number(0, MAX_SERIAL)(value, complain)
        elif name == "expires":
            known[name] = ordinal(value) if isinstance(value, str) else None
            if known[name] is None:
                complain("%s is not a date" % shown(value), 'write "2026-12-31", in quotes')
        elif name == "audience":
            if isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable():
                known[name] = value
            else:
                complain("%s is not a name" % shown(value), "write up to 128 characters of text")
        else:
            fault = unknown_field(name, known, place)
            if fault is not None:
                faults.append(fault)
    return Header(**known), faults
