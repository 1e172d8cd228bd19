# SPDX-License-Identifier: BSD-2-Clause
"""The lines of log that a test causes, without their level."""

import logging
from typing import Any
from typing import List
from unittest import mock


class _Keeper(logging.Handler):
    def __init__(self, lines: List[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def into(lines: List[str]) -> Any:
    """Return a patch during which every line of log goes into the list, and nowhere else."""
    return mock.patch.object(logging.getLogger("qualvosec"), "handlers", [_Keeper(lines)])
