# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin(8): list, check, show.

Reads the manifest from a file or its server and the access logs, prints to
stdout what was asked for and to stderr what one must know before believing it.
Exit codes: 0 done, 1 failed (a fault in the manifest, a log that cannot be
read, a host that is not listed), 2 usage or configuration. Everything printed
is safe for a terminal, whatever stands in manifest and logs.
"""

import argparse
import os
import sys
import time
from typing import Callable
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence
from typing import TextIO

from qualvosec import download
from qualvosec import files
from qualvosec import paths
from qualvosec import tls
from qualvosec.admin import accesslog
from qualvosec.admin import config
from qualvosec.admin import overview
from qualvosec.admin import render
from qualvosec.manifest import document
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.fields import did_you_mean
from qualvosec.manifest.schema import Path
from qualvosec.manifest.schema import fold
from qualvosec.manifest.window import host_zone
from qualvosec.manifest.window import local_day
from qualvosec.safetext import safe

CONFIG_NAME = "qualvosec_admin.conf"
DONE, FAILED, USAGE = 0, 1, 2


class AdminError(Exception):
    """A command cannot do its work; one line: object, what is wrong, what to do."""


class UsageError(AdminError):
    """The command line or the configuration is not complete."""


class Terminal(NamedTuple):
    """Where a command writes, and what time it is."""

    out: TextIO
    err: TextIO
    now: int
    width: Optional[int]

    def say(self, text: str) -> None:
        """Print lines to stdout."""
        _write(self.out, text)

    def warn(self, text: str) -> None:
        """Print one line to stderr."""
        _write(self.err, "qualvosec-admin: %s\n" % safe(text, 1000))


class Manifest(NamedTuple):
    """The bytes of a manifest and the name to show for it."""

    name: str
    data: bytes


def _write(stream: TextIO, text: str) -> None:
    # A terminal in the C locale takes ASCII only; escapes are better than a traceback.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _settings(options: argparse.Namespace) -> config.Config:
    """Return the configuration with the command line's own settings put over it."""
    path = options.config or os.path.join(paths.CONFIG_DIR, CONFIG_NAME)
    try:
        settings = config.read(path)
    except config.ConfigError as error:
        cause = error.__cause__
        is_missing = isinstance(getattr(cause, "__cause__", None), FileNotFoundError)
        if options.config or not is_missing:
            raise UsageError(str(error)) from None
        settings = config.Config()
    if options.manifest:
        settings = settings._replace(manifest=options.manifest)
    logs = [path for group in getattr(options, "log", None) or [] for path in group]
    if logs:
        settings = settings._replace(log_file_path=tuple(logs))
    return settings


def _load(settings: config.Config) -> Manifest:
    """Read the manifest from where the settings say; raises AdminError."""
    source = settings.source()
    if not source:
        raise UsageError("manifest: is not set: give --manifest FILE or set it in %s"
                         % os.path.join(paths.CONFIG_DIR, CONFIG_NAME))
    try:
        if source == "-":
            data = sys.stdin.buffer.read(download.MAX_MANIFEST_BYTES + 1)
            if len(data) > download.MAX_MANIFEST_BYTES:
                raise AdminError("stdin: more than %d bytes: refused" % download.MAX_MANIFEST_BYTES)
            return Manifest("stdin", data)
        if source.startswith(("http://", "https://")):
            secure = tls.context(settings.ca_file) if source.startswith("https") else None
            answer = download.fetch(download.Request(
                source, "QualvoSec-admin/" + paths.VERSION, fresh=True, tls=secure))
            return Manifest(source, answer.body())
        # The published file is often a symbolic link, and the administrator's own.
        data = files.read_bounded(os.path.realpath(source), download.MAX_MANIFEST_BYTES)
        return Manifest(source, data)
    except (download.DownloadError, tls.TlsError) as error:
        raise AdminError(str(error)) from None
    except files.FileError as error:
        raise AdminError("manifest: %s" % error) from None


def _problem_lines(name: str, problems: Sequence[document.Problem]) -> List[str]:
    return ["%s:%d:%d: %s%s: %s\n" % (
        safe(name), problem.line, problem.column,
        "" if problem.severity == "error" else "%s: " % problem.severity,
        problem.what, problem.fix) for problem in problems]


def check(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print every fault of a manifest, or one line that it is good."""
    if options.file:
        settings = config.Config(manifest=options.file)
    else:
        settings = _settings(options)
    manifest = _load(settings)
    found = document.read(manifest.data, local_day(terminal.now, host_zone))
    terminal.say("".join(_problem_lines(manifest.name, found.problems)))
    if found.errors():
        return FAILED
    active = sum(policy is not None and policy.patch for policy in found.hosts.values())
    terminal.say("%s: good: %s: %d patched, %d not\n" % (
        safe(manifest.name), _count(len(found.hosts), "host"), active, len(found.hosts) - active))
    return DONE


def list_hosts(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print the table of all hosts, listed or seen."""
    settings = _settings(options)
    manifest = _load(settings)
    if not settings.log_file_path:
        raise UsageError("log_file_path: is not set: give --log FILE or set it in %s"
                         % os.path.join(paths.CONFIG_DIR, CONFIG_NAME))
    found = document.read(manifest.data, local_day(terminal.now, host_zone))
    code = DONE
    if found.errors():
        terminal.warn("%s: has %s: see qualvosec-admin check"
                      % (manifest.name, _count(found.errors(), "fault")))
        code = FAILED
    logs: List[str] = []
    try:
        logs = accesslog.expand(settings.log_file_path)
    except accesslog.LogError as error:
        terminal.warn(str(error))
        code = FAILED
    log = accesslog.read(logs, found.hosts)
    for fault in log.faults:
        terminal.warn("%s: what could be read is shown" % fault)
        code = FAILED
    rows = overview.rows(found.hosts, log, terminal.now, settings.alive_days)
    terminal.say(render.table(rows, terminal.width))
    for note in overview.notes(log, terminal.now, settings.alive_days):
        terminal.warn(note)
    return code


def show(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print one host's policy field by field, with the place that decided each."""
    manifest = _load(_settings(options))
    found = document.explain(manifest.data, options.fqdn)
    if found is None:
        hosts = document.read(manifest.data, local_day(terminal.now, host_zone)).hosts
        near = did_you_mean(fold(options.fqdn), hosts)
        raise AdminError("%s: is not in %s: it is never patched%s" % (
            options.fqdn, manifest.name, ": did you mean %s?" % near if near else ""))
    if found.policy is None:
        terminal.say("".join(_problem_lines(manifest.name, found.problems)))
        terminal.warn("%s: the entry is invalid: it is not patched" % options.fqdn)
        return FAILED
    rows = []
    for field in FIELDS:
        decided = ", ".join("%s:%d (%s)" % (safe(manifest.name), mark.line, _level(path))
                            for path, mark in found.places.get(field, []))
        rows.append((field, safe(render.value(field, found.policy), 2000), decided or "default"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    widths[1] = min(widths[1], 40)
    terminal.say("%s\n" % fold(options.fqdn))
    terminal.say("".join("  %s  %s  %s\n" % (field.ljust(widths[0]), text.ljust(widths[1]), place)
                         for field, text, place in rows))
    return DONE


def _level(path: Path) -> str:
    """Name the level that a path belongs to."""
    if path[0] == ".groups":
        return "group %s" % safe(str(path[1]), 64)
    return "defaults" if path[0] == ".defaults" else "host"


def _width(out: TextIO) -> Optional[int]:
    """Return the width of a terminal; None for a file or pipe, and where nobody set one."""
    try:
        return os.get_terminal_size(out.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _count(number: int, noun: str) -> str:
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qualvosec-admin", description="See which hosts are alive and patched, and check the "
        "manifest before it is published. See qualvosec-admin(8).")
    parser.add_argument("--version", action="version", version="qualvosec-admin " + paths.VERSION)
    parser.add_argument("-c", "--config", dest="config", metavar="FILE", default="",
                        help="configuration (default: %s)"
                        % os.path.join(paths.CONFIG_DIR, CONFIG_NAME))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True

    def add(name: str, action: Callable[..., int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.add_argument("-c", "--config", metavar="FILE", default=argparse.SUPPRESS,
                             help=argparse.SUPPRESS)
        command.add_argument("--manifest", metavar="FILE|URL", default="",
                             help="the manifest, instead of the configured one")
        command.set_defaults(action=action)
        return command

    lister = add("list", list_hosts, "show all hosts: last seen, window, status")
    lister.add_argument("--log", metavar="FILE", nargs="+", action="append",
                        help="access logs, plain or compressed, or globs")
    checker = add("check", check, "print every fault of a manifest")
    checker.add_argument("file", metavar="FILE", nargs="?", default="",
                         help="the manifest to check; - is stdin")
    shower = add("show", show, "explain the policy of one host")
    shower.add_argument("fqdn", metavar="FQDN", help="the host")
    return parser


def main(argv: Sequence[str], out: Optional[TextIO] = None, err: Optional[TextIO] = None,
         clock: Callable[[], float] = time.time) -> int:
    """Run one command; returns the exit code."""
    out = out or sys.stdout
    err = err or sys.stderr
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        # argparse has printed its usage, help or version already.
        return stop.code if isinstance(stop.code, int) else USAGE
    terminal = Terminal(out, err, int(clock()), _width(out))
    try:
        code: int = options.action(options, terminal)
        out.flush()
        return code
    except UsageError as error:
        terminal.warn(str(error))
        return USAGE
    except AdminError as error:
        terminal.warn(str(error))
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return FAILED
    except KeyboardInterrupt:
        terminal.warn("interrupted")
        return FAILED
