# SPDX-License-Identifier: BSD-2-Clause
"""The other way to root: systemd's socket, no sudo, and the client confined.

The administrator follows qualvosec-helper(8), "Through a socket". A whole run and its
reboot must work that way, though the client may gain no privilege any more; others
than its user cannot connect, and what is hostile about a request is refused as through sudo.
"""

import json
import os
import time
from typing import List

from tests.e2e import cases_abuse
from tests.e2e import cases_runs
from tests.e2e import system
from tests.e2e.container import Result
from tests.e2e.container import wait_for
from tests.e2e.trial import SERVICE
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal

EXAMPLE = "/usr/local/share/doc/qualvosec/examples/systemd-hardened.conf"
HARDEN = """
install -D -m 644 %s /etc/systemd/system/qualvosec.service.d/hardened.conf &&
systemctl daemon-reload && systemctl enable --now qualvosec-helper.socket qualvosec
""" % EXAMPLE
# A client of its own, so that no bound of ours stands before the helper's.
CALL = """
import socket, sys
data = sys.stdin.buffer.read()
sock = socket.socket(socket.AF_UNIX)
sock.connect("/run/qualvosec-helper.sock")
try:
    sock.sendall(data)
    if sys.argv[1:] != ["silent"]:
        sock.shutdown(socket.SHUT_WR)
except OSError:
    pass
try:
    while True:
        piece = sock.recv(65536)
        if not piece:
            break
        sys.stdout.buffer.write(piece)
except OSError:
    pass
"""


def _call(trial: Trial, data: bytes, *words: str, user: str = system.USER) -> Result:
    argv: List[str] = ["/usr/bin/python3", "-IBSc", CALL]
    return trial.as_user(argv + list(words), user, data)


def _invalid(what: str, answer: Result) -> None:
    reply = json.loads(answer.out or "null")
    check(isinstance(reply, dict) and reply["status"] == "invalid" and reply["reason"],
          "%s: %s" % (what, answer.text[:500]))


def hardened(trial: Trial) -> None:
    """Upgrade and reboot through the socket, with a client that can gain no privilege."""
    trial.configure(privilege="auto")
    os.unlink(trial.box.path("/etc/sudoers.d/qualvosec"))
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    done = trial.box.run(["sh", "-c", HARDEN])
    check(done.returncode == 0, "hardening: " + done.text)
    shown = trial.box.run(["systemctl", "show", "-p", "NoNewPrivileges", "-p", "ProtectSystem",
                           SERVICE]).out
    check("NoNewPrivileges=yes" in shown and "ProtectSystem=strict" in shown, shown)
    cases_runs.outcome(trial, "ok")
    wait_for("the reboot", lambda: trial.box.reboots == 1, 90)
    trial.box.wait_booted()
    cases_runs.wait_status(trial, "reboot", "state", "verified")
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    cases_runs.stays("reboots", trial, 1)
    cases_runs.no_failed_units(trial)


def by_socket(trial: Trial) -> None:
    """Only the service user may ask, whatever the mode; hostile requests are refused."""
    trial.configure(privilege="socket")
    trial.boot()
    done = trial.box.run(["sh", "-c", HARDEN])
    check(done.returncode == 0, "hardening: " + done.text)
    answer = _call(trial, cases_abuse.STATUS)
    check_equal(json.loads(answer.out)["status"], "ok", "the permitted call")
    answer = _call(trial, cases_abuse.STATUS, user="bob")
    check(not answer.out and "PermissionError" in answer.text, "bob: " + answer.text[:300])
    for what, data in cases_abuse.hostile_requests():
        _invalid(what, _call(trial, data))
    start = time.monotonic()
    answer = _call(trial, b"{", "silent")
    _invalid("a silent caller", answer)
    check(time.monotonic() - start < cases_abuse.PROMPT_S, "a silent caller was waited for")
    done = trial.box.run(["chmod", "0666", "/run/qualvosec-helper.sock"])
    check(done.returncode == 0, "chmod: " + done.text)
    answer = _call(trial, cases_abuse.STATUS, user="bob")
    reply = json.loads(answer.out or "null")
    check(reply and reply["status"] == "refused" and "neither root nor" in reply["reason"],
          "bob through an open socket: " + answer.text[:300])
    answer = _call(trial, cases_abuse.STATUS)
    check_equal(json.loads(answer.out)["status"], "ok", "the permitted call, socket open")
    cases_runs.no_failed_units(trial)


CASES = [
    Case("hardened", "through the socket, the client confined: a run and its reboot", hardened),
    Case("abuse-socket", "hostile calls through the socket are denied or refused", by_socket),
]
