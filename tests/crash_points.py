# SPDX-License-Identifier: BSD-2-Clause
"""Kill -9 at every write, fsync, rename, unlink, spawn and signal of a run, with real processes.

`qualvosec once`, the helper's front and the detached transaction run as they are;
only the package manager, sudo, the fetch, the clock and the boot are stand-ins.
Every scenario kills whichever process reaches the n-th such point (and, in pairs, a
second one later), then lets the client run again every few minutes, with a new boot
after each reboot. In the end there must be: at most one commit and one reboot, no
start outside the window, no outcome lost, no false "verified", no stray file.

    python3 tests/crash_points.py [--scenarios N] [--seed S] [--jobs J] [--keep]
"""

import argparse
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests import LIB  # noqa: E402,I001
from tests.fakes import Edge  # noqa: E402
from qualvosec import files  # noqa: E402
from qualvosec.client.decide import state as states  # noqa: E402
from qualvosec.client.decide import statedir  # noqa: E402
from qualvosec.manifest import window  # noqa: E402
from qualvosec.manifest.policy import Policy  # noqa: E402

NAME = "web01.example.org"
# Of these every run has dozens. One without a kill in so many scenarios is not watched.
KINDS = ("fork", "fsync", "rename", "unlink", "write")
ENOUGH = 100
VISITS = 10
VISIT_S = 400
DURATION_MIN = 60

# Every process of a scenario starts with this: the clock, the boot and the fault come from files.
COMMON = """
import os, signal, sys, time
FOLDER = %(folder)r
def content(name):
    with open(os.path.join(FOLDER, name)) as stream:
        return stream.read()
real_time, real_open, real_write = time.time, os.open, os.write
def note(name, text):
    fd = real_open(os.path.join(FOLDER, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    real_write(fd, text.encode())
    size = os.fstat(fd).st_size
    os.close(fd)
    return size
time.time = lambda: real_time() + float(content("offset"))
FATAL = [int(word) for word in content("fatal").split()]
def point(what="package"):
    if note("points", ".") in FATAL:
        note("killed", ROLE + "/" + what + " ")
        os.kill(os.getpid(), signal.SIGKILL)
def around(module, name):
    real = getattr(module, name)
    def wrapped(*args, **options):
        point(name)
        result = real(*args, **options)
        point(name)
        return result
    setattr(module, name, wrapped)
for name in ("fsync", "rename", "unlink", "write", "killpg"):
    around(os, name)
real_fork = os.fork
def fork():
    point("fork")
    pid = real_fork()
    # Twice: the parent may die here, and the child before it executes anything.
    point("fork")
    return pid
os.fork = fork
sys.path.insert(0, %(lib)r)
sys.dont_write_bytecode = True
"""

ONCE = """
ROLE = "client"
exec(compile(open(%(folder)r + "/common.py").read(), "common.py", "exec"))
from qualvosec import paths
from qualvosec.client import commands, host
from qualvosec.client.fetch import inforce
from qualvosec.client.root import call
paths.CONFIG_DIR = FOLDER
call._TOOLS = {"sudo": (FOLDER + "/sudo",), "doas": ()}
inforce.fetch_argv = lambda: [sys.executable, "-IS", FOLDER + "/fetch.py"]
host.boot = lambda now: (content("boot"), 100000)
sys.exit(commands.main(["-c", FOLDER + "/q.conf", "once"]))
"""

HELPER = """
exec(compile(open(%(folder)r + "/common.py").read(), "common.py", "exec"))
from qualvosec.helper import front, managers, record, transaction
from qualvosec.helper.managers import base, system
class Fake(base.Manager):
    name = "fake"
    def busy(self): return ""
    def broken(self): return "half done" if os.path.exists(FOLDER + "/half") else ""
    def recover(self, until):
        note("repairs", content("boot") + "\\n")
        self.commit(None, until, repair=True)
    def refresh(self, until): return None
    def installed(self): return {"a": "2" if os.path.exists(FOLDER + "/done") else "1"}
    def download(self, plan, until): return None
    def commit(self, plan, until, repair=False):
        if not repair:
            note("commits", "%%d\\n" %% time.time())
        with open(FOLDER + "/half", "w"): point()
        with open(FOLDER + "/done", "w"): point()
        os.unlink(FOLDER + "/half")
    def leftovers(self): return {}
    def reboot_reasons(self): return []
    def plan(self, selection, detail=False):
        if os.path.exists(FOLDER + "/done"): return base.Plan()
        package = base.Package("a", "1", "2")
        return base.Plan((package,), (package,))
managers.of_this_system = lambda override, world: Fake(world)
system.boot_id = lambda *args: content("boot")
system.reboot = lambda argv, delay, world: note("reboots", "%%d\\n" %% time.time())
system.TRANSACTION[:] = [sys.executable, "-IS", FOLDER + "/transaction.py"]
STORE = record.Store(FOLDER + "/root")
"""

FRONT = """
ROLE = "front"
exec(compile(open(%(folder)r + "/helper.py").read(), "helper.py", "exec"))
import json
from qualvosec.helper import request
host = front.Host(0, STORE, FOLDER, base.World(), insecure=lambda: "",
                  launch=lambda: system.launch(root=FOLDER))
reply = front.serve(lambda: request.read(0), host)
sys.stdout.write(json.dumps(reply) + "\\n")
sys.exit({"ok": 0, "invalid": 2}.get(str(reply["status"]), 1))
"""

TRANSACTION = """
ROLE = "transaction"
exec(compile(open(%(folder)r + "/helper.py").read(), "helper.py", "exec"))
from qualvosec import paths
paths.HELPER_STATE_DIR, paths.HELPER_LOG_DIR = FOLDER + "/root", FOLDER + "/log"
paths.CONFIG_DIR = FOLDER
transaction.Transaction._self_check = lambda self: ""
try:
    transaction.run(lambda: False)
except base.ManagerError as error:
    sys.exit(str(error))
"""

SUDO = """#!/bin/sh
exec %(python)s -IS %(folder)s/front.py
"""


class Outcome(NamedTuple):
    """What a scenario left behind; `faults` is empty when every promise was kept."""

    fatal: Tuple[int, ...]
    points: int
    killed: str
    faults: Tuple[str, ...]
    summary: str


class Scenario:
    """One host in a folder of its own."""

    def __init__(self, fatal: Sequence[int]) -> None:
        self.fatal = tuple(fatal)
        self.folder = tempfile.mkdtemp(prefix="qualvosec-crash-")
        self.edge = Edge(self.folder)
        names = {"folder": self.folder, "lib": LIB, "python": sys.executable}
        for name, text in (("common.py", COMMON), ("once.py", ONCE), ("helper.py", HELPER),
                           ("front.py", FRONT), ("transaction.py", TRANSACTION), ("sudo", SUDO)):
            self.edge.write(name, text % names)
        os.chmod(self.path("sudo"), 0o755)
        os.mkdir(self.path("state"), 0o700)
        self.edge.write("fatal", " ".join(str(number) for number in fatal))
        self.edge.write("offset", "0")
        self.edge.write("boot", "boot0")
        self.edge.write("q.conf", "[general]\nserver: http://127.0.0.1:1\nfqdn: %s\nstate_dir: %s\n"
                        "log_handler: StreamHandler\nlog_level: INFO\n"
                        % (NAME, self.path("state")))
        then = time.localtime(time.time() - 60)
        self.policy = Policy(patch=True, weekdays=(then.tm_wday,), hour=then.tm_hour,
                             minute=then.tm_min, duration=DURATION_MIN, reboot="always")
        self.opening = window.latest(self.policy, int(time.time()), NAME)

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def lines(self, name: str) -> List[str]:
        try:
            with open(self.path(name), encoding="ascii") as stream:
                return stream.read().split()
        except FileNotFoundError:
            return []

    def play(self) -> Outcome:
        """Let the client run again and again, with a boot after each reboot."""
        boots = 0
        with open(self.path("said"), "ab") as said:
            for visit in range(VISITS):
                if visit == VISITS - 1:
                    # What a kill leaves behind is cleared away at the next start: have one.
                    self.edge.write("fatal", "")
                self.edge.write("offset", str(visit * VISIT_S))
                self.edge.publish(self.policy, date=int(time.time()) + visit * VISIT_S)
                subprocess.call([sys.executable, "-IS", self.path("once.py")], stdout=said,
                                stderr=said, timeout=120)
                self.settle()
                if len(self.lines("reboots")) > boots:
                    boots = len(self.lines("reboots"))
                    self.edge.write("boot", "boot%d" % boots)
        return self.judge(boots)

    def settle(self) -> None:
        """Wait for a transaction that outlived its client, as it should."""
        end = time.monotonic() + 60
        while files.is_locked(self.path("root/lock")) and time.monotonic() < end:
            time.sleep(0.02)

    def judge(self, boots: int) -> Outcome:
        """Compare what happened with what is promised."""
        assert self.opening is not None
        faults = []
        commits, reboots = self.lines("commits"), self.lines("reboots")
        state = states.load(self.path("state"), os.geteuid())
        if len(commits) > 1:
            faults.append("%d commits in one window" % len(commits))
        if len(reboots) > 1:
            faults.append("%d reboots" % len(reboots))
        late = self.opening.closes + 60 * self.policy.reboot_grace
        if any(not self.opening.opens <= int(at) <= self.opening.closes for at in commits) or any(
                not self.opening.opens <= int(at) <= late for at in reboots):
            faults.append("started outside the window")
        if not state.last.outcome or state.last.window != self.opening.id:
            faults.append("the outcome was lost: %r" % (state.last,))
        if commits and state.last.outcome not in ("ok", "interrupted"):
            faults.append("committed, but the outcome is %s" % state.last.outcome)
        # Root writes down that it will commit before it does: a kill between the two uses the
        # window up without a commit, on purpose.
        if not commits and not self.announced():
            faults.append("nothing was ever committed although there was time")
        if state.phase != "idle":
            faults.append("still in phase %s" % state.phase)
        if state.reboot == "verified" and not boots:
            faults.append("a reboot was verified that never happened")
        if os.path.exists(self.path("half")):
            faults.append("left half installed")
        faults.extend("stray file %s" % name for name in self.strays())
        summary = "%s, reboot %s" % (state.last.outcome, state.reboot)
        killed = " ".join(self.lines("killed"))
        return Outcome(self.fatal, os.path.getsize(self.path("points")), killed, tuple(faults),
                       summary)

    def announced(self) -> bool:
        """Say whether root's record tells of a commit in this window."""
        with open(self.path("root/run.json"), encoding="ascii") as stream:
            record = json.load(stream)["record"]
        return bool(record["committed"])

    def strays(self) -> List[str]:
        """Return temporary files that somebody left behind."""
        return [name for folder in ("state", "root") for name in sorted(
            os.listdir(self.path(folder)) if os.path.isdir(self.path(folder)) else [])
            if name not in ("lock", "state.json", "policy.json", "run.json")]


def run_one(fatal: Sequence[int], keep: bool = False) -> Outcome:
    """Play one scenario in a folder that goes away unless it failed and `keep` is set."""
    scenario = Scenario(fatal)
    try:
        outcome = scenario.play()
    except (OSError, statedir.StateError, subprocess.TimeoutExpired) as error:
        outcome = Outcome(tuple(fatal), 0, "", ("%s" % error,), "")
    if outcome.faults and keep:
        return outcome._replace(summary="%s, see %s" % (outcome.summary, scenario.folder))
    shutil.rmtree(scenario.folder, ignore_errors=True)
    return outcome


def plan(points: int, scenarios: int, chance: random.Random) -> List[Tuple[int, ...]]:
    """Return every single point first, then random pairs, up to `scenarios`."""
    singles: List[Tuple[int, ...]] = [(number,) for number in range(1, points + 1)]
    pairs = [(first, first + chance.randint(1, points)) for first in
             (chance.randint(1, points) for _ in range(max(0, scenarios - points)))]
    return (singles + pairs)[:scenarios] if scenarios >= points else chance.sample(
        singles, scenarios)


def main(argv: Sequence[str]) -> int:
    """Print one line for each broken promise and the totals; 0 when there is none."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenarios", type=int, default=int(os.environ.get("SCENARIOS", "320")))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failure")
    args = parser.parse_args(argv)
    first = run_one((), args.keep)
    print("without a kill: %d points, %s%s" % (first.points, first.summary,
                                               " ".join(("",) + first.faults)))
    chosen = plan(first.points, args.scenarios, random.Random(args.seed))
    kills: Dict[str, int] = {}
    broken: List[Any] = [first] if first.faults else []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for outcome in pool.map(lambda fatal: run_one(fatal, args.keep), chosen):
            for kill in outcome.killed.split():
                for name in kill.split("/"):
                    kills[name] = kills.get(name, 0) + 1
            if outcome.faults:
                broken.append(outcome)
                print("seed %d, killed at %s: %s (%s)" % (
                    args.seed, outcome.fatal, "; ".join(outcome.faults), outcome.summary))
    print("%d scenarios, %d points each, kills by process and point %s, seed %d: %d broken promises"
          % (len(chosen) + 1, first.points, json.dumps(kills, sort_keys=True), args.seed,
             len(broken)))
    unwatched = [kind for kind in KINDS if kind not in kills and len(chosen) >= ENOUGH]
    if unwatched:
        print("no kill at any %s: the points are not where they were" % ", ".join(unwatched))
    bad = bool(broken or unwatched)
    print("verdict: %s" % ("FAIL" if bad else "PASS"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
