#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How a fleet arrives at its one web server, and how much of it one core serves.

The arrivals of 100,000 hosts are computed with the client's own pacing: the steady
state, after a power cut that ended for all at once, and with one window for all. The
figure is the busiest 60 seconds against the mean. A real nginx with the sample
configuration then answers the client's own conditional request; its rate is taken from
the processor time of its worker, so that a busy machine changes little. SCALE=small
computes fewer days and asks less often: under 50 seconds. Last line: the verdict; exit 1
when a bar is missed.
"""

import os
import ssl
import sys
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec import download  # noqa: E402
from qualvosec import paths  # noqa: E402
from qualvosec import useragent  # noqa: E402
from qualvosec.client import config  # noqa: E402
from qualvosec.client.fetch import pace as pacing  # noqa: E402
from qualvosec.manifest import window  # noqa: E402
from qualvosec.manifest.policy import Policy  # noqa: E402

from tests import test_nginx  # noqa: E402

SMALL = os.environ.get("SCALE") == "small"
HOSTS = 100000
INTERVAL = config.Config("", "").fetch_interval
DAYS = 1 if SMALL else 4
PLAIN, SECURE = (4000, 800) if SMALL else (20000, 4000)
STEADY_BAR, POWER_BAR = 1.3, 25.0
BEGIN = 1795392000      # a Monday, midnight UTC
LONGEST_RUN_S = 600
ENTRY = """\
web000001.example.org:
  patch: true
  reboot: required
  weekday: Wednesday
  hour: 3
  minute: 15
  packages_blacklist: [postgresql*]
  group_membership: [prod]
"""


class Host(NamedTuple):
    """One host of the fleet: its name and what its pacing knows."""

    name: str
    pace: pacing.Pace
    start: Optional[int] = None


def name_of(number: int) -> str:
    return "web%06d.example.org" % number


def arrivals(hosts: List[Host], end: int, run_s: Callable[[str], int]) -> Dict[int, int]:
    """Return how many requests come in each second until `end`, each answered 304 at once."""
    counts: Dict[int, int] = {}
    for name, pace, start in hosts:
        finished = 0
        while True:
            when = pacing.due(pace, pace.attempt, INTERVAL, name, True, start, finished)
            if start is not None and when >= start:
                # The window has opened: the run ends and is reported by one more request.
                finished, start = start + run_s(name), None
                continue
            if when >= end:
                break
            counts[when] = counts.get(when, 0) + 1
            pace = pacing.succeeded(pacing.attempted(pace, when), when)
    return counts


def peak(counts: Dict[int, int], begin: int, end: int) -> int:
    """Return the most requests in any 60 seconds."""
    total = most = 0
    for second in range(begin, end):
        total += counts.get(second, 0)
        total -= counts.get(second - 60, 0) if second - 60 >= begin else 0
        most = max(most, total)
    return most


def show(what: str, counts: Dict[int, int], begin: int, end: int) -> float:
    """Print one scenario; returns its peak against the mean of the steady state."""
    most = peak(counts, begin, end)
    mean = HOSTS * 60.0 / INTERVAL
    sys.stdout.write("  %-44s busiest 60 s: %6d requests, %5.0f/s, %5.2f times the mean\n" % (
        what, most, most / 60.0, most / mean))
    sys.stdout.flush()
    return most / mean


def steady() -> float:
    """Hosts that were switched on at any time of the interval before."""
    hosts = []
    for number in range(HOSTS):
        name = name_of(number)
        last = BEGIN - pacing.spread(name, "phase", INTERVAL)
        hosts.append(Host(name, pacing.Pace(last, last, last)))
    # The first interval shows the phases that were made up here, not yet the pacing.
    begin = BEGIN + 2 * INTERVAL
    end = begin + DAYS * 86400
    return show("steady state", arrivals(hosts, end, lambda name: 0), begin, end)


def power_on() -> float:
    """All hosts boot in the same second, with a policy."""
    hosts = [Host(name_of(number), pacing.Pace(BEGIN)) for number in range(HOSTS)]
    counts = arrivals(hosts, BEGIN + 86400, lambda name: 0)
    ratio = show("common power-on: the first hour", counts, BEGIN, BEGIN + 3600)
    show("common power-on: six hours later", counts, BEGIN + 3600, BEGIN + 12 * 3600)
    return ratio


def one_window(splay: int) -> float:
    """All windows open in the same minute; runs take up to ten minutes."""
    policy = Policy(patch=True, weekdays=(0,), hour=6, duration=240, splay=splay)
    opening = window.openings(policy, BEGIN, 1, name_of(0), lambda instant: 0)[0]
    hosts = []
    for number in range(HOSTS):
        name = name_of(number)
        last = BEGIN - pacing.spread(name, "phase", INTERVAL)
        start = opening.opens
        if splay:
            start = window.openings(policy, BEGIN, 1, name, lambda instant: 0)[0].start
        hosts.append(Host(name, pacing.Pace(last, last, last), start))
    begin, end = opening.opens - 900, opening.opens + splay * 60 + 1800
    counts = arrivals(hosts, end, lambda name: 60 + pacing.spread(name, "run", LONGEST_RUN_S))
    return show("one window for all, splay %d" % splay, counts, begin, end)


class Server(test_nginx.Nginx):
    """The sample configuration, and the same without TLS on a port beside it."""

    plain = 0

    @classmethod
    def prepare(cls, root: str) -> None:
        super().prepare(root)
        cls.plain = test_nginx.free_port()
        path = os.path.join(cls.folder, "sample.conf")
        with open(path, "rb") as stream:
            text = stream.read()
        secure = b"listen 127.0.0.1:%d ssl;" % cls.port
        test_nginx.write(path, text.replace(secure, secure + b" listen 127.0.0.1:%d;" % cls.plain))

    @classmethod
    def worker_seconds(cls) -> float:
        """Return the processor time of the one worker so far."""
        assert cls.process is not None
        with open("/proc/%d/task/%d/children" % (cls.process.pid, cls.process.pid),
                  encoding="ascii") as stream:
            worker = stream.read().split()[0]
        with open("/proc/%s/stat" % worker, encoding="ascii") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def serve() -> Tuple[float, float]:
    """Return what one core of nginx serves a second of our request, plain and over TLS."""
    Server.setUpClass()
    try:
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        secure.check_hostname = False
        secure.load_verify_locations(os.path.join(Server.folder, "cert.pem"))
        rates = []
        for url, context, count in (
                ("http://127.0.0.1:%d/patch.yaml" % Server.plain, None, PLAIN),
                ("https://127.0.0.1:%d/patch.yaml" % Server.port, secure, SECURE)):
            agent = useragent.write(paths.VERSION, name_of(1))
            first = download.fetch(download.Request(url, agent, tls=context))
            again = download.Request(url, agent, first.etag, first.last_modified, tls=context)
            before, begin = Server.worker_seconds(), time.monotonic()
            for _ in range(count):
                if download.fetch(again).status != 304:
                    raise AssertionError("the server did not answer 304")
            used = max(0.01, Server.worker_seconds() - before)
            rates.append(count / used)
            sys.stdout.write("  %-44s %6.0f requests/s for each core (%d in %.2f s of processor "
                             "time, %.0f s on the clock)\n" % (
                                 "304 over TLS, a handshake each" if context else "304 without TLS",
                                 count / used, count, used, time.monotonic() - begin))
        return rates[0], rates[1]
    finally:
        Server.tearDownClass()


def main() -> int:
    """Print all figures and the verdict."""
    sys.stdout.write("arrivals of %d hosts, every %d h, mean %.1f/s:\n" % (
        HOSTS, INTERVAL // 3600, HOSTS / float(INTERVAL)))
    found = steady(), power_on()
    for splay in (0, 60, 240):
        one_window(splay)
    sys.stdout.write("a manifest: %d bytes a host, so %.1f MB for %d\n" % (
        len(ENTRY), len(ENTRY) * HOSTS / 1e6, HOSTS))
    told = ""
    if test_nginx.NGINX and sys.platform.startswith("linux"):
        sys.stdout.write("nginx with etc/nginx/qualvosec.conf, our conditional request:\n")
        plain, secure = serve()
        told = "; a core of nginx serves %.0f/s, %.0f/s over TLS: %.0f and %.0f hosts at %.1f " \
            "times the mean" % (plain, secure, plain * INTERVAL / POWER_BAR,
                                secure * INTERVAL / POWER_BAR, POWER_BAR)
    else:
        sys.stdout.write("nginx: NOT MEASURED: it is not installed, or this is not Linux\n")
    good = found[0] <= STEADY_BAR and found[1] <= POWER_BAR
    sys.stdout.write("%s: steady state %.2f (at most %.1f), common power-on %.1f (at most %.0f)%s\n"
                     % ("PASS" if good else "FAIL", found[0], STEADY_BAR, found[1], POWER_BAR,
                        told))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
