# SPDX-License-Identifier: BSD-2-Clause
"""`qualvosec once`: fetch, decide and act one time, for cron and for a first look.

The same engine as the daemon's, under the same lock. With --dry-run nothing is
saved, no root is asked and nothing is started: it shows what would be decided
now and which updates are pending.
"""

import os
import selectors
import sys
import time
from typing import Tuple

from qualvosec import command
from qualvosec import files
from qualvosec import paths
from qualvosec import useragent
from qualvosec.client import config as configuration
from qualvosec.client import host
from qualvosec.client.config import Config
from qualvosec.client.decide import state as states
from qualvosec.client.decide.ahead import Facts
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.decide.statedir import check_owner
from qualvosec.client.decide.statedir import take_lock
from qualvosec.client.decide.step import Action
from qualvosec.client.decide.step import step
from qualvosec.client.engine import Engine
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch import line
from qualvosec.client.root import plan
from qualvosec.client.root.record import RootError
from qualvosec.client.tell import findings
from qualvosec.manifest.policy import Policy

FETCH_S = 75.0
MAX_STEPS = 16


def run(config: Config) -> int:
    """Fetch, decide, act once and wait for the end of what was started; returns 0 or 1."""
    check_owner(config.state_dir, "-c %s once" % config.path)
    configuration.use_zone(config)
    lock = take_lock(config.state_dir)
    try:
        with selectors.DefaultSelector() as selector:
            engine = Engine(config, selector)
            engine.fetch_now()
            _work(engine, selector)
        return _tell(engine)
    finally:
        os.close(lock)


def _work(engine: Engine, selector: selectors.BaseSelector) -> None:
    """Tick until nothing of ours is under way and the decision is to wait."""
    while True:
        wait = engine.tick()
        if not engine.busy() and engine.action.kind == "wait":
            return
        if not selector.get_map():
            time.sleep(min(wait, 0.2))
            continue
        for key, mask in selector.select(min(wait, 1.0)):
            key.data.handle(key, mask)


def _tell(engine: Engine) -> int:
    situation = engine.situation(int(time.time()))
    if situation.distrusted:
        # The one who looked before is gone: it has been so since the last good answer, at most.
        situation = situation._replace(distrusted=situation.pace.success or situation.distrusted)
    bad = [finding for finding in findings.findings(situation) if finding.bad]
    sys.stdout.write("%s\n" % (situation.waiting or "nothing to do"))
    for finding in bad:
        sys.stderr.write("qualvosec: %s\n" % finding.text)
    return 1 if bad else 0


def fetch(config: Config, fqdn: str) -> line.FetchReply:
    """Ask the server once, without a report and without the cache; raises FetchError.

    What the daemon would refuse (unsigned, old, another fleet's) is refused here, too.
    """
    found = inforce.peek(config, fqdn)
    serial, sha256 = found.bound() if found else (0, "")
    request = line.request_line(
        url=config.url(), fqdn=fqdn, user_agent=useragent.write(paths.VERSION, fqdn),
        allowed_signers=config.allowed_signers, audience=config.audience,
        serial=serial, sha256=sha256,
        ca_file=config.ca_file, client_cert=config.client_cert, client_key=config.client_key,
        proxy=config.proxy, deadline_s=int(FETCH_S) - 15)
    env = {"PATH": command.FIXED_PATH, "LC_ALL": "C", "HOME": "/"}
    ended = command.run(inforce.fetch_argv(), env, request, FETCH_S)
    try:
        reply = line.parse_reply(ended.stdout)
    except ValueError as error:
        raise line.FetchError("the fetch ended without a usable answer: %s" % error)
    if reply.result == "failed":
        raise line.FetchError(reply.reason)
    return reply


def peek_state(config: Config) -> State:
    """Return the daemon's state as it stands, a first start's if unreadable. Writes nothing."""
    try:
        data = files.read_bounded(os.path.join(config.state_dir, states.NAME), states.MAX_BYTES)
        return states.from_bytes(data)
    except (files.FileError, ValueError):
        return State()


def decide(view: View, state: State, veto: str, now: int) -> Tuple[State, Action]:
    """Return the decision that a daemon would take now with a helper that is idle."""
    boot_id, uptime = host.boot(now)
    action = Action("again")
    for _ in range(MAX_STEPS):
        if action.kind != "again":
            break
        state, action = step(view, state, Facts(
            now=now, boot_id=boot_id, uptime=uptime, kernel=host.kernel(), record=None,
            alive=False, unanswered="", refused="", veto=veto, clock_plausible=True,
            writable=True))
    return state, action


def dry_run(config: Config) -> int:
    """Show the decision of this moment and the pending updates; changes nothing; returns 0 or 1."""
    configuration.use_zone(config)
    fqdn = configuration.host_name(config)
    now = int(time.time())
    if not fqdn:
        sys.stderr.write("qualvosec: %s\n" % configuration.unnamed(config))
        return 1
    renamed = inforce.renamed(inforce.kept(config), config, fqdn)
    if renamed:
        sys.stderr.write("qualvosec: %s\n" % renamed)
        return 1
    reply = fetch(config, fqdn)
    out = sys.stdout
    out.write("host: %s\nmanifest: %s: %s\n" % (fqdn, config.url(), reply.entry))
    for fault in reply.faults:
        out.write("fault: %s\n" % fault)
    view = inforce.view_of(inforce.Accepted(reply, now, config.url(), fqdn), config, fqdn,
                              "", now)
    veto = host.veto(paths.CONFIG_DIR, time.strftime("%Y-%m-%d", time.localtime(now)))
    state = peek_state(config)
    out.write("decision: %s\n" % (
        "wait: window %s is in phase %s, only root can tell more" % (state.window, state.phase)
        if state.phase != "idle" else in_words(decide(view, state, veto, now)[1], now)))
    try:
        found = plan.ask(reply.policy or Policy())
    except RootError as error:
        out.write("pending: %s\n" % error)
        return 0
    out.write(plan.table(found))
    return 0


def in_words(action: Action, now: int) -> str:
    """Return the decision as a sentence."""
    if action.kind == "upgrade":
        return "would upgrade now, window %s" % action.window
    if action.kind in ("repair", "reboot"):
        return "would %s now, window %s" % (action.kind, action.window)
    return "wait: %s" % (findings.waiting_for("wait", action.why, action.until, now) or "")
