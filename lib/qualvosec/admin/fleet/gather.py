# SPDX-License-Identifier: BSD-2-Clause
"""Settings -> the whole fleet: manifest and access logs read, rows made, doubts collected."""

import os
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import paths
from qualvosec.admin import source
from qualvosec.admin.fleet import accesslog
from qualvosec.admin.fleet import logfile
from qualvosec.admin.fleet import overview
from qualvosec.admin.fleet.accesslog import Log
from qualvosec.admin.fleet.overview import Row
from qualvosec.admin.progress import Progress
from qualvosec.admin.settings import USUAL_LOGS
from qualvosec.admin.settings import Settings
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import count
from qualvosec.manifest import document
from qualvosec.manifest.window import host_zone
from qualvosec.manifest.window import local_day

DAY_S = 86400


class Fleet(NamedTuple):
    """All hosts, listed or seen, and what one must know before believing it."""

    rows: List[Row]
    log: Log
    faults: Tuple[str, ...]         # something could not be read: the command has failed
    notes: Tuple[str, ...]
    is_covered: bool                # silence in these logs proves that a host is silent

    def doubts(self) -> Tuple[str, ...]:
        """Return faults and notes."""
        return self.faults + self.notes

    def tell(self, terminal: Terminal) -> None:
        """Print the doubts to stderr."""
        for doubt in self.doubts():
            terminal.warn(doubt)

    def begins(self) -> Optional[int]:
        """Return the time of the oldest line, None when there is none."""
        return self.log.begins or None

    def ends(self) -> Optional[int]:
        """Return the time of the newest line, None when there is none."""
        return self.log.ends or None


def read(settings: Settings, terminal: Terminal) -> Fleet:
    """Read manifest and logs; raises AdminError."""
    name, found = _read_manifest(settings, terminal.now)
    settings = _with_logs(settings)
    faults: List[str] = []
    if found.errors():
        faults.append("%s: has %s: see qualvosec-admin check"
                      % (name, count(found.errors(), "fault")))
    logs, absent = logfile.expand(settings.log_file_path)
    faults.extend(absent)
    log = _read_logs(logs, found, terminal)
    faults.extend("%s: what could be read is shown" % fault for fault in log.faults)
    log = log._replace(faults=tuple(absent) + log.faults)
    rows = overview.rows(found.hosts, log, terminal.now, settings.alive_days)
    return Fleet(rows, log, tuple(faults),
                 tuple(overview.notes(log, terminal.now, settings.alive_days)),
                 overview.covers(log, terminal.now, settings.alive_days))


def _with_logs(settings: Settings) -> Settings:
    """Leave only those of the usual logs that are there; what was named has to be."""
    if settings.log_file_path == USUAL_LOGS:
        settings = settings._replace(log_file_path=logfile.present(USUAL_LOGS))
    if not settings.log_file_path:
        raise UsageError("log_file_path: there is no %s: give --log FILE or set it in %s"
                         % (" and no ".join(USUAL_LOGS),
                            os.path.join(paths.CONFIG_DIR, source.CONFIG_NAME)), of_words=False)
    return settings


def _read_manifest(settings: Settings, now: int) -> Tuple[str, document.Document]:
    """Return name and content; not the text, which of a large fleet takes megabytes."""
    manifest = source.load(settings)
    return manifest.name, document.read(manifest.data, local_day(now, host_zone))


def _read_logs(logs: List[str], found: document.Document, terminal: Terminal) -> Log:
    progress = Progress(terminal.err, "reading logs")
    sizes = [os.path.getsize(path) for path in logs if os.path.isfile(path)]
    total, before, last = sum(sizes), 0, 0

    def tell(done: int, size: int) -> None:
        nonlocal before, last
        if done < last:
            before += last
        last = done
        progress(min(before + done, total), total)
    try:
        # A day more: the web server's clock and this one may differ.
        return accesslog.read(logs, found.hosts, tell, terminal.now + DAY_S)
    finally:
        progress.end()
