# SPDX-License-Identifier: BSD-2-Clause
"""The daemon takes exactly what the helper writes, and counts where it has no use for names."""

import json
import unittest
from typing import Any
from typing import Dict
from typing import List

from qualvosec.client import record as client
from qualvosec.client.record import RecordError
from qualvosec.client.record import record_from_json
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
        self.assertEqual(record.reboot_reasons, tuple("abcdefgh"))
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
        record = record_from_json(written(upgraded=rows, history=past))
        self.assertEqual((record.upgraded, len(record.done)), (500, 65))

    def test_nothing_else_is(self) -> None:
        good = written()
        bad: List[Any] = [None, [], "x", 1, {}, dict(good, v=2), dict(good, v=True),
                          dict(good, extra=1)]
        bad += [{name: value for name, value in good.items() if name != key} for key in good]
        for key, value in good.items():
            wrong: List[Any] = [None, {}, 1.5, -1, [1], "x" * 3000]
            if not isinstance(value, str):
                wrong.append("text")
            if type(value) is not bool:
                wrong.append(True)
            bad += [dict(good, **{key: other}) for other in wrong]
        bad += [dict(good, history=[dict(good["history"][0], **{key: None})])
                for key in good["history"][0]]
        bad += [dict(good, finished=0), dict(good, outcome=""), dict(good, upgraded=[["a", "1"]]),
                dict(good, kept=[["a", 1]]), dict(good, reboot_reasons=["x"] * 501),
                dict(good, history=good["history"] * 40)]
        for value in bad:
            with self.assertRaises(RecordError, msg=repr(value)[:200]):
                record_from_json(value)


if __name__ == "__main__":
    unittest.main()
