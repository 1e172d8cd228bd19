# SPDX-License-Identifier: BSD-2-Clause
"""add, remove and set as an administrator uses them: the file is the old or the new one."""

import contextlib
import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import unittest
from unittest import mock

from qualvosec import files
from qualvosec.admin import commands
from qualvosec.admin.edit import diff
from qualvosec.admin.edit import words as fieldwords
from qualvosec.admin.terminal import UsageError
from qualvosec.manifest.edit import spans

from tests import manifest_mutations
from tests.test_admin_commands import Case

LONG = bool(os.environ.get("QUALVOSEC_LONG"))
FLEET = """\
# the fleet
.groups:
  prod:
    splay: 10

web01.example.org:
  patch: true       # yes
  weekday: tue
  hour: 3
  group_membership: [prod]

# the old one
web02.example.org:
  patch: false
"""
TIMED = ("--weekday", "tue", "--time", "03:15")


class NamesTest(unittest.TestCase):
    def test_only_blanks_of_ascii_part_the_names_of_a_list(self) -> None:
        self.assertEqual(fieldwords.names_of("a.b\tc.d\r\n# e.f\n\n g.h # i.j\u2028k.l\n"),
                         ["a.b", "c.d", "g.h"])
        for odd in "\u2028\u00a0\x85\x1c":
            self.assertEqual(fieldwords.names_of("a.b%sc.d\n" % odd), ["a.b%sc.d" % odd])


class EditingCase(Case):

    def setUp(self):
        super().setUp()
        self.path = self.write("patch.yaml", FLEET)

    def edit(self, command, *words):
        return self.run_admin(command, "--manifest", self.path, *words)

    def content(self, path=None):
        with open(path or self.path, encoding="utf-8", newline="") as file:
            return file.read()

    def stdin(self, text):
        return mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode("utf-8"))))

    def refused(self, words, code, command, *argv):
        """The command fails with one line that has these words, and leaves the file alone.

        Where the command line is wrong its usage stands above that line.
        """
        found, out, err = self.edit(command, *argv)
        self.assertEqual((found, out), (code, ""), err)
        lines = err.splitlines()
        self.assertIn(words, lines[-1])
        if lines[1:]:
            self.assertTrue(err.startswith("usage: qualvosec-admin %s " % command), err)
            self.assertEqual(len([line for line in lines if line[:1] != " "]), 2, err)
        self.assertEqual(self.content(), FLEET)


class AddTest(EditingCase):

    def test_all_options_become_fields_in_the_usual_order(self):
        code, out, err = self.edit(
            "add", "New.example.org", "--group", "prod", "--group", "db", "--only", "openssl",
            "--only", "postgresql*", "--exclude", "vim", "--duration", "90", "--no-reboot",
            "--time", "3:05", "--weekday", "Tuesday", "--weekday", "4,1", "week=last", "x-a='b: c'")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, "added new.example.org: %s\n" % self.path)
        self.assertEqual(self.content(), FLEET + """
new.example.org:
  patch: true
  reboot: false
  weekday: [1, 4]
  hour: 3
  minute: 5
  duration: 90
  week: last
  packages_whitelist: [openssl, 'postgresql*']
  packages_blacklist: [vim]
  group_membership: [prod, db]
  x-a: 'b: c'
""")
        self.assertEqual(self.run_admin("check", self.path)[0], 0)

    def test_reboot_has_three_values_and_none(self):
        for words, line in (((), ""), (("--reboot",), "  reboot: true\n"),
                            (("--no-reboot",), "  reboot: false\n"),
                            (("--reboot-if-required",), "  reboot: required\n")):
            self.write("patch.yaml", FLEET)
            self.assertEqual(self.edit("add", "a.b", *(TIMED + words))[0], 0)
            self.assertIn("a.b:\n  patch: true\n%s  weekday: 1\n" % line, self.content())
        self.assertEqual(self.edit("add", "c.d", "--reboot", "--no-reboot")[0], 2)

    def test_a_host_may_be_listed_without_being_patched(self):
        self.edit("add", "a.b", "--no-patch")
        self.assertTrue(self.content().endswith("\na.b:\n  patch: false\n"))

    def test_many_hosts_come_by_stdin_in_one_edit(self):
        names = "".join("h%d.b  # rack\n" % number for number in range(1000))
        with self.stdin("# all\n\n" + names + "H7.b.\n"):
            code, out, err = self.edit("add", "-", "first.b", *TIMED)
        self.assertEqual((code, out), (0, "added 1001 hosts: %s\n" % self.path), err)
        root = spans.read(self.content().encode("utf-8")).root
        self.assertEqual(list(root)[3:], ["h%d.b" % number for number in range(1000)] + ["first.b"])

    def test_an_existing_host_is_refused_and_so_are_all_that_come_with_it(self):
        self.refused("web02.example.org: is in the manifest already, on line 13", 1,
                     "add", "a.b", "web02.example.org", *TIMED)

    def test_an_entry_with_a_fault_is_refused_and_the_fault_named(self):
        self.refused("patch: true without weekday: add weekday", 1, "add", "a.b")
        self.refused("duration: 9999 is out of range", 1, "add", "a.b", "--duration", "9999",
                     *TIMED)
        self.refused("a_b.c: 'a_b' is not a part of a host name", 1, "add", "a_b.c", *TIMED)

    def test_wrong_words_are_wrong_usage(self):
        for words, told in ((("a.b", "--time", "25:00"), "25:00: is not a time of day"),
                            (("a.b", "--weekday", "tursday"), "tursday: is not a day"),
                            (("a.b", "hour=08"), "hour: '08'"), (("patch=true",), "no host"),
                            (("a.b", "=1"), "names no field"),
                            (("a.b", "--exclude", "vim", "packages_blacklist=nano"),
                             "packages_blacklist: is set twice"),
                            (("a.b", "--time", "03:15", "hour=4"), "hour: is set twice")):
            self.refused(told, 2, "add", *words)

    def test_an_empty_file_is_a_start_and_a_missing_one_is_not(self):
        self.write("patch.yaml", "")
        self.assertEqual(self.edit("add", "a.b", *TIMED)[0], 0)
        self.assertEqual(self.content(), "a.b:\n  patch: true\n  weekday: 1\n  hour: 3\n"
                                         "  minute: 15\n")
        os.unlink(self.path)
        for words in (TIMED, TIMED + ("--dry-run",)):
            code, _, err = self.edit("add", "a.b", *words)
            self.assertEqual(code, 1)
            self.assertIn("an empty", err)
        self.assertFalse(os.path.exists(self.path))


class RemoveTest(EditingCase):

    def test_a_host_goes_and_the_comment_above_it_stays(self):
        code, out, _ = self.edit("remove", "WEB02.example.org")
        self.assertEqual((code, out), (0, "removed web02.example.org: %s\n" % self.path))
        self.assertEqual(self.content(), FLEET[:FLEET.index("web02")])

    def test_delete_is_another_word_for_it(self):
        self.edit("delete", "web02.example.org", "--with-comment")
        self.assertEqual(self.content(), FLEET[:FLEET.index("\n# the old")])

    def test_all_hosts_of_a_group_go_at_once(self):
        self.assertEqual(self.edit("remove", "--group", "prod")[0], 0)
        self.assertEqual(self.content(), FLEET[:FLEET.index("web01")]
                         + FLEET[FLEET.index("# the old"):])

    def test_a_missing_host_or_group_is_refused(self):
        self.refused("web03.example.org: is not in the manifest: did you mean", 1,
                     "remove", "web01.example.org", "web03.example.org")
        self.refused("group none: no host is in it", 1, "remove", "--group", "none")

    def test_wrong_words_are_wrong_usage(self):
        self.refused("takes hosts alone", 2, "remove", "web01.example.org", "hour=3")
        self.refused("no host is named", 2, "remove")
        self.refused("give one or the other", 2, "remove", "a.b", "--group", "prod")


class SetTest(EditingCase):

    def test_a_field_that_is_given_twice_is_refused_since_one_would_be_lost(self):
        for words in (("packages_blacklist=vim", "packages_blacklist=nano"), ("hour=3", "hour="),
                      ("time=04:30", "minute=5"), ("hour=3", "time=")):
            self.refused("is set twice: give it once", 2, "set", "web01.example.org", *words)

    def test_fields_change_and_comments_stay(self):
        code, out, err = self.edit("set", "web01.example.org", "patch=false", "time=04:30",
                                   "packages_blacklist=vim,php*", "weekday=mon,fri")
        self.assertEqual((code, out, err), (0, "changed web01.example.org: %s\n" % self.path, ""))
        self.assertEqual(self.content(), FLEET.replace("true       # yes", "false       # yes")
                         .replace("weekday: tue", "weekday: [mon, fri]").replace("hour: 3",
                                                                                 "hour: 4")
                         .replace("[prod]\n", "[prod]\n  minute: 30\n"
                                  "  packages_blacklist: [vim, 'php*']\n"))

    def test_nothing_behind_the_sign_takes_a_field_out(self):
        self.edit("set", "web01.example.org", "group_membership=", "minute=")
        self.assertEqual(self.content(), FLEET.replace("  group_membership: [prod]\n", ""))

    def test_hosts_of_a_group_and_from_stdin(self):
        self.edit("set", "--group", "prod", "hour=5")
        with self.stdin("web01.example.org\nweb02.example.org\n"):
            code, out, _ = self.edit("set", "-", "minute=7")
        self.assertEqual((code, out), (0, "changed 2 hosts: %s\n" % self.path))
        self.assertEqual(self.content(), FLEET.replace("hour: 3", "hour: 5")
                         .replace("[prod]\n", "[prod]\n  minute: 7\n") + "  minute: 7\n")

    def test_what_is_so_already_is_no_edit(self):
        before = os.stat(self.path)
        code, out, err = self.edit("set", "web01.example.org", "hour=3")
        self.assertEqual((code, out), (0, ""))
        self.assertIn("nothing to change", err)
        self.assertEqual(os.stat(self.path).st_ino, before.st_ino)

    def test_a_new_fault_is_refused_and_named(self):
        self.refused("web01.example.org: hour: 24 is out of range: write a number from 0 to 23", 1,
                     "set", "web01.example.org", "hour=24")
        self.refused("did you mean minute?", 1, "set", "web01.example.org", "minut=3")

    def test_a_missing_host_or_field_is_refused(self):
        self.refused("is not in the manifest", 1, "set", "web07.example.org", "hour=3")
        self.refused("no field to set", 2, "set", "web01.example.org")

    def test_a_warning_is_told_and_does_not_stop_the_edit(self):
        code, _, err = self.edit("set", "web02.example.org", "group_membership=prood")
        self.assertEqual(code, 0)
        self.assertIn("warning: web02.example.org: group_membership: prood", err)


class FileTest(EditingCase):

    def test_mode_and_owner_stay_and_no_temporary_file(self):
        os.chmod(self.path, 0o640)
        if os.geteuid() == 0:
            os.chown(self.path, 12345, 23456)
        before = os.stat(self.path)
        self.assertEqual(self.edit("add", "a.b", *TIMED)[0], 0)
        after = os.stat(self.path)
        self.assertEqual((before.st_mode, before.st_uid, before.st_gid),
                         (after.st_mode, after.st_uid, after.st_gid))
        self.assertNotEqual(before.st_ino, after.st_ino)
        self.assertEqual(sorted(os.listdir(self.folder)),
                         [".patch.yaml.lock", "admin.conf", "patch.yaml"])
        lock = os.stat(os.path.join(self.folder, ".patch.yaml.lock"))
        self.assertEqual((lock.st_uid, lock.st_gid), (after.st_uid, after.st_gid))
        self.assertEqual(stat.S_IMODE(lock.st_mode), 0o640)

    def test_an_owner_that_cannot_be_kept_stops_the_edit(self):
        info = os.stat(self.path)
        with mock.patch("qualvosec.files._give", side_effect=PermissionError(1, "Not permitted")):
            self.refused("%s: not permitted: owner and group could not be kept: " % self.path, 1,
                         "add", "a.b", *TIMED)
        self.assertEqual(os.stat(self.path).st_ino, info.st_ino)

    def test_a_link_stays_and_the_file_it_leads_to_is_replaced(self):
        os.mkdir(os.path.join(self.folder, "real"))
        target = os.path.join(self.folder, "real", "fleet.yaml")
        os.rename(self.path, target)
        os.symlink(os.path.join("real", "fleet.yaml"), self.path)
        self.assertEqual(self.edit("add", "a.b", *TIMED)[0], 0)
        self.assertTrue(os.path.islink(self.path))
        self.assertIn("a.b:", self.content(target))
        self.assertEqual(sorted(os.listdir(os.path.dirname(target))),
                         [".fleet.yaml.lock", "fleet.yaml"])

    def test_another_name_of_the_file_that_keeps_the_old_content_is_told(self):
        os.link(self.path, os.path.join(self.folder, "published.yaml"))
        code, _, err = self.edit("set", "web01.example.org", "hour=5")
        self.assertEqual(code, 0)
        self.assertIn("another name (a hard link), under which nothing has changed", err)
        self.assertEqual(self.edit("set", "web01.example.org", "hour=6")[2], "")

    def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(self):
        real = os.fsync

        def disturbed(fd):
            real(fd)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("# mine\n")

        with mock.patch("os.fsync", disturbed):
            code, out, err = self.edit("add", "a.b", *TIMED)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("was changed by somebody else meanwhile: nothing was written", err)
        self.assertEqual(self.content(), FLEET + "# mine\n")
        self.assertNotIn(".patch.yaml.new", os.listdir(self.folder))

    def test_a_full_disk_leaves_the_old_file(self):
        with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
            self.refused("no space left on device", 1, "add", "a.b", *TIMED)
        self.assertNotIn(".patch.yaml.new", os.listdir(self.folder))

    def test_a_lock_that_is_a_hard_link_is_refused_and_what_it_leads_to_left_alone(self):
        precious = self.write("precious", "")
        os.chmod(precious, 0o604)
        lock = os.path.join(self.folder, ".patch.yaml.lock")
        os.link(precious, lock)
        if os.geteuid() == 0:
            os.chown(self.path, 1, 1)
        before = os.stat(precious)
        self.refused("%s: has another name" % lock, 1, "add", "a.b", *TIMED)
        after = os.stat(precious)
        self.assertEqual((before.st_uid, before.st_gid, before.st_mode),
                         (after.st_uid, after.st_gid, after.st_mode))

    def test_a_lock_that_stays_held_ends_in_an_error(self):
        held = files.lock_file(os.path.join(self.folder, ".patch.yaml.lock"))
        self.addCleanup(os.close, held)
        with mock.patch("qualvosec.admin.edit.lock.SHORT_WAIT_S", 0.0), \
                mock.patch("qualvosec.admin.edit.lock.LOCK_WAIT_S", 0.0):
            code, out, err = self.edit("add", "a.b", *TIMED)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("another edit has held the lock", err)
        self.assertEqual(self.content(), FLEET)

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_file_that_may_not_be_written_is_refused(self):
        os.chmod(self.path, 0o444)
        self.refused("permission denied", 1, "add", "a.b", *TIMED)

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_directory_that_may_not_be_written_is_named_as_the_reason(self):
        os.chmod(self.folder, 0o500)
        self.addCleanup(os.chmod, self.folder, 0o700)
        self.refused("permission denied: its directory has to be writable", 1, "add", "a.b", *TIMED)

    def test_only_a_local_file_can_be_edited(self):
        for place in ("https://patching.example.org/patch.yaml", "-"):
            code, _, err = self.run_admin("add", "--manifest", place, "a.b")
            self.assertEqual(code, 2)
            self.assertIn("needs the local file", err)
        self.assertEqual(self.run_admin("add", "a.b")[0], 2)

    def test_a_file_that_does_not_parse_is_left_alone(self):
        self.write("patch.yaml", FLEET + "c.d:\n  patch: yes\n")
        code, _, err = self.edit("add", "a.b", *TIMED)
        self.assertEqual(code, 1)
        self.assertIn("%s: line 16, column 10: 'yes' is a truth value" % self.path, err)

    def test_a_serial_is_raised_and_told_and_a_signature_is_out_of_date(self):
        self.write("patch.yaml", ".manifest:\n  serial: 2026112301\n" + FLEET)
        self.write("patch.yaml.sig", "")
        code, out, err = self.edit("add", "a.b", *TIMED)
        self.assertEqual((code, out), (0, "added a.b: %s: serial 2026112302\n" % self.path))
        self.assertIn("  serial: 2026112302\n", self.content())
        self.assertIn("patch.yaml.sig: does not fit any more", err)

    def test_edits_in_every_shape_of_file_leave_its_shape(self):
        for shape in (FLEET.replace("\n", "\r\n"), "\ufeff" + FLEET, FLEET.rstrip("\n"),
                      FLEET.replace("web01.example.org", '"web01.example.org"')):
            self.path = self.write("patch.yaml", shape)
            self.assertEqual(self.edit("set", "web01.example.org", "hour=4")[0], 0)
            self.assertEqual(self.content(), shape.replace("hour: 3", "hour: 4"))


class DryRunTest(EditingCase):

    def test_the_diff_is_printed_and_nothing_is_written(self):
        before = os.listdir(self.folder)
        code, out, err = self.edit("set", "web01.example.org", "hour=4", "--dry-run")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, "--- {0}\n+++ {0}\n@@ -6,7 +6,7 @@\n web01.example.org:\n"
                              "   patch: true       # yes\n   weekday: tue\n-  hour: 3\n"
                              "+  hour: 4\n   group_membership: [prod]\n \n # the old one\n"
                              .format(self.path))
        self.assertEqual((self.content(), os.listdir(self.folder)), (FLEET, before))

    def test_an_error_is_the_same_as_without(self):
        self.refused("is in the manifest already", 1, "add", "web01.example.org", "--dry-run")

    def test_diffs_of_random_edits_lead_from_the_old_file_to_the_new(self):
        program = shutil.which("patch")
        rng = random.Random(5)
        tried = 0
        for number in range(400 if LONG else 60):
            lines = manifest_mutations.base(rng)
            for extra in range(rng.randrange(20)):
                lines[len(lines):] = ["h%d.b:" % extra, "  patch: false"] + [""] * rng.randrange(2)
            data = ("\n".join(lines) + rng.choice(["\n", ""])).encode("utf-8")
            found = self.random_edit(rng, spans.read(data))
            text = diff.unified("patch.yaml", data, found.spans)
            with self.subTest(number=number, data=data):
                self.assertEqual(applied(data, text), found.data)
                if program and tried < 10:
                    self.assertEqual(self.patched(program, data, text), found.data)
                tried += 1
        self.assertGreater(tried, 20)

    def random_edit(self, rng, source):
        hosts = [name for name in source.known if rng.random() < 0.3] or list(source.known)
        kind = rng.randrange(3)
        if kind == 0:
            fields = {"x-n": "a", "minute": 1, "patch": rng.random() < 0.5, "splay": None}
            return spans.change(source, {name: dict(fields, weekday=0, hour=0)
                                        for name in hosts}, 740000)
        if kind == 1 and len(hosts) < len(source.known):
            return spans.remove(source, hosts, 740000, rng.random() < 0.5)
        return spans.add(source, {"a.b": {"patch": False}, "c.d": {"patch": False}}, 740000)

    def patched(self, program, data, text):
        path = self.write("old", data)
        subprocess.run([program, "-s", "--binary", path, self.write("diff", text)], check=True)
        with open(path, "rb") as file:
            return file.read()


def applied(data, text):
    """What a strict reader of unified diffs makes of a file."""
    lines, result, place, last = data.splitlines(True), [], 0, b""
    for line in text.encode("utf-8").splitlines(True)[2:]:
        if line.startswith(b"@@"):
            start, _, count = line.split()[1][1:].partition(b",")
            begin = int(start) - (count != b"0")
            result += lines[place:begin]
            place = begin
        elif line.startswith(b"\\"):
            if last != b"-":
                result[-1] = result[-1].rstrip(b"\n")
        elif line.startswith(b"+"):
            result.append(line[1:])
        else:
            assert lines[place].rstrip(b"\n") == line[1:].rstrip(b"\n"), line
            if line.startswith(b" "):
                result.append(lines[place])
            place += 1
        last = line[:1]
    return b"".join(result + lines[place:])


class ParallelTest(EditingCase):

    def test_of_fifty_editors_at_once_none_is_lost(self):
        children = []
        for number in range(50):
            child = os.fork()
            if not child:
                code = 99
                try:
                    with open(os.devnull, "w", encoding="utf-8") as null:
                        code = commands.main(["-c", self.config, "add", "--manifest", self.path,
                                              "h%d.b" % number, "--no-patch"], null, null)
                finally:
                    os._exit(code)
            children.append(child)
        self.assertEqual({os.waitpid(child, 0)[1] for child in children}, {0})
        hosts = spans.read(self.content().encode("utf-8")).known
        self.assertEqual(sorted(hosts), sorted(["web01.example.org", "web02.example.org"]
                                               + ["h%d.b" % number for number in range(50)]))
        self.assertTrue(self.content().startswith(FLEET))


STEPS = ("open", "fsync", "rename", "write", "fchmod", "fchown", "close", "unlink")


class KillTest(EditingCase):
    """The editor is killed before and after each of its calls that could change a file."""

    def killed_at(self, step, after):
        """Run one edit that dies at its step-th call; return whether it died."""
        child = os.fork()
        if not child:
            code = 99
            try:
                left = [step]

                def dying(call):
                    def work(*arguments, **options):
                        left[0] -= 1
                        if not left[0] and not after:
                            os.kill(os.getpid(), signal.SIGKILL)
                        try:
                            return call(*arguments, **options)
                        finally:
                            if not left[0]:
                                os.kill(os.getpid(), signal.SIGKILL)
                    return work

                with contextlib.ExitStack() as stack, \
                        open(os.devnull, "w", encoding="utf-8") as null:
                    for name in STEPS:
                        stack.enter_context(mock.patch("os." + name, dying(getattr(os, name))))
                    code = commands.main(["-c", self.config, "add", "--manifest", self.path,
                                          "new.b", "--no-patch"], null, null)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            self.assertEqual(status, 0)
        return os.WIFSIGNALED(status)

    def test_an_editor_killed_at_any_step_leaves_the_old_file_or_the_new_one(self):
        new = FLEET + "\nnew.b:\n  patch: false\n"
        found = set()
        for after in (False, True):
            step = 1
            while True:
                self.write("patch.yaml", FLEET)
                died = self.killed_at(step, after)
                self.assertIn(self.content(), (FLEET, new), "step %d" % step)
                found.add(self.content())
                if not died:
                    break
                # What was left behind is in nobody's way.
                if self.content() == FLEET:
                    self.assertEqual(self.edit("add", "new.b", "--no-patch")[0], 0)
                    self.assertEqual(self.content(), new)
                self.assertNotIn(".patch.yaml.new", os.listdir(self.folder))
                step += 1
            self.assertGreater(step, 10)
        self.assertEqual(found, {FLEET, new})


class WordsTest(unittest.TestCase):

    def test_values_are_read_as_in_the_manifest(self):
        for word, value in (("hour=3", 3), ("patch=true", True), ("reboot=required", "required"),
                            ("x-a='3'", "3"), ("x-a=[1, a]", [1, "a"]), ("weekday=tue", "tue"),
                            ("weekday=1,5", [1, 5]), ("week=last", "last"), ("x-a=a=b", "a=b"),
                            ("packages_whitelist=a*,*b", ["a*", "*b"]), ("x-a=a,b", "a,b"),
                            ("group_membership=no", ["no"]), ("minute=", None),
                            ("freeze=2026-12-20/2027-01-05", ["2026-12-20/2027-01-05"])):
            (field, found), = fieldwords.split([word])[1].items()
            self.assertEqual((found, type(found)), (value, type(value)), word)

    def test_values_that_readers_disagree_on_are_refused(self):
        for word in ("hour=08", "x-a=yes", "x-a=1.20", "x-a=a: b", "x-a=[a", "x-a=# b", "x-a=a\nb",
                     "x-a={a}", "time=3", "time=3:60", "time=24:00", "time=3:1:1", "time=+3:10"):
            with self.assertRaises(UsageError, msg=word):
                fieldwords.split([word])

    def test_words_of_any_kind_are_told_safely(self):
        rng = random.Random(3)
        for _ in range(300):
            word = "".join(rng.choice("ab=:,'\"[]# \t\n\x1b\u202e\x00\u00e9*&!|") for _ in range(9))
            try:
                fieldwords.split([word, "x-a=" + word])
            except UsageError as error:
                self.assertTrue(str(error).isprintable(), repr(str(error)))


class ProgramTest(EditingCase):

    def test_the_program_reads_names_from_stdin_and_writes_the_file(self):
        child = subprocess.Popen(
            [sys.executable, "-IBS", os.path.join(os.path.dirname(os.path.dirname(
                os.path.abspath(__file__))), "bin", "qualvosec-admin"), "-c", self.config, "add",
             "--manifest", self.path, "-"] + list(TIMED), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = child.communicate(b"a.b\nc.d\n")
        self.assertEqual((child.returncode, err), (0, b""))
        self.assertEqual(out.decode("utf-8"), "added 2 hosts: %s\n" % self.path)
        self.assertIn("\nc.d:\n  patch: true\n", self.content())


if __name__ == "__main__":
    unittest.main()
