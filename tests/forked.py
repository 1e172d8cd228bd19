# SPDX-License-Identifier: BSD-2-Clause
"""Runs a program of this checkout in a fork of the test's process, as its own interpreter would.

What costs most of a start, importing, is done already; what the program changes in itself
is gone with the fork. For what an interpreter does at its start (its options, what it
imports, the environment, closed standard files) a test starts a real one.
"""

import io
import logging
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
from typing import IO
from typing import Dict
from typing import NamedTuple
from typing import Optional
from typing import Sequence


class Done(NamedTuple):
    """How a program ended and what it wrote."""

    code: int
    out: str
    err: str


def run(path: str, words: Sequence[str], data: bytes = b"",
        env: Optional[Dict[str, str]] = None, log: str = "") -> Done:
    """Run a program to its end; what it says goes to the end of the log, if one is named."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, \
            (open(log, "a+b") if log else tempfile.TemporaryFile()) as err:
        given.write(data)
        given.seek(0)
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for number, stream in enumerate((given, out, err)):
                    os.dup2(stream.fileno(), number)
                code = become(path, words, env)
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Done(code, text(out), text(err))


def text(stream: IO[bytes]) -> str:
    """What was written to a file by somebody else."""
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def become(path: str, words: Sequence[str], env: Optional[Dict[str, str]]) -> int:
    """In the fork: put things as a new interpreter has them, run, return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    time.tzset()
    logging.root.manager.loggerDict.pop("qualvosec", None)
    del logging.root.handlers[:]
    sys.stdin = io.TextIOWrapper(io.FileIO(0), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), "utf-8", "surrogateescape")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), "utf-8", "backslashreplace",
                                  line_buffering=True)
    sys.argv = [path] + list(words)
    code = 0
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
