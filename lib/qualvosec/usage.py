# SPDX-License-Identifier: BSD-2-Clause
"""The command line of a program: where -c may stand, and how a wrong one is told.

The configuration is named by `-c FILE`, `-cFILE`, `--config FILE` or `--config=FILE`, before or
behind the sub-command; the last one counts. What is wrong is told by its name under the usage of
the sub-command that was meant. The exit status is 2, but `wrong` of a sub-command that a
monitoring system asks: to that 2 is critical.
"""

import argparse
import sys
from typing import Any
from typing import Dict
from typing import Sequence

WRONG = 2


class Parser(argparse.ArgumentParser):
    """A program's command line or, made by command(), that of a sub-command."""

    wrong = WRONG

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.known: Dict[str, "Parser"] = {}
        self._commands: Any = None

    def take_config(self, text: str) -> None:
        """Take the name of the configuration; None where it is not given."""
        self.add_argument("-c", "--config", metavar="FILE", type=_named, help=text)

    def command(self, name: str, text: str, wrong: int = WRONG) -> "Parser":
        """Add a sub-command; one of them is required, and `parser` of the result is its own."""
        if self._commands is None:
            self._commands = self.add_subparsers(dest="command", metavar="COMMAND")
            self._commands.required = True
        made: Parser = self._commands.add_parser(name, help=text,
                                                 description=text[:1].upper() + text[1:] + ".")
        made.wrong = wrong
        # Without SUPPRESS the default would win over what stands before the command.
        made.add_argument("-c", "--config", metavar="FILE", default=argparse.SUPPRESS, type=_named,
                          help="configuration, as before the command")
        made.set_defaults(parser=made)
        self.known[name] = made
        return made

    def error(self, message: str) -> None:  # type: ignore[override]
        """Tell what is wrong, then end."""
        self.print_usage(sys.stderr)
        self.exit(self.wrong, "%s: %s\n" % (self.prog, "".join(
            char if char.isprintable() else "\\x%02x" % ord(char) for char in message)))

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return what the words mean; whatever is wrong with them ends the program.

        Where a command takes `words`, some may stand behind its options.
        """
        self._refuse_early(list(argv))
        options, rest = self.parse_known_args(argv)
        meant = getattr(options, "parser", self)
        wrong = [word for word in rest if len(word) > 1 and word.startswith("-")]
        if wrong:
            meant.error("%s: there is no such option: see %s --help"
                        % (wrong[0].partition("=")[0], meant.prog))
        if rest and not hasattr(options, "words"):
            meant.error("%s: is one word too many: see %s --help" % (rest[0], meant.prog))
        if rest:
            options.words.extend(rest)
        return options

    def _refuse_early(self, argv: Sequence[str]) -> None:
        """Refuse an option of a command that stands before it: its value would be the command."""
        words = iter(argv if self.known else ())
        for word in words:
            if word in ("-c", "--config"):
                next(words, "")     # is no command either; argparse tells where there is none
            elif word in ("-", "--") or not word.startswith("-"):
                return
            elif not self.has(word):
                meant = ([self.known[each] for each in argv if each in self.known] or [self])[0]
                meant.error("%s: %s" % (word.partition("=")[0], (
                    "stands before the command: write it behind" if meant.has(word)
                    else "there is no such option: see %s --help" % meant.prog)))

    def has(self, word: str) -> bool:
        """Say whether an option of this command line, or the beginning of one, is meant."""
        if not word.startswith("--"):
            return word[:2] in self._option_string_actions
        return any(known.startswith(word.partition("=")[0])
                   for known in self._option_string_actions)


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return text
