#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure what a hostile server, or a hostile signature, can cost a host at most.

1. Every hostile behaviour of tests/test_download.py against the download itself: how long
   beyond its deadline, how many bytes beyond its cap were read.
2. A real daemon, installed, with its waiting between failures taken out, whose server
   shows these behaviours in turn: its resident set after 200 failed fetches, and
   whether it lives and keeps its policy.
3. The fetch child against a server that sends a signature of 200 MB (a sparse file), with
   and without announcing its length.
4. Verification of a manifest of 15 MB: what it adds to the fetch of the same manifest.
5. Random byte flips and truncations of a signed manifest of 100,000 hosts: all refused.

Without ssh-keygen 3 to 5 are skipped, and said so. SCALE=small: 50 flips, not 1,000.
Linux only. The last line is the verdict.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Callable
from typing import List
from typing import Tuple
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec import download  # noqa: E402
from qualvosec.client.fetch import line as fetchreply  # noqa: E402
from qualvosec.manifest import signature  # noqa: E402

from tests import bench_health  # noqa: E402
from tests import bench_idle  # noqa: E402
from tests import hostile  # noqa: E402
from tests import test_download  # noqa: E402
from tests import test_signature  # noqa: E402
from tests.fakes import Edge  # noqa: E402

SMALL = os.environ.get("SCALE") == "small"
LIMIT = 100000
DEADLINE_S = 0.5
GRACE_S = 1.0
FAILURES = 200
WARM = 10
MAX_GROWTH_KB = 1024
FLIPS = 50 if SMALL else 1000
BIG_SIGNATURE = 200 << 20
MAX_REFUSAL_S = 1.0
MAX_VERIFY_S = 0.3
HOSTS = 100000
ROUNDS = 5
# In front of the daemon's own main: no time passes between two fetches, and one ends soon.
AT_ONCE = """
from qualvosec.client.fetch import inforce, pace
pace.due = lambda *words: 0
inforce.DEADLINE_S = 1
"""
Verdict = Tuple[str, bool]


def say(what: str, good: bool) -> bool:
    """Print one result."""
    print("%s: %s" % (what, "PASS" if good else "FAIL"), flush=True)
    return good


def behaviours() -> bool:
    """Every behaviour once, by the download itself."""
    late, read, cases = 0.0, 0, test_download.CASES
    real = socket.socket.recv_into
    for case in cases:
        taken: List[int] = []

        def count(sock: socket.socket, *words: object, taken: List[int] = taken) -> int:
            size = real(sock, *words)   # type: ignore[arg-type]
            taken.append(size)
            return size

        with hostile.Server(case.behaviour) as server, \
                mock.patch.object(socket.socket, "recv_into", count):
            begin = time.monotonic()
            try:
                download.fetch(download.Request(server.url(), limit=LIMIT, deadline_s=DEADLINE_S))
                return say("%s was accepted" % case.name, False)
            except download.DownloadError:
                late = max(late, time.monotonic() - begin - DEADLINE_S)
        read = max(read, sum(taken))
    # The framing of chunks comes on top of a body: an eighth, and the header.
    most = LIMIT + LIMIT // 8 + 2 * download.MAX_HEADER_BYTES
    return say("%d hostile behaviours: all refused, the latest %+.2f s from its deadline (at most "
               "+%.0f); most bytes read %d with a cap of %d (at most %d with framing and header)"
               % (len(cases), late, GRACE_S, read, LIMIT, most),
               late <= GRACE_S and read <= most)


class Turns:
    """Shows one good manifest first, then one hostile behaviour after the other."""

    def __init__(self) -> None:
        cases = test_download.CASES
        # What costs the whole deadline, or 32 MiB, comes once.
        quick = [case.behaviour for case in cases if case.says.split("|")[0] not in (
            "not finished", "silent", "more than", "larger than %d" % LIMIT)]
        self.turns = [case.behaviour for case in cases]
        while len(self.turns) < FAILURES:
            self.turns.extend(quick)
        self.asked = 0

    def __call__(self, connection: socket.socket, server: hostile.Server) -> None:
        number, self.asked = self.asked, self.asked + 1
        if number == 0:
            then = time.gmtime(time.time() + 84 * 3600)
            body = "%s:\n  patch: true\n  weekday: %d\n  hour: %d\n" % (
                bench_idle.FQDN, then.tm_wday, then.tm_hour)
            hostile.answers(body.encode("ascii"))(connection, server)
            return
        self.turns[(number - 1) % len(self.turns)](connection, server)


def wait_for(process: "subprocess.Popen[bytes]", done: Callable[[], bool], what: str,
             limit_s: float) -> None:
    """Wait; BenchError when the daemon ends or the time is over."""
    end = time.monotonic() + limit_s
    while not done():
        if process.poll() is not None:
            raise bench_idle.BenchError("the daemon ended with %d" % process.returncode)
        if time.monotonic() > end:
            raise bench_idle.BenchError("waited %d s in vain for %s" % (limit_s, what))
        time.sleep(0.05)


def failures(work: str) -> bool:
    """The resident set of a real daemon after so many failed fetches."""
    bench_idle.install(os.path.join(work, "usr"), sys.executable)
    folder = os.path.join(work, "host")
    os.mkdir(folder)
    edge, turns, port = Edge(folder), Turns(), bench_idle.free_port()
    edge.answer("status")
    begin = time.monotonic()
    with hostile.Server(turns) as server:
        process = bench_health.start(work, folder, server.port, port, AT_ONCE,
                                     "fetch_interval: 60s\n")
        try:
            wait_for(process, lambda: os.path.exists(folder + "/state/policy.json"),
                     "the policy", 60)
            return _count_failures(process, folder, port, turns, begin)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _count_failures(process: "subprocess.Popen[bytes]", folder: str, port: int, turns: Turns,
                    begin: float) -> bool:
    wait_for(process, lambda: turns.asked > WARM, "the first failures", 120)
    before = bench_idle.rss_kb(process.pid)
    wait_for(process, lambda: turns.asked > FAILURES, "%d failures" % FAILURES, 600)
    wait_for(process, lambda: not bench_idle.children(process.pid) or turns.asked > FAILURES + 1,
             "the last failure", 60)
    growth = bench_idle.rss_kb(process.pid) - before
    bench_health.ask(port)
    with open(folder + "/state/policy.json", encoding="ascii") as file:
        kept = '"entry": "policy"' in file.read()
    return say("%d failed fetches in %d s: daemon RSS %.1f MB, %+.2f MB since the %dth (at most "
               "1.00 either way); alive, /health answers, its policy %s"
               % (turns.asked - 1, time.monotonic() - begin,
                  bench_idle.rss_kb(process.pid) / 1024, growth / 1024, WARM,
                  "kept" if kept else "LOST"), abs(growth) <= MAX_GROWTH_KB and kept)


class Keys:
    """A key, its file of signers, and signatures by it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        test_signature.run_tool(folder, "-q", "-t", "ed25519", "-N", "", "-f", "key")
        self.signers = os.path.join(folder, "allowed_signers")
        with open(os.path.join(folder, "key.pub"), encoding="ascii") as file:
            public = file.read()
        with open(self.signers, "w", encoding="ascii") as file:
            file.write("manifest@qualvosec " + public)
        os.chmod(self.signers, 0o644)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        path = os.path.join(self.folder, "data")
        with open(path, "wb") as file:
            file.write(data)
        test_signature.run_tool(self.folder, "-Y", "sign", "-f", "key", "-n",
                                signature.NAMESPACE, "data")
        with open(path + ".sig", "rb") as file:
            found = file.read()
        os.unlink(path + ".sig")
        return found


def fetch_child(url: str, **more: object) -> Tuple[fetchreply.FetchReply, float]:
    """Run the fetch child on one URL; its reply and the seconds it took."""
    line = fetchreply.request_line(url=url, fqdn="web050000.example.org", user_agent="bench",
                                   **more)     # type: ignore[arg-type]
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-IBS", os.path.join(ROOT, "bin", "qualvosec"),
                           "--fetch"], input=line, stdout=subprocess.PIPE, check=True)
    return fetchreply.parse_reply(done.stdout), time.monotonic() - begin


def pair(manifest: bytes, signed: hostile.Behaviour) -> hostile.Behaviour:
    """Answer with the manifest, or with what stands for its signature."""
    def behave(connection: socket.socket, server: hostile.Server) -> None:
        head = connection.recv(4096, socket.MSG_PEEK)
        chosen = signed if b".sig HTTP/" in head else hostile.answers(manifest)
        chosen(connection, server)
    return behave


def big_signature(keys: Keys) -> bool:
    """A signature of 200 MB, announced or in chunks, through the fetch child."""
    path = os.path.join(keys.folder, "sparse")
    with open(path, "wb") as file:
        file.truncate(BIG_SIGNATURE)

    def send_file(connection: socket.socket, server: hostile.Server, head: bytes,
                  chunk: bytes) -> None:
        hostile.read_head(connection, server)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        with open(path, "rb") as file:
            while True:
                piece = file.read(65536)
                if not piece:
                    return
                connection.sendall(chunk)
                hostile.send(connection, server, piece)
                connection.sendall(b"\r\n" if chunk else b"")

    good = True
    for what, head, chunk in (
            ("announced", b"Content-Length: %d\r\n" % BIG_SIGNATURE, b""),
            ("in chunks", b"Transfer-Encoding: chunked\r\n", b"10000\r\n")):
        def behave(connection: socket.socket, server: hostile.Server, head: bytes = head,
                   chunk: bytes = chunk) -> None:
            send_file(connection, server, head, chunk)

        best, sent = 1e9, 0
        for _ in range(3):
            with hostile.Server(pair(b"a: 1\n", behave)) as server:
                reply, took = fetch_child(server.url(), allowed_signers=keys.signers)
                best, sent = min(best, took), max(sent, server.sent)
            if reply.result != "failed" or "larger than" not in reply.reason:
                return say("a signature of 200 MB, %s: %r" % (what, reply), False)
        good = say("a signature of 200 MB, %s: refused in %.2f s with the start of the child (at "
                   "most %.1f), %d KB of it left the server"
                   % (what, best, MAX_REFUSAL_S, sent // 1024), best <= MAX_REFUSAL_S) and good
    return good


def verification(keys: Keys, manifest: bytes, signed: bytes) -> bool:
    """What the signature adds to a fetch of 15 MB."""
    best, rounds = [1e9, 1e9], 0
    with hostile.Server(pair(manifest, hostile.answers(signed))) as server:
        # The quickest of each counts; a busy machine gets more rounds to show it.
        while rounds < ROUNDS or (best[1] - best[0] > MAX_VERIFY_S / 2 and rounds < 6 * ROUNDS):
            rounds += 1
            for place, signers in enumerate(("", keys.signers)):
                reply, took = fetch_child(server.url(), allowed_signers=signers)
                if reply.entry != "policy":
                    return say("a signed manifest: %r" % (reply,), False)
                best[place] = min(best[place], took)
    return say("a fetch of %.1f MB: %.2f s, signed and verified %.2f s, that is %+.2f s (at most "
               "+%.1f), best of %d" % (len(manifest) / 1e6, best[0], best[1], best[1] - best[0],
                                       MAX_VERIFY_S, rounds),
               best[1] - best[0] <= MAX_VERIFY_S)


def flips(keys: Keys, manifest: bytes, signed: bytes) -> bool:
    """Random damage to a signed manifest or its signature: all refused."""
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    refused = tried = 0
    while tried < FLIPS:
        pieces = [bytearray(manifest), bytearray(signed)]
        which = 0 if dice.random() < 0.8 else 1
        place = dice.randrange(len(pieces[which]) - 1)
        if dice.random() < 0.2:
            del pieces[which][place:]
        else:
            pieces[which][place] ^= 1 << dice.randrange(8)
        if which and test_signature.decoded(bytes(pieces[1])) == test_signature.decoded(signed):
            continue    # another spelling of the same signature
        tried += 1
        try:
            signature.verify(bytes(pieces[0]), bytes(pieces[1]), keys.signers)
        except signature.SignatureError:
            refused += 1
    return say("%d random flips and truncations of a signed manifest of %d hosts (%.1f MB): %d "
               "refused, seed %d" % (tried, HOSTS, len(manifest) / 1e6, refused, seed),
               refused == tried)


def signed_part(work: str) -> bool:
    """Everything that needs ssh-keygen."""
    if signature.obstacle():
        print("SKIP signatures: NOT CHECKED: %s" % signature.obstacle())
        return True
    keys = Keys(work)
    fleet = b".manifest:\n  serial: 1\n" + test_signature.fleet(HOSTS)
    part = fleet[:15 * 1000 * 1000]
    part = part[:part.rindex(b"web")]
    good = big_signature(keys)
    good = verification(keys, part, keys.sign(part)) and good
    return flips(keys, fleet, keys.sign(fleet)) and good


def main() -> int:
    """Measure at the scale that the environment asks for."""
    if not os.path.exists("/proc/self/status"):
        sys.stderr.write("bench_trust.py: no /proc: this measurement runs on Linux only\n")
        return 1
    work = tempfile.mkdtemp(prefix="qualvosec-bench-")
    try:
        good = behaviours()
        good = failures(work) and good
        good = signed_part(work) and good
    except bench_idle.BenchError as error:
        sys.stderr.write("bench_trust.py: %s\n" % error)
        return 1
    finally:
        shutil.rmtree(work)
    print("verdict: " + ("PASS" if good else "FAIL"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
