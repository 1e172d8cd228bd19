# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin sign: what it makes is accepted by hosts, and the serial keeps its promise."""

import calendar
import datetime
import io
import os
import shutil
import stat
import tempfile
import unittest
from typing import Tuple

from qualvosec.admin import commands
from qualvosec.admin.edit import signing
from qualvosec.admin.terminal import AdminError
from qualvosec.manifest import signature
from qualvosec.manifest.edit import serial
from qualvosec.manifest.entrytext import EditError

from tests.test_admin_commands import set_zone
from tests.test_signature import FORM
from tests.test_signature import run_tool

TODAY = datetime.date(2026, 11, 23).toordinal()
NOW = calendar.timegm((2026, 11, 23, 12, 0, 0))
BARE = b"# Our hosts.\n\n# the first\nweb01.example.org:   # here\n  patch: false\n"
WITH = b".manifest:\n  expires: \"2027-01-01\"   # soon\n  serial: 2026112301  # by hand\n\n" + BARE


class SerialTest(unittest.TestCase):
    def test_a_serial_is_raised_and_nothing_else_changes(self) -> None:
        data, found = serial.raised(WITH, TODAY)
        self.assertEqual((data, found), (WITH.replace(b"2301 ", b"2302 "), 2026112302))

    def test_a_dated_serial_takes_the_day_and_any_other_counts_on(self) -> None:
        self.assertEqual(serial.raised(WITH, TODAY + 2)[1], 2026112501)
        self.assertEqual(serial.raised(WITH.replace(b"2026112301", b"7"), TODAY)[1], 8)

    def test_the_serial_that_was_signed_last_is_exceeded_too(self) -> None:
        self.assertEqual(serial.raised(WITH, TODAY, 2026112399)[1], 2026112400)
        self.assertEqual(serial.raised(BARE, TODAY, 41)[1], 42)

    def test_a_missing_section_is_put_before_the_first_entry_and_its_comment(self) -> None:
        section = b".manifest:\n  serial: 2026112301\n\n"
        self.assertEqual(serial.raised(BARE, TODAY)[0],
                         b"# Our hosts.\n\n" + section + BARE[BARE.index(b"# the"):])
        self.assertEqual(serial.raised(b"---\na.example.org:\n  patch: false\n", TODAY)[0],
                         b"---\n" + section + b"a.example.org:\n  patch: false\n")

    def test_a_section_without_serial_gets_one_behind_its_fields(self) -> None:
        data, found = serial.raised(WITH.replace(b"  serial: 2026112301  # by hand\n", b""), TODAY)
        self.assertIn(b"# soon\n  serial: 2026112301\n\n# Our", data)
        self.assertEqual((found, serial.of(data)), (2026112301, 2026112301))
        self.assertEqual(serial.raised(b".manifest:\n" + BARE, TODAY)[1], 2026112301)

    def test_line_ends_and_byte_order_mark_stay(self) -> None:
        data = b"\xef\xbb\xbf" + BARE.replace(b"\n", b"\r\n")
        found = serial.raised(data, TODAY)[0]
        self.assertTrue(found.startswith(b"\xef\xbb\xbf#"))
        self.assertEqual(found.count(b"\n"), found.count(b"\r\n"))

    def test_a_serial_that_cannot_be_raised_is_told(self) -> None:
        for value in (b"abc", b"-1", b"true", b"999999999999999999", b"[1]"):
            with self.assertRaises(EditError, msg=value) as caught:
                serial.raised(WITH.replace(b"2026112301", value), TODAY)
            self.assertIn(".manifest", str(caught.exception))
        for data in (b"[1]\n", b".manifest: 1\na:\n  patch: false\n"):
            self.assertRaises(EditError, serial.raised, data, TODAY)


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.write("patch.yaml", WITH)
        # The serial holds the day, which depends on where the signer is.
        self.addCleanup(set_zone, os.environ.get("TZ"))
        set_zone("UTC")

    def write(self, name: str, data: bytes) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as stream:
            stream.write(data)
        return path

    def read(self, name: str = "patch.yaml") -> bytes:
        with open(os.path.join(self.folder, name), "rb") as stream:
            return stream.read()

    def admin(self, *words: str) -> Tuple[int, str]:
        out = io.StringIO()
        config = self.write("admin.conf", b"[general]\n")
        code = commands.main(["-c", config] + list(words), out, out, lambda: NOW)
        return code, out.getvalue()


class RecordTest(Case):
    """The bookkeeping, with a tool that signs anything."""

    def sign(self) -> signing.Signed:
        key = self.write("key", b"")
        data = self.read()
        signed = signing.prepare(self.path, data, key, TODAY, lambda argv, text: (0, FORM, b""))
        signing.publish(self.path, data, signed)
        return signed

    def test_the_first_signature_raises_the_serial(self) -> None:
        self.assertEqual(self.sign().serial, 2026112302)
        self.assertIn(b"2026112302  # by hand", self.read())
        self.assertEqual(self.read("patch.yaml.sig"), FORM)

    def test_the_same_content_keeps_its_serial(self) -> None:
        self.assertEqual(self.sign().serial, self.sign().serial)

    def test_a_serial_that_was_raised_already_is_kept(self) -> None:
        self.sign()
        self.write("patch.yaml", self.read().replace(b"2026112302", b"2026112350"))
        self.assertEqual(self.sign().serial, 2026112350)

    def test_changed_content_and_restored_old_content_get_a_higher_serial(self) -> None:
        self.sign()
        self.write("patch.yaml", self.read().replace(b"false", b"true "))
        self.assertEqual(self.sign().serial, 2026112303)
        self.write("patch.yaml", WITH)
        self.assertEqual(self.sign().serial, 2026112304)

    def test_check_tells_what_was_changed_and_not_signed_again(self) -> None:
        self.assertEqual(self.admin("check", self.path)[0], 0)
        self.sign()
        self.assertEqual(self.admin("check", self.path)[0], 0)
        self.write("patch.yaml", self.read() + b"b.example.org:\n  patch: false\n")
        code, said = self.admin("check", self.path)
        self.assertEqual(code, 1)
        self.assertIn("serial: is 2026112302 although the content changed", said)
        self.write("patch.yaml", self.read().replace(b"112302", b"112303"))
        self.assertIn("the content changed since it was signed", self.admin("check", self.path)[1])
        self.sign()
        os.unlink(self.path + ".sig")
        self.assertIn("patch.yaml.sig: is missing", self.admin("check", self.path)[1])

    def test_a_manifest_that_changes_while_it_is_signed_is_left_alone(self) -> None:
        def run(argv: object, data: bytes) -> Tuple[int, bytes, bytes]:
            self.write("patch.yaml", WITH + b"# new\n")
            return 0, FORM, b""
        signed = signing.prepare(self.path, WITH, self.write("key", b""), TODAY, run)
        with self.assertRaises(AdminError) as caught:
            signing.publish(self.path, WITH, signed)
        self.assertIn("was changed meanwhile", str(caught.exception))
        self.assertEqual(self.read(), WITH + b"# new\n")
        self.assertEqual(sorted(os.listdir(self.folder)), ["key", "patch.yaml"])

    def test_a_failed_signature_changes_nothing(self) -> None:
        key = self.write("key", b"")
        for answer in ((255, b"", b"\x1b[31mno\n"), (0, b"", b""), (0, FORM + b"x", b"")):
            with self.assertRaises(AdminError) as caught:
                signing.prepare(self.path, WITH, key, TODAY, lambda *_, answer=answer: answer)
            self.assertTrue(str(caught.exception).isprintable())
        with self.assertRaises(AdminError):
            signing.prepare(self.path, WITH, "/nowhere/key", TODAY)
        self.assertEqual(self.read(), WITH)

    def test_a_damaged_record_is_told_and_nothing_is_signed(self) -> None:
        self.write("patch.yaml.signed", b"serial one\n")
        with self.assertRaises(AdminError):
            self.sign()
        self.assertEqual(self.admin("check", self.path)[0], 1)

    def test_signature_and_record_can_be_read_by_whom_the_manifest_can(self) -> None:
        os.chmod(self.path, 0o640)
        self.sign()
        for name in ("patch.yaml", "patch.yaml.sig", "patch.yaml.signed"):
            mode = os.stat(os.path.join(self.folder, name)).st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o640, name)

    def test_a_link_stays_one_and_the_signature_stands_beside_it(self) -> None:
        os.mkdir(os.path.join(self.folder, "real"))
        self.write("real/patch.yaml", WITH)
        os.unlink(self.path)
        os.symlink("real/patch.yaml", self.path)
        self.sign()
        self.assertTrue(os.path.islink(self.path))
        self.assertEqual(os.listdir(os.path.join(self.folder, "real")), ["patch.yaml"])
        self.assertEqual(self.read("patch.yaml.sig"), FORM)


class CommandTest(Case):
    """The command, with the real ssh-keygen where there is one."""

    def key(self, passphrase: str = "") -> str:
        try:
            run_tool(self.folder, "-q", "-t", "ed25519", "-N", passphrase, "-C", "k", "-f", "key")
            self.write("probe", b"")
            run_tool(self.folder, "-Y", "sign", "-f", "key", "-n", "file", "probe")
        except OSError as error:
            self.skipTest("ssh-keygen cannot sign here: %s" % error)
        return os.path.join(self.folder, "key")

    def test_what_it_signs_is_what_hosts_accept(self) -> None:
        key = self.key()
        code, said = self.admin("sign", "--manifest", self.path, "--key", key)
        self.assertEqual((code, said), (0, "%s: signed, serial 2026112302\n" % self.path))
        signers = self.write("allowed_signers", b"manifest@qualvosec " + self.read("key.pub"))
        os.chmod(signers, 0o644)
        signature.verify(self.read(), self.read("patch.yaml.sig"), signers)
        with self.assertRaises(signature.SignatureError):
            signature.verify(WITH, self.read("patch.yaml.sig"), signers)
        self.assertEqual(self.admin("check", self.path)[0], 0)

    def test_an_edit_is_signed_where_a_key_is_configured(self) -> None:
        self.write("admin.conf", b"[general]\nkey: %s\n" % self.key().encode("ascii"))
        out = io.StringIO()
        signers = self.write("allowed_signers", b"manifest@qualvosec " + self.read("key.pub"))
        os.chmod(signers, 0o644)
        for number, words in ((3, ["add", "new.example.org", "--no-patch"]),
                              (4, ["remove", "new.example.org"])):
            argv = ["-c", os.path.join(self.folder, "admin.conf"), words[0], "--manifest",
                    self.path] + words[1:]
            self.assertEqual(commands.main(argv, out, out, lambda: NOW), 0, out.getvalue())
            self.assertIn("serial 202611230%d\n" % number, out.getvalue())
            signature.verify(self.read(), self.read("patch.yaml.sig"), signers)
            self.assertEqual(signing.complaint(self.path, self.read(), 0), ("", ""))

    def test_an_edit_that_cannot_be_signed_is_not_made(self) -> None:
        self.write("admin.conf", b"[general]\nkey: /nowhere/key\n")
        out = io.StringIO()
        argv = ["-c", os.path.join(self.folder, "admin.conf"), "remove", "--manifest", self.path,
                "web01.example.org"]
        self.write("patch.yaml", WITH + b"b.example.org:\n  patch: false\n")
        self.assertEqual(commands.main(argv, out, out, lambda: NOW), 1)
        self.assertIn("key /nowhere/key: is not a file", out.getvalue())
        self.assertEqual(self.read(), WITH + b"b.example.org:\n  patch: false\n")

    def test_a_file_that_is_no_key_fails_with_one_line(self) -> None:
        self.key()
        bad = self.write("bad", b"no key\n")
        os.chmod(bad, 0o600)
        code, said = self.admin("sign", "--manifest", self.path, "--key", bad)
        self.assertEqual((code, said.count("\n")), (1, 1))
        self.assertIn("does not sign", said)

    def test_what_is_missing_is_a_usage_error(self) -> None:
        self.assertEqual(self.admin("sign", "--manifest", self.path)[0], 2)
        self.assertEqual(self.admin("sign", "--key", self.path)[0], 2)

    def test_a_manifest_with_faults_is_not_signed(self) -> None:
        self.write("patch.yaml", WITH.replace(b"false", b"maybe"))
        code, said = self.admin("sign", "--manifest", self.path, "--key", self.path)
        self.assertEqual(code, 1)
        self.assertIn("has 1 fault", said)
        self.assertEqual(os.listdir(self.folder).count("patch.yaml.sig"), 0)


if __name__ == "__main__":
    unittest.main()
