# SPDX-License-Identifier: BSD-2-Clause
"""The source keeps its own rules, and every rule is able to fail."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from typing import Dict
from typing import List
from typing import Set

from qualvosec import paths

from tests import LIB
from tests import ROOT
from tests import rules

GOOD = rules.HEADER + '\n"""Contract."""\n'


class Project(unittest.TestCase):
    """The rules, held against this checkout."""

    def test_leaves_and_rooms_import_only_what_they_may(self) -> None:
        self.assertEqual(rules.import_faults(ROOT), [])

    def test_nothing_outside_the_standard_library_is_imported(self) -> None:
        self.assertEqual(rules.foreign_faults(ROOT), [])

    def test_what_runs_as_root_stays_within_its_budget_of_code(self) -> None:
        self.assertEqual(rules.budget_faults(ROOT), [])

    def test_modules_and_functions_are_short(self) -> None:
        self.assertEqual(rules.length_faults(ROOT), [])

    def test_every_file_has_licence_contract_and_a_telling_name(self) -> None:
        self.assertEqual(rules.header_faults(ROOT), [])

    def test_events_of_the_log_are_fixed_texts(self) -> None:
        self.assertEqual(rules.log_faults(ROOT), [])

    def test_calls_mean_the_same_on_every_python_and_locale(self) -> None:
        self.assertEqual(rules.call_faults(ROOT), [])

    def test_version_stands_in_one_place(self) -> None:
        self.assertEqual(rules.version_places(ROOT, paths.VERSION), ["lib/qualvosec/paths.py"])

    def test_resident_daemon_can_never_come_to_import_what_is_large(self) -> None:
        self.assertEqual(rules.closure_faults(ROOT), [])

    def test_resident_daemon_starts_without_what_is_large(self) -> None:
        loaded = self.modules_after("import qualvosec.client.daemon")
        self.assertIn("qualvosec.client.daemon", loaded)
        self.assertEqual(loaded & rules.NEVER_RESIDENT, set())

    def test_list_of_loaded_modules_would_show_a_large_one(self) -> None:
        self.assertIn("tempfile", self.modules_after("import tempfile"))

    def modules_after(self, statement: str) -> Set[str]:
        code = ("import sys; sys.path.insert(0, %r); before = set(sys.modules); %s; "
                "print(' '.join(set(sys.modules) - before))" % (LIB, statement))
        done = subprocess.run([sys.executable, "-IBS", "-c", code], timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(done.returncode, 0)
        return set(done.stdout.decode().split())

    def test_every_module_imports_on_this_python(self) -> None:
        names = ["qualvosec." + source.name[:-3].replace(os.sep, ".")
                 for source in rules.sources(ROOT) if source.name]
        self.assertGreater(len(names), 20)
        loaded = self.modules_after("[__import__(name) for name in %r]" % names)
        self.assertEqual({name for name in names if not name.endswith(".__init__")} - loaded, set())

    def test_discovery_finds_every_test_file(self) -> None:
        found = {test.__class__.__module__ for test in _every(
            unittest.defaultTestLoader.discover(os.path.join(ROOT, "tests"), top_level_dir=ROOT))}
        expected: Set[str] = set()
        for folder, folders, names in os.walk(os.path.join(ROOT, "tests")):
            folders[:] = [name for name in folders if name not in ("data", "__pycache__")]
            module = os.path.relpath(folder, ROOT).replace(os.sep, ".")
            expected.update("%s.%s" % (module, name[:-3]) for name in names
                            if name.startswith("test") and name.endswith(".py"))
        self.assertEqual(found, expected)


def _every(suite: unittest.TestSuite) -> List[unittest.TestCase]:
    found: List[unittest.TestCase] = []
    for test in suite:
        found.extend(_every(test) if isinstance(test, unittest.TestSuite) else [test])
    return found


class Rules(unittest.TestCase):
    """Every rule, broken in a small tree of its own."""

    def tree(self, files: Dict[str, str]) -> str:
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        for name, text in files.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(text)
        return folder

    def module(self, name: str, text: str) -> str:
        return self.tree({"lib/qualvosec/" + name: GOOD + text})

    def test_good_tree_has_no_fault(self) -> None:
        tree = self.tree({
            "lib/qualvosec/files.py": GOOD + "import os\n",
            "lib/qualvosec/helper/front.py": GOOD + "from qualvosec import files\n"
                                                    "from qualvosec.contract import words\n"
                                                    "from qualvosec.helper import request\n",
            "lib/qualvosec/contract/call.py": GOOD + "import json\n"
                                                     "from qualvosec.contract import shape\n",
            "lib/qualvosec/client/daemon.py": GOOD + "from qualvosec import useragent\n"
                                                     "from qualvosec.manifest import policy\n",
            "bin/qualvosec": "#!/usr/bin/env python3\n" + GOOD + "import qualvosec.client\n"})
        for rule in (rules.import_faults, rules.foreign_faults, rules.budget_faults,
                     rules.length_faults, rules.header_faults, rules.call_faults,
                     rules.closure_faults):
            self.assertEqual(rule(tree), [], rule.__name__)

    def test_wrong_imports_are_found_wherever_they_stand(self) -> None:
        rows = [("files.py", "from qualvosec import ini\n"),
                ("files.py", "import qualvosec.ini\n"),
                ("files.py", "def f():\n    from qualvosec.client import state\n"),
                ("contract/shape.py", "from qualvosec import files\n"),
                ("contract/shape.py", "from qualvosec.manifest import policy\n"),
                ("contract/shape.py", "import os\n"),
                ("files.py", "from qualvosec.contract import shape\n"),
                ("server/main.py", "from qualvosec.client import state\n"),
                ("server/main.py", "from qualvosec.manifest import policy\n"),
                ("manifest/window.py", "from qualvosec.admin import render\n"),
                ("client/engine.py", "from qualvosec.helper import front\n"),
                ("admin/commands.py", "from qualvosec.client import config\n"),
                ("helper/front.py", "from qualvosec import yamlsubset\n"),
                ("helper/front.py", "from qualvosec.manifest import policy\n"),
                ("contract/words.py", "from qualvosec import files\n"),
                ("contract/words.py", "from qualvosec.manifest import policy\n"),
                ("files.py", "from qualvosec.contract import words\n"),
                ("client/engine.py", "from . import state\n")]
        for name, text in rows:
            self.assertEqual(len(rules.import_faults(self.module(name, text))), 1, (name, text))

    def test_foreign_module_is_found_in_modules_and_programs(self) -> None:
        tree = self.module("x.py", "import yaml_of_nobody\n")
        self.assertEqual(len(rules.foreign_faults(tree)), 1)
        tree = self.tree({"bin/qualvosec": "#!/usr/bin/env python3\nimport yaml_of_nobody\n"})
        self.assertEqual(len(rules.foreign_faults(tree)), 1)
        self.assertTrue(rules.is_standard("json"))
        self.assertTrue(rules.is_standard("sys"))

    def test_code_is_counted_without_comments_blanks_and_documentation(self) -> None:
        text = ('"""Doc\nstring."""\n# comment\n\nimport os\n\n\ndef f() -> str:\n    """Doc."""\n'
                '    # why\n    text = """two\nlines"""\n    return (text +\n            "x")\n'
                '"a" if os else "b"\n')
        self.assertEqual(rules.code_lines(text), 7)

    def test_budgets_of_root_are_enforced(self) -> None:
        lines = "x = 1\n" * 101
        tree = self.tree({"lib/qualvosec/helper/front.py": lines,
                          "lib/qualvosec/helper/request.py": lines})
        self.assertEqual(len(rules.budget_faults(tree)), 1)
        self.assertEqual(len(rules.budget_faults(
            self.tree({"lib/qualvosec/helper/run.py": "x = 1\n" * 805}))), 1)
        self.assertEqual(rules.budget_faults(
            self.tree({"lib/qualvosec/helper/managers/apt.py": "x = 1\n" * 761})), [])

    def test_long_module_and_long_function_are_found(self) -> None:
        self.assertEqual(len(rules.length_faults(self.module("x.py", "x = 1\n" * 398))), 1)
        body = "def f():\n" + "    x = 1\n" * 59
        self.assertEqual(len(rules.length_faults(self.module("x.py", body))), 1)

    def test_missing_licence_contract_and_empty_names_are_found(self) -> None:
        rows = [("x.py", '"""Contract."""\n'), ("x.py", rules.HEADER + "\nx = 1\n"),
                ("utils.py", GOOD), ("admin/common.py", GOOD)]
        for name, text in rows:
            tree = self.tree({"lib/qualvosec/" + name: text})
            self.assertEqual(len(rules.header_faults(tree)), 1, (name, text))

    def test_calls_that_depend_on_locale_or_version_are_found(self) -> None:
        rows = ["open('x')\n", "open('x', 'w')\n", "open('x', mode='a')\n",
                "import subprocess\nsubprocess.run(['x'], capture_output=True)\n",
                "import subprocess\nsubprocess.Popen(['x'], text=True)\n",
                "import subprocess\nsubprocess.call('x', shell=True)\n"]
        for text in rows:
            self.assertEqual(len(rules.call_faults(self.module("x.py", text))), 1, text)
        self.assertEqual(rules.call_faults(self.module("x.py", "open('x', 'rb')\n")), [])

    def test_events_that_vary_are_found(self) -> None:
        for text in ("log.info('a %s' % 1)\n", "log.error(x)\n", "log.critical()\n"):
            self.assertEqual(len(rules.log_faults(self.module("x.py", text))), 1, text)
        self.assertEqual(rules.log_faults(self.module("x.py", "log.info('a', b=x)\n")), [])

    def test_second_place_of_the_version_is_found(self) -> None:
        tree = self.module("x.py", "VERSION = '9.9.9'\n")
        self.assertEqual(rules.version_places(tree, "9.9.9"), ["lib/qualvosec/x.py"])

    def test_large_module_behind_two_steps_and_a_function_is_found(self) -> None:
        tree = self.tree({
            "lib/qualvosec/client/daemon.py": GOOD + "from qualvosec.client import loop\n",
            "lib/qualvosec/client/loop.py": GOOD + "def f():\n    from urllib import request\n"})
        self.assertEqual(len({line.split(" ")[0] for line in rules.closure_faults(tree)}), 1)


if __name__ == "__main__":
    unittest.main()
