# SPDX-License-Identifier: BSD-2-Clause
"""Calls of the root helper: the argv of sudo, doas or the relay to its socket, request and reply.

The helper is named by its absolute path and takes no argument, as its one rule
in sudoers or doas.conf demands; its socket is systemd's, see client/root/relay.py.
What comes back is re-checked: the helper is trusted, the pipe between is not. No
function here waits.
"""

import json
import os
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import paths
from qualvosec.client.root.record import Record
from qualvosec.client.root.record import Told
from qualvosec.client.root.record import digest
from qualvosec.client.root.record import told_from_json
from qualvosec.command import Result
from qualvosec.contract import shape
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.contract.call import STATUSES
from qualvosec.contract.call import VERSION
from qualvosec.contract.call import Answer
from qualvosec.safetext import safe

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/pkg/bin",
       "LC_ALL": "C", "HOME": "/"}
SOCKET = os.path.join(paths.RUN_DIR, "qualvosec-helper.sock")
_TOOLS = {"sudo": ("/usr/bin/sudo", "/usr/local/bin/sudo", "/usr/pkg/bin/sudo", "/bin/sudo"),
          "doas": ("/usr/bin/doas", "/usr/local/bin/doas", "/usr/pkg/bin/doas", "/bin/doas")}


class Reply(NamedTuple):
    """What the helper said; `unreachable` when it could not be asked at all."""

    status: str
    reason: str = ""
    alive: bool = False
    record: Optional[Record] = None
    plan: object = None             # as it came
    told: Optional[Told] = None     # the record as it came, with names
    newer: str = ""                 # what in the record this version does not know
    experimental: str = ""          # how far this system's package manager is tried


def helper_path() -> str:
    """Return the absolute path of the helper."""
    return os.path.join(paths.LIBEXEC_DIR, "qualvosec-helper")


def argv(privilege: str, system: str = os.uname()[0]) -> Tuple[str, ...]:
    """Return the command that reaches the helper as root; () when there is no way to it.

    A socket that this user may use was set up on purpose: auto takes it first.
    """
    if privilege == "socket" or (privilege == "auto" and os.access(SOCKET, os.W_OK)):
        relay = (paths.PYTHON, "-IBS", os.path.join(paths.SBIN_DIR, "qualvosec"), "--rootcall")
        return relay if os.path.exists(SOCKET) else ()
    order: List[str] = [privilege]
    if privilege == "auto":
        order = ["doas", "sudo"] if system == "OpenBSD" else ["sudo", "doas"]
    for tool in order:
        for path in _TOOLS[tool]:
            if os.access(path, os.X_OK):
                return (path, "-n", helper_path())
    return ()


def as_user(owner: str, arguments: str, system: str = os.uname()[0]) -> str:
    """Return the command by which root starts qualvosec as `owner`, for a person to type.

    By its absolute path: the one that sudo searches may lack /usr/local/sbin (sudoers(5),
    secure_path). Where there is no sudo, su(1) needs a shell instead of the user's own:
    -m has FreeBSD and NetBSD take root's.
    """
    program = os.path.join(paths.SBIN_DIR, "qualvosec")
    if any(os.access(path, os.X_OK) for path in _TOOLS["sudo"]):
        return "sudo -u %s %s %s" % (owner, program, arguments)
    shell = "-m" if system in ("FreeBSD", "NetBSD", "DragonFly") else "-s /bin/sh"
    return "su %s %s -c '%s %s'" % (shell, owner, program, arguments)


def missing(privilege: str) -> str:
    """Return the line that explains an empty argv()."""
    if privilege == "socket":
        return "%s: is not there: systemctl enable --now qualvosec-helper.socket" % SOCKET
    names = "sudo or doas" if privilege == "auto" else privilege
    return "%s: is not installed: install it, or set privilege in qualvosec.conf" % names


def request(operation: str, **fields: object) -> bytes:
    """Return a request as one JSON line."""
    return json.dumps(dict(fields, v=VERSION, op=operation)).encode("ascii") + b"\n"


def read_reply(ended: Result, tool: str) -> Reply:
    """Check what a helper call left behind; never raises."""
    if len(ended.stdout) > MAX_ANSWER:
        return Reply("unreachable", "helper: its answer is larger than %d bytes" % MAX_ANSWER)
    if not ended.stdout.strip():
        return Reply("unreachable", _silence(ended, tool))
    try:
        return _checked(shape.parse(ended.stdout))
    except ValueError as error:
        return Reply("unreachable", "helper: its answer cannot be read: %s" % safe(str(error)))


_OBJECT = shape.check(lambda value: value is None or type(value) is dict, "is not an object")
_ANSWER = shape.record(Answer, version=VERSION, reason=shape.text(MAX_ANSWER), plan=_OBJECT,
                       status=shape.word(*STATUSES), record=_OBJECT,
                       experimental=shape.text(MAX_ANSWER))


def _checked(found: object) -> Reply:
    notes: shape.Notes = []
    answer: Answer = _ANSWER(found, notes)
    told = None if answer.record is None else told_from_json(answer.record, notes)
    return Reply(answer.status, safe(answer.reason), answer.alive, digest(told) if told else None,
                 answer.plan, told, shape.told(notes), safe(answer.experimental))


def _silence(ended: Result, tool: str) -> str:
    lines = ended.stderr.decode("utf-8", "replace").strip().split("\n")
    # The last two: behind the reason sudo may tell what to do in a container.
    said = safe("; ".join(line.strip() for line in lines[-2:])) or (
        "exit status %d" % ended.returncode)
    name = os.path.basename(tool)
    if name in ("sudo", "doas"):
        rule = "sudoers.d/qualvosec" if name == "sudo" else "doas.conf"
        return "%s refused the helper (%s): check the rule in %s" % (name, said, rule)
    return "helper: gave no answer (%s)" % said
