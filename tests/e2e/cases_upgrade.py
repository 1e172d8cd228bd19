# SPDX-License-Identifier: BSD-2-Clause
"""Trials of a run that replaces what it stands on: interpreter, C library, systemd, sudo, itself.

The host has the project's own .deb packages, and one run installs later versions of
them together with Debian's own python3, systemd, sudo and libc6, whose maintainer
scripts execute systemd anew, restart the journal, compile modules, and restart the daemon
that waits for the run. The other trial installs a Python with which the product
cannot start: that has to be called failed, and the host must stay up.
"""

import glob
import os
import shutil
from typing import Dict
from typing import List

from tests.e2e import aptrepo
from tests.e2e import realdebs
from tests.e2e import system
from tests.e2e import tree
from tests.e2e import webserver
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

OURS = ("qualvosec", "qualvosec-admin", "qualvosec-common", "qualvosec-server")
SUDOERS_LINE = "# of the administrator\n"
STATUS = b'{"v": 1, "op": "status", "wait": false}'


def _offer(trial: Trial, part: str, debs: str) -> None:
    aptrepo.publish(trial.base.packages, part, debs)
    sources = trial.box.read("/etc/apt/sources.list")
    more = aptrepo.more_sources(webserver.REPO_PORT, part)
    trial.box.write("/etc/apt/sources.list", sources + more)


def _helper_answers(trial: Trial, when: str) -> None:
    """Through sudo and the one rule, as the daemon asks."""
    done = trial.as_user(["/usr/bin/sudo", "-n", trial.paths.helper], stdin=STATUS)
    check('"status": "ok"' in done.out, "the helper %s: %s" % (when, done.text))


def _main_pid(trial: Trial) -> str:
    return trial.box.run(["systemctl", "show", "-P", "MainPID", SERVICE]).out.strip()


def _runs_later_version(trial: Trial) -> bool:
    return trial.status().get("version") == system.NEWER_VERSION


def everything_at_once(trial: Trial) -> None:
    """One run upgrades our packages, python3, systemd, sudo and libc6; one reboot follows."""
    _offer(trial, "foundation", realdebs.newer("host"))
    _offer(trial, "ours", trial.newer_packages)
    trial.box.write(
        realdebs.CONFFILE, trial.box.read(realdebs.CONFFILE) + SUDOERS_LINE, mode=0o440
    )
    trial.boot("e2e-last")
    trial.configure()
    trial.publish_open(reboot=True)
    first_boot, first_pid = trial.box.boot_id(), _main_pid(trial)
    done = trial.box.run(["systemctl", "restart", SERVICE])
    check_equal(done.returncode, 0, "systemctl restart")
    _mid_run(trial)
    record = trial.finished_run()
    _check_record(trial, record)
    wait_for("the reboot", lambda: trial.box.reboots == 1, 120)
    trial.box.wait_booted()
    check(trial.box.boot_id() != first_boot, "the boot id is still the same")
    check(first_pid != "0", "the service did not run before it was configured")
    wait_for("the service after boot", trial.active, 30)
    wait_status(trial, "reboot", "state", "verified")
    check_equal(trial.configured("e2e-last", "1.1"), [first_boot], "e2e-last configured in boots")
    _afterwards(trial, record)


def _mid_run(trial: Trial) -> None:
    """The last postinst waits: a daemon of the later version watches the run that goes on."""

    def waits() -> bool:
        return trial.box.run(["test", "-e", aptrepo.SLOW_STARTED]).returncode == 0

    wait_for("the last postinst", waits, 300)
    wait_for("a daemon of the later version", lambda: _runs_later_version(trial), 60)
    wait_for("the run to be adopted", lambda: trial.status().get("running_since"), 60)
    _helper_answers(trial, "in the middle of the run")
    check_equal(trial.record()["finished"], 0, "finished, with the postinst waiting")
    trial.box.run(["touch", aptrepo.SLOW_GO])


def _check_record(trial: Trial, record: Dict[str, object]) -> None:
    """What root wrote down: everything that was offered, in the offered versions, once."""
    check_equal(record["outcome"], "ok", "outcome (%s)" % record["reason"])
    foundation = [row.name for row in realdebs.foundation(tree.ensure("host"))]
    check_equal(names(record), sorted(foundation + list(OURS) + ["e2e-last"]), "upgraded packages")
    check_equal(record["kept"], [], "kept back")
    check_equal(record["pending"], 0, "pending packages")
    check_equal(record["clean"], True, "clean")
    left = [realdebs.CONFFILE, os.path.join(trial.paths.config, "qualvosec.conf")]
    found = [path.replace(".dpkg-dist", "") for path in _list(record["config_files"])]
    check_equal(sorted(found), sorted(left), "configuration files to be merged")
    check(trial.box.read(realdebs.CONFFILE).endswith(SUDOERS_LINE), "sudoers is not the old one")
    log = trial.box.read(os.path.join(trial.paths.helper_log, "run.log"))
    check_equal(log.count("phase phase=commit "), 1, "commit phases in root's log")


def _list(value: object) -> List[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _critical(trial: Trial) -> str:
    """What the daemon told people aloud, over all boots."""
    return trial.box.run(["journalctl", "-q", "-p", "crit", "-t", "qualvosec"]).out


def _afterwards(trial: Trial, record: Dict[str, object]) -> None:
    """After the boot: the later version, nothing half done, reported as ok, not once more."""
    check(_runs_later_version(trial), "version of the daemon: %r" % trial.status().get("version"))
    check_equal(trial.box.run(["dpkg", "--audit"]).out, "", "dpkg --audit")
    _helper_answers(trial, "after the boot")
    # Without its cache the daemon fetches at once, and not some minutes after the run.
    trial.box.run(["systemctl", "stop", SERVICE])
    os.unlink(trial.box.path(os.path.join(trial.paths.state, "policy.json")))
    trial.box.run(["systemctl", "start", SERVICE])
    token = "QualvoSec %s %s (" % (system.NEWER_VERSION, FQDN)
    words = (" w=%s " % record["window"], " r=ok ", " b=verified", " k=0 ")

    def reported() -> bool:
        lines = [line for line in trial.web.requests() if token in line]
        return bool(lines) and all(word in lines[-1] for word in words)

    wait_for("the outcome in the access log", reported, 60)
    check_equal(trial.admin_row()["Status"], "ok", "status in the overview")
    wait_for("a healthy host", lambda: trial.health().returncode == 0, 30)
    stays("reboots", trial, 1)
    check_equal(trial.record()["started"], record["started"], "start of the last run")
    check_equal(_critical(trial), "", "critical messages")
    no_failed_units(trial)


# --- a Python that our program does not start with -----------------------------------------

def _break_json(unpacked: str) -> None:
    """Every maintainer script works with it, py_compile too; our programs do not."""
    found = glob.glob(unpacked + "/usr/lib/python3*/json/__init__.py")
    check_equal(len(found), 1, "json in %s" % unpacked)
    with open(found[0], "w", encoding="ascii") as file:
        file.write('raise ImportError("this package was built wrongly")\n')


def broken_python(trial: Trial) -> None:
    """The new Python installs without a fault and does not start our program: failed, no reboot."""
    debs = os.path.join(trial.work, "broken")
    os.mkdir(debs)
    for deb in glob.glob(realdebs.newer("host") + "/*python3.*"):
        broken = os.path.basename(deb).startswith("libpython3") and "-stdlib_" in deb
        if broken:
            realdebs.repack(deb, trial.work, debs, _break_json)
        else:
            shutil.copy(deb, debs)
    _offer(trial, "broken", debs)
    trial.configure()
    trial.boot("e2e-victim")
    trial.publish_open(reboot=True)
    trial.start_service()
    record = outcome(trial, "failed")
    check("does not start any more" in str(record["reason"]), "reason: %r" % record["reason"])
    check_equal(record["clean"], True, "clean: dpkg itself has nothing to complain about")
    check("e2e-victim" in names(record), "upgraded: %r" % record["upgraded"])
    check(any(name.startswith("python3.") for name in names(record)), repr(record["upgraded"]))
    wait_status(trial, "last_run", "outcome", "failed")
    check_equal(trial.status()["healthy"], False, "healthy at /status")
    check("does not start any more" in _critical(trial), "not told: %r" % _critical(trial))
    stays("reboots", trial, 0)


CASES = [
    Case("everything-at-once", "itself, python3, systemd, sudo, libc6 in one run",
         everything_at_once, packaged=True),
    Case("broken-python", "a new Python that cannot start us: failed, no reboot", broken_python),
]
