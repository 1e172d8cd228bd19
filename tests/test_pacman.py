# SPDX-License-Identifier: BSD-2-Clause
"""pacman's command lines and what is made of the answers that a real one gave."""

import os
import re

from qualvosec.helper.managers import base
from qualvosec.helper.managers import pacman
from qualvosec.helper.managers import settle

from tests import fakemanager

PACMAN = "/usr/bin/pacman "
RUN = " --noconfirm --noprogressbar --color never"


class FakePacman(fakemanager.Fake):
    """The private directory has a name of its own each time: here it is always PRIVATE."""

    def run(self, argv, env, *rest, **named):  # type: ignore
        """See Fake.run."""
        words = [re.sub(r"^.*/qualvosec-pacman-[0-9a-f]{16}$", "PRIVATE", word) for word in argv]
        return super().run(words, env, *rest, **named)


class Case(fakemanager.Case):
    folder = "pacman"
    programs = ("usr/bin/pacman",)

    def setUp(self) -> None:
        super().setUp()
        self.fake = FakePacman()
        self.world = self.world._replace(run=self.fake.run)
        self.manager = pacman.Pacman(self.world)
        self.fake.expect(PACMAN + "-Q", self.recorded("installed.txt"))
        self.fake.expect(PACMAN + "-Qu", self.recorded("pending.txt"))
        for ignored, name in (("", "all"), ("newname swap", "kept"), ("lib", "unmet"),
                              ("app lib", "without-first"), ("app lib newname swap", "without")):
            text = self.recorded(name + ".txt")
            self.simulation(ignored, (1, "", text) if name == "unmet" else text)
        for name in ("all", "kept", "without-first", "without"):
            self.info(name)

    def simulation(self, ignored: str, answer: object, database: str = "") -> None:
        words = (PACMAN + "-Su --print --print-format").split() + ["%n %v"]
        words += (database + RUN).split()
        self.fake.expect(words + ["--ignore=qv-" + name for name in ignored.split()], answer)

    def info(self, name: str, database: str = "") -> None:
        names = [line.split()[0] for line in self.recorded(name + ".txt").splitlines()]
        answer = self.recorded("info.txt" if name == "all" else "info-%s.txt" % name)
        self.fake.expect((PACMAN + "-Si" + database + " --").split() + names, answer)


class Plans(Case):
    def test_everything_but_what_would_remove_something(self) -> None:
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.names(plan.install), [
            "qv-app", "qv-brandnew", "qv-conf", "qv-lib", "qv-new", "qv-plain", "qv-sec",
            "qv-slow"])
        self.assertEqual(self.why(plan), {
            "qv-newname": (base.KEPT, "needs the removal of qv-oldname"),
            "qv-swap": (base.KEPT, "needs the removal of qv-old")})

    def test_blacklist_takes_the_dependents_along(self) -> None:
        self.simulation("app lib new", self.recorded("without-first.txt"))
        self.simulation("lib", (1, "", "error: x\n:: unable to satisfy dependency 'qv-lib>=2.0' "
                                "required by qv-app\n"))
        plan = self.manager.plan(base.Selection(exclude=("qv-li?",)))
        self.assertNotIn("qv-app", self.names(plan.install))
        self.assertEqual(self.why(plan)["qv-app"], (base.KEPT, settle.NEEDS_EXCLUDED))
        self.assertEqual(plan.excluded, ("qv-app", "qv-lib", "qv-newname", "qv-swap"))

    def test_whitelist_and_security_only_are_unsupported(self) -> None:
        with self.assertRaisesRegex(base.Unsupported, "updated in parts"):
            self.manager.plan(base.Selection(only=("qv-sec",)))
        with self.assertRaisesRegex(base.Unsupported, "no security metadata"):
            self.manager.plan(base.Selection(security_only=True))

    def test_what_pacman_conf_ignores_is_held(self) -> None:
        self.fake.expect(PACMAN + "-Qu", "qv-plain 1.0-1 -> 2.0-1 [ignored]\n"
                         "qv-sec 1.0-1 -> 1.0-2\n")
        self.simulation("", "qv-sec 1.0-2\n")
        self.fake.expect(PACMAN + "-Si -- qv-sec", "Name            : qv-sec\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(self.why(plan), {"qv-plain": (base.KEPT, "held by the administrator")})

    def test_nothing_pending_is_1_without_a_word(self) -> None:
        self.fake.expect(PACMAN + "-Qu", (1, "", ""))
        self.assertEqual(self.manager.plan(base.Selection()).pending, ())
        self.fake.expect(PACMAN + "-Qu", (1, "x\n", "error: failed\n"))
        with self.assertRaisesRegex(base.ManagerError, "error: failed"):
            self.manager.plan(base.Selection())

    def test_nothing_pending_is_not_believed_of_a_pacman_that_cannot_know(self) -> None:
        for text in ("error: no usable package repositories configured.\n",
                     "error: config file /etc/pacman.conf could not be read: No such file\n",
                     "warning: database file for 'core' does not exist (use '-Sy' to download)\n"):
            self.fake.expect(PACMAN + "-Qu", (1, "", text))
            with self.assertRaisesRegex(base.ManagerError, "pacman -Qu: .*(repositories|read|Sy)"):
                self.manager.plan(base.Selection())

    def test_a_plan_reads_the_lists_of_its_refresh_and_leaves_nothing_behind(self) -> None:
        self.fake.expect(PACMAN + "-Sy --dbpath PRIVATE" + RUN)
        self.manager.refresh(2000.0)
        self.assertEqual(os.readlink(self.manager.private + "/local"), "/var/lib/pacman/local")
        self.fake.expect(PACMAN + "-Qu --dbpath PRIVATE", "qv-sec 1.0-1 -> 1.0-2\n")
        self.simulation("", "qv-sec 1.0-2\n", " --dbpath PRIVATE")
        self.fake.expect(PACMAN + "-Si --dbpath PRIVATE -- qv-sec", "Name            : qv-sec\n")
        plan = self.manager.plan(base.Selection())
        self.assertEqual(plan.install, (base.Package("qv-sec", "1.0-1", "1.0-2"),))
        self.assertEqual(os.listdir(self.root + "/run"), [])

    def test_a_conflict_with_another_version_is_none(self) -> None:
        self.fake.expect(PACMAN + "-Qu", "qv-sec 1.0-1 -> 1.0-2\n")
        self.simulation("", "qv-sec 1.0-2\n")
        info = "Name            : qv-sec\nConflicts With  : qv-old%s  None\n                  x\n"
        for relation, count in (("<1.0", 1), ("<=1.0-1", 0), (">2", 1), ("=1.0-1", 0), ("", 0)):
            self.fake.expect(PACMAN + "-Si -- qv-sec", info % relation)
            self.simulation("sec", "")
            plan = self.manager.plan(base.Selection())
            self.assertEqual(len(plan.install), count, relation)

    def test_answers_in_another_form_are_errors(self) -> None:
        self.simulation("", "-x 1\n")
        with self.assertRaisesRegex(base.ManagerError, "unknown form"):
            self.manager.plan(base.Selection())
        self.fake.expect(PACMAN + "-Q", "a b c\n")
        with self.assertRaisesRegex(base.ManagerError, "unknown form"):
            self.manager.installed()


class Steps(Case):
    def small(self, *names: str) -> base.Plan:
        return base.Plan(install=tuple(base.Package(name, "1.0-1", "1.0-2") for name in names),
                         excluded=("qv-x",))

    def test_refresh_that_fails_leaves_nothing_behind(self) -> None:
        self.fake.expect(PACMAN + "-Sy --dbpath PRIVATE" + RUN,
                         (1, "", "error: failed to synchronize all databases\n"))
        with self.assertRaisesRegex(base.ManagerError, "failed to synchronize"):
            self.manager.refresh(2000.0)
        self.assertEqual(os.listdir(self.root + "/run"), [])

    def test_download_fetches_lists_and_packages_and_compares_the_plan(self) -> None:
        self.fake.expect(PACMAN + "-Sy" + RUN)
        self.fake.expect(PACMAN + "-Suw" + RUN + " --ignore=qv-x", "Packages (1) qv-sec-1.0-2\n")
        self.simulation("x", "qv-sec 1.0-2\n")
        self.fake.expect(PACMAN + "-Si -- qv-sec", "Name            : qv-sec\n")
        self.manager.download(self.small("qv-sec"), 1300.0)
        self.assertEqual(self.fake.deadlines[:2], [300.0, 300.0])
        self.simulation("x", "qv-sec 1.0-3\n")
        with self.assertRaisesRegex(base.ManagerError, "repositories have changed"):
            self.manager.download(self.small("qv-sec"), 1300.0)

    def test_a_download_of_another_number_than_planned_is_failed(self) -> None:
        self.fake.expect(PACMAN + "-Sy" + RUN)
        for said in (self.recorded("fetched.txt"), ""):
            self.fake.expect(PACMAN + "-Suw" + RUN + " --ignore=qv-x", said)
            with self.assertRaisesRegex(base.ManagerError, "(8|no) packages announced, 1 planned"):
                self.manager.download(self.small("qv-sec"), 1300.0)

    def test_repository_or_package_that_cannot_be_fetched_is_named_with_its_cause(self) -> None:
        for name, words, said in (
                ("down.txt", "-Sy --dbpath PRIVATE" + RUN, "'down.db' from 127.0.0.1:9 : "),
                ("package-missing.txt", "-Suw" + RUN + " --ignore=qv-x", "'qv-lib-2.0-1-any")):
            self.fake.expect(PACMAN + "-Sy" + RUN)
            self.fake.expect(PACMAN + words, (1, "", self.recorded(name)))
            with self.assertRaisesRegex(base.ManagerError, "failed retrieving file " + said):
                self.manager.refresh(2000.0)
                self.manager.download(self.small("qv-sec"), 1300.0)
            self.fake.expect(PACMAN + "-Sy --dbpath PRIVATE" + RUN)

    def test_new_keys_are_installed_before_what_they_sign_is_fetched(self) -> None:
        self.fake.expect(PACMAN + "-Sy" + RUN)
        self.fake.expect(PACMAN + "-Q", "archlinux-keyring 1.0-1\nqv-sec 1.0-1\n")
        self.simulation("x", "archlinux-keyring 1.0-2\nqv-sec 1.0-2\n")
        self.fake.expect(PACMAN + "-Si -- archlinux-keyring qv-sec", "")
        plan = self.small("archlinux-keyring", "qv-sec")
        self.manager.download(plan, 1300.0)
        self.assertFalse([call for call in self.fake.said() if "-Suw" in call])
        self.fake.expect(PACMAN + "-S --needed" + RUN + " -- archlinux-keyring")
        self.fake.expect(PACMAN + "-Su" + RUN + " --ignore=qv-x")
        self.manager.commit(plan, 2000.0)
        self.assertIn("--needed", self.fake.said()[-2])
        self.assertEqual((self.fake.logged[-2:], self.fake.deadlines[-2:]),
                         ([True, True], [None, None]))

    def test_failures_and_locks_are_told_apart(self) -> None:
        for text, kind in (("error: failed to commit transaction (conflicting files)\n",
                            base.ManagerError),
                           ("error: failed to init transaction (unable to lock database)\n",
                            base.Locked)):
            self.fake.expect(PACMAN + "-Su" + RUN + " --ignore=qv-x", (1, "", text))
            with self.assertRaises(base.ManagerError) as caught:
                self.manager.commit(self.small("qv-sec"), 2000.0)
            self.assertIs(type(caught.exception), kind)

    def test_a_lock_of_this_boot_is_respected_and_an_older_one_removed(self) -> None:
        path = self.write("var/lib/pacman/db.lck", "")
        os.utime(path, (6000, 6000))
        self.write("proc/stat", "btime 5000\n")
        self.process(7, "/usr/bin/python3.13")
        with self.assertRaisesRegex(base.Locked, "db.lck exists"):
            self.manager.commit(self.small("qv-sec"), 2000.0)
        self.assertEqual(self.manager.broken(), "")
        self.write("proc/stat", "btime 7000\n")
        self.assertEqual(self.manager.busy(), "")
        self.assertIn("before the boot", self.manager.broken())
        self.manager.recover(2000.0)
        self.assertFalse(os.path.exists(path))

    def process(self, number: int, exe: str, maps: str = "", root: str = "") -> None:
        folder = self.root + "/proc/%d" % number
        self.write("proc/%d/maps" % number, maps)
        os.symlink(exe, folder + "/exe")
        os.symlink(root or self.root, folder + "/root")

    def test_lock_of_this_boot_names_who_may_own_it_or_what_to_do(self) -> None:
        self.write("var/lib/pacman/db.lck", "")
        self.assertEqual(self.manager.busy(), "/var/lib/pacman/db.lck exists, and no process can "
                         "be seen: is a pacman running?")
        self.process(7, "/usr/bin/python3.13", "7f00 r-xp /usr/lib/libc.so.6\n")
        # In a place where packages are built: another pacman with another database.
        os.makedirs(self.root + "/srv/chroot")
        self.process(8, "/usr/bin/pacman", root=self.root + "/srv/chroot")
        killed = ("/var/lib/pacman/db.lck exists, but no pacman is running: one was killed; "
                  "remove the file")
        self.assertEqual(self.manager.busy(), killed)
        self.process(9, "/usr/bin/pamac-daemon", "7f00 r-xp /usr/lib/libalpm.so.15.0.0\n")
        self.assertEqual(self.manager.busy(),
                         "/var/lib/pacman/db.lck exists, and process 9 may be its owner")

    def test_lock_that_seems_older_than_the_boot_stays_while_a_pacman_lives(self) -> None:
        # The clock was wrong when the system booted and has been set since.
        path = self.write("var/lib/pacman/db.lck", "")
        os.utime(path, (6000, 6000))
        self.write("proc/stat", "btime 7000\n")
        self.process(8, "/usr/bin/pacman-static (deleted)")
        self.assertIn("process 8 may be its owner", self.manager.busy())
        self.assertEqual(self.manager.broken(), "")
        self.manager.recover(2000.0)
        self.assertTrue(os.path.exists(path))

    def test_a_half_written_entry_is_for_a_person(self) -> None:
        os.makedirs(self.root + "/var/lib/pacman/local/qv-half-1.0-1")
        self.write("var/lib/pacman/local/ALPM_DB_VERSION", "9\n")
        self.write("var/lib/pacman/local/qv-good-1.0-1/desc", "")
        self.assertEqual(self.manager.broken(), "not completely installed: qv-half-1.0-1")
        with self.assertRaisesRegex(base.ManagerError, "cannot be repaired"):
            self.manager.recover(2000.0)

    def test_leftovers_are_found(self) -> None:
        self.write("etc/pacman.d/mirrorlist.pacnew", "")
        self.assertEqual(list(self.manager.leftovers()), ["/etc/pacman.d/mirrorlist.pacnew"])
