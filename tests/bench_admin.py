#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure qualvosec-admin against mawk's least last-seen-per-host script, in one run.

CPU time of whole programs, the least of interleaved runs, so that noise hits both alike; memory
as the kernel tells it for each. A ratio over its bar is measured again a few times: what works
on much memory suffers more from busy neighbours. Works on a copy with compiled modules, as an
installation has them, and on logs that it makes in a directory of its own. SCALE=small leaves
out the logs that take long and takes under 50 seconds. The last line is the verdict; exit 1 when
a bar is missed. A ratio that is missed where more programs run than there are processors is
said to be NOT MEASURED.
"""

import compileall
import os
import resource
import shutil
import sys
import tempfile
import time
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from tests import fleet_samples  # noqa: E402

SMALL = os.environ.get("SCALE") == "small"
AWK = '$12 == "\\"QualvoSec" { seen[$14] = $4 } END { for (h in seen) print h, seen[h] }'
RATIO_BAR = 1.5
MEMORY_KIB = 40 * 1024
LARGE_MEMORY_KIB = 150 * 1024
REPORT_S = 3.0


class Cost(NamedTuple):
    """What one run of a program took."""

    cpu_s: float
    peak_kib: int
    wall_s: float


def run(argv: List[str]) -> Cost:
    """Run a program that must succeed; its output is thrown away."""
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.execvp(argv[0], argv)
    _, status, used = os.wait4(child, 0)
    if status != 0:
        raise SystemExit("bench-admin: failed: %s" % " ".join(argv[:6]))
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss, time.monotonic() - begin)


class Bench:
    """The installed copy, its logs, and the bars that were missed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.missed: List[str] = []
        self.now = int(time.time())
        for part in ("bin", "lib"):
            shutil.copytree(os.path.join(ROOT, part), os.path.join(folder, part),
                            ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(os.path.join(folder, "lib"), quiet=1)
        self.config = os.path.join(folder, "admin.conf")
        with open(self.config, "w", encoding="ascii") as file:
            file.write("[general]\n")

    def fleet(self, hosts: int, count: int, repeat: int = 1) -> Tuple[str, List[str]]:
        """Make a manifest and logs of `count` lines each; returns their paths."""
        manifest = os.path.join(self.folder, "%d.yaml" % hosts)
        with open(manifest, "wb") as file:
            file.write(fleet_samples.manifest(hosts))
        logs = []
        for number in range(repeat):
            logs.append(os.path.join(self.folder, "%d-%d-%d.log" % (hosts, count, number)))
            if not os.path.exists(logs[-1]):
                fleet_samples.write_log(logs[-1], hosts, count,
                                        self.now - 60 - number * 86400, days=30)
        return manifest, logs

    def admin(self, command: List[str], manifest: str, logs: List[str]) -> List[str]:
        """Return the command line."""
        return [sys.executable, "-IBS", os.path.join(self.folder, "bin", "qualvosec-admin"), "-c",
                self.config] + command + ["--manifest", manifest, "--log"] + logs

    def bar(self, what: str, value: float, limit: float, unit: str) -> None:
        """Print one figure against its bar."""
        print("  %-34s %8.2f %s (bar %g)" % (what, value, unit, limit), flush=True)
        if value > limit:
            self.missed.append(what)

    def compare(self, title: str, hosts: int, count: int, repeat: int, runs: int) -> None:
        """Measure `list` against mawk on the same logs."""
        manifest, logs = self.fleet(hosts, count, repeat)
        costs: Dict[str, List[Cost]] = {"admin": [], "mawk": []}
        ratio, busy = 0.0, False
        while len(costs["mawk"]) < runs or (ratio > RATIO_BAR and len(costs["mawk"]) < 3 * runs):
            costs["admin"].append(run(self.admin(["list"], manifest, logs)))
            costs["mawk"].append(run(["mawk", AWK] + logs))
            ours, theirs = (min(cost.cpu_s for cost in costs[name]) for name in ("admin", "mawk"))
            ratio = ours / theirs
            busy = busy or os.getloadavg()[0] > (os.cpu_count() or 1) + .5
        middle = [sorted(cost.cpu_s for cost in costs[name])[len(costs[name]) // 2]
                  for name in ("admin", "mawk")]
        peak = max(cost.peak_kib for cost in costs["admin"])
        print("%s: list %.2f s of CPU, mawk %.2f s, least of %d runs; medians %.2f s, %.2f s"
              % (title, ours, theirs, len(costs["mawk"]), middle[0], middle[1]))
        if ratio > RATIO_BAR and busy:
            print("  NOT MEASURED: %.2f x (bar %g), but the machine is busy: load %.1f on %d "
                  "processors" % (ratio, RATIO_BAR, os.getloadavg()[0], os.cpu_count() or 1))
        else:
            self.bar("%s: list / mawk" % title, ratio, RATIO_BAR, "x")
        self.bar("%s: peak memory" % title, peak / 1024, MEMORY_KIB / 1024, "MiB")

    def large(self, hosts: int) -> None:
        """Measure the memory for a fleet that is larger than any.

        Three requests of each host: many more are of kinds that are known, with fewer there is
        less to know.
        """
        manifest, logs = self.fleet(hosts, 3 * hosts)
        cost = run(self.admin(["list"], manifest, logs))
        self.bar("%d hosts: peak memory" % hosts, cost.peak_kib / 1024, LARGE_MEMORY_KIB / 1024,
                 "MiB")

    def report(self, hosts: int) -> None:
        """Measure the page, with a log of ten requests a host."""
        manifest, logs = self.fleet(hosts, 10 * hosts)
        path = os.path.join(self.folder, "fleet.html")
        cost = min(run(self.admin(["report"], manifest, logs) + ["--", path]) for _ in range(2))
        self.bar("%d hosts: report, CPU" % hosts, cost.cpu_s, REPORT_S, "s")
        self.bar("%d hosts: page" % hosts, os.path.getsize(path) / 1000,
                 100 + .3 * hosts, "kB")


def main() -> int:
    if shutil.which("mawk") is None:
        print("bench-admin: NOT MEASURED: mawk is not installed")
        return 1
    large: Optional[int] = None if SMALL else 100000
    with tempfile.TemporaryDirectory(prefix="qualvosec-bench.") as folder:
        bench = Bench(folder)
        bench.compare("1 million lines", 1000, 1000000, 1, 3 if SMALL else 7)
        bench.report(10000)
        if large is not None:
            bench.compare("10 million lines", 1000, 1000000, 10, 2)
            bench.large(large)
    print("memory of this benchmark itself: %d MiB"
          % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
    if SMALL:
        print("SCALE=small: 10 million lines and 100000 hosts were left out")
    print("bench-admin: %s" % ("missed: " + ", ".join(bench.missed) if bench.missed
                               else "all bars held"))
    return 1 if bench.missed else 0


if __name__ == "__main__":
    sys.exit(main())
