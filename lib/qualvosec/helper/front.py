# SPDX-License-Identifier: BSD-2-Clause
"""The one program that sudo, doas or a socket may start as root.

It takes no arguments, reads one JSON request, answers one JSON object and exits
with 0 (ok), 1 (refused or failed) or 2 (invalid). What changes the system runs in
a process of its own that outlives this one, its caller and the daemon's
service; here it is only judged, written down, started and waited for. Without root
only a look at pending updates is possible.
"""

import json
import os
import re
import select
import sys
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence

from qualvosec import command
from qualvosec import paths
from qualvosec.helper import config as configs
from qualvosec.helper import managers
from qualvosec.helper import process
from qualvosec.helper import reboot
from qualvosec.helper import record as records
from qualvosec.helper import request as requests
from qualvosec.helper import rules
from qualvosec.helper.managers import base

UNIT = "qualvosec-run"
POLL_S = 1.0
TRANSACTION = [paths.PYTHON, "-IBS", os.path.join(paths.LIBEXEC_DIR, "qualvosec-transaction")]
SYSTEMD_RUN = ["--quiet", "--wait", "--collect", "--unit=" + UNIT, "-p", "KillMode=mixed",
               "-p", "TimeoutStopSec=infinity"]
# Properties that older versions of systemd do not know and refuse (systemd's NEWS).
SYSTEMD_SINCE = ((240, "Type=exec"), (243, "OOMPolicy=continue"))


class RefusedError(Exception):
    """Root does not do this, or not now; the text is one line."""


class Host(NamedTuple):
    """Where the front works: users, places, clock and the way to start a transaction."""

    euid: int = 0
    store: records.Store = records.Store(paths.HELPER_STATE_DIR)
    config_dir: str = paths.CONFIG_DIR
    world: base.World = base.World()
    insecure: Callable[[], str] = lambda: process.insecure(process.own_files())
    launch: Callable[[base.World], str] = lambda world: launch(world)
    gone: Callable[[float], bool] = lambda wait_s: caller_gone(wait_s)


def serve(data: bytes, host: Host) -> Dict[str, object]:
    """Answer one request; the reply is complete whatever happened."""
    reply: Dict[str, object] = {"v": requests.VERSION, "status": "ok", "reason": "",
                                "alive": False, "record": None, "plan": None}
    try:
        reply.update(_serve(requests.parse(data), host))
    except requests.RequestError as error:
        reply.update(status="invalid", reason=str(error))
    except (RefusedError, configs.ConfigError, records.RecordError, base.Unsupported) as error:
        reply.update(status="refused", reason=str(error))
    except (base.ManagerError, command.CommandError, OSError) as error:
        reply.update(status="failed", reason=str(error))
    return reply


def _serve(request: requests.Request, host: Host) -> Dict[str, object]:
    harmless = request.op == "status" or (request.op == "check" and not request.refresh)
    if host.euid != 0 and not harmless:
        raise RefusedError("%s: only root may do this: use the sudo or doas rule" % request.op)
    if not harmless:
        fault = host.insecure()
        if fault:
            raise RefusedError("own program: %s" % fault)
    path = os.path.join(host.config_dir, "helper.conf")
    config = configs.Config()
    if host.euid == 0 or os.access(path, os.R_OK):
        config = configs.read(path, 0 if host.euid == 0 else None)
    if request.op == "check":
        return _check(request, host, config)
    if request.op == "status":
        return _status(request, host, config)
    return _start(request, host, config)


def _check(request: requests.Request, host: Host, config: configs.Config) -> Dict[str, object]:
    why = rules.refusal(request, records.State(), config, "", False, host.world.now())
    if why:
        raise RefusedError(why)
    manager = managers.of_this_system(config.package_manager, host.world)
    if request.refresh:
        manager.refresh(host.world.now() + config.lock_wait)
    wanted = base.Selection(request.security_only, request.only, request.exclude)
    plan = manager.plan(wanted, detail=True)
    return {"plan": base.to_json(manager.name, plan, manager.reboot_reasons())}


def _status(request: requests.Request, host: Host, config: configs.Config) -> Dict[str, object]:
    why = rules.refusal(request, records.State(), config, "", False, host.world.now())
    if why:
        raise RefusedError(why)
    boot_id = reboot.boot_id(host.world.root, host.world.run)
    while True:
        state = host.store.read()
        alive = host.store.alive(state, host.world.now(), boot_id)
        if not (alive and request.wait) or host.gone(POLL_S):
            return _told(host.store.read(), alive)


def _told(state: records.State, alive: bool) -> Dict[str, object]:
    record = state.record
    if not record.window:
        return {"alive": alive}
    if not record.finished and not alive:
        record = record._replace(outcome="interrupted", clean=False)
    return {"alive": alive, "record": records.to_json(record)}


def _start(request: requests.Request, host: Host, config: configs.Config) -> Dict[str, object]:
    host.store.prepare()
    boot_id = reboot.boot_id(host.world.root, host.world.run)
    lock = host.store.lock()
    try:
        state, now = host.store.read(), host.world.now()
        alive = lock is None or host.store.starting(state, now, boot_id)
        veto = configs.veto(os.path.join(host.config_dir, "veto"), now)
        why = rules.refusal(request, state, config, veto, alive, now)
        if why:
            return dict(_told(state, alive), status="refused", reason=why)
        host.store.write(records.accept(state, request, int(now), boot_id))
    finally:
        if lock is not None:
            os.close(lock)
    fault = host.launch(host.world)
    return _ended(request, host, fault, state)


def _ended(request: requests.Request, host: Host, fault: str,
           before: records.State) -> Dict[str, object]:
    """Tell from the record how it ended: the transaction's exit code says less."""
    state = host.store.read()
    if not state.taken:
        # Nothing has started, so nothing has happened: as if it had never been accepted.
        host.store.write(before._replace(taken=True))
        raise RefusedError("the run could not be started: %s" % (fault or "no process took it"))
    told = _told(state, False)
    if request.op == "reboot":
        if state.record.reboot_refused:
            return dict(told, status="refused", reason=state.record.reboot_refused)
        return told
    if not state.record.finished:
        return dict(told, status="failed", reason="the run was interrupted; see root's run.log")
    return told


def launch(world: base.World) -> str:
    """Start the transaction where nobody can end it with us, wait; say what went wrong."""
    if not os.path.isdir("/run/systemd/system"):
        done = command.run(TRANSACTION, process.ENVIRONMENT)
    else:
        # No fallback: without a unit of its own the run would die with the daemon's service.
        done = command.run(systemd_argv(world.run), process.ENVIRONMENT)
    text = done.stderr.decode("utf-8", "replace").strip()
    return text[-300:].replace("\n", "; ") if done.returncode != 0 else ""


def systemd_argv(run: Callable[..., command.Result] = command.run) -> List[str]:
    """Return the systemd-run command line for the version that is installed."""
    answer = run(["systemd-run", "--version"], process.ENVIRONMENT, deadline_s=10)
    found = re.match(rb"systemd ([0-9]+)", answer.stdout)
    version = int(found.group(1)) if found else 0
    words = [word for since, name in SYSTEMD_SINCE if version >= since for word in ("-p", name)]
    return ["systemd-run"] + SYSTEMD_RUN + words + ["--"] + TRANSACTION


def caller_gone(wait_s: float) -> bool:
    """Wait, at most until the reader of our answer has gone away; say whether it has."""
    watcher = select.poll()
    watcher.register(1, 0)
    return bool(watcher.poll(int(wait_s * 1000)))


def main(argv: Sequence[str]) -> int:
    """Serve the request on standard input."""
    process.clean()
    if list(argv[1:]) == ["--version"]:
        print("qualvosec-helper " + paths.VERSION)
        return 0
    if len(argv) != 1:
        sys.stderr.write("qualvosec-helper: takes no arguments: write a request to its input\n")
        return 2
    host = Host(euid=os.geteuid())
    if host.euid != 0:
        host = host._replace(world=host.world._replace(run_dir="/tmp"))
    try:
        reply = serve(requests.read(0), host)
    except requests.RequestError as error:
        reply = {"v": requests.VERSION, "status": "invalid", "reason": str(error),
                 "alive": False, "record": None, "plan": None}
    try:
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return 1
    return {"ok": 0, "invalid": 2}.get(str(reply["status"]), 1)
