# SPDX-License-Identifier: BSD-2-Clause
"""State that cannot be trusted never starts a run, and state that cannot be written stops one."""

import errno
import json
import os
import resource
import shutil
import tempfile
import unittest
from typing import Any
from typing import Dict
from typing import List
from unittest import mock

from qualvosec import files
from qualvosec import log
from qualvosec.client.decide import state as states
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.fetch import cache

UID = os.geteuid()
FULL = State(
    phase="rebooting", window="20261124T0215Z", op="upgrade", begun=1795486500, opens=1795486500,
    closes=1795490100, cutoff=1795490100, deadline=1795493700, date=739944, tries=1,
    known=("20261124T0215Z upgrade 1795486501 1795486600 done ok 1", 1795486501), boot_id="1c0ffee",
    noted=1795486501, asked=0, reboot="requested", reboot_reason="später",
    kernel="6.1.0-31-amd64", retry=1795486900,
    last=RunResult(window="20261124T0215Z", outcome="partial", reason="kept: vim",
                   finished=1795486600,
                upgraded=3, kept=1, pending=1, clean=True, due="due",
                due_reasons=("linux-image",), config_files=2),
    obstacle=("20261117T0215Z", "refused", "veto: moving house"),
    consumed=((1794881700, 1794885300), (1795486500, 1795490100)),
    days=("1@3:15+60~0 week  freeze ", (739937, 739944)),
    concluded="20261124T0215Z", schedule="1@3:15+60~0 week  freeze ", since=1794000000,
    awaited=("20261201T0215Z", 1796094900), seen=1795486600, success=1795486500, failures=0,
    hold=-1, trouble="state.json: is a symbolic link: refused")


class CodecTest(unittest.TestCase):
    def test_what_is_written_is_read_back(self) -> None:
        for state in (State(), FULL):
            self.assertEqual(states.from_bytes(states.to_bytes(state)), state)

    def test_half_a_file_is_never_a_state(self) -> None:
        data = states.to_bytes(FULL)
        for length in range(len(data) - 1):
            with self.assertRaises(ValueError):
                states.from_bytes(data[:length])

    def test_every_key_is_exact_in_type(self) -> None:
        fields = json.loads(states.to_bytes(FULL).decode("ascii"))
        wrong: List[Any] = [None, {}, 1.5, True, "\x00" * 20000, [None], [[1, "a"]]]
        for key in fields:
            for value in wrong:
                if (key, value) != ("last", {}):
                    self.refused(dict(fields, **{key: value}))
        for key in fields["last"]:
            for value in wrong:
                if (key, value) == ("clean", True) or value is None and key in (
                        "upgraded", "kept", "pending", "config_files"):
                    continue
                self.refused(dict(fields, last=dict(fields["last"], **{key: value})))

    def test_a_phase_or_a_used_window_that_cannot_be_understood_is_no_state(self) -> None:
        fields = json.loads(states.to_bytes(FULL).decode("ascii"))
        for key in ("v", "phase", "window", "op", "consumed"):
            self.refused({name: value for name, value in fields.items() if name != key})
        for change in ({"phase": "verifying"}, {"op": "urgent"}, {"consumed": [[1, 2, 3]]},
                       {"consumed": [{"opens": 1}]}, {"window": "this one"}):
            self.refused(dict(fields, **change))

    def test_an_absent_key_has_its_default_and_an_unknown_one_is_ignored(self) -> None:
        fields = json.loads(states.to_bytes(FULL).decode("ascii"))
        for key in State._fields:
            if key in ("phase", "window", "op", "consumed"):
                continue
            short = {name: value for name, value in fields.items() if name != key}
            self.assertEqual(states.from_bytes(json.dumps(short).encode("ascii")),
                             FULL._replace(**{key: getattr(State(), key)}), key)
        more = dict(fields, ledger={"x": [1.5, None]}, last=dict(fields["last"], looked=3))
        self.assertEqual(states.from_bytes(json.dumps(more).encode("ascii")), FULL)

    def test_a_word_that_is_newer_is_kept(self) -> None:
        fields = json.loads(states.to_bytes(FULL).decode("ascii"))
        fields["last"]["outcome"], fields["reboot"] = "unverified", "verifying"
        state = states.from_bytes(json.dumps(fields).encode("ascii"))
        self.assertEqual(state, FULL._replace(
            reboot="verifying", last=FULL.last._replace(outcome="unverified")))
        for word in ("Two words", "\x1b[31m", "x" * 33, "w\n"):
            fields["last"]["outcome"] = word
            self.refused(fields)

    def refused(self, fields: Dict[str, Any]) -> None:
        with self.assertRaises(ValueError, msg=fields):
            states.from_bytes(json.dumps(fields).encode("ascii"))

    def test_bytes_that_are_no_state(self) -> None:
        deep = b'{"v":' + b"[" * 100000 + b"]" * 100000 + b"}"
        for data in (b"", b"null", b"[]", b"{}", b'{"v": 2}', b'{"v": "1"}', b"\xff\xfe", deep,
                     states.to_bytes(FULL).replace(b"739944", b"NaN"),
                     states.to_bytes(FULL).replace(b"739944", b"9" * 30),
                     states.to_bytes(FULL).replace(b'"v": 1', b'"v": 2'),
                     states.to_bytes(FULL).replace(b"20261124T0215Z", b"20261324T0215Z")):
            with self.assertRaises(ValueError, msg=data[:40]):
                states.from_bytes(data)

    def test_a_phase_names_its_window(self) -> None:
        self.refused(json.loads(states.to_bytes(FULL._replace(window="")).decode("ascii")))

    def test_the_largest_state_fits(self) -> None:
        text = "\U0001f525" * 400
        last = FULL.last._replace(reason=text, due_reasons=(text[:100],) * 8)
        state = FULL._replace(
            last=last, reboot_reason=text, trouble=text, schedule="739000,739001," * 500,
            consumed=((1795486500, 1795490100),) * 64,
            days=("739000,739001," * 500, (739000,) * 64))
        self.assertLess(len(states.to_bytes(state)), states.MAX_BYTES)


class DirectoryTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = os.path.join(tempfile.mkdtemp(), "state")
        self.addCleanup(shutil.rmtree, os.path.dirname(self.folder))
        os.mkdir(self.folder, 0o700)
        self.path = os.path.join(self.folder, "state.json")

    def load(self) -> State:
        return states.load(self.folder, UID)


class LoadTest(DirectoryTest):
    def test_first_start_has_no_trouble(self) -> None:
        self.assertEqual(self.load(), State())

    def test_what_is_newer_is_told_in_one_line_and_gone_with_the_next_write(self) -> None:
        fields = json.loads(states.to_bytes(FULL).decode("ascii"))
        fields.update({"more\n%d" % number: 1 for number in range(7)}, reboot="verifying")
        self.write(json.dumps(fields).encode("ascii"))
        with mock.patch.object(log, "warning") as warning:
            state = self.load()
            states.save(self.folder, state)
            self.assertEqual(self.load(), state)
        self.assertEqual(state, FULL._replace(reboot="verifying"))
        self.assertEqual(warning.call_count, 2)
        told = [call[1]["unknown"] for call in warning.call_args_list]
        self.assertEqual(told[0], "more\\n0, more\\n1, "
                         "more\\n2, more\\n3, more\\n4 and 3 more")
        self.assertEqual(told[1], "reboot is verifying")

    def test_state_survives_the_process(self) -> None:
        states.save(self.folder, FULL)
        self.assertEqual(self.load(), FULL)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def moved_aside(self, word: str) -> None:
        state = self.load()
        self.assertEqual(state, State(hold=-1, trouble=state.trouble))
        self.assertIn(word, state.trouble)
        self.assertIn("moved aside as state.json.unusable", state.trouble)
        self.assertFalse(os.path.lexists(self.path))
        self.assertTrue(os.path.lexists(self.path + ".unusable"))
        self.assertEqual(self.load(), State())

    def write(self, data: bytes, mode: int = 0o600) -> None:
        with open(self.path, "wb") as file:
            file.write(data)
        os.chmod(self.path, mode)

    def test_a_corrupt_file_is_moved_aside_and_stops_the_window(self) -> None:
        self.write(states.to_bytes(FULL)[:100])
        self.moved_aside("state.json")

    def test_another_version_is_moved_aside(self) -> None:
        self.write(states.to_bytes(FULL).replace(b'"v": 1', b'"v": 2'))
        self.moved_aside("another version")

    def test_a_phase_of_a_later_version_stops_the_window_loudly(self) -> None:
        self.write(states.to_bytes(FULL).replace(b'"phase": "rebooting"', b'"phase": "verifying"'))
        self.moved_aside("phase: is not a known word")

    def test_a_link_is_not_followed(self) -> None:
        target = os.path.join(self.folder, "elsewhere")
        with open(target, "wb") as file:
            file.write(states.to_bytes(FULL))
        os.symlink(target, self.path)
        self.moved_aside("symbolic link")
        self.assertTrue(os.path.exists(target))

    def test_a_fifo_does_not_block(self) -> None:
        os.mkfifo(self.path)
        self.moved_aside("regular file")

    def test_a_directory_in_its_place_is_moved_aside(self) -> None:
        os.mkdir(self.path)
        self.moved_aside("state.json")

    def test_ten_gigabytes_are_not_read(self) -> None:
        with open(self.path, "wb") as file:
            try:
                file.truncate(10 << 30)
            except OSError as error:
                self.skipTest("no sparse files here: %s" % error)
        os.chmod(self.path, 0o600)
        self.moved_aside("larger")

    def test_a_file_that_others_may_write_is_not_believed(self) -> None:
        self.write(states.to_bytes(FULL), 0o660)
        self.moved_aside("writable")

    @unittest.skipUnless(UID == 0, "only root can give files away")
    def test_a_file_of_somebody_else_is_not_believed(self) -> None:
        self.write(states.to_bytes(FULL))
        os.chown(self.path, 12345, -1)
        self.moved_aside("12345")

    def test_an_older_one_moved_aside_is_replaced(self) -> None:
        for _ in range(2):
            self.write(b"{")
            self.moved_aside("state.json")

    def test_what_cannot_be_moved_aside_stops_everything(self) -> None:
        self.write(b"{")
        os.mkdir(self.path + ".unusable")
        with self.assertRaises(StateError) as caught:
            self.load()
        self.assertIn("remove it", str(caught.exception))

    def test_an_input_error_is_no_reason_to_move_anything(self) -> None:
        self.write(states.to_bytes(FULL))
        error = files.FileError("state.json: input/output error")
        error.__cause__ = OSError(errno.EIO, "input/output error")
        with mock.patch.object(files, "read_bounded", side_effect=error), \
                self.assertRaises(StateError):
            self.load()
        self.assertEqual(self.load(), FULL)

    def test_a_directory_that_others_may_write_is_refused(self) -> None:
        os.chmod(self.folder, 0o770)
        self.assertRaises(StateError, self.load)
        os.chmod(self.folder, 0o700)
        self.assertRaises(StateError, states.load, self.folder, UID + 1)
        self.assertRaises(StateError, states.load, self.folder + "x", UID)
        os.symlink(self.folder, self.folder + "-link")
        self.assertRaises(StateError, states.load, self.folder + "-link", UID)


class SaveTest(DirectoryTest):
    def test_a_full_disk_keeps_the_old_state_and_says_that_no_run_starts(self) -> None:
        states.save(self.folder, FULL)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
        try:
            with self.assertRaises(StateError) as caught:
                states.save(self.folder, State())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertIn("no run starts", str(caught.exception))
        self.assertEqual(os.listdir(self.folder), ["state.json"])
        self.assertEqual(self.load(), FULL)

    def test_a_directory_that_is_gone_or_read_only(self) -> None:
        self.assertRaises(StateError, states.save, self.folder + "/gone", FULL)
        if UID == 0:
            return
        os.chmod(self.folder, 0o500)
        self.assertRaises(StateError, states.save, self.folder, FULL)


class ResetTest(unittest.TestCase):
    def test_clock_is_believed_again_from_now_on(self) -> None:
        state = states.reset_clock(FULL._replace(seen=1 << 40, retry=1 << 40), 1795486000)
        self.assertEqual((state.seen, state.retry), (1795486000, 1795486000))

    def test_interrupted_lets_the_host_reboot_again_and_forgets_nothing_else(self) -> None:
        broken = FULL._replace(last=FULL.last._replace(clean=False), failures=3, hold=5)
        state = states.reset_interrupted(broken)
        self.assertEqual(state, broken._replace(last=FULL.last, failures=0, hold=0, trouble=""))


class CacheTest(DirectoryTest):
    def test_an_answer_survives_the_process(self) -> None:
        self.assertEqual(cache.load(self.folder, UID), (None, ""))
        cache.save(self.folder, {"v": 1, "policy": None, "reason": "ü"})
        self.assertEqual(cache.load(self.folder, UID),
                         ({"v": 1, "policy": None, "reason": "ü"}, ""))

    def test_what_is_no_answer_is_moved_aside_with_a_reason(self) -> None:
        path = os.path.join(self.folder, "policy.json")
        for data in (b"", b"[]", b"{", b"\xff", b"[" * 100000):
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, 0o600)
            value, why = cache.load(self.folder, UID)
            self.assertIsNone(value)
            self.assertIn("policy.json.unusable", why)
            self.assertEqual(cache.load(self.folder, UID), (None, ""))
        os.mkfifo(path)
        self.assertIn("regular file", cache.load(self.folder, UID)[1])

    def test_an_answer_that_is_too_large_is_not_kept(self) -> None:
        self.assertRaises(StateError, cache.save, self.folder, {"faults": "x" * (1 << 17)})


if __name__ == "__main__":
    unittest.main()
