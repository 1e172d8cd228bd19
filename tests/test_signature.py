# SPDX-License-Identifier: BSD-2-Clause
"""Signatures of manifests, against the real ssh-keygen where there is one."""

import base64
import os
import random
import stat
import subprocess
import tempfile
import time
import unittest
from typing import List
from unittest import mock

from qualvosec import command
from qualvosec.manifest import signature
from qualvosec.manifest.signature import SignatureError

MANIFEST = b".manifest:\n  serial: 1\nweb01.example.org:\n  patch: false\n"
FORM = b"-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n"
LONG = os.environ.get("QUALVOSEC_LONG") == "1"


def run_tool(folder: str, *words: str) -> bytes:
    done = subprocess.Popen(("ssh-keygen",) + words, cwd=folder, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = done.communicate()[0]
    if done.returncode:
        raise OSError(out.decode())
    return out


class WithSshKeygen(unittest.TestCase):
    folder = ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = cls.scratch.name
        try:
            for name in ("admin", "other"):
                run_tool(cls.folder, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name)
            cls.sig = cls.sign(MANIFEST)
        except OSError as error:
            cls.scratch.cleanup()
            raise unittest.SkipTest("ssh-keygen cannot sign here: %s" % error)
        with open(os.path.join(cls.folder, "admin.pub"), encoding="ascii") as stream:
            cls.key = stream.read()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.scratch.cleanup()

    @classmethod
    def sign(cls, data: bytes, key: str = "admin",
             namespace: str = signature.NAMESPACE) -> bytes:
        path = os.path.join(cls.folder, "data")
        with open(path, "wb") as stream:
            stream.write(data)
        if os.path.exists(path + ".sig"):
            os.unlink(path + ".sig")
        run_tool(cls.folder, "-Y", "sign", "-f", key, "-n", namespace, "data")
        with open(path + ".sig", "rb") as stream:
            return stream.read()

    def signers(self, text: str = "", mode: int = 0o644) -> str:
        path = os.path.join(self.folder, "allowed_signers")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(text or "manifest@qualvosec " + self.key)
        os.chmod(path, mode)
        return path

    def refused(self, data: bytes, sig: bytes, signers: str = "") -> str:
        with self.assertRaises(SignatureError) as caught:
            signature.verify(data, sig, signers or self.signers())
        text = str(caught.exception)
        self.assertTrue(text.isprintable(), text)
        return text

    def test_signature_of_an_allowed_signer_holds(self) -> None:
        signature.verify(MANIFEST, self.sig, self.signers())

    def test_second_signer_of_a_rotation_holds_too(self) -> None:
        with open(os.path.join(self.folder, "other.pub"), encoding="ascii") as stream:
            other = stream.read()
        both = self.signers("manifest@qualvosec %smanifest@qualvosec %s" % (self.key, other))
        signature.verify(MANIFEST, self.sig, both)
        signature.verify(MANIFEST, self.sign(MANIFEST, "other"), both)

    def test_changed_and_cut_manifests_are_refused(self) -> None:
        for data in (MANIFEST[:-1], MANIFEST + b"\n", MANIFEST.replace(b"false", b"true"), b""):
            self.assertIn("does not verify", self.refused(data, self.sig))

    def test_other_namespaces_are_refused(self) -> None:
        for namespace in ("git", "file", "qualvosec-release"):
            sig = self.sign(MANIFEST, namespace=namespace)
            self.assertIn("does not verify", self.refused(MANIFEST, sig))

    def test_key_of_somebody_else_is_refused(self) -> None:
        self.assertIn("does not verify (its key is not there, or not for manifest@qualvosec): sign",
                      self.refused(MANIFEST, self.sign(MANIFEST, "other")))

    def test_key_that_is_allowed_for_something_else_is_refused(self) -> None:
        for line in ("git@example.org " + self.key,
                     'manifest@qualvosec namespaces="git" ' + self.key,
                     'manifest@qualvosec valid-before="20200101" ' + self.key, "# nobody\n"):
            with self.subTest(line[:40]):
                self.refused(MANIFEST, self.sig, self.signers(line))

    def test_random_flips_of_signature_or_manifest_are_refused(self) -> None:
        """Of a manifest of 100,000 hosts, 1,000 times, if there is time for it."""
        seed = random.randrange(1 << 30)
        dice = random.Random(seed)
        signers = self.signers()
        manifest, sig, count = MANIFEST, self.sig, 60
        if LONG:
            manifest, count = MANIFEST + fleet(100000), 1000
            sig = self.sign(manifest)
            begin = time.monotonic()
            signature.verify(manifest, sig, signers)
            print("%.1f MB verified in %.2f s" % (len(manifest) / 1e6, time.monotonic() - begin),
                  end=" ", flush=True)
        else:
            print("60 of 1000 random changes of signed manifests, and of a small one; "
                  "QUALVOSEC_LONG=1 runs all", end=" ", flush=True)
        refused = 0
        while refused < count:
            pair = [bytearray(manifest), bytearray(sig)]
            which = dice.randrange(2)
            place = dice.randrange(len(pair[which]) - 1)
            if dice.random() < 0.2:
                del pair[which][place:]
            else:
                pair[which][place] ^= 1 << dice.randrange(8)
            if which and decoded(bytes(pair[1])) == decoded(sig):
                continue    # another spelling of the same signature
            with self.assertRaises(SignatureError, msg="seed %d" % seed):
                signature.verify(bytes(pair[0]), bytes(pair[1]), signers)
            refused += 1

    def test_this_system_is_found_able(self) -> None:
        self.assertEqual(signature.obstacle(), "")

    def test_nothing_is_left_behind(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            with mock.patch.object(tempfile, "tempdir", scratch):
                signature.verify(MANIFEST, self.sig, self.signers())
                self.refused(b"", self.sig)
            self.assertEqual(os.listdir(scratch), [])


def fleet(hosts: int) -> bytes:
    """Return entries of so many hosts, as a manifest has them."""
    entry = ("web%06d.example.org:\n  patch: true\n  reboot: required\n  weekday: Wednesday\n"
             "  hour: 3\n  minute: 15\n  packages_blacklist: [postgresql*]\n"
             "  group_membership: [prod]\n")
    return "".join(entry % number for number in range(hosts)).encode("ascii")


def decoded(sig: bytes) -> bytes:
    """Return what an armour holds, or the armour itself when it is none."""
    lines = sig.split(b"\n")
    if lines[0] != FORM.split(b"\n")[0] or lines[-2:] != FORM.split(b"\n")[-2:]:
        return sig
    try:
        return base64.b64decode(b"".join(lines[1:-2]), validate=True)
    except ValueError:
        return sig


class BeforeSshKeygen(unittest.TestCase):
    def calls(self, sig: bytes, signers: str) -> List[object]:
        seen: List[object] = []

        def run(*args: object) -> command.Result:
            seen.append(args)
            return command.Result(0, b"", b"", False, False)
        with self.assertRaises(SignatureError):
            signature.verify(MANIFEST, sig, signers, run=run)
        return seen

    def file(self, mode: int) -> str:
        handle, path = tempfile.mkstemp()
        os.close(handle)
        self.addCleanup(os.unlink, path)
        os.chmod(path, mode)
        return path

    def test_signatures_that_are_none_start_nothing(self) -> None:
        signers = self.file(0o644)
        for sig in (b"", b"\n", b"<html>", FORM[1:], FORM + b"junk\n", FORM + FORM, b"x" + FORM,
                    FORM.replace(b"END", b"end"), FORM.replace(b"b", b"\x0b"),
                    FORM.replace(b"abc", b"a" * 9000), FORM.replace(b"abc\n", b"abc\n" * 3000),
                    b"a" * (16 << 20)):
            self.assertEqual(self.calls(sig, signers), [])

    def test_list_of_signers_that_others_may_change_starts_nothing(self) -> None:
        for mode in (0o666, 0o664, 0o646):
            self.assertEqual(self.calls(FORM, self.file(mode)), [])
        link = os.path.join(tempfile.mkdtemp(), "link")
        os.symlink(self.file(0o644), link)
        for path in ("/nowhere/allowed_signers", "/dev/zero", link, "/"):
            self.assertEqual(self.calls(FORM, path), [])
        os.unlink(link)
        os.rmdir(os.path.dirname(link))

    def test_list_of_signers_of_another_user_starts_nothing(self) -> None:
        path = self.file(0o644)
        with self.assertRaises(SignatureError) as caught:
            signature.verify(MANIFEST, FORM, path, frozenset((os.stat(path).st_uid + 1,)))
        self.assertIn("belongs to uid", str(caught.exception))

    def test_command_is_the_one_that_was_agreed(self) -> None:
        seen: List[List[object]] = []

        def run(*args: object) -> command.Result:
            seen.append(list(args))
            argv = args[0]
            assert isinstance(argv, list)
            with open(argv[-1], "rb") as stream:
                self.assertEqual(stream.read(), FORM)
            self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(argv[-1])).st_mode), 0o700)
            return command.Result(0, b"", b"", False, False)
        path = self.file(0o644)
        signature.verify(MANIFEST, FORM, path, run=run)
        argv, env, data, deadline, _ = seen[0]
        assert isinstance(argv, list)
        self.assertEqual(argv[:-1], ["/usr/bin/ssh-keygen", "-Y", "verify", "-f", path, "-I",
                                     "manifest@qualvosec", "-n", "qualvosec-manifest", "-s"])
        self.assertEqual((env, data, deadline), (
            {"PATH": command.FIXED_PATH, "LC_ALL": "C"}, MANIFEST, 10.0))

    def test_system_that_cannot_verify_is_told_what_to_install(self) -> None:
        def missing(*_: object) -> command.Result:
            raise command.CommandError("/usr/bin/ssh-keygen: cannot be started: no such file")
        old = command.Result(1, b"", b"unknown option -- Y\nusage: ssh-keygen\n", False, False)
        for run in (missing, lambda *_: old):
            self.assertIn("install OpenSSH 8.2", signature.obstacle(run))

    def test_tool_that_hangs_dies_or_is_missing_is_a_refusal(self) -> None:
        path = self.file(0o644)
        for result in (command.Result(0, b"", b"", True, False),
                       command.Result(-9, b"", b"\x1b[31m", False, False),
                       command.Result(255, b"Good", b"", False, False)):
            with self.assertRaises(SignatureError) as caught:
                signature.verify(MANIFEST, FORM, path, run=lambda *_, result=result: result)
            self.assertTrue(str(caught.exception).isprintable())

        def missing(*_: object) -> command.Result:
            raise command.CommandError("/usr/bin/ssh-keygen: cannot be started")
        with self.assertRaises(SignatureError) as caught:
            signature.verify(MANIFEST, FORM, path, run=missing)
        self.assertIn("install ssh-keygen", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
