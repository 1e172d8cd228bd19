# SPDX-License-Identifier: BSD-2-Clause
"""Trials of hosts with an installation of the past that is upgraded by the road it came.

The host patches itself with the old commit. In the middle of the same window the
present files take the place of the old ones: what the old daemon and the old helper
wrote is read by the new ones, so that nothing runs twice and no outcome is lost.
"""

import glob
import json
import os
from typing import Dict

from qualvosec.client.decide import state as states

from tests.e2e import system
from tests.e2e.cases_runs import names
from tests.e2e.cases_runs import no_failed_units
from tests.e2e.cases_runs import outcome
from tests.e2e.cases_runs import stays
from tests.e2e.cases_runs import wait_status
from tests.e2e.container import wait_for
from tests.e2e.trial import FQDN
from tests.e2e.trial import SERVICE
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal

COPIED, PACKAGED = "7e6697b", "658c00e"
OLD_VICTIM = "%s/e2e-victim_1.0_all.deb" % system.OLD_PACKAGES
VETO = "veto"


def _run_of_the_past(trial: Trial) -> Dict[str, object]:
    """One run of the old commit, which wanted a reboot that a veto deferred."""
    trial.configure()
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    hook = os.path.join(trial.paths.config, "hooks.d/post-patch.d/veto")
    # The veto comes when the run is nearly over: the run is let through, its reboot is not.
    trial.box.write(hook, "#!/bin/sh\necho moving house >%s\n"
                    % os.path.join(trial.paths.config, VETO), mode=0o755)
    trial.start_service()
    record = outcome(trial, "ok")
    check_equal(names(record), ["e2e-victim"], "upgraded packages")
    wait_status(trial, "last_run", "outcome", "ok")
    wait_status(trial, "reboot", "state", "deferred")
    # From here on there would be something to patch again.
    done = trial.box.run(["dpkg", "-i", "--force-downgrade", OLD_VICTIM])
    check_equal(done.returncode, 0, "the downgrade: " + done.text)
    return record


def _state(trial: Trial) -> states.State:
    """What stands in state.json, in whatever version's form, as the present code reads it."""
    text = trial.box.read(os.path.join(trial.paths.state, states.NAME))
    return states.from_bytes(text.encode("ascii"))


def _policy(trial: Trial) -> Dict[str, object]:
    text = trial.box.read(os.path.join(trial.paths.state, "policy.json"))
    return dict(json.loads(text)) if text else {}


def _go_on(trial: Trial, record: Dict[str, object], before: states.State) -> None:
    """The new version knows all that the old one did, and does nothing a second time."""
    check("version" not in _policy(trial), "policy.json was not written by the old version")
    trial.box.run(["systemctl", "daemon-reload"])
    trial.box.run(["systemctl", "restart", SERVICE])
    wait_for("the new daemon", trial.status, 30)
    trial.box.run(["systemctl", "reload", SERVICE])
    wait_for("an answer that the new version has read", lambda: "version" in _policy(trial), 60)
    wait_status(trial, "last_run", "outcome", "ok")
    wait_status(trial, "reboot", "state", "deferred")
    after = _state(trial)
    for key in ("last", "consumed", "days", "reboot", "known", "success", "concluded"):
        check_equal(getattr(after, key), getattr(before, key), key + " in state.json")
    check_equal(len(after.consumed), 1, "used windows")
    token = " w=%s r=ok " % record["window"]
    whole = [line for line in trial.fetches() if token in line and '" 200 ' in line]
    check(whole and FQDN in whole[-1], "the outcome is not in %r" % trial.fetches()[-3:])
    stays("reboots", trial, 0)
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim, downgraded within its window")
    check_equal(trial.record()["started"], record["started"], "start of the last run")
    log = trial.box.read(os.path.join(trial.paths.helper_log, "run.log"))
    check_equal(log.count("phase commit "), 1, "commit phases in root's log")
    check_equal(len(glob.glob(trial.box.path(trial.paths.state) + "/*.unusable")), 0,
                "files that were moved aside")
    # The deferred reboot is done by the new version, once, as soon as it may.
    os.unlink(trial.box.path(os.path.join(trial.paths.config, VETO)))
    trial.box.run(["systemctl", "reload", SERVICE])
    wait_for("the deferred reboot", lambda: trial.box.reboots == 1, 120)
    trial.box.wait_booted()
    wait_status(trial, "reboot", "state", "verified")
    stays("reboots", trial, 1)
    check_equal(trial.version("e2e-victim"), "1.0", "e2e-victim after the boot")
    no_failed_units(trial)


def copied(trial: Trial) -> None:
    """A copy of an old commit, replaced by `make install` of the present files."""
    record = _run_of_the_past(trial)
    before = _state(trial)
    done = trial.box.run(
        ["sh", "-ec", "cd %s; make install PREFIX=/usr/local PYTHON=/usr/bin/python3"
         % system.LATER], timeout_s=120.0)
    check_equal(done.returncode, 0, "make install: " + done.text)
    _go_on(trial, record, before)


def packaged(trial: Trial) -> None:
    """The .deb packages of an old commit, replaced by those of the present files."""
    record = _run_of_the_past(trial)
    before = _state(trial)
    debs = []
    for deb in sorted(glob.glob(trial.newer_packages + "/*.deb")):
        debs.append("/usr/src/" + os.path.basename(deb))
        with open(deb, "rb") as source, open(trial.box.path(debs[-1]), "wb") as target:
            target.write(source.read())
    check(debs, "no later packages")
    done = trial.box.run(["dpkg", "--force-confold", "-i"] + debs, timeout_s=120.0)
    check_equal(done.returncode, 0, "dpkg -i: " + done.text)
    check_equal(trial.box.run(["dpkg", "--audit"]).out, "", "dpkg --audit")
    _go_on(trial, record, before)
    check_equal(trial.status().get("version"), system.NEWER_VERSION, "version of the daemon")


CASES = [
    Case("upgrade-from-copy", "commit %s, copied, replaced in its window: one run" % COPIED,
         copied, commit=COPIED),
    Case("upgrade-from-deb", "the .deb of commit %s, replaced in its window: one run" % PACKAGED,
         packaged, packaged=True, commit=PACKAGED),
]
