# SPDX-License-Identifier: BSD-2-Clause
"""The daemon takes exactly what the helper writes, and counts where it has no use for names."""

import json
import unittest
from typing import Any
from typing import Dict
from typing import List

from qualvosec.client.root import record as client
from qualvosec.client.root.record import RootError
from qualvosec.client.root.record import record_from_json
from qualvosec.helper import record as helper

W = "20261124T0215Z"


def written(**fields: Any) -> Dict[str, Any]:
    """Return what the real helper sends for a record."""
    base = helper.Record(
        window=W, op="upgrade", manager="apt", boot_id="b1", accepted=1, started=2, finished=3,
        phase="done", committed=True, outcome="partial", reason="one line",
        upgraded=(("a", "1", "2"), ("b", "", "1")), kept=(("vim", "held"),), pending=1, clean=True,
        reboot="due", reboot_reasons=tuple("abcdefghijkl"), config_files=("/etc/x.dpkg-dist",),
        reboot_requested=4, reboot_delay=60, reboot_refused="", kernel="6.1",
        history=(helper.Past("20261117T0215Z", "upgrade", "ok", True, 9),
                 helper.Past("20261110T0215Z", "repair", "interrupted", False, 0)))
    value = json.loads(json.dumps(helper.to_json(base._replace(**fields))))
    assert isinstance(value, dict)
    return value


class RecordTest(unittest.TestCase):
    def test_what_the_helper_writes_is_taken(self) -> None:
        record = record_from_json(written())
        self.assertEqual((record.window, record.outcome, record.upgraded, record.kept,
                          record.config_files), (W, "partial", 2, 1, 1))
        self.assertEqual(record.reboot_reasons, tuple("abcdefg") + ("and 5 more",))
        self.assertEqual(record.done, ("20261117T0215Z", W))

    def test_every_phase_and_outcome_of_the_helper_is_known(self) -> None:
        for phase in client.PHASES:
            record_from_json(written(phase=phase))
        for outcome in client.OUTCOMES:
            record_from_json(written(outcome=outcome))
        running = record_from_json(written(phase="commit", finished=0, outcome=""))
        self.assertEqual((running.finished, running.outcome), (0, ""))

    def test_a_record_as_large_as_the_helper_sends_is_taken(self) -> None:
        rows = tuple(("n" * 128, "o" * 128, "v" * 128) for _ in range(900))
        past = tuple(helper.Past("2026%04d" % number, "upgrade", "ok", True, 1)
                     for number in range(64))
        record = record_from_json(written(upgraded=rows, history=past, upgraded_count=900))
        self.assertEqual((record.upgraded, len(record.done)), (900, 65))

    def test_a_helper_without_numbers_is_counted_as_far_as_its_lists_are_whole(self) -> None:
        old = {key: value for key, value in written().items() if not key.endswith("_count")}
        record = record_from_json(old)
        self.assertEqual((record.upgraded, record.kept, record.config_files), (2, 1, 1))
        record = record_from_json(dict(old, upgraded=[["a", "1", "2"]] * 500))
        self.assertEqual((record.upgraded, record.kept), (None, 1))
        record = record_from_json(dict(old, finished=0, outcome="", phase="commit", upgraded=[]))
        self.assertEqual((record.upgraded, record.kept), (None, None))

    def test_numbers_that_root_does_not_know_are_not_made_up(self) -> None:
        record = record_from_json(written(
            outcome="failed", committed=False, upgraded=(), kept=(), config_files=(), pending=None,
            upgraded_count=0, kept_count=None))
        self.assertEqual((record.upgraded, record.kept, record.pending, record.config_files),
                         (0, None, None, None))

    def test_words_and_keys_of_a_later_helper_are_noted_and_the_rest_is_kept(self) -> None:
        good = written()
        for key in ("op", "phase", "outcome", "reboot"):
            notes: List[str] = []
            told = client.told_from_json(dict(good, **{key: "held-back"}), notes)
            self.assertEqual(notes, [key + " is held-back"])
            self.assertEqual(client.digest(told), record_from_json(good)._replace(
                **{key: "held-back"}))
        notes = []
        past = dict(good["history"][0], op="release", outcome="held", cause="x")
        told = client.told_from_json(dict(good, urgent=[1], history=[past]), notes)
        self.assertEqual(notes, ["urgent", "history.cause", "history.op is release",
                                 "history.outcome is held"])
        self.assertEqual(client.digest(told).upgraded, 2)

    def test_nothing_else_is(self) -> None:
        good = written()
        bad: List[Any] = [None, [], "x", 1, {}, dict(good, v=2), dict(good, v=True)]
        bad += [{name: value for name, value in good.items() if name != key}
                for key in ("v", "window", "op", "boot_id", "accepted", "finished", "phase",
                            "committed", "outcome", "history")]
        for key, value in good.items():
            wrong: List[Any] = [{}, 1.5, -1, [1], "x" * 3000]
            if key != "pending" and not key.endswith("_count"):
                wrong.append(None)
            if not isinstance(value, str):
                wrong.append("text")
            elif key in ("op", "phase", "outcome", "reboot"):
                wrong += ["Two words", "\x1b[31m", "x" * 25]
            if type(value) is not bool:
                wrong.append(True)
            bad += [dict(good, **{key: other}) for other in wrong]
        bad += [dict(good, history=[dict(good["history"][0], **{key: None})])
                for key in good["history"][0]]
        bad += [dict(good, finished=0), dict(good, outcome=""), dict(good, upgraded=[["a", "1"]]),
                dict(good, kept=[["a", 1]]), dict(good, reboot_reasons=["x"] * 501),
                dict(good, history=good["history"] * 40)]
        for value in bad:
            with self.assertRaises(RootError, msg=repr(value)[:200]):
                record_from_json(value)


if __name__ == "__main__":
    unittest.main()
