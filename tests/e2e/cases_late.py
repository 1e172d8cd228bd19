# SPDX-License-Identifier: BSD-2-Clause
"""Trials of time: hosts off in their window, runs that end after it, many stops."""

import calendar
import time

from tests.e2e import aptrepo
from tests.e2e import system
from tests.e2e.cases_faults import nothing_ran
from tests.e2e.cases_faults import unhealthy_because
from tests.e2e.cases_runs import outcome
from tests.e2e.cases_runs import stays
from tests.e2e.cases_runs import wait_status
from tests.e2e.container import wait_for
from tests.e2e.trial import SERVICE
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check_equal
from tests.e2e.trial import opening

TIMES = 20


def _told(trial: Trial, command: str) -> None:
    done = trial.box.run(["sh", "-c", command])
    check_equal(done.returncode, 0, "%s (%s)" % (command, done.text))


def _forget_the_run(trial: Trial) -> None:
    """Make the host what it was before: the old package, no memory of the window."""
    _told(trial, "systemctl stop " + SERVICE)
    _told(trial, "rm -f %s/*.json %s/run.json %s %s" % (
        trial.paths.state, trial.paths.helper_state, aptrepo.SLOW_STARTED, aptrepo.SLOW_GO))
    _told(trial, "dpkg -i %s/e2e-slow_1.0_all.deb" % system.OLD_PACKAGES)


def twenty_times(trial: Trial) -> None:
    """The service is stopped or SIGKILLed in 20 runs: 20 of 20 finish, one record each."""
    trial.configure()
    trial.boot("e2e-slow")
    accepted = set()
    for number in range(TIMES):
        trial.publish_open()
        _told(trial, "systemctl reset-failed; systemctl start " + SERVICE)
        wait_for("the slow postinst", lambda: trial.box.run(
            ["test", "-e", aptrepo.SLOW_STARTED]).returncode == 0, 60)
        _told(trial, "systemctl stop %s" % SERVICE if number % 2 else
              "systemctl kill --kill-whom=all --signal=KILL %s" % SERVICE)
        _told(trial, "touch " + aptrepo.SLOW_GO)
        accepted.add(outcome(trial, "ok")["accepted"])
        _told(trial, "systemctl reset-failed; systemctl start " + SERVICE)
        wait_status(trial, "last_run", "outcome", "ok")
        check_equal(len(trial.configured("e2e-slow", "1.1")), number + 1, "runs of the postinst")
        _forget_the_run(trial)
    check_equal(len(accepted), TIMES, "records of runs")


def _miss_the_window(trial: Trial, **fields: object) -> None:
    """Let the host see a window of one minute that it is off for."""
    trial.configure()
    trial.boot("e2e-victim")
    entry = dict({"patch": True, "reboot": False, "duration": 1}, **fields)
    entry.update(opening(-100))
    then = time.gmtime(time.time() + 100)
    closes = calendar.timegm(then) // 60 * 60 + 60
    trial.publish(entry)
    trial.start_service()
    wait_status(trial, "policy", "duration", 1)
    trial.box.power_off()
    wait_for("the end of the window", lambda: time.time() > closes + 2, 240)
    trial.box.power_on()


def host_was_off(trial: Trial) -> None:
    """Off in the window, no catch_up: missed, said aloud, nothing runs."""
    _miss_the_window(trial)
    # The daemon spreads its first fetch over minutes; `once` asks now.
    _told(trial, "systemctl stop " + SERVICE)
    check_equal(trial.qualvosec("once").returncode, 1, "exit code of qualvosec once")
    _told(trial, "systemctl start " + SERVICE)
    wait_status(trial, "last_run", "outcome", "missed")
    unhealthy_because(trial, "missed")
    nothing_ran(trial)


def catches_up(trial: Trial) -> None:
    """Off in the window, catch_up: 1: the run starts after the boot."""
    _miss_the_window(trial, catch_up=1)
    outcome(trial, "ok")
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    check_equal(len(trial.configured("e2e-victim", "1.1")), 1, "runs of the new postinst")


def _long_run(trial: Trial, grace: int) -> None:
    """Let a run end after its window has closed."""
    trial.configure()
    trial.boot("e2e-slow")
    entry = opening(0)
    trial.publish_open(reboot=True, duration=1, reboot_grace=grace, **entry)
    closes = time.time() // 60 * 60 + 60
    trial.start_service()
    wait_for("the slow postinst", lambda: trial.box.run(
        ["test", "-e", aptrepo.SLOW_STARTED]).returncode == 0, 60)
    wait_for("the end of the window", lambda: time.time() > closes + 2, 120)
    _told(trial, "touch " + aptrepo.SLOW_GO)
    outcome(trial, "ok")


def _early_in_a_minute() -> None:
    """Wait until a window of this minute is long enough to start in."""
    wait_for("the first half of a minute", lambda: time.time() % 60 < 30, 60)


def reboot_in_grace(trial: Trial) -> None:
    """The run ends after the window: its reboot still comes, within reboot_grace."""
    _early_in_a_minute()
    _long_run(trial, 30)
    wait_for("the reboot that belongs to the run", lambda: trial.box.reboots == 1, 120)
    trial.box.wait_booted()
    wait_status(trial, "reboot", "state", "verified")
    stays("reboots", trial, 1)


def reboot_out_of_grace(trial: Trial) -> None:
    """The same without grace: the reboot is deferred and said aloud."""
    _early_in_a_minute()
    _long_run(trial, 0)
    wait_status(trial, "reboot", "state", "deferred")
    stays("reboots", trial, 0)


CASES = [
    Case("twenty-times", "stopped and SIGKILLed in 20 runs: 20 finish, one record each",
         twenty_times, True),
    Case("host-off", "off in the window: missed, said aloud", host_was_off, True),
    Case("catch-up", "off in the window with catch_up: runs after the boot", catches_up, True),
    Case("reboot-grace", "run ends after the window: reboot within the grace", reboot_in_grace,
         True),
    Case("reboot-no-grace", "the same without grace: deferred", reboot_out_of_grace, True),
]
