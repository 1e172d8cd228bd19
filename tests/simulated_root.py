# SPDX-License-Identifier: BSD-2-Clause
"""A model of the root helper for tests/simulate.py: record, lock, detached run, reboot.

It keeps what is durable (record, reboot stamp) apart from what dies with the
power (the process), and notes what really happened, for the oracle. `strict`
switches on the refusals that the real helper has on top; without them nothing
but the client's own care prevents a second run.
"""

import random
from typing import Any
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple


class Started(NamedTuple):
    """One accepted request, as it really happened."""

    op: str
    window: str
    real: int       # true seconds
    wall: int       # what the clock showed
    number: int     # of the run before or with it


class Root:
    """Durable record plus at most one process."""

    def __init__(self, rng: random.Random, strict: bool) -> None:
        self.rng = rng
        self.strict = strict
        self.record: Optional[Dict[str, Any]] = None
        self.plan: List[Tuple[int, str]] = []       # (true second, step of the process)
        self.window = ""
        self.not_after = 0
        self.outcome = ""
        self.started: List[Started] = []
        self.commits: List[Started] = []
        self.outcomes: Dict[str, Tuple[str, int]] = {}  # what root recorded last, and when
        self.second_requests: List[str] = []        # upgrades asked for after a commit
        self.runs = 0
        self.broken = ""                            # why sudo fails
        self.calm = False

    @property
    def alive(self) -> bool:
        return bool(self.plan)

    def request(self, op: str, window: str, not_after: int, real: int, wall: int,
                boot_id: str) -> str:
        """Accept (return "") or refuse with a reason."""
        if self.broken:
            return self.broken
        if self.alive:
            return "a run is alive"
        committed = any(commit.window == window for commit in self.commits)
        if op == "upgrade" and committed:
            self.second_requests.append(window)
        if wall > not_after:
            return "the window has closed"
        if self.strict and op == "upgrade" and committed:
            return "a run has already reached the package manager"
        if op == "reboot" and self.record is not None and not self.record["clean"]:
            return "the package database is not clean"
        if op == "upgrade":
            self.runs += 1
        self.started.append(Started(op, window, real, wall, self.runs))
        self.window, self.not_after = window, not_after
        self._accept(op, wall, boot_id)
        self._schedule(op, real)
        return ""

    def _accept(self, op: str, wall: int, boot_id: str) -> None:
        if op == "reboot":
            if self.record is not None:
                self.record.update(reboot_requested=0, reboot_refused="")
            return
        old = self.record
        history: List[Dict[str, Any]] = []
        if old is not None:
            history = [entry for entry in old["history"] if entry["window"] != old["window"]]
            earlier = any(entry["committed"] for entry in old["history"]
                          if entry["window"] == old["window"])
            history.append({"window": old["window"], "op": old["op"],
                            "outcome": old["outcome"] or "interrupted",
                            "committed": old["committed"] or earlier,
                            "finished": old["finished"]})
        same = old is not None and old["window"] == self.window
        self.record = {
            "v": 1, "window": self.window, "op": op, "manager": "apt", "boot_id": boot_id,
            "accepted": wall, "started": wall, "finished": 0, "phase": "accepted",
            "committed": bool(same and old is not None and old["committed"]), "outcome": "",
            "reason": "", "upgraded": [], "kept": [], "pending": 0, "clean": True,
            "reboot": "unknown", "reboot_reasons": [], "config_files": [], "reboot_requested": 0,
            "reboot_delay": 60, "reboot_refused": "", "kernel": "k", "history": history[-64:]}

    def _schedule(self, op: str, real: int) -> None:
        rng = self.rng
        if op == "reboot":
            self.plan = [(real + 1, "asked"), (real + 61, "down")]
            if not self.calm and rng.random() < 0.1:
                self.plan = [(real + 1, rng.choice(("no", "asked")))]
            return
        if op == "repair":
            self.plan = [(real + 5, "refresh"), (real + 60, "repaired")]
            return
        wait = 0 if self.calm else rng.choice((0, 0, 0, 30, 400))
        length = rng.choice((5, 60, 600)) if self.calm else rng.choice((5, 60, 600, 4000, 20000))
        self.outcome = rng.choice(("ok", "ok", "nothing", "partial") if self.calm else (
            "ok", "ok", "ok", "nothing", "partial", "failed", "failed", "locked", "refused",
            "failed after", "unsupported"))
        self.plan = [(real + 1, "waiting"), (real + 2 + wait, "refresh")]
        if self.outcome in ("ok", "partial", "failed after"):
            self.plan.append((real + 5 + wait, "commit"))
        self.plan.append((real + 6 + wait + length, "done"))

    def due(self) -> Optional[int]:
        """Return when the process makes its next step."""
        return self.plan[0][0] if self.plan else None

    def advance(self, real: int, wall: int) -> bool:
        """Make the steps that are due; True when the machine goes down for a reboot."""
        while self.plan and self.plan[0][0] <= real:
            _, what = self.plan.pop(0)
            if self._advance_one(what, real, wall):
                return True
        return False

    def _advance_one(self, what: str, real: int, wall: int) -> bool:
        record = self.record
        if what == "down":
            return True
        if record is None:
            return False
        if what == "asked":
            record["reboot_requested"] = max(1, wall)
        elif what == "no":
            record["reboot_refused"] = "the last one was too recent"
        elif what == "commit":
            if wall > self.not_after:
                self.plan = []
                self._finish("refused", real, wall)
                return False
            record.update(phase="commit", committed=True)
            self.commits.append(Started("upgrade", self.window, real, wall, self.runs))
        elif what == "done":
            self._finish(self.outcome.split()[0], real, wall)
        elif what == "repaired":
            record["clean"] = self.calm or self.rng.random() < 0.8
            self._finish("ok" if record["clean"] else "failed", real, wall)
        else:
            record["phase"] = what
        return False

    def _finish(self, outcome: str, real: int, wall: int) -> None:
        assert self.record is not None
        rng = self.rng
        due = rng.choice(("due", "no", "unknown"))
        if outcome in ("refused", "locked"):
            due = "unknown"
        rows = [["bash", "1", "2"]] if outcome in ("ok", "partial") else []
        self.record.update(phase="done", finished=max(1, wall), outcome=outcome, reboot=due,
                           reason="because %d" % self.runs, upgraded=rows)
        name = outcome if self.record["op"] == "upgrade" else "interrupted"
        self.outcomes[self.record["window"]] = (name, real)

    def die(self, real: int) -> None:
        """The power is gone: the process with it, what was written stays."""
        record = self.record
        if self.plan and record is not None and not record["finished"]:
            self.outcomes[record["window"]] = ("interrupted", real)
            if record["committed"]:
                record["clean"] = False
        self.plan = []
