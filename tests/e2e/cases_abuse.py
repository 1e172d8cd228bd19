# SPDX-License-Identifier: BSD-2-Clause
"""Trials of the root boundary: a hostile service user calls the real sudo and the real doas.

First the one permitted call must work, else a refusal would prove nothing. Then every
row of two tables is tried: calls that the rule must deny, and requests on standard
input that the helper must refuse with one line, exit code 2, no traceback and within
its five seconds. After each row root's record must be unchanged.
"""

import json
import os
import time
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

from tests.e2e import system
from tests.e2e.container import Result
from tests.e2e.container import wait_for
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal

STATUS = b'{"v":1,"op":"status","wait":false}'
WINDOW = "20261124T0215Z"
PROMPT_S = 8.0  # five seconds of the helper's patience, and a slow machine
POISON = "/tmp/poison"
PROOF = "/tmp/poison/proof"


class Denied(NamedTuple):
    """A call that must not reach root: argv after the user's own prefix, and who calls."""

    what: str
    argv: List[str]
    user: str = system.USER


def sudo_calls(helper: str) -> List[Denied]:
    """Everything else than `sudo HELPER`."""
    return [
        Denied("an argument", ["sudo", "-n", helper, "--version"]),
        Denied("an argument that looks like a file", ["sudo", "-n", helper, "/etc/shadow"]),
        Denied("two arguments", ["sudo", "-n", helper, "-c", "/tmp/evil.conf"]),
        Denied("an empty argument and one more", ["sudo", "-n", helper, "", "x"]),
        Denied("keep the environment", ["sudo", "-n", "-E", helper]),
        Denied(
            "keep one variable",
            ["env", "PYTHONPATH=" + POISON, "sudo", "-n", "--preserve-env=PYTHONPATH", helper],
        ),
        Denied("set a variable", ["sudo", "-n", "APT_CONFIG=/tmp/evil", helper]),
        Denied("set PYTHONPATH", ["sudo", "-n", "PYTHONPATH=" + POISON, helper]),
        Denied("another directory", ["sudo", "-n", "-D", "/tmp", helper]),
        Denied("another root directory", ["sudo", "-n", "-R", "/tmp", helper]),
        Denied("another caller", ["sudo", "-n", helper], "bob"),
        Denied("as another user", ["sudo", "-n", "-u", "bob", helper]),
        Denied("with another group", ["sudo", "-n", "-u", "root", "-g", "bob", helper]),
        Denied("another command", ["sudo", "-n", "/usr/bin/apt-get", "update"]),
        Denied("the interpreter", ["sudo", "-n", "/usr/bin/python3", helper]),
        Denied(
            "the transaction itself",
            ["sudo", "-n", os.path.join(os.path.dirname(helper), "qualvosec-transaction")],
        ),
        Denied("a shell", ["sudo", "-n", "-s"]),
        Denied("a login shell", ["sudo", "-n", "-i"]),
        Denied("edit a file", ["sudo", "-n", "-e", "/etc/passwd"]),
        Denied("a program of that name elsewhere", ["sudo", "-n", POISON + "/qualvosec-helper"]),
    ]


def doas_calls(helper: str) -> List[Denied]:
    """Everything else than `doas HELPER`."""
    return [
        Denied("an argument", ["doas", "-n", helper, "--version"]),
        Denied("an argument that looks like a file", ["doas", "-n", helper, "/etc/shadow"]),
        Denied("two arguments", ["doas", "-n", helper, "-c", "/tmp/evil.conf"]),
        Denied("an empty argument", ["doas", "-n", helper, ""]),
        Denied("set a variable", ["doas", "-n", "env", "APT_CONFIG=/tmp/evil", helper]),
        Denied("another rule file", ["doas", "-n", "-C", "/tmp/evil.conf", helper]),
        Denied("another caller", ["doas", "-n", helper], "bob"),
        Denied("as another user", ["doas", "-n", "-u", "bob", helper]),
        Denied("another command", ["doas", "-n", "/usr/bin/apt-get", "update"]),
        Denied("the interpreter", ["doas", "-n", "/usr/bin/python3", helper]),
        Denied(
            "the transaction itself",
            ["doas", "-n", os.path.join(os.path.dirname(helper), "qualvosec-transaction")],
        ),
        Denied("a shell", ["doas", "-n", "-s"]),
        Denied("a program of that name elsewhere", ["doas", "-n", POISON + "/qualvosec-helper"]),
        Denied("the helper by another path", ["doas", "-n", "/usr/../" + helper.lstrip("/")]),
    ]


def _request(**fields: object) -> bytes:
    request: Dict[str, object] = {"v": 1, "op": "check", "refresh": False}
    request.update({"security_only": False, "only": [], "exclude": []})
    request.update(fields)
    return json.dumps(request).encode("ascii")


def hostile_requests() -> List[Tuple[str, bytes]]:
    """Standard inputs that the helper must refuse as invalid."""
    names = [
        "-oDPkg::Pre-Invoke::=id", "--no-remove", "./evil.deb", "/tmp/evil.deb", "nano=1.0",
        "nano/sid", "standard^", "~i", "libc6|nano", "a b", "a;id", "$(id)", "`id`", "a\nb",
        "\u00e9", "", "x" * 129, "*" * 200, "http://evil/x", "[a-z]",
    ]  # fmt: skip
    rows = [("the name %r" % name[:30], _request(only=[name])) for name in names]
    rows += [("%r excluded" % name[:30], _request(exclude=[name])) for name in names[:4]]
    upgrade = {"v": 1, "op": "upgrade", "window": WINDOW, "not_after": 0, "security_only": False}
    upgrade.update({"only": [], "exclude": []})
    path = dict(upgrade, window="../../etc/passwd")
    rows += [
        ("ten megabytes", b"[" + b" " * (10 << 20) + b"]"),
        ("16k of [", b"[" * 16000),
        ("NaN", STATUS.replace(b"false", b"NaN")),
        ("Infinity", STATUS.replace(b"1", b"Infinity", 1)),
        ("a huge number", STATUS.replace(b"1", b"9" * 5000, 1)),
        ("a key twice", STATUS.replace(b"{", b'{"op":"upgrade",', 1)),
        ("an unknown key", STATUS.replace(b"{", b'{"command":"id",', 1)),
        ("a missing key", b'{"v":1,"op":"status"}'),
        ("a string for a bool", STATUS.replace(b"false", b'"false"')),
        ("a number for a bool", STATUS.replace(b"false", b"0")),
        ("true for the version", STATUS.replace(b":1", b":true", 1)),
        ("1.0 for the version", STATUS.replace(b":1", b":1.0", 1)),
        ("another version", STATUS.replace(b":1", b":99", 1)),
        ("an unknown operation", STATUS.replace(b"status", b"install")),
        ("a name for the list", _request(only="nano")),
        ("a list in the list", _request(only=[["nano"]])),
        ("a null in the list", _request(only=[None])),
        ("501 names", _request(only=["a%d" % n for n in range(501)])),
        ("a window that is a path", json.dumps(path).encode("ascii")),
        ("a list", b"[]"),
        ("a number", b"1"),
        ("nothing", b""),
        ("white space", b" \n"),
        ("a NUL", STATUS + b"\0"),
        ("two objects", STATUS + STATUS),
        ("a cut object", STATUS[:-1]),
        ("bytes that are no ASCII", STATUS.replace(b"status", b"st\xff\xfetus")),
        ("a shell command", b"; id\n"),
    ]
    return rows


def _root_record(trial: Trial) -> str:
    return trial.box.read(os.path.join(trial.paths.helper_state, "run.json"))


def _call_works(trial: Trial, call: List[str]) -> None:
    answer = trial.as_user(call, stdin=STATUS)
    check_equal(answer.returncode, 0, "exit code of the permitted call (%s)" % answer.text)
    reply = json.loads(answer.out)
    check_equal(reply["status"], "ok", "reply to the permitted call")


def _denied(trial: Trial, row: Denied) -> None:
    answer = trial.as_user(row.argv, row.user, STATUS)
    check(answer.returncode != 0, "%s: allowed: %s" % (row.what, answer.text))
    check('"status":"ok"' not in answer.out.replace(" ", ""), "%s: %s" % (row.what, answer.text))
    check("uid=0" not in answer.out, "%s: %s" % (row.what, answer.text))
    check("Traceback" not in answer.text, "%s: %s" % (row.what, answer.text))


def _refused(what: str, answer: Result, seconds: float) -> None:
    check_equal(answer.returncode, 2, "%s: exit code (%s)" % (what, answer.text[:500]))
    lines = answer.out.splitlines()
    check_equal(len(lines), 1, "%s: lines of the reply (%s)" % (what, answer.text[:500]))
    reply = json.loads(lines[0])
    check_equal(reply["status"], "invalid", what + ": status")
    check(reply["reason"], what + ": no reason")
    check("Traceback" not in answer.text, "%s: %s" % (what, answer.text[:500]))
    check(seconds < PROMPT_S, "%s: took %.1f s" % (what, seconds))


def _tables(trial: Trial, call: List[str], denied: List[Denied]) -> None:
    _call_works(trial, call)
    before = _root_record(trial)
    for row in denied:
        _denied(trial, row)
    for what, stdin in hostile_requests():
        start = time.monotonic()
        answer = trial.as_user(call, stdin=stdin)
        _refused(what, answer, time.monotonic() - start)
    check_equal(_root_record(trial), before, "root's record after all of this")
    _call_works(trial, call)


def _silent(trial: Trial, call: List[str]) -> None:
    """A caller that says nothing is sent away; meanwhile the helper's process is looked at."""
    wrapper = (
        "exec 9</etc/hostname; export PYTHONPATH=%s PYTHONINSPECT=1 PYTHONSTARTUP=%s/json.py "
        'LD_PRELOAD=/nonexistent.so APT_CONFIG=%s/apt.conf; exec "$@"' % (POISON, POISON, POISON)
    )
    user = ["setpriv", "--reuid", system.USER, "--regid", system.USER, "--init-groups"]
    start = time.monotonic()
    process = trial.box.popen(user + ["bash", "-c", wrapper, "caller"] + call)
    try:
        pid = str(wait_for("the helper's process", lambda: _helper_pid(trial), 5))
        environ = trial.box.run(["cat", "/proc/%s/environ" % pid]).out.split("\0")
        files = trial.box.run(["ls", "-l", "/proc/%s/fd" % pid]).out
        process.wait(PROMPT_S)
    finally:
        if process.poll() is None:
            process.kill()
        out, err = process.communicate()
    seconds = time.monotonic() - start
    leaked = [item for item in environ if item.split("=")[0] in LEAKS]
    check_equal(leaked, [], "variables of the caller in the helper")
    check("/etc/hostname" not in files, "descriptor 9 of the caller in the helper:\n" + files)
    text = out.decode("utf-8", "replace")
    answer = Result(process.returncode, text, err.decode("utf-8", "replace"))
    _refused("a silent caller", answer, seconds)
    check(not os.path.exists(trial.box.path(PROOF)), "the caller's module ran as root")


LEAKS = ["PYTHONPATH", "PYTHONINSPECT", "PYTHONSTARTUP", "LD_PRELOAD", "APT_CONFIG"]


def _helper_pid(trial: Trial) -> str:
    """The helper as root runs it: the process whose command line has no sudo and no doas."""
    rows = trial.box.run(["ps", "-e", "-o", "pid=,euid=,args="]).out.splitlines()
    for row in rows:
        words = row.split()
        if words[1] == "0" and "python" in words[2] and trial.paths.helper in words:
            return words[0]
    return ""


def _poison(trial: Trial) -> None:
    """Modules that a helper with the caller's module path would import."""
    proof = "import os\nif os.geteuid() == 0: open(%r, 'w').close()\n" % PROOF
    trial.box.run(["mkdir", "-m", "0755", POISON])
    script = "cat >%s/$1" % POISON
    for name in ("json.py", "os.py", "re.py", "encodings.py", "sitecustomize.py"):
        trial.box.run(["sh", "-c", script, "sh", name], proof.encode("ascii"))
    trial.box.run(["sh", "-c", script, "sh", "qualvosec-helper"], b"#!/bin/sh\nid\n")
    trial.box.run(["chmod", "0755", POISON + "/qualvosec-helper"])


def by_sudo(trial: Trial) -> None:
    """The service user may call the helper without arguments and nothing else."""
    trial.configure()
    trial.boot()
    _poison(trial)
    call = ["sudo", "-n", trial.paths.helper]
    _tables(trial, call, sudo_calls(trial.paths.helper))
    _silent(trial, call)
    listing = trial.as_user(["sudo", "-n", "-l"]).out
    rules = [line.strip() for line in listing.splitlines() if line.startswith("    (")]
    check_equal(len(rules), 1, "rules in sudo -l (%s)" % listing)
    check(rules[0].endswith(trial.paths.helper + ' ""'), "rule: " + rules[0])
    check(trial.as_user(["true"], "bob").returncode == 0, "bob cannot run anything at all")


def by_doas(trial: Trial) -> None:
    """The same with doas."""
    trial.configure(privilege="doas")
    trial.boot()
    _poison(trial)
    call = ["doas", "-n", trial.paths.helper]
    _tables(trial, call, doas_calls(trial.paths.helper))
    _silent(trial, call)


def without_root(trial: Trial) -> None:
    """The helper started directly by an ordinary user refuses all that needs root."""
    trial.configure()
    trial.boot("e2e-victim")
    for user in (system.USER, "bob"):
        answer = trial.as_user([trial.paths.helper], user, _request(refresh=True))
        check(answer.returncode != 0, "refresh without root: " + answer.text)
        check("Traceback" not in answer.text, answer.text)
    transaction = os.path.join(trial.paths.libexec, "qualvosec-transaction")
    answer = trial.as_user([transaction])
    check(answer.returncode != 0, "a transaction without root: " + answer.text)
    check("Traceback" not in answer.text, answer.text)
    for path in (trial.paths.helper_state, os.path.join(trial.paths.helper_state, "run.json")):
        answer = trial.as_user(["cat", path])
        check(answer.returncode != 0, "the service user reads %s" % path)


CASES = [
    Case("abuse-sudo", "hostile calls through sudo are denied or refused", by_sudo),
    Case("abuse-doas", "hostile calls through doas are denied or refused", by_doas),
    Case("abuse-no-root", "the helper without root refuses", without_root),
]
