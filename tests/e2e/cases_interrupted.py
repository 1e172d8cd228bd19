# SPDX-License-Identifier: BSD-2-Clause
"""Trials of runs that cannot go straight on: locks held by others, processes that are killed."""

import subprocess
import time

from tests.e2e import aptrepo
from tests.e2e.cases_faults import nothing_ran
from tests.e2e.cases_faults import unhealthy_because
from tests.e2e.cases_runs import names
from tests.e2e.cases_runs import outcome
from tests.e2e.cases_runs import stays
from tests.e2e.cases_runs import wait_status
from tests.e2e.container import wait_for
from tests.e2e.trial import SERVICE
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal

DPKG_LOCKS = "/var/lib/dpkg/lock-frontend"

# Holds dpkg's lock as another apt does (fcntl), until its standard input ends.
_HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class HeldLock:
    """Somebody else's package manager: holds dpkg's frontend lock until release()."""

    def __init__(self, trial: Trial) -> None:
        self._process = trial.box.popen(["python3", "-c", _HOLD, DPKG_LOCKS])
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        check_equal(answer, b"held\n", "answer of the lock holder")

    def release(self) -> None:
        """Let the lock go."""
        try:
            self._process.communicate(b"", 20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


def lock_waits(trial: Trial) -> None:
    """dpkg's lock is held at the opening: the run waits for it and then goes on."""
    trial.configure(helper={"lock_wait": "600"})
    trial.boot("e2e-victim")
    lock = HeldLock(trial)
    try:
        trial.publish_open()
        trial.start_service()
        wait_for("the start of the run", trial.record, 60)
        _keeps_waiting(trial, 70)
    finally:
        lock.release()
    outcome(trial, "ok")
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")


def _keeps_waiting(trial: Trial, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        record = trial.record()
        check_equal(record["finished"], 0, "finished, with the lock held")
        check_equal(record["committed"], False, "committed, with the lock held")
        time.sleep(1)
    check(trial.active(), "the service has ended")


def lock_retried(trial: Trial) -> None:
    """The lock is not let go in time: locked, not consumed, tried again five minutes later."""
    trial.configure(helper={"lock_wait": "5"})
    trial.boot("e2e-victim")
    lock = HeldLock(trial)
    try:
        trial.publish_open(duration=120)
        trial.start_service()
        record = outcome(trial, "locked")
        check_equal(record["committed"], False, "committed")
        unhealthy_because(trial, "locked")
        nothing_ran(trial)
    finally:
        lock.release()
    first = record["accepted"]
    wait_for("the next attempt", lambda: trial.record()["accepted"] != first, 420)
    outcome(trial, "ok")
    check_equal(len(trial.configured("e2e-victim", "1.1")), 1, "runs of the new postinst")


def cgroup_killed(trial: Trial) -> None:
    """The daemon's whole cgroup is killed mid-run: the run finishes and is adopted."""
    trial.configure()
    trial.boot("e2e-slow", "e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    wait_for("the slow postinst", lambda: _exists(trial, aptrepo.SLOW_STARTED), 60)
    kill = ["systemctl", "kill", "--kill-whom=all", "--signal=KILL", SERVICE]
    check_equal(trial.box.run(kill).returncode, 0, "systemctl kill")
    check(_exists(trial, aptrepo.SLOW_STARTED), "the run is gone")
    wait_for("the service to be back", trial.active, 120)
    check_equal(trial.record()["finished"], 0, "finished, with the postinst waiting")
    _go(trial)
    record = outcome(trial, "ok")
    check_equal(names(record), ["e2e-slow", "e2e-victim"], "upgraded packages")
    check_equal(len(trial.configured("e2e-slow", "1.1")), 1, "runs of the slow postinst")
    # The new process believes the clock after a fetch, at the latest five minutes after the run.
    wait_for("the reboot that belongs to the run", lambda: trial.box.reboots == 1, 400)
    trial.box.wait_booted()
    wait_status(trial, "reboot", "state", "verified")
    stays("reboots", trial, 1)


def service_stopped(trial: Trial) -> None:
    """Who waits for the run is killed, then restarted: it goes on, no second one is started."""
    trial.configure()
    trial.boot("e2e-slow")
    trial.publish_open()
    trial.start_service()
    wait_for("the slow postinst", lambda: _exists(trial, aptrepo.SLOW_STARTED), 60)
    _lose_connection(trial)
    check_equal(trial.box.run(["systemctl", "restart", SERVICE]).returncode, 0, "restart")
    wait_for("the service to be back", trial.active, 60)
    check_equal(trial.record()["finished"], 0, "finished, with the postinst waiting")
    _go(trial)
    outcome(trial, "ok")
    wait_status(trial, "last_run", "outcome", "ok")
    check_equal(len(trial.configured("e2e-slow", "1.1")), 1, "runs of the slow postinst")


def _lose_connection(trial: Trial) -> None:
    """What waits at systemd for the end of the run dies: the run itself has not ended by that."""
    front = trial.box.run(["pgrep", "-f", "^/usr/bin/python3 .*qualvosec-helper$"]).out.strip()
    check(front.isdigit(), "the helper that waits: %r" % front)
    check_equal(trial.box.run(["pkill", "-KILL", "-x", "systemd-run"]).returncode, 0, "pkill")
    wait_for("the end of the helper", lambda: not _exists(trial, "/proc/" + front), 30)
    wait_for("the run to be watched", lambda: trial.status().get("running_since"), 30)
    told = trial.box.run(["journalctl", "-q", "-p", "crit", "-t", "qualvosec"]).out
    check_equal(told, "", "critical messages")


def power_cut(trial: Trial) -> None:
    """Power fails mid-run: after boot the packages are repaired once, and nothing loops."""
    trial.configure()
    trial.boot("e2e-slow", "e2e-victim")
    trial.publish_open()
    trial.start_service()
    wait_for("the slow postinst", lambda: _exists(trial, aptrepo.SLOW_STARTED), 60)
    before = trial.box.boot_id()
    trial.box.power_cut()
    check(trial.box.boot_id() != before, "the boot id is still the same")
    _go(trial)
    # Only a fetch of this boot proves the clock: it comes at the latest five minutes later.
    wait_for("the repair", lambda: trial.version("e2e-slow") == "1.1", 400)
    record = trial.finished_run()
    check_equal(record["clean"], True, "clean")
    check_equal(record["op"], "repair", "operation")
    audit = trial.box.run(["dpkg", "--audit"]).out
    check_equal(audit, "", "dpkg --audit")
    stays("reboots", trial, 0)


def _exists(trial: Trial, inside: str) -> bool:
    return trial.box.run(["test", "-e", inside]).returncode == 0


def _go(trial: Trial) -> None:
    check_equal(trial.box.run(["touch", aptrepo.SLOW_GO]).returncode, 0, "touch")


CASES = [
    Case("lock-retried", "lock held too long: tried again after five minutes", lock_retried, True),
    Case("lock-waits", "lock held for 70 s: waits, then runs", lock_waits, True),
    Case("cgroup-killed", "cgroup killed mid-run: run adopted, one reboot", cgroup_killed, True),
    Case("service-restarted", "restart mid-run: finishes, no second run", service_stopped),
    Case("power-cut", "power fails mid-run: repaired once after boot", power_cut, True),
]
