# SPDX-License-Identifier: BSD-2-Clause
"""Hostile names against every adapter: none of them may reach a command line or a file.

For each row, as whitelist and as blacklist, the request goes through the front. Whatever
it is taken for, the adapter may give no other command than for an empty request or for
one whose whitelist matches nothing.
"""

import importlib
import io
import json
import os
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Set
from typing import Tuple
from unittest import mock

from qualvosec.helper import front
from qualvosec.helper import managers
from qualvosec.helper import record

from tests import DATA
from tests import fakemanager

CASES = {"dnf": "tests.test_dnf:Dnf", "dnf5": "tests.test_dnf:Dnf5",
         "zypper": "tests.test_zypper:Case", "pkg": "tests.test_pkg:Case",
         "openbsd": "tests.test_openbsd:Case", "apk": "tests.test_apk:Case",
         "pacman": "tests.test_pacman:Case", "pkgin": "tests.test_pkgin:Case"}
ELSEWHERE = {"apt", "dragonfly"}  # tests/test_apt.py; the same code as pkg


class Lenient(dict):  # type: ignore[type-arg]
    """Answers to what was not recorded: nothing, successfully."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: object) -> str:
        return ""


class Injection(unittest.TestCase):
    def rows(self) -> List[str]:
        with open(os.path.join(DATA, "injection.txt"), encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip() and line[0] != "#"]
        self.assertGreaterEqual(len(rows), 60)
        return rows

    def calls(self, case: fakemanager.Case, **fields: Any) -> Tuple[str, Set[Tuple[str, ...]]]:
        """Return the status of a check and the command lines that it gave."""
        case.fake.calls.clear()
        request = {"v": 1, "op": "check", "refresh": False, "security_only": False, "only": [],
                   "exclude": []}
        host = front.Host(1000, record.Store(case.root), case.root, case.world)
        manager: Any = case.manager  # type: ignore[attr-defined]
        with mock.patch.object(managers, "of_this_system", lambda *_: manager):
            reply = front.serve(io.BytesIO(
                json.dumps(dict(request, **fields)).encode("ascii")).read, host)
        return str(reply["status"]), {tuple(call) for call in case.fake.calls}

    def test_every_adapter_is_tried(self) -> None:
        self.assertEqual(set(CASES) | ELSEWHERE, set(managers.KINDS))

    def test_no_row_reaches_a_command(self) -> None:
        rows, tried, accepted = self.rows(), 0, 0
        for name, where in CASES.items():
            module, _, attribute = where.partition(":")
            case = getattr(importlib.import_module(module), attribute)("setUp")
            case.setUp()
            self.addCleanup(case.doCleanups)
            answers: Dict[Any, Any] = Lenient(case.fake.answers)
            case.fake.answers = answers
            if hasattr(case, "zypp"):
                case.zypp.simulations = Lenient(case.zypp.simulations)
            status, allowed = self.calls(case)
            self.assertEqual(status, "ok", name)
            allowed |= self.calls(case, only=["nosuchpackage"])[1]
            for row in rows:
                for key in ("only", "exclude"):
                    status, given = self.calls(case, **{key: [row]})
                    self.assertLessEqual(given, allowed, (name, key, row))
                    tried += 1
                    accepted += status == "ok"
        self.assertEqual(tried, 2 * len(rows) * len(CASES))
        # Many rows are valid patterns that match nothing: these get as far as the adapter.
        self.assertGreater(accepted, 10 * len(CASES))
