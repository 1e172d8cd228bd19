# SPDX-License-Identifier: BSD-2-Clause
"""Progress is told on a terminal, after a second, and leaves nothing behind."""

import io
import unittest

from qualvosec.admin.progress import Progress


class Stream(io.StringIO):
    is_terminal = True

    def isatty(self):
        return self.is_terminal


class ProgressTest(unittest.TestCase):

    def run_for(self, seconds, is_terminal=True):
        now = [0.0]
        stream = Stream()
        stream.is_terminal = is_terminal
        progress = Progress(stream, "reading", lambda: now[0])
        for step in range(int(seconds * 100)):
            now[0] += 0.01
            progress(step, int(seconds * 100))
        progress.end()
        return stream.getvalue()

    def test_short_work_is_not_told(self):
        self.assertEqual(self.run_for(0.9), "")

    def test_long_work_is_told_a_few_times_a_second_and_wiped_away(self):
        text = self.run_for(3)
        self.assertIn("reading: 53 %", text)
        self.assertLess(text.count("%"), 12)
        self.assertTrue(text.endswith("\r\x1b[K"))

    def test_nothing_goes_to_a_file(self):
        self.assertEqual(self.run_for(5, is_terminal=False), "")


if __name__ == "__main__":
    unittest.main()
