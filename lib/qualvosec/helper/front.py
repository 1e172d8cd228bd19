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
import signal
import syslog
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple

from qualvosec import command
from qualvosec import files
from qualvosec import paths
from qualvosec.contract import call
from qualvosec.helper import config as configs
from qualvosec.helper import managers
from qualvosec.helper import process
from qualvosec.helper import record as records
from qualvosec.helper import request as requests
from qualvosec.helper import rules
from qualvosec.helper.managers import base
from qualvosec.helper.managers import system

POLL_S = 1.0
ANSWER_S = 60
Reply = Dict[str, object]


class Host(NamedTuple):
    """Where the front works: user, places, clock and the way to start a transaction."""

    euid: int
    store: records.Store
    config_dir: str
    world: base.World
    insecure: Callable[[], str] = lambda: process.insecure([paths.CONFIG_DIR] + process.own_files())
    launch: Callable[[], str] = system.launch
    gone: Callable[[float], bool] = process.caller_gone
    tell: Callable[[str], None] = syslog.syslog


def serve(receive: Callable[[], bytes], host: Host) -> Reply:
    """Answer one request; the reply is complete whatever happened."""
    reply: Reply = dict(call.Answer()._asdict(), v=call.VERSION)
    try:
        reply.update(_serve(requests.parse(receive()), host))
    except requests.RequestError as error:
        reply.update(status=call.INVALID, reason=str(error))
    except (base.Refused, base.Unsupported, files.FileError) as error:
        reply.update(status=call.REFUSED, reason=str(error))
    except (base.ManagerError, command.CommandError, OSError) as error:
        reply.update(status=call.FAILED, reason=str(error))
    return reply


def _serve(request: requests.Request, host: Host) -> Reply:
    if request.op not in ("status", "check") or request.refresh:
        if host.euid != 0:
            raise base.Refused("%s: only root may do this: use sudo or doas" % request.op)
        fault = host.insecure()
        if fault:
            raise base.Refused("own files: %s" % fault)
    path = os.path.join(host.config_dir, "helper.conf")
    # Who may not read it gets no more than a look at public facts.
    config = configs.read(path) if host.euid == 0 or os.access(path, os.R_OK) else configs.Config()
    if request.op not in config.allow:
        raise base.Refused("%s: not allowed by helper.conf" % request.op)
    return {"check": _check, "status": _status}.get(request.op, _start)(request, host, config)


def _check(request: requests.Request, host: Host, config: configs.Config) -> Reply:
    manager = managers.of_this_system(config.package_manager, host.world)
    if request.refresh:
        try:
            manager.refresh(host.world.now() + base.REFRESH_S)
        except base.Incomplete as error:
            manager.notes.append(str(error))
    wanted = base.Selection(request.security_only, request.only, request.exclude)
    plan = manager.plan(wanted, detail=True)
    plan = plan._replace(warnings=plan.warnings + tuple(manager.notes))
    return {"plan": base.to_json(manager.name, plan, manager.reboot_reasons())}


def _status(request: requests.Request, host: Host, config: configs.Config) -> Reply:
    boot_id = system.boot_id(host.world.root, host.world.run)
    while True:
        alive = host.store.alive(host.store.read(), host.world.now(), boot_id)
        if not (alive and request.wait) or host.gone(POLL_S):
            return dict(_told(host.store.read().record, alive),
                        **managers.about(config.package_manager, host.world))


def _told(record: records.Record, alive: bool) -> Reply:
    # A record that is neither finished nor alive says by itself that the run was interrupted.
    return {"alive": alive, "record": records.to_json(record) if record.window else None}


def _start(request: requests.Request, host: Host, config: configs.Config) -> Reply:
    host.store.prepare()
    boot_id = system.boot_id(host.world.root, host.world.run)
    lock = host.store.lock()
    try:
        before, now = host.store.read(host.tell), host.world.now()
        alive = lock is None or records.starting(before, now, boot_id)
        veto = configs.veto(os.path.join(host.config_dir, "veto"), now)
        why = rules.refusal(request, before, config, veto, alive, now, boot_id)
        if not alive and before.last_reboot > now:
            # The clock was set back. Counting from now on keeps a host without clock from looping.
            host.store.write(before._replace(last_reboot=int(now)))
        if why:
            return dict(_told(before.record, alive), status=call.REFUSED, reason=why)
        host.store.write(records.accept(before, request, int(now), boot_id))
    finally:
        if lock is not None:
            os.close(lock)
    fault, after = host.launch(), host.store.read()
    if not after.taken:
        # No process came, so nothing has happened: as if it had never been accepted.
        host.store.write(before._replace(taken=True))
        raise base.Refused("the run was not started: %s" % (fault or "no process took it"))
    # What waited for the run may be gone, as with its connection to systemd, and the run not.
    told = _told(after.record, host.store.alive(after, host.world.now(), boot_id))
    if request.op == "reboot" and after.record.reboot_refused:
        return dict(told, status=call.REFUSED, reason=after.record.reboot_refused)
    if request.op != "reboot" and not (after.record.finished or told["alive"]):
        return dict(told, status=call.FAILED, reason=(
            "the run was interrupted: see run.log: " + fault))
    return told


def main(argv: List[str]) -> int:
    """Serve the request on standard input; `--version` is for people and never allowed by sudo."""
    process.clean(process.STOPS)
    if argv[1:]:
        print("qualvosec-helper %s: takes no arguments: write a request to its input"
              % paths.VERSION)
        return 0 if argv[1:] == ["--version"] else 2
    world = base.World(run_dir=paths.RUN_DIR if os.geteuid() == 0 else "/tmp")
    host = Host(os.geteuid(), records.Store(paths.HELPER_STATE_DIR), paths.CONFIG_DIR, world)
    reply = serve(lambda: requests.read(process.admitted(0)), host)
    signal.alarm(ANSWER_S)  # a reader that does not read keeps nothing of root's for ever
    try:
        print(json.dumps(reply), flush=True)
    except OSError:
        # Nobody waits any more, as when the run replaced the daemon, or a disk is full. At an
        # orderly exit the interpreter would try again, complain, and choose a code of its own.
        os._exit(1)
    return {call.OK: 0, call.INVALID: 2}.get(str(reply["status"]), 1)
