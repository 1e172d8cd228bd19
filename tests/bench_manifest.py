#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure the manifest's readers against PyYAML's CSafeLoader on the same file, in one run;
then edits against a full parse (bench_edit.py).

CPU time, medians of interleaved runs, each in this process; memory in fresh processes that do
nothing else. SCALE=small leaves out the largest fleet and takes under 50 seconds. The last line
is the verdict; exit 1 when a bar is missed.
"""

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Callable
from typing import Dict
from typing import List

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec import yamlsubset  # noqa: E402
from qualvosec.manifest import document  # noqa: E402
from qualvosec.manifest import lookup  # noqa: E402

from tests import LIB  # noqa: E402
from tests import bench_edit  # noqa: E402
from tests import manifest_samples  # noqa: E402

SMALL = os.environ.get("SCALE") == "small"
HOSTS = (1000, 10000) if SMALL else (1000, 10000, 100000)
RUNS = {1000: 15, 10000: 7, 100000: 5}
# At least this many times faster than CSafeLoader, by the number of hosts. The same code is found
# 52 to 82 times faster for 10,000 hosts, and its parse 10 to 18 times, by the machine: CSafeLoader
# waits for memory, the rest does not. So the bars stand below the slowest machine's ratio.
PARSE_BARS = {1000: 5, 10000: 9, 100000: 9}
LOOKUP_BARS = {1000: 17, 10000: 48, 100000: 60}
# With every field of every host checked; small fleets are checked in no time.
CHECK_BARS = {1000: 0, 10000: 0, 100000: 4}
TODAY = 739944
LOOKUP_MEMORY_KIB = 4096
PARSE_MEMORY_KIB = 120 * 1024

# ru_maxrss survives exec, so the child is asked for the peak of its own address space.
PEAK = """
import sys
sys.path.insert(0, {lib!r})
from qualvosec import yamlsubset
from qualvosec.manifest import lookup
{work}
with open("/proc/self/status", encoding="ascii") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0])
"""
BARE = "pass"
LOOKUP = """
with open({path!r}, "rb") as stream:
    found = lookup.find(iter(lambda: stream.read(65536), b""), {name!r})
assert found.host
"""
CHECK = """
from qualvosec.manifest import document
with open({path!r}, "rb") as stream:
    found = document.read(stream.read(), 739944)
assert found.hosts and not found.errors()
"""
PARSE = """
with open({path!r}, "rb") as stream:
    root = yamlsubset.load(stream.read())
assert root
"""


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU time, with the garbage of the run before collected outside of it."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(works: Dict[str, Callable[[], object]], runs: int) -> Dict[str, float]:
    """The median for each, all of them in turn, so that noise hits all alike."""
    times: Dict[str, List[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            times[name].append(cpu(work))
    return {name: statistics.median(found) for name, found in times.items()}


def peak_kib(work: str) -> int:
    """The most memory that a fresh process held while it did this."""
    program = PEAK.format(lib=LIB, work=work)
    found = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    return int(found.stdout)


def bench(hosts: int) -> List[str]:
    """Print one fleet's figures; return the bars that it misses."""
    data = manifest_samples.manifest(hosts)
    # PyYAML refuses tabs before a comment: it gets the same file without them.
    plain = data.replace(b"\t", b" ")
    name = manifest_samples.host_name(hosts // 2)
    works: Dict[str, Callable[[], object]] = {
        "CSafeLoader": lambda: yaml.load(plain, yaml.CSafeLoader),
        "parse": lambda: yamlsubset.load(data),
        "lookup": lambda: lookup.find(lookup.chunks_of(data), name),
        "check": lambda: document.read(data, TODAY),
    }
    found = interleaved(works, RUNS[hosts])
    missed = []
    for what, bar in (("parse", PARSE_BARS[hosts]), ("lookup", LOOKUP_BARS[hosts]),
                      ("check", CHECK_BARS[hosts])):
        ratio = found["CSafeLoader"] / found[what]
        missed += [] if ratio >= bar else ["%s of %d hosts" % (what, hosts)]
        print("%6d hosts %5.1f MB  CSafeLoader %8.3f s  %-6s %8.4f s  %6.1f x (bar %d x)"
              % (hosts, len(data) / 1e6, found["CSafeLoader"], what, found[what], ratio, bar),
              flush=True)
    return missed + memory(hosts, data, name)


def memory(hosts: int, data: bytes, name: str) -> List[str]:
    """Print what lookup and parse hold over the interpreter with the same imports."""
    if not os.path.exists("/proc/self/status"):
        print("%6d hosts: memory not measured: no /proc" % hosts)
        return []
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        bare = peak_kib(BARE)
        over = peak_kib(LOOKUP.format(path=file.name, name=name)) - bare
        parse = peak_kib(PARSE.format(path=file.name))
        check = peak_kib(CHECK.format(path=file.name))
    print("%6d hosts: lookup %d KiB over %d KiB (bar %d); parse %d KiB in all (bar %d); check %d"
          % (hosts, over, bare, LOOKUP_MEMORY_KIB, parse, PARSE_MEMORY_KIB, check), flush=True)
    return (["memory of the lookup in %d hosts" % hosts] if over > LOOKUP_MEMORY_KIB else []) + (
        ["memory of the parse of %d hosts" % hosts] if parse > PARSE_MEMORY_KIB else [])


def main() -> int:
    missed: List[str] = []
    for hosts in HOSTS:
        missed += bench(hosts)
    missed += bench_edit.measure()
    if SMALL:
        print("SCALE=small: 100000 hosts were left out")
    print("bench-manifest: %s" % ("missed: " + ", ".join(missed) if missed else "all bars held"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
