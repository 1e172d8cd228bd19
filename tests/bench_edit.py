#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure verified edits of a large manifest against one full parse of it, in one run.

An edit is what the command does between reading and writing the file: parse, change, parse
again, compare, check the touched entries. CPU time, medians of interleaved runs; as in the
command, edits run without the collector of cycles. The command itself is started as well, with
its reading, lock, write and sync. SCALE=small takes 10,000 hosts and under a minute.
The last line is the verdict; exit 1 when a bar is missed. bench_manifest.py does the same.
"""

import gc
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Callable
from typing import Dict
from typing import List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec import yamlsubset  # noqa: E402
from qualvosec.manifest.edit import spans  # noqa: E402

from tests import manifest_samples  # noqa: E402

HOSTS = 10000 if os.environ.get("SCALE") == "small" else 100000
RUNS = 7
BAR = 2.5
TODAY = 739944
FIELDS: Dict[str, spans.Value] = {"patch": True, "weekday": 1, "hour": 3, "minute": 15}
MANY = {"new%04d.example.org" % number: FIELDS for number in range(HOSTS // 100)}


def cpu(work: Callable[[], object], collects: bool) -> float:
    """Seconds of CPU time, the release of what was made included."""
    gc.collect()
    if not collects:
        gc.disable()
    start = time.process_time()
    work()
    taken = time.process_time() - start
    gc.enable()
    return taken


def in_process(data: bytes) -> List[str]:
    """Print the ratios of each kind of edit; return those that miss the bar."""
    name = manifest_samples.host_name(HOSTS // 2)
    works: Dict[str, Callable[[], object]] = {
        "parse": lambda: yamlsubset.load(data),
        "add": lambda: spans.add(spans.read(data), {"new.example.org": FIELDS}, TODAY),
        "set": lambda: spans.change(spans.read(data), {name: {"minute": 59}}, TODAY),
        "remove": lambda: spans.remove(spans.read(data), [name], TODAY),
        "add %d" % len(MANY): lambda: spans.add(spans.read(data), MANY, TODAY),
    }
    times: Dict[str, List[float]] = {what: [] for what in works}
    for _ in range(RUNS):
        for what, work in works.items():
            times[what].append(cpu(work, what == "parse"))
    parse = statistics.median(times["parse"])
    missed = []
    for what in list(works)[1:]:
        taken = statistics.median(times[what])
        # The ratio within each round: what slows the machine down slows both.
        ratio = statistics.median(one / base for one, base in zip(times[what], times["parse"]))
        print("%6d hosts %5.1f MB  parse %6.3f s  %-8s %6.3f s  %4.2f parses (bar %.1f)"
              % (HOSTS, len(data) / 1e6, parse, what, taken, ratio, BAR), flush=True)
        missed += [] if ratio <= BAR else [what]
    return missed


def command(data: bytes) -> List[str]:
    """Run the command as a whole, many hosts by stdin among them; return what failed."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        path, config = os.path.join(folder, "patch.yaml"), os.path.join(folder, "admin.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write("[general]\nmanifest: %s\n" % path)
        with open(path, "wb") as stream:
            stream.write(data)
        names = "".join("%s\n" % name for name in MANY).encode("ascii")
        for words, given in ((["add", "-", "--weekday", "tue", "--time", "03:15"], names),
                             (["set", manifest_samples.host_name(1), "minute=59"], b""),
                             (["remove", "-"], names)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            done = subprocess.run([sys.executable, "-IBS", os.path.join(ROOT, "bin",
                                                                        "qualvosec-admin"),
                                   "-c", config] + words, input=given, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            print("%6d hosts: the command %-6s %4d: %5.2f s CPU, %5.2f s in all" % (
                HOSTS, words[0], given.count(b"\n") or 1, after.ru_utime + after.ru_stime
                - before.ru_utime - before.ru_stime, time.monotonic() - start), flush=True)
            failed += [] if done.returncode == 0 else ["command " + words[0]]
        with open(path, "rb") as stream:
            left = yamlsubset.load(stream.read())
        if not isinstance(left, dict) or len(left) != len(yamlsubset.load(data)):  # type: ignore
            failed.append("hosts that came are not those that went")
    return failed


def measure() -> List[str]:
    """Print all figures; return the bars that were missed."""
    data = manifest_samples.manifest(HOSTS)
    return in_process(data) + command(data)


def main() -> int:
    missed = measure()
    print("bench-edit: %s" % ("missed: " + ", ".join(missed) if missed else "all bars held"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
