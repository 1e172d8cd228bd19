# SPDX-License-Identifier: BSD-2-Clause
"""Names and patterns of packages: allowed forms, matching, what a list leaves out."""

import fnmatch
import random
import time
import unittest

from qualvosec.contract.names import matches
from qualvosec.helper.managers import names


class Matching(unittest.TestCase):
    def test_star_and_question_mark_mean_what_a_shell_means(self) -> None:
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        hits = 0
        for _ in range(20000):
            pattern = "".join(rng.choice("ab*?") for _ in range(rng.randint(1, 7)))
            name = "".join(rng.choice("ab") for _ in range(rng.randint(1, 7)))
            expected = fnmatch.fnmatchcase(name, pattern)
            hits += expected
            self.assertEqual(matches(pattern, name), expected,
                             "%r %r seed %d" % (pattern, name, seed))
        self.assertGreater(hits, 1000)

    def test_everything_else_stands_for_itself(self) -> None:
        self.assertTrue(matches("libstdc++6", "libstdc++6"))
        self.assertFalse(matches("lib.*6", "libstdc++6"))
        self.assertFalse(matches("python3.1", "python321"))

    def test_no_pattern_takes_more_than_its_length_times_the_names(self) -> None:
        installed = ["lib%s%d" % ("a" * (n % 50), n) for n in range(3000)]
        hostile = ["*a" * 63 + "*", "*a*" * 42 + "Q", "*" * 127 + "Q", "?" * 128, "*?" * 63 + "Q",
                   "*a?a?a?a?a?a?a?a*Q", "*l*i*b*a*a*a*a*Q"]
        for pattern in hostile:
            start = time.process_time()
            found, idle = names.expand([pattern], installed)
            self.assertEqual((found, idle), (set(), [pattern]))
            self.assertLess(time.process_time() - start, 1.0, pattern)


class Lists(unittest.TestCase):
    installed = ["vim", "vim-tiny", "libc6", "libc6:i386", "nano"]

    def test_a_pattern_without_architecture_means_every_copy(self) -> None:
        self.assertEqual(names.expand(["libc6"], self.installed), ({"libc6", "libc6:i386"}, []))
        self.assertEqual(names.expand(["libc6:i386"], self.installed), ({"libc6:i386"}, []))

    def test_the_architecture_of_the_system_itself_may_be_named_as_dpkg_shows_it(self) -> None:
        for pattern, expected in (("libc6:amd64", {"libc6"}), ("libc6:*", {"libc6", "libc6:i386"}),
                                  ("vim*:amd64", {"vim", "vim-tiny"})):
            self.assertEqual(names.expand([pattern], self.installed, "amd64"), (expected, []))
        why, warnings = names.unwanted([], ["libc6:amd64"], self.installed, self.installed, "amd64")
        self.assertEqual((why, warnings), ({"libc6": "in packages_blacklist"}, []))

    def test_what_matches_nothing_is_told(self) -> None:
        self.assertEqual(names.expand(["vim*", "emacs"], self.installed),
                         ({"vim", "vim-tiny"}, ["emacs"]))

    def test_blacklist_wins_over_whitelist(self) -> None:
        why, warnings = names.unwanted(["vim*"], ["vim-tiny"], self.installed, self.installed)
        self.assertEqual(why, {"vim-tiny": "in packages_blacklist",
                               "libc6": "not in packages_whitelist",
                               "libc6:i386": "not in packages_whitelist",
                               "nano": "not in packages_whitelist"})
        self.assertEqual(warnings, [])

    def test_whitelist_without_any_match_leaves_out_everything(self) -> None:
        why, warnings = names.unwanted(["emacs"], [], ["vim"], self.installed)
        self.assertEqual(why, {"vim": "not in packages_whitelist"})
        self.assertEqual(warnings, ["packages_whitelist: emacs matches no installed package"])

    def test_no_lists_leave_out_nothing(self) -> None:
        self.assertEqual(names.unwanted([], [], ["vim"], self.installed), ({}, []))
