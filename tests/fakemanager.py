# SPDX-License-Identifier: BSD-2-Clause
"""A package manager that is none: answers command lines as recorded, keeps what it was asked.

Every command line and every environment is compared whole; a command that was
not expected fails the test. What the adapter marks as logged goes to the log file, as
in reality, so that an adapter which reads a pipe instead would see nothing.
"""

import os
import tempfile
import unittest
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple
from typing import Union

from qualvosec import command
from qualvosec import log
from qualvosec.helper.managers import base

from tests import DATA

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "LC_ALL": "C", "TERM": "dumb"}
NOW = 1000.0


class Fake:
    """`answers` maps command lines to text or (code, out, err[, timed out]) or a list of these."""

    def __init__(self, environment: Mapping[str, str] = ENVIRONMENT) -> None:
        self.environment = dict(environment)
        self.environments: Dict[str, Dict[str, str]] = {}  # of single command lines
        self.answers: Dict[Tuple[str, ...], Any] = {}
        self.calls: List[List[str]] = []
        self.logged: List[bool] = []
        self.deadlines: List[Optional[float]] = []
        self.before: Callable[[List[str]], None] = lambda argv: None

    def expect(self, words: Union[str, Sequence[str]], answer: Any = "") -> None:
        """Answer this command line: a list, or a text whose words are parted by single blanks."""
        self.answers[tuple(words.split(" ") if isinstance(words, str) else words)] = answer

    def run(self, argv: Sequence[str], env: Mapping[str, str], deadline_s: Optional[float] = None,
            limit: int = 0, log_fd: Optional[int] = None) -> command.Result:
        """Stand in for command.run."""
        words = list(argv)
        if dict(env) != self.environments.get(" ".join(words), self.environment):
            raise AssertionError("another environment: %r" % (env,))
        self.before(words)
        self.calls.append(words)
        self.logged.append(log_fd is not None)
        self.deadlines.append(deadline_s)
        if tuple(words) not in self.answers:
            raise AssertionError("an unexpected command: %s" % " ".join(words))
        answer = self.answers[tuple(words)]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, str):
            answer = (0, answer, "")
        code, out, err = answer[:3]
        if log_fd is not None:
            os.write(log_fd, (out + err).encode("utf-8"))
            out = err = ""
        return command.Result(code, out.encode("utf-8"), err.encode("utf-8"),
                              answer[3:] == (True,), False)

    def said(self) -> List[str]:
        """Return the command lines so far, each as one text."""
        return [" ".join(call) for call in self.calls]


class Case(unittest.TestCase):
    """A root directory with the programs of one manager and nothing else."""

    folder = ""
    programs: Sequence[str] = ()
    environment: Mapping[str, str] = ENVIRONMENT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        for name in self.programs:
            self.write(name, "")
            os.chmod(os.path.join(self.root, name), 0o755)
        os.makedirs(os.path.join(self.root, "run"))
        self.fake = Fake(self.environment)
        log_fd = os.open(os.path.join(self.root, "log"), os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self.addCleanup(os.close, log_fd)
        self.told: List[str] = []
        self.world = base.World(run=self.fake.run, now=lambda: NOW, root=self.root,
                                run_dir=os.path.join(self.root, "run"), log_fd=log_fd,
                                sleep=lambda seconds: None, tell=lambda event, **values:
                                self.told.append(log.line(event, **values)))

    def write(self, name: str, text: str) -> str:
        """Write a file of the root directory; its path."""
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def recorded(self, name: str) -> str:
        """Return an output that was recorded from a real run, or copied from documentation."""
        with open(os.path.join(DATA, self.folder, name), encoding="utf-8") as file:
            return file.read()

    def names(self, packages: Sequence[base.Package]) -> List[str]:
        """Return the names of the packages in order."""
        return sorted(package.name for package in packages)

    def why(self, plan: base.Plan) -> Dict[str, Tuple[str, str]]:
        """Return {name: (kind, reason)} of what the plan leaves."""
        return {left.name: (left.kind, left.why) for left in plan.left}
