# SPDX-License-Identifier: BSD-2-Clause
"""The daemon's own command line, read without argparse: that stays out of the resident process.

A word that is no option is a sub-command; these have commands.py, and so has --help.
The configuration may be named in each of the forms that the commands take.
"""

from typing import NamedTuple
from typing import Sequence

NO_FILE = "%s: needs the name of a FILE"


class Invocation(NamedTuple):
    """What is asked of the daemon; `wrong` says by name what is not understood."""

    is_command: bool = False
    is_version: bool = False
    config: str = ""
    wrong: str = ""


def read(argv: Sequence[str]) -> Invocation:
    """Return what the words behind the program's name mean."""
    found = Invocation()
    words = iter(argv)
    for word in words:
        if word in ("-c", "--config"):
            name, value = word, next(words, "")
            # As the commands have it: an option is no name of a file.
            value = "" if value.startswith("-") and value != "-" else value
        elif word.startswith("--config="):
            name, _, value = word.partition("=")
        elif word.startswith("-c"):
            name, value = "-c", word[2:]
        elif word in ("-h", "--help") or not word.startswith("-"):
            return Invocation(is_command=True)
        elif word == "--version":
            found = found._replace(is_version=True)
            continue
        else:
            found = found._replace(wrong=found.wrong or "%s: there is no such option"
                                   % word.partition("=")[0])
            continue
        found = found._replace(config=value, wrong=found.wrong or (
            "" if value else NO_FILE % name))
    return found
