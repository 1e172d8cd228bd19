# SPDX-License-Identifier: BSD-2-Clause
"""Trials of runs that meet trouble: lost servers, missing rules, broken packages, vetoes."""

import os
import time
from typing import Dict

from tests.e2e import aptrepo
from tests.e2e import realdebs
from tests.e2e import webserver
from tests.e2e.cases_runs import kept
from tests.e2e.cases_runs import outcome
from tests.e2e.cases_runs import stays
from tests.e2e.cases_runs import wait_status
from tests.e2e.container import wait_for
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal
from tests.e2e.trial import opening

UNHEALTHY = 2


def unhealthy_because(trial: Trial, word: str, timeout_s: float = 60.0) -> None:
    """Wait until `qualvosec status` is not OK and its line has this word."""

    def says() -> bool:
        answer = trial.health()
        return answer.returncode != 0 and word.lower() in answer.out.lower()

    wait_for("an unhealthy status with %r" % word, says, timeout_s)


def nothing_ran(trial: Trial) -> None:
    """No package was touched and the daemon lives."""
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim")
    check_equal(trial.configured("e2e-victim", "1.1"), [], "runs of the new postinst")
    check_equal(trial.box.reboots, 0, "reboots")
    check(trial.active(), "the service has ended")


def server_never_there(trial: Trial) -> None:
    """Without a server there is no policy: unhealthy, nothing runs; it recovers by itself."""
    trial.configure()
    trial.boot("e2e-victim")
    trial.publish_open()
    trial.web.stop()
    trial.start_service()
    unhealthy_because(trial, "manifest")
    nothing_ran(trial)
    check_equal(trial.record(), {}, "root's record")
    trial.web.start()
    check_equal(outcome(trial, "ok")["window"], trial.record()["window"], "window")


def server_lost(trial: Trial) -> None:
    """A server lost before the window: the last policy stands, the run takes place."""
    trial.configure()
    trial.boot("e2e-victim")
    trial.opens = (int(time.time()) + 90) // 60 * 60
    fields: Dict[str, object] = {"patch": True, "reboot": False}
    fields.update(opening(time.time() - trial.opens))
    trial.publish(fields)
    trial.start_service()
    wait_for("the policy to be known", lambda: trial.qualvosec("policy").returncode == 0, 60)
    wait_for("the first fetch", trial.fetches, 30)
    check(time.time() < trial.opens, "the machine is too slow for this trial")
    trial.web.stop()
    # Without its server the host cannot fetch packages either: only the attempt is to be seen.
    wait_for("an attempt at the opening", trial.record, 150)
    check(int(str(trial.record()["accepted"])) >= trial.opens, "attempt before the opening")
    failed = trial.finished_run()
    check_equal(failed["committed"], False, "committed without a repository")
    trial.web.start()
    wait_for("the run", lambda: trial.version("e2e-victim") == "1.1", 420)
    check_equal(outcome(trial, "ok")["committed"], True, "committed")


def no_sudo_rule(trial: Trial) -> None:
    """Without the sudo rule: nothing runs, it is said loudly, the daemon stays."""
    trial.configure()
    os.unlink(trial.box.path("/etc/sudoers.d/qualvosec"))
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    unhealthy_because(trial, "sudo")
    nothing_ran(trial)
    check_equal(trial.health().returncode, UNHEALTHY, "exit code of qualvosec status")


def conffile(trial: Trial) -> None:
    """A changed configuration file is kept, the new one left beside it and reported."""
    trial.configure()
    trial.boot("e2e-conffile", "e2e-victim")
    trial.box.write(aptrepo.CONFFILE, "changed by the administrator\n")
    trial.publish_open()
    trial.start_service()
    record = outcome(trial, "ok")
    check_equal(trial.version("e2e-conffile"), "1.1", "e2e-conffile")
    text = trial.box.read(aptrepo.CONFFILE)
    check_equal(text, "changed by the administrator\n", aptrepo.CONFFILE)
    check_equal(trial.box.read(aptrepo.CONFFILE + ".dpkg-dist"), "shipped in 1.1\n", ".dpkg-dist")
    check(aptrepo.CONFFILE in str(record["config_files"]), "reported: %r" % record["config_files"])


def bad_postinst(trial: Trial) -> None:
    """A package that cannot be configured: failed, no reboot, unhealthy; the rest is upgraded."""
    trial.configure()
    trial.boot("e2e-badpost", "e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    record = outcome(trial, "failed")
    check_equal(record["clean"], False, "clean")
    check("e2e-badpost" in str(record["reason"]), "reason: %r" % record["reason"])
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    unhealthy_because(trial, "failed")
    stays("reboots", trial, 0)
    row = wait_for("the outcome in the overview", lambda: _reported(trial, "failed"), 330)
    check(row, "no row")


def _reported(trial: Trial, word: str) -> bool:
    return word in trial.admin_row()["Status"]


def vetoed(trial: Trial) -> None:
    """While the veto file is there nothing runs and its reason is shown."""
    trial.configure()
    veto = os.path.join(trial.paths.config, "veto")
    trial.box.write(veto, "backup is running\n")
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    wait_for(
        "the reason of the veto",
        lambda: "backup is running" in trial.health().out,
        60,
    )
    nothing_ran(trial)
    check_equal(trial.record().get("committed", False), False, "committed")


def hook_refuses(trial: Trial) -> None:
    """A pre-patch hook that fails: nothing is installed, and it is named."""
    trial.configure()
    hook = os.path.join(trial.paths.config, "hooks.d/pre-patch.d/10-busy")
    trial.box.write(hook, "#!/bin/sh\nexit 1\n", 0o755)
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    record = outcome(trial, "refused")
    check_equal(record["committed"], False, "committed")
    unhealthy_because(trial, "10-busy")
    nothing_ran(trial)


def reboot_forbidden(trial: Trial) -> None:
    """allow_reboot: false in root's file wins over the manifest; it is reported."""
    trial.configure(helper={"allow_reboot": "false"})
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    outcome(trial, "ok")
    wait_status(trial, "reboot", "state", "failed")
    check(trial.health().returncode != 0, "a refused reboot is healthy")
    stays("reboots", trial, 0)


def invalid_entry(trial: Trial) -> None:
    """An entry with a fault: that host does not patch, says why, and recovers."""
    trial.configure()
    trial.boot("e2e-victim")
    fields: Dict[str, object] = {"patch": True, "reboot": False}
    fields.update(opening(60))
    broken = dict(fields)
    broken["weekday"] = 9
    trial.publish(broken)
    trial.start_service()
    unhealthy_because(trial, "weekday")
    nothing_ran(trial)
    check_equal(trial.record(), {}, "root's record")


def window_over(trial: Trial) -> None:
    """A window that closed before the host knew of it: nothing runs, nothing was missed."""
    trial.configure()
    trial.boot("e2e-victim")
    fields: Dict[str, object] = {"patch": True, "reboot": True}
    fields.update(opening(3 * 3600))
    trial.publish(fields)
    trial.start_service()
    wait_for("the policy to be in force", lambda: trial.status().get("entry") == "policy", 60)
    waiting = wait_for("a decision to wait", lambda: trial.status().get("waiting_for"), 60)
    check("window" in str(waiting), "waiting for: %r" % waiting)
    check_equal(trial.health().returncode, 0, "exit code of qualvosec status")
    nothing_ran(trial)
    check_equal(trial.record(), {}, "root's record")


def repository_down(trial: Trial) -> None:
    """The repository does not answer: failed, not consumed, package database untouched."""
    trial.configure()
    trial.boot("e2e-victim")
    sources = trial.box.read("/etc/apt/sources.list")
    trial.box.write("/etc/apt/sources.list", sources.replace(":8081", ":8099"))
    trial.publish_open(reboot=True)
    trial.start_service()
    record = outcome(trial, "failed")
    check_equal(record["committed"], False, "committed")
    check_equal(kept(record), [], "kept back")
    unhealthy_because(trial, "failed")
    nothing_ran(trial)


def interpreter_gone(trial: Trial) -> None:
    """An upgrade takes the interpreter away: the run is called failed, nothing is rebooted."""
    trial.configure()
    trial.boot("e2e-nopython", "e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    record = outcome(trial, "failed")
    check_equal(trial.version("e2e-nopython"), "1.1", "e2e-nopython")
    check_equal(record["committed"], True, "committed")
    stays("reboots", trial, 0)


def bad_signature(trial: Trial) -> None:
    """A repository that another key has signed: failed before anything is installed."""
    trial.configure()
    trial.boot("e2e-victim")
    other = "/usr/share/keyrings/debian-archive-keyring.gpg"
    done = trial.box.run(["cp", other, "/etc/apt/keyrings/e2e.gpg"])
    check_equal(done.returncode, 0, "cp: " + done.text)
    trial.publish_open(reboot=True)
    trial.start_service()
    check_equal(outcome(trial, "failed")["committed"], False, "committed")
    unhealthy_because(trial, "failed")
    nothing_ran(trial)


def other_tool(trial: Trial) -> None:
    """Debian's own unattended-upgrades: a warning, until the command that it names was run."""
    debs = realdebs.ensure("host", "unattended-upgrades")
    aptrepo.publish(trial.base.packages, "other", debs)
    trial.configure()
    trial.boot()
    trial.publish({"patch": False})
    sources = trial.box.read("/etc/apt/sources.list")
    more = aptrepo.more_sources(webserver.REPO_PORT, "other")
    trial.box.write("/etc/apt/sources.list", sources + more)
    # The base tree has this timer taken away; Debian has it enabled.
    for command in (
        "apt-get -q update",
        "apt-get -q -y --no-install-recommends install unattended-upgrades",
        "systemctl enable apt-daily-upgrade.timer",
    ):
        done = trial.box.run(["sh", "-c", "DEBIAN_FRONTEND=noninteractive " + command], b"", 120)
        check_equal(done.returncode, 0, command + ": " + done.text)
    trial.start_service()
    wait_for("a warning in the log", lambda: trial.journal_has("another tool patches"), 60)
    wait_for("the manifest", lambda: trial.status().get("entry") == "policy", 60)
    tested = trial.qualvosec("configtest")
    check_equal(tested.returncode, 0, "exit code of configtest: " + tested.text)
    told = [line for line in tested.text.splitlines() if "unattended-upgrades installs" in line]
    check_equal(len(told), 1, "warnings of configtest: " + tested.text)
    status = trial.health()
    check_equal(status.returncode, 1, "exit code of qualvosec status")
    check("unattended-upgrades installs" in status.out, "status: " + status.out)
    check_equal(trial.status()["healthy"], True, "healthy")
    done = trial.box.run(["sh", "-c", told[0].partition("to turn it off: ")[2]])
    check_equal(done.returncode, 0, "the command that was named: " + done.text)
    merged = trial.box.run(["apt-config", "dump", "APT::Periodic::Unattended-Upgrade"]).out
    check_equal(merged.strip(), 'APT::Periodic::Unattended-Upgrade "0";', "what apt makes of it")
    tested = trial.qualvosec("configtest")
    check_equal(tested.returncode, 0, "exit code of configtest")
    check("unattended" not in tested.text, "configtest still says: " + tested.text)
    check_equal(trial.health().returncode, 0, "exit code of qualvosec status")


CASES = [
    Case("server-lost", "server lost before the window: last policy stands", server_lost, True),
    Case("server-never-there", "no server: no run, unhealthy, recovers", server_never_there),
    Case("no-sudo-rule", "sudo rule missing: no run, unhealthy", no_sudo_rule),
    Case("conffile", "changed configuration file kept and reported", conffile),
    Case("bad-postinst", "postinst fails: failed, no reboot, rest upgraded", bad_postinst, True),
    Case("veto", "veto file: no run, its reason shown", vetoed),
    Case("hook-refuses", "a failing pre-patch hook: nothing installed", hook_refuses),
    Case("reboot-forbidden", "allow_reboot false wins over the manifest", reboot_forbidden),
    Case("invalid-entry", "invalid entry: no run, says why", invalid_entry),
    Case("window-over", "a window from before the host knew of it", window_over),
    Case("interpreter-gone", "the interpreter vanished: failed, no reboot", interpreter_gone),
    Case("bad-signature", "repository signed by another key: nothing installed", bad_signature),
    Case("other-tool", "unattended-upgrades is named until it is turned off", other_tool),
    Case("repository-down", "no repository: failed, nothing touched", repository_down),
]
