# SPDX-License-Identifier: BSD-2-Clause
"""apt: Debian, Ubuntu and what descends from them.

Packages are left out by a preferences file that lives as long as one command,
never by a hold. The run is `apt-get upgrade --with-new-pkgs --no-remove`, which
neither removes nor downgrades, keeps the marks of automatically installed packages and
takes no names; it is simulated before with the same arguments. Facts:
apt-get(8), apt_preferences(5), dpkg(1), dpkg-query(1).
"""

import os
import shlex
from typing import Collection
from typing import ContextManager
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec import command
from qualvosec import files
from qualvosec.helper.managers import apt_pins as pins
from qualvosec.helper.managers import apt_text as text
from qualvosec.helper.managers import base
from qualvosec.helper.managers import kernel
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import names
from qualvosec.helper.managers import settle

ENVIRONMENT = {
    "PATH": command.FIXED_PATH, "HOME": "/root", "LC_ALL": "C", "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive", "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none", "APT_LISTBUGS_FRONTEND": "none",
    "UCF_FORCE_CONFFOLD": "1", "NEEDRESTART_SUSPEND": "1",
}
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock",
         "/var/cache/apt/archives/lock")
JOURNAL = "/var/lib/dpkg/updates"
REFRESH_S = 900
SIMULATE_S = 300
_CONFIGURE = ("--configure", "-a", "--force-confdef", "--force-confold")
# What the answers and the run depend on, whatever apt.conf says: `quiet "2"` and `-q` are 3, and
# no counts; with AutomaticRemove apt would refuse --no-remove.
_SAY = ["-q=1", "-o", "quiet::NoProgress=false"] + [word for option in (
    "Print-URIs=false", "Simulate=false", "Download=true", "Download-Only=false",
    "Trivial-Only=false", "allow-downgrades=false", "force-yes=false", "Fix-Missing=false",
    "AutomaticRemove=false", "Show-Versions=false", "CallResolver=true",
    ) for word in ("-o", "APT::Get::" + option)]
_OPTIONS = ["-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::ConfigurePending=true",
            "-o", "Dpkg::Options::=--force-confdef",
            "-o", "Dpkg::Options::=--force-confold"]
DATABASE_LOST = ("/var/lib/dpkg/status: is empty or has lost a part, dpkg itself is not in it: "
                 "restore it from /var/backups/dpkg.status.*")
HIDDEN = "%s: a security update is hidden by a pin or by APT::Default-Release"
INTERRUPTED = "dpkg was interrupted"
_FIX = ("-f", "install")
NOT_SECURE = "needs a version of another package that is not a security update"
_UPGRADE = ("--no-remove", "upgrade", "--with-new-pkgs")
_STATUS = "-f=${binary:Package}\\t${Version}\\t${Architecture}\\t${db:Status-Abbrev}\\n"


class Apt(base.Manager):
    """apt-get, apt-cache, apt-mark, dpkg and dpkg-query; never `apt`, whose output may change."""

    name = "apt"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self._known: Tuple[object, List[Tuple[str, str, str]]] = (None, [])
        self._own = ""
        self._archives: Tuple[str, ...] = ()
        self._fetched: Optional[text.Actions] = None
        self._barred: Dict[str, str] = {}
        self._faults: Tuple[str, ...] = ()

    def busy(self) -> str:
        """See base.Manager."""
        return locks.holder(self.world.root, LOCKS)

    def _statuses(self) -> List[Tuple[str, str, str]]:
        """Return (name, version, three status letters) of every known package."""
        stamp = self._stamp()
        if stamp is None or stamp != self._known[0]:
            self._known = (stamp, self._ask_statuses())
        return self._known[1]

    def _stamp(self) -> object:
        """Return what differs after every change of dpkg's database, None if that is unknown.

        dpkg puts each change into a new file in `updates`, later all of it into a new `status`
        (dpkg's dbmodify.c).
        """
        try:
            info = os.stat(self.path("/var/lib/dpkg/status"))
            journal = sorted(os.listdir(self.path(JOURNAL)))
        except OSError:
            return None
        return info.st_ino, info.st_mtime_ns, info.st_size, journal

    def _ask_statuses(self) -> List[Tuple[str, str, str]]:
        answer = self.call([self.program("dpkg-query"), "-W", _STATUS], ENVIRONMENT)
        rows = [line.split("\t") for line in _checked(answer, "dpkg-query").out.splitlines()]
        if any(len(row) != 4 for row in rows):
            raise base.ManagerError("dpkg-query: answers in an unknown form")
        # dpkg itself is of the native architecture. Without it a part of the database is lost.
        self._own = next((row[2] for row in rows if row[0].partition(":")[0] == "dpkg"
                          and row[3][1:2] not in ("n", "c")), "")
        if not self._own:
            raise base.ManagerError(DATABASE_LOST)
        shown = (self._own, "all")
        return [(name.partition(":")[0] if architecture in shown else name, version, status)
                for name, version, architecture, status in rows]

    def broken(self) -> str:
        """See base.Manager. Not `dpkg --audit`: that complains for ever of missing checksums."""
        journal = self.path(JOURNAL)
        if os.path.isdir(journal) and any(name.isdigit() for name in os.listdir(journal)):
            return INTERRUPTED
        bad = [name for name, _, status in self._statuses()
               if status[1:2] not in ("i", "n", "c") or status[2:3].strip()]
        return "not completely installed: %s" % settle.some(bad) if bad else ""

    def recover(self, until: float) -> None:
        """See base.Manager; where apt cannot help, dpkg configures what it can."""
        if self.broken() == INTERRUPTED:
            # Reads the journal into the status and does no more: apt refuses to start before.
            self._commit([self.program("dpkg"), "--set-selections"], fatal=False)
        chosen, installed = self.selection, self.installed()
        barred = set(names.unwanted(chosen.only, chosen.exclude, installed, installed,
                                    self._own)[0])
        if chosen.security_only:
            self._archives = self._security(self._query([self.program("apt-cache"), "policy"]))
        with self._preferences(barred, chosen.security_only) as options:
            get = self._get(until) + options + ["--no-remove"]
            lost = [name for name, _, status in self._statuses()
                    if status[2:3] == "R" and text.is_name(name)]
            if lost:
                self._reinstall(get, lost)
            fault = self._fix(get + list(_FIX), barred)
        if fault or self.broken():
            self._commit([self.program("dpkg")] + list(_CONFIGURE), fatal=False)
        left = self.broken()
        if left:
            raise base.ManagerError("cannot be repaired: %s%s" % (left, fault and "; " + fault))

    def _fix(self, argv: List[str], barred: Set[str]) -> str:
        """Let apt repair dependencies and configure, if that keeps to the selection; else why."""
        try:
            said = self._simulate(barred, self.selection.security_only, ("--no-remove",) + _FIX)
            wrong = set(said.lowered) | names.expand(
                self.selection.exclude, [package.name for package in said.install], self._own)[0]
            if wrong:
                return "that needs %s, which is left out" % settle.some(wrong)
            self._commit(argv)
        except base.Locked:
            raise
        except base.ManagerError as error:
            return str(error)
        return ""

    def _reinstall(self, get: List[str], lost: List[str]) -> None:
        """Unpack again what was lost half-way; apt-get would mark it as asked for by hand."""
        mark = self.program("apt-mark")
        automatic = self.call([mark, "showauto"] + lost, ENVIRONMENT).out.split()
        self._commit(get + ["--reinstall", "install", "--"] + lost, fatal=False)
        again = sorted(set(automatic) & set(lost))
        if again:
            self.call([mark, "auto"] + again, ENVIRONMENT)

    def refresh(self, until: float) -> None:
        """See base.Manager. Old versions exit with 0 after a failed download: read the output."""
        argv = [self.program("apt-get")] + _SAY + [
            "-o", self._timeout(until), "-o", "APT::Update::Error-Mode=any",
            "-o", "Acquire::Retries=3", "update"]
        answer = self.call(argv, ENVIRONMENT, min(until, self.world.now() + REFRESH_S))
        said = text.parse_update(answer.text)
        fault = "apt-get update: %s" % said.fault
        self._faults = (fault,) if said.only_script else ()
        if said.incomplete and not answer.timed_out:
            raise base.Incomplete(fault)
        if not said.only_script:
            _checked(answer, "apt-get update")
            if said.fault:
                raise base.ManagerError(fault)

    def installed(self) -> Dict[str, str]:
        """See base.Manager. What waits for a trigger (W, t) was configured; the rest was not."""
        return {name: version if status[1:2] in ("i", "W", "t") else ""
                for name, version, status in self._statuses() if status[1:2] not in ("n", "c")}

    def prefetch(self, selection: base.Selection, until: float) -> None:
        """See base.Manager. Every start of apt-get reads all lists: this one saves one of two."""
        if not any(selection):
            argv = self._get(until) + ["-d", "-V"] + list(_UPGRADE)
            answer = self.call(argv, ENVIRONMENT, until)
            self._fetched = text.parse_lists(answer.out) if answer.code == 0 else None

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; separate from commit() because this step can hang and may be ended."""
        if self._fetched and {package[:3] for package in plan.install} <= {
                package[:3] for package in self._fetched.install}:
            return
        with self._preferences(plan.excluded, plan.selection.security_only) as options:
            argv = self._get(until) + options + ["-d"] + list(_UPGRADE)
            answer = self.call(argv, ENVIRONMENT, until)
        if answer.code and not answer.timed_out:
            self._barred.update(text.unfetched(answer.text, plan.install))
            lost = sorted({package.name for package in plan.install} & set(self._barred))
            if lost:
                raise base.Unfetched("apt-get download: %s: %s"
                                     % (settle.some(lost), self._barred[lost[0]]))
        _checked(answer, "apt-get download")

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager."""
        with self._preferences(plan.excluded, plan.selection.security_only) as options:
            try:
                self._commit(self._get(until) + options + list(_UPGRADE))
            except base.Locked:
                raise
            except base.ManagerError:
                # apt gives up at the first package that cannot be unpacked. What it had unpacked
                # before must not wait for the next window to be configured, with apt's hooks.
                if any(status[1:2] == "U" for _, _, status in self._statuses()):
                    self._commit(self._get(until) + options + ["--no-remove", "install"],
                                 fatal=False)
                raise

    def _commit(self, argv: List[str], fatal: bool = True) -> None:
        """Run what changes the system: no deadline, never signalled, output to the log."""
        answer = self.call(argv, ENVIRONMENT, logged=True)
        self.replaced |= text.replaced(answer.text)
        if fatal or text.is_locked(answer.text):
            _checked(answer, os.path.basename(argv[0]))

    def leftovers(self) -> Dict[str, int]:
        """See base.Manager."""
        return self.beside(("/etc",), (".dpkg-dist", ".dpkg-new", ".ucf-dist", ".ucf-new"))

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager."""
        reasons: List[str] = []
        for name in ("/run/reboot-required", "/var/run/reboot-required"):
            if os.path.exists(self.path(name)) and not reasons:
                reasons.append("reboot-required: %s" % settle.some(self._words(name + ".pkgs")))
        return reasons + kernel.reasons(self.world.root, os.uname().release)

    def _words(self, name: str) -> List[str]:
        try:
            path = os.path.realpath(self.path(name))    # os-release is usually a link
            return files.read_bounded(path, 65536).decode("utf-8", "replace").split()
        except files.FileError:
            return []

    def _timeout(self, until: float) -> str:
        # Beyond this the transaction waits itself: it knows the window and tells the log.
        return "DPkg::Lock::Timeout=%d" % max(0, min(60, until - self.world.now()))

    def _get(self, until: float) -> List[str]:
        return [self.program("apt-get"), "-y", "-o", self._timeout(until)] + _SAY + _OPTIONS

    def _preferences(self, excluded: Collection[str],
                     security_only: bool) -> ContextManager[List[str]]:
        archives = self._archives if security_only else ()
        admin = ""
        if excluded or archives:
            # apt.conf may have put it elsewhere: P='/etc/apt/preferences'
            said = self._query([self.program("apt-config"), "shell", "P",
                                "Dir::Etc::Preferences/f"])
            admin = "".join(shlex.split(said)).partition("=")[2]
        return pins.options(self.world, excluded, archives, self.path(admin) if admin else "")

    def _security(self, policy: str) -> Tuple[str, ...]:
        return pins.archives(policy, self._words("/etc/os-release"))

    def _simulate(self, excluded: Collection[str] = (), security_only: bool = False,
                  words: Sequence[str] = _UPGRADE) -> text.Actions:
        with self._preferences(excluded, security_only) as options:
            # Root's simulation would replace, at some cost, the planner's log of the last real run.
            argv = [self.program("apt-get")] + _SAY + _OPTIONS + [
                "-y", "-s", "-o", "Debug::NoLocking=1", "-o", "Dir::Log::Planner=",
                "-o", "APT::Get::allow-downgrades=true"]
            said = text.parse_simulation(self._query(argv + options + list(words)))
        if said.unnamed and "install" not in words and text.names_all(
                self.installed().get("apt", "")):
            raise base.ManagerError("apt-get: does not name %d of what it keeps back"
                                    % said.unnamed)
        return said

    def _query(self, argv: List[str]) -> str:
        answer = self.call(argv, ENVIRONMENT, self.world.now() + SIMULATE_S)
        return _checked(answer, os.path.basename(argv[0])).out

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        known = self._query([self.program("apt-cache"), "policy"])
        partly = selection.security_only
        asked = detail or partly or pins.outranked(known)
        self._archives = self._security(known) if asked else ()
        everything = self._fetched or self._simulate()
        updates = {package.name: package for package in everything.install
                   if package.old and package.old != package.new}
        named, installed = set(everything.kept + everything.phased), self.installed()
        if not text.names_all(installed.get("apt", "")):
            named |= self._offered(False)
        again = [package.name for package in everything.install if package.old == package.new]
        waiting = sorted(named - set(updates) - set(again))
        held: List[str] = []
        phased: Set[str] = set(everything.phased)
        if waiting:
            found, late = self._candidates(waiting, False)
            updates.update(found)
            phased |= late
            held = self._query([self.program("apt-mark"), "showhold"]).split()
        urgent = self._offered(True) if self._archives else set()
        hidden = sorted(urgent - set(updates))
        if hidden and partly:
            updates.update(self._candidates(hidden, True)[0])
        barred = self._barred_by_name(known, installed) - set(updates)
        updates = {name: package._replace(security=package.security or name in urgent)
                   for name, package in updates.items()}
        told = tuple("%s: %s" % (name, settle.SAME) for name in again) + tuple(
            HIDDEN % name for name in sorted(barred.union(() if partly else hidden)))
        pending = settle.Pending(updates, installed, bool(self._archives), held, told,
                                 (phased & set(waiting)) - set(held), self._own)
        free = {package.name for package in everything.install}

        def simulate(excluded: Set[str]) -> settle.Simulation:
            chosen = everything
            if excluded or partly:
                chosen = self._simulate(excluded, partly)
            stuck = set(updates) - excluded - {package.name for package in chosen.install}
            why = self._reasons(stuck - phased - set(held), excluded, partly, free)
            needs = dict.fromkeys(chosen.lowered, settle.DOWNGRADE)
            needs.update(dict.fromkeys(again, settle.SAME))
            needs.update({package.name: self._barred[package.name] for package in chosen.install
                          if package.name in self._barred})
            return settle.Simulation(chosen.install, chosen.removed, needs, why)

        return settle.plan(self.name, selection, pending, simulate)._replace(faults=self._faults)

    def _barred_by_name(self, known: str, installed: Collection[str]) -> Set[str]:
        """Return the packages of which a pin that names them hides a security update."""
        pinned = [name for name in pins.pinned(known, installed) if text.is_name(name)]
        if not pinned:
            return set()
        return pins.hidden(known, self._query([self.program("apt-cache"), "policy", "--"] + pinned))

    def _candidates(self, names: List[str],
                    security_only: bool) -> Tuple[Dict[str, base.Package], Set[str]]:
        """Return what would be taken of these names, and which of it not every host gets yet."""
        with self._preferences((), security_only) as options:
            policy = self._query([self.program("apt-cache")] + options + ["policy", "--"] + names)
        offered = text.versions(policy)
        return ({name: base.Package(name, *offered.get(name, ("", ""))) for name in names},
                text.phased(policy))

    def _offered(self, security_only: bool) -> Set[str]:
        """Return every installed package that has an update, whether or not it can come."""
        plain = self._simulate((), security_only, ("--no-remove", "upgrade"))
        return {package.name for package in plain.install} | set(plain.kept + plain.phased)

    def _reasons(self, stuck: Set[str], excluded: Set[str], security_only: bool,
                 free: Set[str]) -> Dict[str, str]:
        """Say of each update that was wanted and is not in the plan what holds it back."""
        if not stuck:
            return {}
        try:
            full = self._simulate(excluded, security_only, ("dist-upgrade",))
        except base.ManagerError:
            # Only a reason is lost, and the plan does not depend on it.
            full = text.Actions()
        found = {}
        if full.removed:
            found = {package.name: "needs the removal of %s" % settle.some(full.removed)
                     for package in full.install if package.name in stuck}
        if excluded or security_only:
            found.update(dict.fromkeys(
                stuck & free, NOT_SECURE if security_only else settle.NEEDS_EXCLUDED))
        return found


def _checked(answer: base.Answer, what: str) -> base.Answer:
    """Return the answer of a command that succeeded; raises Locked or ManagerError."""
    if answer.timed_out:
        raise base.ManagerError("%s: was not finished in time and ended" % what)
    if answer.code != 0 and text.is_locked(answer.text):
        raise base.Locked("%s: %s" % (what, text.failure(answer.text)))
    if answer.code != 0:
        raise base.ManagerError("%s: %s" % (what, text.failure(answer.text)))
    return answer
