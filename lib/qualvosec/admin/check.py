# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin check, show: what stands in the manifest.

To stdout goes what was asked for, to stderr what one must know before believing it.
"""

import argparse
from typing import List
from typing import Sequence

from qualvosec.admin import source
from qualvosec.admin.edit import signing
from qualvosec.admin.settings import Settings
from qualvosec.admin.terminal import DONE
from qualvosec.admin.terminal import FAILED
from qualvosec.admin.terminal import Add
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import count
from qualvosec.manifest import document
from qualvosec.manifest import lookup
from qualvosec.manifest import policy as policies
from qualvosec.manifest import schema
from qualvosec.manifest import wording
from qualvosec.manifest.fields import did_you_mean
from qualvosec.manifest.schema import Path
from qualvosec.manifest.schema import fold
from qualvosec.manifest.window import host_zone
from qualvosec.manifest.window import local_day
from qualvosec.safetext import safe


def register(add: Add) -> None:
    """Tell the parser of these commands."""
    checker = add("check", check, "print every fault of a manifest")
    checker.add_argument("file", metavar="FILE", nargs="?", default="",
                         help="the manifest to check; - is stdin")
    shower = add("show", show, "explain the policy of one host")
    shower.add_argument("fqdn", metavar="FQDN", help="the host")


def problem_lines(name: str, problems: Sequence[document.Problem]) -> List[str]:
    return ["%s:%d:%d: %s%s: %s\n" % (
        safe(name), problem.line, problem.column,
        "" if problem.severity == "error" else "%s: " % problem.severity,
        problem.what, problem.fix) for problem in problems]


def obstacle(manifest: source.Manifest, fqdn: str, today: int) -> str:
    """Return why the host would not act on this manifest as a whole, "" if it would.

    Read as the host itself reads it; `today` is a date's ordinal.
    """
    try:
        found = lookup.find(lookup.chunks_of(manifest.data), fqdn)
        header, faults = schema.check_header(found.header)
        fault = "%s: %s" % (schema.HEADER, faults[0].message) if faults else ""
    except lookup.ManifestError as error:
        header, fault = schema.Header(), str(error)
    if fault:
        return "%s: hosts refuse it and go by the last one they took: %s" % (manifest.name, fault)
    if header.expires is not None and header.expires < today:
        return "%s: expired on %s: hosts do not patch: raise expires in %s" % (
            manifest.name, wording.date(header.expires), schema.HEADER)
    return ""


def check(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print every fault of a manifest, or one line that it is good."""
    if options.file and options.manifest:
        raise UsageError("--manifest: a file is named, too: give one or the other")
    if options.file:
        settings = Settings(manifest=options.file)
    else:
        settings = source.settings(options)
    manifest = source.load(settings)
    found = document.read(manifest.data, local_day(terminal.now, host_zone))
    problems = list(found.problems)
    what, fix = signing.complaint(manifest.name, manifest.data, found.header.serial)
    if what:
        problems.append(document.Problem(1, 1, safe(what, 400), fix))
    terminal.say("".join(problem_lines(manifest.name, problems)))
    if found.errors() or what:
        return FAILED
    active = sum(policy is not None and policy.patch for policy in found.hosts.values())
    terminal.say("%s: good: %s: %d patched, %d not\n" % (
        safe(manifest.name), count(len(found.hosts), "host"), active, len(found.hosts) - active))
    return DONE


def show(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print one host's policy field by field, with the place that decided each."""
    manifest = source.load(source.settings(options))
    today = local_day(terminal.now, host_zone)
    found = document.explain(manifest.data, options.fqdn)
    wrong = obstacle(manifest, options.fqdn, today)
    if wrong:
        terminal.warn(wrong)
    if found is None:
        hosts = document.read(manifest.data, today).hosts
        near = did_you_mean(fold(options.fqdn), hosts)
        raise AdminError("%s: is not in %s: it is never patched%s" % (
            options.fqdn, manifest.name, ": did you mean %s?" % near if near else ""))
    if found.policy is None:
        terminal.say("".join(problem_lines(manifest.name, found.problems)))
        if not wrong:
            terminal.warn("%s: the entry is invalid: it is not patched" % options.fqdn)
        return FAILED
    rows = []
    for field, text in policies.texts(found.policy).items():
        decided = ", ".join("%s:%d (%s)" % (safe(manifest.name), mark.line, _level(path))
                            for path, mark in found.places.get(field, []))
        rows.append((field, safe(text, 2000), decided or "default"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    widths[1] = min(widths[1], 40)
    terminal.say("%s\n" % fold(options.fqdn))
    terminal.say("".join("  %s  %s  %s\n" % (field.ljust(widths[0]), text.ljust(widths[1]), place)
                         for field, text, place in rows))
    return FAILED if wrong else DONE


def _level(path: Path) -> str:
    """Name the level that a path belongs to."""
    if path[0] == ".groups":
        return "group %s" % safe(str(path[1]), 64)
    return "defaults" if path[0] == ".defaults" else "host"
