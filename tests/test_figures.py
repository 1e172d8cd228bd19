# SPDX-License-Identifier: BSD-2-Clause
"""The figures about the source count what they say, on a small tree and on this one."""

import os
import tempfile
import unittest
from typing import Dict

from tests import ROOT
from tests import figures
from tests import rules

MODULE = '''# SPDX-License-Identifier: BSD-2-Clause
"""Contract."""

import os
from typing import List

# Why.
WORDS = ("partial", "locked")


class %s(%s):
    """A class."""

    place = os.sep
'''


class Figures(unittest.TestCase):

    def tree(self, modules: Dict[str, str]) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in modules.items():
            path = os.path.join(folder.name, "lib", "qualvosec", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
        return folder.name

    def test_blank_lines_comments_docstrings_and_imports_are_no_lines_of_code(self) -> None:
        tree = self.tree({"leaf.py": MODULE % ("Leaf", "object")})
        self.assertEqual([figures.lines(source) for source in rules.sources(tree)], [3])

    def test_classes_are_counted_with_their_errors_and_double_meanings(self) -> None:
        tree = self.tree({"admin/a.py": MODULE % ("Row", "object"),
                          "admin/b.py": MODULE % ("Row", "object"),
                          "client/a.py": MODULE % ("Fault", "ValueError"),
                          "client/b.py": MODULE % ("Row", "Fault")})
        found = figures.classes(tree)
        self.assertEqual((len(found), figures.shared_names(found)), (4, (["admin/Row"], ["Row"])))
        self.assertEqual([each.module for each in found if each.error],
                         [os.path.join("client", "a.py"), os.path.join("client", "b.py")])

    def test_a_file_with_two_outcome_words_lists_them(self) -> None:
        tree = self.tree({"a.py": MODULE % ("A", "object"), "b.py": "WORD = 'partial'\n"})
        self.assertEqual(figures.outcome_files(tree), [os.path.join("lib", "qualvosec", "a.py")])

    def test_arrows_are_counted_between_folders_and_circles_are_seen(self) -> None:
        tree = self.tree({"client/a.py": "from qualvosec.client.b import one\n",
                          "client/b/__init__.py": "", "client/b/one.py": "import qualvosec.leaf\n",
                          "client/b/two.py": "from qualvosec.client.b import one\n"
                                             "from qualvosec.client import a\n",
                          "leaf.py": ""})
        pairs = figures.arrows(tree, "client")
        self.assertEqual(pairs, [("a", "b"), ("b", "a")])
        self.assertEqual(figures.circles(pairs), ["a", "b"])

    def test_outcome_words_stand_in_one_file_and_no_room_turns_in_circles(self) -> None:
        self.assertEqual(figures.outcome_files(ROOT), ["lib/qualvosec/contract/words.py"])
        for room, most in (("client", 36), ("admin", 28), ("helper", 22), ("manifest", 16)):
            pairs = figures.arrows(ROOT, room)
            self.assertEqual(figures.circles(pairs), [], room)
            self.assertLessEqual(len(pairs), most, room)

    def test_a_class_name_has_one_meaning_in_its_room_and_few_have_two_anywhere(self) -> None:
        in_room, anywhere = figures.shared_names(figures.classes(ROOT))
        self.assertEqual(in_room, [])
        self.assertLessEqual(len(anywhere), 8, anywhere)

    def test_what_runs_as_root_is_what_an_interpreter_has_loaded(self) -> None:
        front = figures.loaded(ROOT, figures.FRONT)
        with_apt = figures.loaded(ROOT, figures.APT)
        self.assertIn("lib/qualvosec/helper/managers/apt.py", with_apt)
        self.assertNotIn("lib/qualvosec/helper/managers/apt.py", front)


if __name__ == "__main__":
    unittest.main()
