# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin(8): the command line, and what becomes of it.

Each module of commands registers its own. Exit codes: 0 done, 1 failed (a fault in the
manifest, a log that cannot be read, a host that is not listed), 2 usage or configuration.
Everything printed is safe for a terminal, whatever stands in manifest and logs.
"""

import importlib
import os
import sys
import time
from typing import Callable
from typing import Optional
from typing import Sequence
from typing import TextIO

from qualvosec import paths
from qualvosec.admin import source
from qualvosec.admin.terminal import FAILED
from qualvosec.admin.terminal import NAGIOS_UNKNOWN
from qualvosec.admin.terminal import USAGE
from qualvosec.admin.terminal import Action
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import OutputError
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import width_of
from qualvosec.usage import Parser

# Loaded by name, because what all of them need takes longer to load than most commands take.
MODULES = (("show.listing", ("list", "orphans", "status", "metrics", "report", "adopt")),
           ("check", ("check", "show")), ("edit.commands", ("add", "remove", "delete", "set")),
           ("timetable", ("next",)), ("edit.signing", ("sign",)))


def _parser(argv: Sequence[str] = ()) -> Parser:
    """Return a parser that knows the modules of all commands in argv; all, if there is none."""
    parser = Parser(
        prog="qualvosec-admin", description="See which hosts are alive and patched, and check the "
        "manifest before it is published. See qualvosec-admin(8).")
    parser.add_argument("--version", action="version", version="qualvosec-admin " + paths.VERSION)
    parser.take_config("configuration (default: %s)"
                       % os.path.join(paths.CONFIG_DIR, source.CONFIG_NAME))

    def add(name: str, action: Action, text: str) -> Parser:
        command = parser.command(name, text, NAGIOS_UNKNOWN if name == "status" else USAGE)
        command.add_argument("--manifest", metavar="FILE|URL", default="",
                             help="the manifest, instead of the configured one")
        command.set_defaults(action=action)
        return command

    wanted = [module for module, names in MODULES if set(names) & set(argv)]
    for module in wanted or [module for module, _ in MODULES]:
        importlib.import_module("qualvosec.admin." + module).register(add)
    return parser


def main(argv: Sequence[str], out: Optional[TextIO] = None, err: Optional[TextIO] = None,
         clock: Callable[[], float] = time.time) -> int:
    """Run one command; returns the exit code."""
    # None where the caller has closed them, as some do; argparse writes to them, too.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    out = out or sys.stdout
    err = err or sys.stderr
    try:
        options = _parser(argv).read(argv)
    except SystemExit as stop:
        # argparse has printed its usage, help or version already.
        return stop.code if isinstance(stop.code, int) else USAGE
    terminal = Terminal(out, err, int(clock()), width_of(out))
    try:
        code: int = options.action(options, terminal)
        terminal.end()
        return code
    except UsageError as error:
        if error.of_words:
            options.parser.print_usage(err)
        terminal.warn(str(error))
        return USAGE
    except OutputError as error:
        _close(out)
        terminal.warn(str(error))
        return FAILED
    except AdminError as error:
        terminal.warn(str(error))
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        _close(out)
        return FAILED
    except KeyboardInterrupt:
        terminal.warn("interrupted")
        return FAILED


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _close(out: TextIO) -> None:
    """Keep the interpreter from complaining at its end of what it cannot write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
