# SPDX-License-Identifier: BSD-2-Clause
"""`qualvosec status`: one line in the form of a monitoring plugin, 0, 1, 2 or 3.

The running daemon is asked at its health endpoint. Where monitoring is off, the
state directory is read as far as it may be, and judged by the same findings. Other
tools that patch this host are looked for afresh: who has turned one off sees it at once.
"""

import http.client
import json
import os
import time
from typing import Container
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

from qualvosec import files
from qualvosec.client import config as configuration
from qualvosec.client import host
from qualvosec.client.config import Config
from qualvosec.client.decide import state as states
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch.pace import Pace
from qualvosec.client.rivals import look
from qualvosec.client.tell import findings
from qualvosec.client.tell import status as views
from qualvosec.contract import words
from qualvosec.manifest.window import window_id
from qualvosec.safetext import safe

TIMEOUT_S = 10
MAX_ANSWER = 1 << 20
MOST_TOLD = 3       # other tools in the line; the object has all
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


class Status(NamedTuple):
    """The line, its exit status, and the object behind it for --json."""

    code: int
    text: str
    detail: Dict[str, object]


def ask(config: Config) -> Status:
    """Return the status of this host; never raises for a daemon that is down."""
    return beside(_ask(config), look.warnings(look.of(config.other_tools)))


def beside(status: Status, lines: Sequence[str]) -> Status:
    """Add lines about other tools to a status: with one of them it is a warning at least."""
    status = status._replace(detail=dict(status.detail, other_tools=list(lines)))
    if not lines:
        return status
    told = [status.text] + [safe(line, 300) for line in lines[:MOST_TOLD]]
    told += ["and %d more" % (len(lines) - MOST_TOLD)] if len(lines) > MOST_TOLD else []
    return status._replace(code=status.code or 1, text="; ".join(told))


def _ask(config: Config) -> Status:
    if not config.monitoring:
        return _from_files(config)
    try:
        return judge(_get(config))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        text = "the daemon does not answer on %s port %d: %s" % (
            config.monitoring_listener, config.monitoring_port, safe(reason.lower()))
        if isinstance(error, ConnectionRefusedError):
            text += unstarted(config, configuration.host_name(config), host.starting())
        return Status(2, text, {"healthy": False, "reasons": [text]})


def unstarted(config: Config, fqdn: str, start: str) -> str:
    """Say what comes next on a host where nothing runs: what the configuration lacks, the start."""
    steps = []
    if config.server == configuration.SAMPLE_SERVER:
        steps.append("server: is still that of the sample: write yours into %s" % config.path)
    if not fqdn:
        steps.append(configuration.naming(config))
    return "; next: " + "; then: ".join(steps + [start])


def _get(config: Config) -> Dict[str, object]:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.monitoring_listener,
                                                       config.monitoring_listener)
    connection = http.client.HTTPConnection(address, config.monitoring_port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER)
        if answer.status != 200:
            raise ValueError("status %d" % answer.status)
        value = json.loads(body.decode("utf-8"))
    finally:
        connection.close()
    if not isinstance(value, dict):
        raise ValueError("its answer is not an object")
    return value


def _from_files(config: Config) -> Status:
    """Judge by what the daemon or `once` saved last."""
    path = os.path.join(config.state_dir, states.NAME)
    try:
        state = states.from_bytes(files.read_bounded(path, states.MAX_BYTES))
    except (files.FileError, ValueError) as error:
        text = "%s: monitoring is off and the state cannot be read" % safe(str(error))
        if isinstance(error.__cause__, FileNotFoundError):
            text += unstarted(config, configuration.host_name(config), host.starting())
        return Status(3, text, {"healthy": False, "reasons": [text]})
    return judge(json.loads(views.status(findings.snapshot(saved(config, state)))))


def saved(config: Config, state: states.State) -> findings.Situation:
    """Return the situation that the saved files tell of."""
    now = int(time.time())
    fqdn = configuration.host_name(config)
    found = inforce.peek(config, fqdn)
    reply = found.answer if found else None
    return findings.Situation(
        now=now, started=0, view=inforce.view_of(found, config, fqdn, "", now), state=state,
        fetch_reason=_silence(config, found.accepted, now) if found else "",
        pace=Pace(0, success=found.accepted if found else 0), interval=config.fetch_interval,
        server=config.url(), entry=reply.entry if reply else "",
        faults=reply.faults if reply else (), serial=reply.serial if reply else 0,
        expires=reply.expires if reply else 0, kernel=host.kernel())


def _silence(config: Config, accepted: int, now: int) -> str:
    """Say that nobody has asked the server for too long, neither a daemon nor `once`, or ""."""
    _, uptime = host.boot(now)
    if now - max(accepted, now - uptime) <= 2 * config.fetch_interval:
        return ""
    return "nobody has had an answer from the server since %s: is the daemon, or once, started?" % (
        window_id(accepted))


def judge(value: Dict[str, object]) -> Status:
    """Return the status that an answer of /status means."""
    found = value.get("reasons")
    reasons: List[str] = [safe(str(reason), 300) for reason in found] \
        if isinstance(found, list) else []
    if value.get("healthy") is not True:
        return Status(2, "; ".join(reasons) or "not healthy, and the daemon gives no reason", value)
    text = _good(value)
    strange = _newer(value)
    if reasons or strange:
        return Status(1, "; ".join(reasons or [strange]), value)
    return Status(0, text, value)


def _object(value: Dict[str, object], key: str) -> Dict[str, object]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _newer(value: Dict[str, object]) -> str:
    """Say which words only a later version knows; a daemon of that version may think all is well.

    After an upgrade of the files that is the case until the daemon has started anew.
    """
    said: List[Tuple[str, object, Container[str]]] = [
            ("outcome", _object(value, "last_run").get("outcome"), words.OUTCOMES),
            ("state of the reboot", _object(value, "reboot").get("state"), words.REBOOTS)]
    return ", ".join("%s %s: only later versions know it" % (what, safe(str(word), 40))
                     for what, word, known in said if word and str(word) not in known)


def _good(value: Dict[str, object]) -> str:
    """Say in a few words that all is well and what comes next."""
    last, coming = _object(value, "last_run"), _object(value, "next_window")
    words = ["last run %s in window %s" % (last.get("outcome"), last.get("window"))
             if last.get("outcome") else "no run yet"]
    policy = _object(value, "policy")
    if policy and policy.get("patch") is not True:
        words.append("patching is off in the manifest")
    elif coming.get("start"):
        words.append("next start %s" % coming.get("start"))
    elif value.get("waiting_for"):
        words.append(str(value.get("waiting_for")))
    return safe(", ".join(words), 300)


def numbers(value: Dict[str, object]) -> str:
    """Return the performance data of the line."""
    last = _object(value, "last_run")
    pairs: List[Tuple[str, object]] = [(key, last.get(key))
                                       for key in ("upgraded", "kept", "pending")]
    return " ".join("%s=%d" % (key, count) for key, count in pairs if type(count) is int)


def line(status: Status) -> str:
    """Return the one line of a monitoring plugin."""
    data = numbers(status.detail)
    # Behind a bar a monitoring system reads numbers; package managers write "a | b".
    return "QUALVOSEC %s - %s%s\n" % (WORDS[status.code], status.text.replace("|", "/"),
                                      " | " + data if data else "")
