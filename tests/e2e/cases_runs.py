# SPDX-License-Identifier: BSD-2-Clause
"""Trials of runs that go as planned: what is patched, how often, and what is rebooted."""

import os
import time
from typing import Dict
from typing import List

from tests.e2e import aptrepo
from tests.e2e import realdebs
from tests.e2e import system
from tests.e2e import webserver
from tests.e2e.container import wait_for
from tests.e2e.trial import OTHER
from tests.e2e.trial import SERVICE
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal
from tests.e2e.trial import opening
from tests.e2e.trial import window_id

QUIET_S = 20.0


def stays(what: str, trial: Trial, reboots: int) -> None:
    """Watch for QUIET_S seconds that no further reboot comes."""
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        check_equal(trial.box.reboots, reboots, what)
        time.sleep(0.5)
    check(trial.box.alive, "the host is down: %s" % trial.box.events)


def names(record: Dict[str, object]) -> List[str]:
    """The upgraded packages of a record, sorted."""
    upgraded = record["upgraded"]
    check(isinstance(upgraded, list), "record without upgraded: %r" % record)
    return sorted(row[0] for row in upgraded)  # type: ignore[attr-defined]


def kept(record: Dict[str, object]) -> List[str]:
    """The kept back packages of a record, sorted."""
    rows = record["kept"]
    check(isinstance(rows, list), "record without kept: %r" % record)
    return sorted(row[0] for row in rows)  # type: ignore[attr-defined]


def outcome(trial: Trial, wanted: str) -> Dict[str, object]:
    """Wait for the end of a run and check its outcome; the record."""
    record = trial.finished_run()
    check_equal(record["outcome"], wanted, "outcome (%s)" % record.get("reason"))
    return record


def wait_status(trial: Trial, part: str, key: str, value: object) -> None:
    """Wait until /status shows this value."""

    def found() -> object:
        fields = trial.status().get(part)
        return fields.get(key) if isinstance(fields, dict) else None

    wait_for("/status with %s: %s = %r" % (part, key, value), lambda: found() == value, 60)


def only_the_helper_was_asked_for(trial: Trial) -> None:
    """sudo's own log: the service user ran the helper and nothing else."""
    lines = [line for line in trial.box.journal().splitlines() if " COMMAND=" in line]
    lines = [line for line in lines if ": %s : " % system.USER in line.replace("  ", " ")]
    check(lines, "sudo has logged no command of the service user")
    for line in lines:
        command = line.split(" COMMAND=", 1)[1].strip()
        check_equal(command, trial.paths.helper, "command in sudo's log")


def no_failed_units(trial: Trial) -> None:
    """systemd calls no unit failed."""
    failed = trial.box.run(["systemctl", "--failed", "--no-legend", "--plain"]).out.strip()
    check_equal(failed, "", "failed units")


def window_open(trial: Trial) -> None:
    """The whole job: upgraded, rebooted exactly once, verified after boot, listed as ok."""
    trial.configure(helper={"reboot_delay": "60"})
    trial.boot("e2e-victim", "e2e-other")
    first_boot = trial.box.boot_id()
    trial.publish_open(reboot=True)
    trial.start_service()
    record = outcome(trial, "ok")
    check_equal(names(record), ["e2e-other", "e2e-victim"], "upgraded packages")
    wait_status(trial, "reboot", "state", "requested")
    check_equal(trial.box.reboots, 0, "reboots before reboot_delay is over")
    wait_for("the reboot", lambda: trial.box.reboots == 1, 150)
    trial.box.wait_booted()
    check(trial.box.boot_id() != first_boot, "the boot id is still the same")
    for name in ("e2e-victim", "e2e-other"):
        check_equal(trial.version(name), "1.1", name)
        check_equal(trial.configured(name, "1.1"), [first_boot], name + " configured in boots")
    wait_for("the service after boot", trial.active, 30)
    wait_status(trial, "reboot", "state", "verified")
    wait_for("the outcome in the access log", lambda: trial.admin_row()["Status"] == "ok", 330)
    check_equal(trial.admin_row(OTHER)["Status"], "never seen", "status of the other host")
    check_equal(trial.health().returncode, 0, "exit code of qualvosec status")
    stays("reboots", trial, 1)
    only_the_helper_was_asked_for(trial)
    no_failed_units(trial)


def doas(trial: Trial) -> None:
    """The same through doas, on a host without sudo."""
    trial.configure(privilege="doas")
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    outcome(trial, "ok")
    wait_for("the reboot", lambda: trial.box.reboots == 1, 90)
    trial.box.wait_booted()
    wait_status(trial, "reboot", "state", "verified")
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    stays("reboots", trial, 1)


def whitelist(trial: Trial) -> None:
    """Only packages that match the whitelist are upgraded; no hold is left behind."""
    trial.configure()
    trial.boot("e2e-victim", "e2e-other", "e2e-sec")
    trial.publish_open(packages_whitelist=["e2e-vic*", "not-installed"])
    trial.start_service()
    check_equal(names(outcome(trial, "ok")), ["e2e-victim"], "upgraded packages")
    check_equal(trial.version("e2e-other"), "1.0", "e2e-other")
    check_equal(trial.version("e2e-sec"), "1.0", "e2e-sec")
    check_equal(trial.box.run(["apt-mark", "showhold"]).out, "", "holds")


def blacklist(trial: Trial) -> None:
    """Packages of the blacklist stay as they are; no hold is left behind."""
    trial.configure()
    trial.boot("e2e-victim", "e2e-other", "e2e-sec")
    trial.publish_open(packages_blacklist=["e2e-other"])
    trial.start_service()
    check_equal(names(outcome(trial, "ok")), ["e2e-sec", "e2e-victim"], "upgraded packages")
    check_equal(trial.version("e2e-other"), "1.0", "e2e-other")
    check_equal(trial.box.run(["apt-mark", "showhold"]).out, "", "holds")


def security_only(trial: Trial) -> None:
    """Only what the security suite offers is upgraded."""
    trial.configure()
    trial.boot("e2e-victim", "e2e-other", "e2e-sec")
    trial.publish_open(security_only=True)
    trial.start_service()
    check_equal(names(outcome(trial, "ok")), ["e2e-sec"], "upgraded packages")
    check_equal(trial.version("e2e-sec"), "1.0+deb12u1", "e2e-sec")
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim")


def kept_back(trial: Trial) -> None:
    """The administrator's hold is respected and named; a new dependency is installed."""
    trial.configure()
    trial.boot("e2e-hold", "e2e-newdep")
    check_equal(trial.box.run(["apt-mark", "hold", "e2e-hold"]).returncode, 0, "apt-mark hold")
    trial.publish_open()
    trial.start_service()
    record = outcome(trial, "partial")
    check("e2e-newdep" in names(record), "e2e-newdep is not in %r" % record["upgraded"])
    check_equal(kept(record), ["e2e-hold"], "kept back")
    check_equal(trial.version("e2e-hold"), "1.0", "e2e-hold")
    check_equal(trial.version("e2e-brandnew"), "1.0", "the new dependency")
    check_equal(trial.box.run(["apt-mark", "showhold"]).out.split(), ["e2e-hold"], "holds")


def reboot_required(trial: Trial) -> None:
    """reboot: required reboots after a package that asks for it, and says why."""
    trial.configure()
    trial.boot("e2e-reboot", "e2e-victim")
    trial.publish_open(reboot="required")
    trial.start_service()
    record = outcome(trial, "ok")
    check_equal(record["reboot"], "due", "reboot in the record")
    check("e2e-reboot" in str(record["reboot_reasons"]), "reasons: %r" % record["reboot_reasons"])
    wait_for("the reboot", lambda: trial.box.reboots == 1, 90)
    trial.box.wait_booted()
    wait_status(trial, "reboot", "state", "verified")
    stays("reboots", trial, 1)


def reboot_not_required(trial: Trial) -> None:
    """reboot: required does not reboot when no package asks for it."""
    trial.configure()
    trial.boot("e2e-victim")
    trial.publish_open(reboot="required")
    trial.start_service()
    check_equal(outcome(trial, "ok")["reboot"], "no", "reboot in the record")
    wait_status(trial, "reboot", "state", "no")
    stays("reboots", trial, 0)


def nothing_pending(trial: Trial) -> None:
    """With nothing to install reboot: true reboots nothing."""
    trial.configure()
    trial.boot()
    trial.publish_open(reboot=True)
    trial.start_service()
    outcome(trial, "nothing")
    stays("reboots", trial, 0)
    check_equal(trial.health().returncode, 0, "exit code of qualvosec status")


def once_a_window(trial: Trial) -> None:
    """Restarted, started twice, or with its state lost: the daemon patches once a window."""
    trial.configure()
    trial.boot("e2e-victim")
    trial.publish_open()
    trial.start_service()
    first = outcome(trial, "ok")
    wait_status(trial, "last_run", "outcome", "ok")
    second = trial.qualvosec()
    check(second.returncode != 0, "a second daemon runs beside the first: " + second.text)
    check("Traceback" not in second.err, second.text)
    debs = "%s/e2e-victim_1.0_all.deb" % system.OLD_PACKAGES
    check_equal(trial.box.run(["dpkg", "-i", debs]).returncode, 0, "dpkg -i")
    trial.box.run(["systemctl", "restart", SERVICE])
    wait_status(trial, "last_run", "outcome", "ok")
    stays("reboots", trial, 0)
    trial.box.run(["systemctl", "stop", SERVICE])
    trial.box.run(["sh", "-c", "rm -f %s/*.json" % trial.paths.state])
    trial.box.run(["systemctl", "start", SERVICE])
    wait_for("a status after the loss of state", trial.status, 30)
    stays("reboots", trial, 0)
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim, put back after the run")
    check_equal(len(trial.configured("e2e-victim", "1.1")), 1, "runs of the new postinst")
    check_equal(trial.record()["started"], first["started"], "start of the last run")


def hooks(trial: Trial) -> None:
    """The administrator's hooks run as root around the run and before the reboot."""
    trial.configure()
    noting = '#!/bin/sh\necho "$QUALVOSEC_HOOK $QUALVOSEC_OUTCOME $(id -u)" >>/var/log/e2e-hooks\n'
    for kind in ("pre-patch", "post-patch", "pre-reboot"):
        folder = os.path.join(trial.paths.config, "hooks.d", kind + ".d")
        trial.box.write(os.path.join(folder, "10-note"), noting, 0o755)
        trial.box.write(os.path.join(folder, "10-note.bak"), noting, 0o755)
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    outcome(trial, "ok")
    wait_for("the reboot", lambda: trial.box.reboots == 1, 90)
    lines = trial.box.read("/var/log/e2e-hooks").splitlines()
    check_equal(lines, ["pre-patch  0", "post-patch ok 0", "pre-reboot  0"], "hooks")


def by_cron(trial: Trial) -> None:
    """`qualvosec once` without a daemon: a dry run changes nothing, a real one patches once."""
    trial.configure()
    trial.boot("e2e-victim")
    trial.publish_open()
    trial.box.run(["apt-get", "-q", "update"])
    dry = trial.qualvosec("once", "--dry-run")
    check_equal(dry.returncode, 0, "once --dry-run: " + dry.text)
    check("e2e-victim" in dry.out and "1.1" in dry.out, "dry run names no upgrade: " + dry.text)
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim after a dry run")
    done = trial.qualvosec("once")
    check_equal(done.returncode, 0, "once: " + done.text)
    outcome(trial, "ok")
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    again = trial.qualvosec("once")
    check_equal(again.returncode, 0, "second once: " + again.text)
    check_equal(len(trial.configured("e2e-victim", "1.1")), 1, "runs of the new postinst")


def not_yet_open(trial: Trial) -> None:
    """A window of the future: asked again shortly before it, run at its minute, not before."""
    fields = ahead(trial)
    wait_for("the opening", lambda: time.time() >= trial.opens, 900)
    record = trial.finished_run()
    check_equal(record["outcome"], "ok", "outcome")
    started = int(str(record["started"]))
    check(started >= trial.opens, "started %d before the opening" % started)
    check(started < trial.opens + 120, "started only at %d" % started)
    check_equal(record["window"], window_id(fields, time.time()), "window in the record")
    check(len(trial.fetches()) >= 2, "no fetch before the start: %r" % trial.fetches())


def patch_false_in_time(trial: Trial) -> None:
    """patch: false, published minutes before the window, is obeyed; the host is healthy."""
    fields = ahead(trial)
    fields["patch"] = False
    trial.publish(fields)
    wait_for("a minute after the opening", lambda: time.time() > trial.opens + 60, 900)
    check_equal(trial.record(), {}, "root's record")
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim")
    check_equal(trial.health().returncode, 0, "exit code of qualvosec status")
    check(trial.active(), "the service has ended")


def unlisted_in_time(trial: Trial) -> None:
    """Removed from the manifest minutes before the window: nothing runs, the daemon goes on."""
    ahead(trial)
    trial.publish(None)
    wait_for("a minute after the opening", lambda: time.time() > trial.opens + 60, 900)
    check_equal(trial.record(), {}, "root's record")
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim")
    health = trial.health()
    check("not in the manifest" in health.out, "qualvosec status says: " + health.text)
    check(trial.active(), "the service has ended")
    check_equal(trial.admin_row(OTHER)["Status"], "never seen", "status of the other host")


def real_updates(trial: Trial) -> None:
    """Debian's own security updates, the interpreter among them, and the reboot after them."""
    aptrepo.publish(trial.base.packages, "debian", realdebs.ensure("host"))
    trial.configure()
    source = aptrepo.more_sources(webserver.REPO_PORT, "debian")
    trial.box.write("/etc/apt/sources.list", trial.box.read("/etc/apt/sources.list") + source)
    trial.boot("e2e-victim")
    trial.publish_open(security_only=True, reboot=True)
    trial.start_service()
    record = trial.finished_run(300)
    check_equal(record["outcome"], "ok", "outcome (%s)" % record["reason"])
    upgraded = names(record)
    check("python3.11-minimal" in upgraded, "no new interpreter among %r" % upgraded)
    check("e2e-victim" not in upgraded, "not a security update: e2e-victim")
    check_equal(record["pending"], 1, "pending packages: e2e-victim alone")
    wait_for("the reboot", lambda: trial.box.reboots == 1, 90)
    trial.box.wait_booted()
    wait_status(trial, "reboot", "state", "verified")
    check_equal(trial.box.run(["dpkg", "--audit"]).out, "", "dpkg --audit")
    stays("reboots", trial, 1)
    no_failed_units(trial)


LEAD_S = 690  # more than ten minutes: the fetch at start is not the one before the window


def ahead(trial: Trial) -> Dict[str, object]:
    """A host that knows of a window which opens in eleven to twelve minutes."""
    trial.configure()
    trial.boot("e2e-victim")
    fields: Dict[str, object] = {"patch": True, "reboot": False}
    trial.opens = int(time.time() + LEAD_S) // 60 * 60
    fields.update(opening(time.time() - trial.opens))
    trial.publish(fields)
    trial.start_service()
    wait_for("the first fetch", trial.fetches, 60)
    wait_for("the policy to be known", lambda: trial.qualvosec("next").returncode == 0, 60)
    return fields


CASES = [
    Case("future-window", "runs at its minute, after a fetch", not_yet_open, True),
    Case("patch-false", "patch: false published in time is obeyed", patch_false_in_time, True),
    Case("unlisted", "not listed any more: nothing runs", unlisted_in_time, True),
    Case("window-open", "upgraded, one reboot, verified, listed as ok", window_open, True),
    Case("real-updates", "Debian's own security updates, Python among them", real_updates),
    Case("doas", "the same through doas, no sudo on the host", doas),
    Case("whitelist", "only what matches is upgraded", whitelist),
    Case("blacklist", "what matches stays", blacklist),
    Case("security-only", "only the security suite", security_only),
    Case("kept-back", "hold respected and named, new dependency installed", kept_back),
    Case("reboot-required", "reboots when a package asks for it", reboot_required),
    Case("reboot-not-required", "does not when none asks", reboot_not_required),
    Case("nothing-pending", "nothing to do: no reboot", nothing_pending),
    Case("once-a-window", "restart, second daemon, lost state: one run", once_a_window),
    Case("hooks", "hooks run as root, in their places", hooks),
    Case("cron", "once, and once --dry-run, without a daemon", by_cron),
]
