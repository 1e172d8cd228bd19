# SPDX-License-Identifier: BSD-2-Clause
"""zypper: SUSE Linux Enterprise and openSUSE Leap.

Packages are left out by a private file of locks that lives as long as one command: a copy of
the administrator's settings names it. The run is `update` without names; unlike with
names it keeps back what cannot be installed and goes on. What an update would remove is
locked, too. zypper is told never to wait for its lock: the transaction waits.
Facts: zypper(8), zypp.conf(5); exit codes are those of zypper(8).
"""

import contextlib
import os
import re
from typing import Collection
from typing import Dict
from typing import Iterator
from typing import List
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Set

from qualvosec import files
from qualvosec.contract.names import matches
from qualvosec.helper.managers import base
from qualvosec.helper.managers import locks
from qualvosec.helper.managers import rpm
from qualvosec.helper.managers import settle
from qualvosec.helper.managers import system
from qualvosec.helper.managers import zypper_text as text

REFRESH_S = 900
QUERY_S = 300
PID_FILES = ("/run/zypp.pid", "/var/run/zypp.pid")
LOCKED, REBOOT, AGAIN, SKIPPED, SCRIPT = 7, 102, 103, 106, 107
CODES = {6: "no repositories are defined", 104: "a package is not known",
         105: "ended by a signal", SKIPPED: "a repository could not be used",
         SCRIPT: "a script of a package failed"}
# What the library below zypper reports means another thing with each command.
COMMANDS = {("update --dry-run", 4): "the dependencies cannot be resolved",
            ("update", 4): "the dependencies cannot be resolved",
            ("refresh", 4): "a repository could not be read",
            ("download", 4): "the dependencies cannot be resolved",
            ("download", 8): "a package could not be fetched",
            ("update", 8): "a package could not be installed"}
VENDOR = "comes from another vendor now, and zypper does not change vendors by itself"
_GLOBAL = ("--non-interactive", "--no-color")
_UPDATE = ("update", "--auto-agree-with-licenses")
_MULTIVERSION = re.compile(r"kernel|gpg-pubkey|.*-kmp-")
_LOCKS_PATH = re.compile(rb"(?m)^[ \t]*locksfile\.path[ \t]*=[ \t]*(\S+)")


class Zypper(rpm.RpmManager):
    """zypper for systems whose root is writable; see managers/__init__.py for the others."""

    name = "zypper"

    def __init__(self, world: base.World) -> None:
        super().__init__(world)
        self._skipped: Collection[int] = ()  # where this run does without a repository

    def busy(self) -> str:
        """See base.Manager."""
        return locks.holder(self.world.root, rpm.LOCKS, PID_FILES)

    def _doubled(self) -> Dict[str, List[rpm.Row]]:
        """Return what is installed in two versions and should not be, oldest first."""
        found: Dict[str, List[rpm.Row]] = {}
        for row in self.rows():
            if not _MULTIVERSION.match(row.name):
                found.setdefault(row.key, []).append(row)
        latest = {key: rpm.newest(rows)[key] for key, rows in found.items()}
        return {key: sorted(rows, key=lambda row: row.evr == latest[row.key])
                for key, rows in found.items() if len(rows) > 1}

    def broken(self) -> str:
        """See base.Manager: an update that was cut short leaves both versions installed."""
        doubled = ["%s %s" % (key, " and ".join(row.evr for row in rows))
                   for key, rows in self._doubled().items()]
        return "installed twice: %s" % settle.some(doubled) if doubled else ""

    def recover(self, until: float) -> None:
        """See base.Manager: forget the older version, install the newer one once more."""
        self.unlocked(until)
        doubled = self._doubled()
        for key in sorted(doubled):
            old = ["%s-%s.%s" % (row.name, row.evr, row.arch) for row in doubled[key][:-1]]
            answer = self.call([self.program("rpm"), "-e", "--nodeps", "--"] + old,
                               system.ENVIRONMENT, logged=True)
            if answer.code != 0:
                raise base.ManagerError("rpm -e: %s" % rpm.failure(answer.text))
        if doubled:
            argv = self._argv(["--no-refresh", "install", "--force",
                               "--auto-agree-with-licenses", "--"])
            self._commit(argv + [rpm.argument(key) for key in sorted(doubled)], {})
        left = self.broken()
        if left:
            raise base.ManagerError("cannot be repaired: %s" % left)

    def refresh(self, until: float) -> None:
        """See base.Manager; a key that is not known yet makes it fail, never a question."""
        end = min(until, self.world.now() + REFRESH_S)
        self._skipped = ()
        answer = self.call(self._argv(["refresh"]), system.ENVIRONMENT, end)
        down = text.parse_unavailable(answer.text)
        if down and answer.code != LOCKED and not answer.timed_out:
            if text.SOME not in answer.text:
                raise base.ManagerError("zypper refresh: %s" % down)
            self._skipped = (SKIPPED,)
            raise base.Incomplete("zypper refresh: %s" % down)
        self._checked(answer, "refresh")

    def plan(self, selection: base.Selection, detail: bool = False) -> base.Plan:
        """See base.Manager."""
        rows = self.rows()
        own = rpm.own_arch(rows)
        installed = rpm.newest(rows)
        updates: Dict[str, base.Package] = {}
        for item in text.parse_updates(self._query(["list-updates", "-a"])):
            name = rpm.key(item.name, item.arch, own)
            if name in installed and rpm.compare(item.evr, installed[name]) > 0:
                updates[name] = base.Package(name, installed[name], item.evr)
        known = False
        if detail or selection.security_only:
            known = self._mark_security(updates, own)
        patterns = text.parse_locks(self._query(["locks"]))
        held = [name for name in updates
                if any(matches(pattern, name.partition(":")[0]) for pattern in patterns)]
        return self.settled(selection, settle.Pending(updates, installed, known, held, own=own),
                            lambda excluded: self._simulate(
                                excluded, installed, own, set(updates) - set(held)))

    def _mark_security(self, updates: Dict[str, base.Package], own: str) -> bool:
        """Mark what a needed security patch wants; say whether there are patches at all."""
        needed = [patch.name for patch in text.parse_patches(self._query(["list-patches"]))
                  if patch.category == "security"]
        if not needed:
            return bool(text.parse_patches(self._query(["list-patches", "--all"])))
        argv = self._argv(["--no-refresh", "info", "-t", "patch", "--"]) + sorted(set(needed))
        answer = self._checked(self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S),
                               "info")
        for name, below in text.parse_conflicts(answer.out).items():
            stem, _, arch = name.rpartition(".")
            for key in (name, rpm.key(stem, arch, own)):
                if key in updates and rpm.compare(updates[key].old, below) < 0:
                    updates[key] = updates[key]._replace(security=True)
        return True

    def _dry_run(self, excluded: Set[str], *options: str) -> text.Summary:
        with self._settings(excluded) as environment:
            argv = self._argv(["--xmlout", "--no-refresh"] + list(_UPDATE) + list(options)
                              + ["--dry-run", "--details"])
            answer = self.call(argv, environment, self.world.now() + QUERY_S)
        return text.parse_summary(
            self._checked(answer, "update --dry-run", (0, REBOOT, AGAIN)).out)

    def _simulate(self, excluded: Set[str], installed: Mapping[str, str], own: str,
                  wanted: Set[str]) -> settle.Simulation:
        summary = self._dry_run(excluded)
        coming = {item.name for item in summary.incoming}
        install = []
        for item in summary.incoming:
            name = rpm.key(item.name, item.arch, own)
            install.append(base.Package(name, installed.get(name, ""), item.evr))
        removed = [rpm.key(item.name, item.arch, own) for item in summary.outgoing
                   if item.name not in coming]
        needs = {name: "would be removed by an update" for name in removed
                 if name in installed and name not in excluded}
        why = {}
        if wanted - excluded - {package.name for package in install}:
            try:
                other = self._dry_run(excluded, "--allow-vendor-change").vendor
            except base.ManagerError:
                other = ()  # Only a reason is lost: old versions do not know the option.
            why = {rpm.key(item.name, item.arch, own): VENDOR for item in other}
        return settle.Simulation(tuple(install), () if needs else tuple(removed), needs, why)

    def download(self, plan: base.Plan, until: float) -> None:
        """See base.Manager."""
        with self._settings(plan.excluded) as environment:
            argv = self._argv(["--no-refresh"] + list(_UPDATE) + ["--download-only"])
            self._checked(self.call(argv, environment, until), "download", (0, REBOOT, AGAIN))

    def commit(self, plan: base.Plan, until: float) -> None:
        """See base.Manager; after an update of zypper itself the rest needs another go."""
        with self._settings(plan.excluded) as environment:
            for _ in range(3):
                argv = self._argv(["--no-refresh"] + list(_UPDATE))
                if self._commit(argv, environment) != AGAIN:
                    break

    def _commit(self, argv: List[str], environment: Mapping[str, str]) -> int:
        """Run what changes the system: no deadline, never signalled, output to the log."""
        answer = self.call(argv, environment or system.ENVIRONMENT, logged=True)
        return self._checked(answer, "update", (0, REBOOT, AGAIN)).code

    def reboot_reasons(self) -> Optional[List[str]]:
        """See base.Manager; old zyppers do not know needs-rebooting."""
        reasons = super().reboot_reasons()
        for name in ("/run/reboot-needed", "/var/run/reboot-needed"):
            if os.path.exists(self.path(name)) and not reasons:
                reasons = ["%s exists" % name]
        if not reasons:
            answer = self.call(self._argv(["needs-rebooting"]), system.ENVIRONMENT,
                               self.world.now() + QUERY_S)
            if answer.code == REBOOT:
                reasons = ["zypper: core libraries or services have been updated"]
        return reasons

    def _argv(self, words: Sequence[str]) -> List[str]:
        return [self.program("zypper")] + list(_GLOBAL) + list(words)

    def _query(self, words: Sequence[str]) -> str:
        argv = self._argv(["--xmlout", "--no-refresh"] + list(words))
        answer = self.call(argv, system.ENVIRONMENT, self.world.now() + QUERY_S)
        return self._checked(answer, words[0]).out

    @contextlib.contextmanager
    def _settings(self, excluded: Collection[str]) -> Iterator[Dict[str, str]]:
        """Give the environment that names private settings; they are gone afterwards."""
        if not excluded:
            yield system.ENVIRONMENT
            return
        folder = os.path.join(self.world.run_dir, "qualvosec-" + os.urandom(8).hex())
        config, locked = os.path.join(folder, "zypp.conf"), os.path.join(folder, "locks")
        parts = self._admin_settings()
        paths = _LOCKS_PATH.findall(b"\n".join(parts))
        admin = self._read(os.fsdecode(paths[-1]) if paths else "/etc/zypp/locks")
        try:
            os.mkdir(folder, 0o755)
            files.write_atomic(locked, text.locks_file(excluded, admin), 0o644)
            # zypper takes the path as one below its own root.
            inside = "/" + os.path.relpath(locked, self.world.root)
            files.write_atomic(config, text.settings(parts, inside), 0o644)
            yield dict(system.ENVIRONMENT, ZYPP_CONF=config)
        except (OSError, files.FileError) as error:
            raise base.ManagerError("zypper settings: %s" % error) from error
        finally:
            for remove, name in ((os.unlink, config), (os.unlink, locked), (os.rmdir, folder)):
                if os.path.exists(name):
                    remove(name)

    def _admin_settings(self) -> List[bytes]:
        """Return the settings in force: the private file replaces all of them."""
        main = [name for name in ("/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf")
                if os.path.exists(self.path(name))][:1]
        drops: Dict[str, str] = {}
        for folder in ("/usr/etc/zypp/zypp.conf.d", "/etc/zypp/zypp.conf.d"):
            if os.path.isdir(self.path(folder)):
                drops.update({name: folder + "/" + name for name in os.listdir(self.path(folder))
                              if name.endswith(".conf")})
        return [self._read(name) for name in main + [drops[name] for name in sorted(drops)]]

    def _read(self, name: str) -> bytes:
        path = os.path.realpath(self.path(name))
        return files.read_bounded(path, 1 << 20) if os.path.exists(path) else b""

    def _checked(self, answer: base.Answer, what: str,
                 good: Collection[int] = (0,)) -> base.Answer:
        """Return the answer of a command that succeeded; raises Locked or ManagerError."""
        if answer.timed_out:
            raise base.ManagerError("zypper %s: was not finished in time and ended" % what)
        if answer.code == LOCKED:
            raise base.Locked("zypper %s: %s" % (what, text.failure(answer.text)))
        if answer.code not in good and answer.code not in self._skipped:
            why = COMMANDS.get((what, answer.code), CODES.get(answer.code, ""))
            raise base.ManagerError("zypper %s: %s (exit code %d%s)" % (
                what, text.failure(answer.text), answer.code, why and ": " + why))
        return answer
