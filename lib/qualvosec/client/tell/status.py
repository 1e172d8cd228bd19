# SPDX-License-Identifier: BSD-2-Clause
"""What this host knows about itself at one moment, as monitoring sees it.

The loop fills a Snapshot, the health endpoint renders it: a text for people and
simple checks, JSON for programs, the Prometheus text format for metrics. All
functions are pure. Times go in as epoch seconds, 0 for never, and come out as
UTC (JSON: ISO 8601 or null; metrics: seconds, or the metric is left out).
"""

import json
import time
from typing import Iterable
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple
from typing import Union

from qualvosec.contract import words
from qualvosec.manifest import policy as policies
from qualvosec.manifest.policy import Policy
from qualvosec.safetext import safe

UNIX_EPOCH_ORDINAL = 719163     # 1970-01-01 in the proleptic calendar


class Snapshot(NamedTuple):
    """Times in epoch seconds, 0: never or unknown. Counts: None: unknown."""

    healthy: bool
    reasons: Tuple[str, ...] = ()       # why not, and what else a person should know
    version: str = ""
    fqdn: str = ""
    now: int = 0
    started: int = 0                    # of the daemon
    phase: str = "idle"                 # idle | patching | patched | rebooting
    running_since: int = 0              # of a package run that is alive
    waiting_for: str = ""               # why nothing starts now
    veto: str = ""                      # the reason that root gave
    entry: str = ""                     # policy | unlisted | invalid, "": none received yet
    policy: Optional[Policy] = None
    faults: Tuple[str, ...] = ()        # of an invalid entry, with their places
    next_window: str = ""               # id
    next_start: int = 0                 # opening + splay
    next_close: int = 0
    last_window: str = ""               # id of the window of the last run
    outcome: str = ""                   # one of words.OUTCOMES, or newer
    reason: str = ""
    finished: int = 0
    upgraded: Optional[int] = None
    kept: Optional[int] = None
    pending: Optional[int] = None
    config_files: Optional[int] = None  # new configuration files left beside the old ones
    manager: str = ""
    kernel: str = ""                    # running
    reboot: str = "unknown"             # one of words.REBOOTS, or newer
    reboot_reasons: Tuple[str, ...] = ()
    last_success: int = 0               # start of the newest window that ended well
    server: str = ""                    # URL of the manifest
    reachable: bool = False             # the last fetch succeeded
    fetch_reason: str = ""              # why the last fetch failed
    last_fetch: int = 0                 # last attempt
    last_contact: int = 0               # last answer 200 or 304
    serial: int = 0
    expires: int = 0                    # ordinal of the last valid day
    other_tools: Tuple[str, ...] = ()   # that patch this host too, and how to turn them off


def health_text(snapshot: Snapshot) -> str:
    """Return `healthy: true` or `healthy: false`, then one line for each reason."""
    lines = ["healthy: %s" % ("true" if snapshot.healthy else "false")]
    lines.extend(safe(reason, 500) for reason in snapshot.reasons)
    return "\n".join(lines) + "\n"


def instant(seconds: int) -> Optional[str]:
    """Return an ISO 8601 instant in UTC, None for 0."""
    if not seconds:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def status(snapshot: Snapshot) -> str:
    """Return the JSON object of /status, for programs and for administrators."""
    day = instant((snapshot.expires - UNIX_EPOCH_ORDINAL) * 86400) if snapshot.expires else None
    value = {
        "v": 1, "healthy": snapshot.healthy, "reasons": list(snapshot.reasons),
        "version": snapshot.version, "host": snapshot.fqdn, "now": instant(snapshot.now),
        "started": instant(snapshot.started), "phase": snapshot.phase,
        "running_since": instant(snapshot.running_since), "waiting_for": snapshot.waiting_for,
        "veto": snapshot.veto, "entry": snapshot.entry,
        "policy": policies.values(snapshot.policy) if snapshot.policy else None,
        "faults": list(snapshot.faults),
        "next_window": {"id": snapshot.next_window, "start": instant(snapshot.next_start),
                        "close": instant(snapshot.next_close)},
        "last_run": {"window": snapshot.last_window, "outcome": snapshot.outcome,
                     "reason": snapshot.reason, "finished": instant(snapshot.finished),
                     "upgraded": snapshot.upgraded, "kept": snapshot.kept,
                     "pending": snapshot.pending, "config_files": snapshot.config_files,
                     "manager": snapshot.manager},
        "last_success": instant(snapshot.last_success),
        "reboot": {"state": snapshot.reboot, "reasons": list(snapshot.reboot_reasons),
                   "kernel": snapshot.kernel},
        "server": {"url": snapshot.server, "reachable": snapshot.reachable,
                   "reason": snapshot.fetch_reason, "last_attempt": instant(snapshot.last_fetch),
                   "last_contact": instant(snapshot.last_contact)},
        "manifest": {"serial": snapshot.serial, "expires": day[:10] if day else None},
        "other_tools": list(snapshot.other_tools),
    }
    return json.dumps(value, indent=2) + "\n"


def _label(text: str) -> str:
    return safe(text).replace('"', '\\"')


class _Metrics:
    """Lines of the Prometheus text format, version 0.0.4."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def add(self, name: str, about: str, *samples: Tuple[str, Union[int, bool]]) -> None:
        """Add a gauge; a sample is its labels, "" for none, and its value."""
        self.lines.append("# HELP qualvosec_%s %s" % (name, about))
        self.lines.append("# TYPE qualvosec_%s gauge" % name)
        for labels, value in samples:
            self.lines.append("qualvosec_%s%s %d" % (name, labels, value))

    def known(self, name: str, about: str, value: Optional[int]) -> None:
        """Add a gauge unless its value is not known."""
        if value is not None:
            self.add(name, about, ("", value))

    def states(self, name: str, about: str, label: str, states: Iterable[str],
               current: str) -> None:
        """Add one sample for each state, 1 for the current one, be it newer than this version."""
        known = tuple(states)
        self.add(name, about, *(('{%s="%s"}' % (label, _label(state)), state == current)
                                for state in known + ((current,) if current and current not in known
                                                      else ())))


def metrics(snapshot: Snapshot) -> str:
    """Return the metrics of this host; what is unknown is left out."""
    out = _Metrics()
    out.add("build_info", "Version of the running daemon.",
            ('{version="%s"}' % _label(snapshot.version), 1))
    out.add("healthy", "Whether this host is being patched as it should.", ("", snapshot.healthy))
    out.add("patch_enabled", "Whether the manifest tells this host to patch.",
            ("", snapshot.policy is not None and snapshot.policy.patch))
    out.add("run_active", "Whether a package run is alive.", ("", snapshot.running_since > 0))
    out.states("manifest_entry", "What the manifest says about this host.", "entry",
               ("policy", "unlisted", "invalid"), snapshot.entry)
    out.known("next_window_start_timestamp_seconds", "When the next run starts.",
              snapshot.next_start or None)
    if snapshot.outcome:
        out.states("last_run_outcome", "How the last run ended.", "outcome",
                   words.OUTCOMES, snapshot.outcome)
    out.known("last_run_timestamp_seconds", "When the last run ended.",
              snapshot.finished or None)
    out.known("last_success_timestamp_seconds", "Start of the last window that ended well.",
              snapshot.last_success or None)
    out.known("last_run_upgraded_packages", "Packages that the last run upgraded.",
              snapshot.upgraded)
    out.known("kept_back_packages", "Packages that the last run kept back.", snapshot.kept)
    out.known("pending_packages", "Packages with an upgrade still to come.", snapshot.pending)
    out.add("other_tools", "Tools that install updates outside the windows.",
            ("", len(snapshot.other_tools)))
    out.states("reboot_state", "State of the reboot of this host.", "state",
               words.REBOOTS, snapshot.reboot)
    out.add("server_reachable", "Whether the last fetch of the manifest succeeded.",
            ("", snapshot.reachable))
    out.known("last_fetch_timestamp_seconds", "When the manifest was last asked for.",
              snapshot.last_fetch or None)
    out.known("last_contact_timestamp_seconds", "When the web server last answered well.",
              snapshot.last_contact or None)
    return "\n".join(out.lines) + "\n"
