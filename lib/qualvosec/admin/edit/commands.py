# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin add, remove, set: one atomic edit of the local manifest for any number of hosts.

Editors take turns by a lock file beside the manifest. The new content is verified (see
manifest/edit/spans.py), written to a temporary file, synced and renamed over the old one, with its
mode and owner; if somebody else changed the file meanwhile, nothing is written. A symbolic
link is followed: the file it leads to is replaced, the link stays.
"""

import argparse
import gc
import os
import stat
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

from qualvosec import files
from qualvosec.admin import source
from qualvosec.admin.edit import diff
from qualvosec.admin.edit import lock as turns
from qualvosec.admin.edit import signing
from qualvosec.admin.edit import words as fieldwords
from qualvosec.admin.settings import Settings
from qualvosec.admin.terminal import DONE
from qualvosec.admin.terminal import Add
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import count
from qualvosec.manifest.edit import spans
from qualvosec.manifest.edit.spans import Edit
from qualvosec.manifest.edit.spans import Source
from qualvosec.manifest.entrytext import EditError
from qualvosec.manifest.entrytext import Value
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.window import host_zone
from qualvosec.manifest.window import local_day
from qualvosec.safetext import safe
from qualvosec.usage import Parser

MAX_NAMES_BYTES = 16 << 20

Make = Callable[[Source, int], Edit]


class _Target(NamedTuple):
    """The manifest: the name that is published, the file itself, the key to sign it with or ""."""

    place: str
    path: str
    key: str



def register(add: Add) -> None:
    """Tell the parser of these commands."""
    adder = _words(add("add", add_hosts, "add hosts to the manifest"), "+")
    adder.add_argument("--no-patch", dest="patch", action="store_false",
                       help="list them, but do not patch them")
    adder.add_argument("--weekday", metavar="DAY", action="append", default=[],
                       help="0 (Monday) to 6 or an English day name; several with commas")
    adder.add_argument("--time", metavar="HH:MM", default="", help="local time of the host")
    choice = adder.add_mutually_exclusive_group()
    for option, value, text in (("--reboot", True, "reboot after a run that installed something"),
                                ("--no-reboot", False, "never reboot"),
                                ("--reboot-if-required", "required", "only if a reboot is due")):
        choice.add_argument(option, dest="reboot", action="store_const", const=value, help=text)
    adder.add_argument("--duration", metavar="MINUTES", type=int, help="length of the window")
    adder.add_argument("--group", metavar="GROUP", action="append", default=[],
                       help="a group they belong to; may be repeated")
    adder.add_argument("--only", metavar="PACKAGE", action="append", default=[],
                       help="update only this package or pattern; may be repeated")
    adder.add_argument("--exclude", metavar="PACKAGE", action="append", default=[],
                       help="leave out this package or pattern; may be repeated")
    for name in ("remove", "delete"):
        remover = _words(add(name, remove_hosts, "remove hosts from the manifest"), "*", "")
        remover.add_argument("--group", metavar="GROUP", help="all hosts of a group")
        remover.add_argument("--with-comment", action="store_true",
                             help="and the comment directly above each")
    setter = _words(add("set", set_fields, "change fields of hosts; field= takes one out"), "+")
    setter.add_argument("--group", metavar="GROUP", help="all hosts of a group")


def _words(command: Parser, number: str, fields: str = "|FIELD=VALUE") -> Parser:
    command.add_argument("words", metavar="FQDN" + fields, nargs=number, help="hosts, - to read "
                         "them from stdin%s" % (", and fields" if fields else ""))
    command.add_argument("--dry-run", action="store_true",
                         help="print the change as a unified diff and change nothing")
    return command


def add_hosts(options: argparse.Namespace, terminal: Terminal) -> int:
    """Add entries; a field is given as an option or as field=value."""
    names, given = fieldwords.split(options.words)
    fields: Dict[str, Value] = {}
    if options.reboot is not None:
        fields["reboot"] = options.reboot
    if options.weekday:
        fields["weekday"] = fieldwords.weekdays(options.weekday)
    if options.time:
        fields.update(fieldwords.clock(options.time))
    if options.duration is not None:
        fields["duration"] = options.duration
    for field, values in (("packages_whitelist", options.only),
                          ("packages_blacklist", options.exclude),
                          ("group_membership", options.group)):
        if values:
            fields[field] = values
    for field in given:
        fieldwords.once_alone(field, (field,), fields)
    fields["patch"] = options.patch
    fields.update(given)
    ordered = {field: fields[field] for field in FIELDS if field in fields}
    ordered.update(fields)
    chosen = hosts(names)

    def make(manifest: Source, today: int) -> Edit:
        return spans.add(manifest, dict.fromkeys(chosen, ordered), today)

    return _run(options, terminal, "added", make)


def remove_hosts(options: argparse.Namespace, terminal: Terminal) -> int:
    """Remove entries."""
    names, given = fieldwords.split(options.words)
    if given:
        raise UsageError("remove: takes hosts alone: use set to take out fields")
    chosen = _chosen(names, options.group)

    def make(manifest: Source, today: int) -> Edit:
        return spans.remove(manifest, chosen(manifest), today, options.with_comment)

    return _run(options, terminal, "removed", make)


def set_fields(options: argparse.Namespace, terminal: Terminal) -> int:
    """Change fields of entries."""
    names, given = fieldwords.split(options.words)
    if not given:
        raise UsageError("set: no field to set: write field=value, or field= to take one out")
    chosen = _chosen(names, options.group)

    def make(manifest: Source, today: int) -> Edit:
        return spans.change(manifest, dict.fromkeys(chosen(manifest), given), today)

    return _run(options, terminal, "changed", make)


def hosts(words: Sequence[str]) -> List[str]:
    """Return the hosts that words name, those from stdin in the place of `-`."""
    names: List[str] = []
    for word in words:
        names.extend(_from_stdin() if word == "-" else [word])
    if not names:
        raise UsageError("no host is named: name one, or - to read them from stdin")
    return fieldwords.once(names)


def _from_stdin() -> List[str]:
    data = source.read_stdin(MAX_NAMES_BYTES)
    try:
        return fieldwords.names_of(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise AdminError("stdin: is not UTF-8 text: send one host name a line") from None


def _chosen(words: Sequence[str], group: str) -> Callable[[Source], List[str]]:
    """Return what finds the hosts that a command is about: named ones, or those of a group."""
    if group and words:
        raise UsageError("--group: hosts are named, too: give one or the other")
    named = hosts(words) if not group else []

    def choose(manifest: Source) -> List[str]:
        found = fieldwords.once(spans.members(manifest, group)) if group else named
        if not found:
            raise AdminError("group %s: no host is in it: see group_membership" % group)
        return found

    return choose


def _run(options: argparse.Namespace, terminal: Terminal, done: str, make: Make) -> int:
    """Make one edit of the manifest and write it, or show it."""
    # Two trees of a large manifest hold no cycles; to look for some is a sixth of the time.
    gc.disable()
    try:
        settings = source.settings(options)
        place = _local_place(settings)
        path = os.path.realpath(place)
        today = local_day(terminal.now, host_zone)
        if options.dry_run:
            return _show(path, terminal, make, today)
        lock = turns.take(path, terminal)
        try:
            return _write(_Target(place, path, settings.key), terminal, done, make, today)
        finally:
            os.close(lock)
    except files.FileError as error:
        raise AdminError(turns.told(error)) from None
    except EditError as error:
        raise AdminError(str(error)) from None
    finally:
        gc.enable()


def _local_place(settings: Settings) -> str:
    """Return the name of the manifest's file."""
    place = settings.source()
    if not place or place == "-" or place.startswith(("http://", "https://")):
        raise UsageError("manifest: %s: an edit needs the local file: give --manifest FILE or set "
                         "manifest in the configuration"
                         % ("is not set" if not place else "is not a file here"), of_words=False)
    return place


def _read(path: str, make: Make, today: int) -> Tuple[bytes, Edit]:
    try:
        data = files.read_bounded(path, source.MAX_MANIFEST_BYTES)
    except files.FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise AdminError("%s: there is no such file: an empty one will do for a start"
                             % path) from None
        raise
    try:
        manifest = spans.read(data)
    except EditError as error:
        raise AdminError("%s: %s" % (path, error)) from None
    found = make(manifest, today)
    if len(found.data) > source.MAX_MANIFEST_BYTES:
        raise AdminError("%s: would be larger than %d bytes: clients would refuse it"
                         % (path, source.MAX_MANIFEST_BYTES))
    return data, found


def _show(path: str, terminal: Terminal, make: Make, today: int) -> int:
    data, found = _read(path, make, today)
    terminal.say(diff.unified(path, data, found.spans))
    _tell(found, terminal)
    return DONE


def _tell(found: Edit, terminal: Terminal) -> None:
    for note in found.notes:
        terminal.warn("warning: %s" % note)
    if not found.spans:
        terminal.warn("nothing to change: it is so already")


def _write(target: _Target, terminal: Terminal, done: str, make: Make, today: int) -> int:
    """Read, edit, sign, replace; the lock is held."""
    path = target.path
    info = os.stat(path)
    if not os.access(path, os.W_OK):
        raise AdminError("%s: permission denied: edit it as its owner" % path)
    data, found = _read(path, make, today)
    if found.spans:
        signed = None
        if target.key:
            signed = signing.prepare(target.place, found.data, target.key, today)

        def check() -> None:
            now = os.stat(path)
            if (now.st_mode, now.st_uid, now.st_gid) != (info.st_mode, info.st_uid, info.st_gid) \
                    or files.read_bounded(path, source.MAX_MANIFEST_BYTES) != data:
                raise files.FileError("%s: was changed by somebody else meanwhile: nothing was "
                                      "written: try again" % path)

        files.write_atomic(path, signed.data if signed else found.data, stat.S_IMODE(info.st_mode),
                           owner=(info.st_uid, info.st_gid), before_rename=check)
        what = found.hosts[0] if len(found.hosts) == 1 else count(len(found.hosts), "host")
        number = signed.serial if signed else found.serial
        serial = "" if number is None else ": serial %d" % number
        terminal.say("%s %s: %s%s\n" % (done, safe(what, 253), safe(path, 1000), serial))
        if signed:
            signing.store(target.place, signed)
        elif os.path.exists(target.place + signing.SIGNATURE_SUFFIX):
            terminal.warn("%s.sig: does not fit any more: sign the manifest again" % target.place)
        if info.st_nlink > 1:
            terminal.warn("%s: has another name (a hard link), under which nothing has changed: "
                          "use a symbolic link" % path)
    _tell(found, terminal)
    return DONE
