# SPDX-License-Identifier: BSD-2-Clause
"""Root's memory on disk: what is written comes back, what is damaged is refused."""

import json
import os
import stat
import tempfile
import unittest
from typing import List

from qualvosec import files
from qualvosec.helper import record
from qualvosec.helper import request

WINDOW = "20261124T0215Z"
FULL = record.State(
    request.Request("upgrade", WINDOW, 5000, False, True, ("a*",), ("b",)), 1000, "boot", False,
    (("one", "1", "2"),), "20261117T0215Z", 77,
    record.Record(WINDOW, "upgrade", "apt", "boot", 1, 2, 3, "done", True, "partial", "why",
                  (("one", "1", "2"),), (("two", "held"),), 1, False, "due", ("kernel",),
                  ("/etc/x.dpkg-dist",), 4, 60, "", "6.1.0-1-amd64",
                  (record.Past("20261117T0215Z", "upgrade", "ok", True, 9),), 900, 1, 1))


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = record.Store(os.path.join(folder.name, "state"))
        self.path = os.path.join(self.store.folder, "run.json")


class Disk(Case):
    def test_every_field_comes_back(self) -> None:
        self.store.prepare()
        self.store.write(FULL)
        self.assertEqual(self.store.read(), FULL)
        self.store.write(self.store.read())
        self.assertEqual(self.store.read(), FULL)

    def test_only_root_may_look_into_the_directory(self) -> None:
        self.store.prepare()
        self.store.write(FULL)
        self.assertEqual(stat.S_IMODE(os.stat(self.store.folder).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_nothing_is_known_before_the_first_run(self) -> None:
        self.store.prepare()
        self.assertEqual(self.store.read(), record.State())

    def test_nothing_is_known_where_not_even_the_directory_is(self) -> None:
        self.assertEqual(self.store.read(), record.State())

    def test_what_cannot_be_looked_at_is_not_taken_for_empty(self) -> None:
        with open(self.store.folder, "w", encoding="ascii"):
            pass
        with self.assertRaises(OSError):
            self.store.read()

    def test_damage_of_any_kind_is_refused(self) -> None:
        self.store.prepare()
        self.store.write(FULL)
        with open(self.path, encoding="ascii") as file:
            good = json.load(file)
        past = good["record"]["history"][0]
        bad = [dict(good, v=2), dict(good, record=dict(good["record"], v=0)),
               dict(good, record=dict(good["record"], finished="3")), dict(good, taken=1),
               dict(good, record=dict(good["record"], history=[{}])), dict(good, planned=[[1]]),
               dict(good, record=dict(good["record"], history=None)), [good], None, 1, "x",
               dict(good, record=dict(good["record"], upgraded=[["a", 1, "2"]])),
               dict(good, record=dict(good["record"], history=[dict(past, committed=1)])),
               dict(good, request=dict(good["request"], only="a*"))]
        for key in ("v", "record", "request"):
            bad.append({name: value for name, value in good.items() if name != key})
        for key in ("v", "window", "finished", "committed", "history"):
            bad.append(dict(good, record={
                name: value for name, value in good["record"].items() if name != key}))
        for key in ("window", "committed"):
            bad.append(dict(good, record=dict(good["record"], history=[{
                name: value for name, value in past.items() if name != key}])))
        texts = [json.dumps(fields) for fields in bad] + ["", "{", "[" * 100000, "\u00e9"]
        for text in texts:
            with open(self.path, "w", encoding="utf-8") as file:
                file.write(text)
            with self.assertRaisesRegex(files.FileError, "run.json: is damaged", msg=text[:200]):
                self.store.read()

    def test_an_absent_key_has_its_default_and_an_unknown_one_is_told_of(self) -> None:
        self.store.prepare()
        self.store.write(FULL)
        with open(self.path, encoding="ascii") as file:
            good = json.load(file)
        more = dict(good, urgent=True, record=dict(good["record"], unpacked=3, history=[
            dict(good["record"]["history"][0], cause="x")]))
        del more["reboot_window"], more["record"]["kernel"], more["record"]["history"][0]["op"]
        with open(self.path, "w", encoding="ascii") as file:
            json.dump(more, file)
        told: List[str] = []
        past = FULL.record.history[0]._replace(op="")
        self.assertEqual(self.store.read(told.append), FULL._replace(
            reboot_window="", record=FULL.record._replace(kernel="", history=(past,))))
        self.assertEqual(told, [self.path + ": newer than this version: urgent, record.unpacked, "
                                "record.history.cause"])

    def test_planted_objects_are_refused_at_once(self) -> None:
        self.store.prepare()
        for kind in ("link", "fifo", "directory"):
            if kind == "link":
                os.symlink("/etc/passwd", self.path)
            elif kind == "fifo":
                os.mkfifo(self.path)
            else:
                os.mkdir(self.path)
            with self.assertRaises(files.FileError, msg=kind):
                self.store.read()
            os.rename(self.path, self.path + "." + kind)

    def test_a_lock_is_held_by_one(self) -> None:
        self.store.prepare()
        lock = self.store.lock()
        assert lock is not None
        self.assertTrue(self.store.alive(record.State(), 0, "boot"))
        os.close(lock)
        self.assertFalse(self.store.alive(record.State(), 0, "boot"))


class Memory(unittest.TestCase):
    def test_a_new_window_remembers_the_old_one(self) -> None:
        later = record.accept(FULL, request.Request("upgrade", "20261201T0215Z", 9000), 8000, "b2")
        self.assertEqual([past.window for past in later.record.history], ["20261117T0215Z", WINDOW])
        self.assertEqual(later.record.history[-1],
                         record.Past(WINDOW, "upgrade", "partial", True, 3))
        self.assertTrue(record.was_committed(later.record, WINDOW))
        self.assertFalse(record.was_committed(later.record, "20261201T0215Z"))
        self.assertEqual((later.record.finished, later.record.phase, later.planned, later.taken),
                         (0, "accepted", (), False))

    def test_a_repair_keeps_what_the_run_had_planned_and_begun(self) -> None:
        state = FULL._replace(record=FULL.record._replace(finished=0, outcome=""))
        later = record.accept(state, request.Request("repair", WINDOW, 9000), 8000, "b2")
        self.assertEqual((later.planned, later.record.committed), (FULL.planned, True))
        self.assertEqual(later.record.history[-1].outcome, "interrupted")

    def test_a_reboot_changes_nothing_of_the_record_but_itself(self) -> None:
        later = record.accept(FULL, request.Request("reboot", WINDOW, 9000), 8000, "b2")
        self.assertEqual(later.record, FULL.record._replace(reboot_requested=0))

    def test_the_largest_record_fits_into_a_reply(self) -> None:
        long = "x" * 5000
        big = FULL.record._replace(upgraded=((long, long, long),) * 5000,
                                   kept=((long, long),) * 5000, reboot_reasons=(long,) * 5000,
                                   config_files=(long,) * 5000)
        self.assertLess(len(json.dumps(record.to_json(big))), 1 << 20)
