# SPDX-License-Identifier: BSD-2-Clause
"""The first sight of QualvoSec: `make demo` in the situations of its readers, measured.

    python3 tests/first_sight.py [--keep DIRECTORY] [SITUATION ...]

As root, in mount, network and name spaces of their own: root and users, with and without
sudo, a system without a supported package manager, a bare machine (no network, no name in
/etc/hosts, a read-only checkout, ports in use, the C locale, a dumb terminal); as anybody: a
terminal of 80 columns, and a demonstration that is stopped. --keep leaves the outputs there.
Not part of the suite: a package manager may take seconds for an answer.
"""

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from typing import Dict
from typing import List
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NOBODY = 65534
# What a reader is promised on a quiet machine is 1, 2 and 15 s; this holds on a busy one.
FIRST_S, SILENCE_S, WHOLE_S = 5.0, 6.0, 150.0
TOLD = ("QUALVOSEC OK", "200 healthy: true", "QUALVOSEC CRITICAL", "503 healthy: false",
        "MADE UP", "| conflict ", "| unhealthy: failed ", "| overdue ", "| unlisted ",
        "| partial ", "| orphaned ", "| ok ", "pending, ")
HIDE_SUDO = ("for f in /usr/bin/sudo /usr/bin/doas; do "
             "[ ! -e $f ] || mount --bind /dev/null $f; done")
LET_SUDO = ("mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d && "
            "echo '#65534 ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/x && chmod 440 /etc/sudoers.d/x"
            " && setpriv --reuid 65534 --clear-groups sudo -n true")
HIDE_MANAGER = ("printf 'ID=slackware\\n' >$TMPDIR/.os && chmod 644 $TMPDIR/.os && "
                "mount --bind $TMPDIR/.os $(realpath /etc/os-release) && rm $TMPDIR/.os")
BARE = ("hostname debian && ip link set lo up && "
        "printf '127.0.0.1\\tlocalhost\\n' >$TMPDIR/.hosts && chmod 644 $TMPDIR/.hosts && "
        "mount --bind $TMPDIR/.hosts /etc/hosts && rm $TMPDIR/.hosts && "
        "mount --bind . . && mount -o remount,bind,ro . && cd . && "
        "{ python3 -c 'import socket, time\nkept = [socket.socket(), socket.socket()]\n"
        "for sock, port in zip(kept, (8037, 8080)): sock.bind((\"127.0.0.1\", port)); "
        "sock.listen(1)\ntime.sleep(600)' & }")


class Situation(NamedTuple):
    """Who looks where; `prepare` is a script for root in spaces of its own, "" for none."""

    name: str
    prepare: str = ""
    uid: int = NOBODY
    has_manager: bool = True
    more: Dict[str, str] = {}
    columns: int = 0            # of a terminal, 0: a pipe
    stop_at: str = ""           # what is read before it is stopped


SITUATIONS = (
    Situation("root-no-sudo", HIDE_SUDO, uid=0),
    Situation("user-no-sudo", HIDE_SUDO),
    Situation("user-sudo", LET_SUDO),
    Situation("no-manager", HIDE_MANAGER, has_manager=False),
    Situation("bare", BARE, more={"LC_ALL": "C", "TERM": "dumb"}),
    Situation("terminal", columns=80, more={"TERM": "xterm"}),
    Situation("stopped", stop_at="4. The same daemon"),
)


class Seen(NamedTuple):
    """What a reader got, and when."""

    code: int
    text: str
    seconds: float
    first: float
    silence: float


def command(situation: Situation) -> List[str]:
    """Return what starts the demonstration in its situation."""
    script = "exec make demo"
    if os.geteuid() == 0 and situation.uid:
        script = "exec setpriv --reuid %d --regid %d --clear-groups make demo" % (
            situation.uid, situation.uid)
    if not situation.prepare:
        return ["sh", "-c", script]
    # What is left over does not outlive its spaces: it is killed with their process 1.
    return ["unshare", "-m", "-u", "-n", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c",
            "set -e; ip link set lo up; %s; %s; exit" % (
                situation.prepare, script.replace("exec ", ""))]


def watch(situation: Situation, place: str) -> Seen:
    """Run it and look on."""
    environment = dict({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": place,
                        "LC_ALL": "C.UTF-8"}, **situation.more)
    reading, writing = os.openpty() if situation.columns else os.pipe()
    if situation.columns:
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 25, situation.columns, 0, 0))
    begin = last = time.monotonic()
    process = subprocess.Popen(command(situation), cwd=ROOT, env=environment, stdout=writing,
                               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               start_new_session=True)
    os.close(writing)
    data, first, silence, stopped = b"", 0.0, 0.0, False
    while True:
        try:
            piece = os.read(reading, 65536)
        except OSError:
            # The end of a terminal.
            piece = b""
        silence, last = max(silence, time.monotonic() - last), time.monotonic()
        if not piece:
            break
        data += piece
        first = first or (last - begin if b"\n" in data else 0.0)
        if situation.stop_at and not stopped and situation.stop_at.encode() in data:
            # As a terminal does it: to everybody in the foreground.
            os.killpg(process.pid, signal.SIGINT)
            stopped = True
    os.close(reading)
    code = process.wait()
    return Seen(code, data.decode("utf-8", "replace").replace("\r\n", "\n"), last - begin, first,
                silence)


def packages(text: str) -> int:
    """Return how many pending packages are shown."""
    table = text.partition("In this run\n")[2]
    rows = table.split(" pending, ")[0].splitlines()[:-1]
    return sum("more" not in row.split()[-1:] for row in rows)


def faults(situation: Situation, seen: Seen, place: str) -> List[str]:
    """Return what is wrong with what was seen."""
    found = []
    left = os.listdir(place)
    pages = [name for name in left if name.endswith(".html")]
    if situation.stop_at:
        said = seen.text.rpartition("\ndemo: ")[2].splitlines()
        if seen.code not in (2, 130, -signal.SIGINT) or said[:1] != [
                "stopped; nothing is left behind"] or left or "Traceback" in seen.text:
            found.append("exit %d, %r is left, and it said %r" % (seen.code, left, said))
        return found
    if seen.code:
        found.append("exit code %d" % seen.code)
    if len(left) != 1 or len(pages) != 1 or pages[0] not in seen.text:
        found.append("left: %r, which is not the one page that is named" % left)
    else:
        with open(os.path.join(place, pages[0]), encoding="utf-8") as file:
            if "conflict: 1" not in file.read():
                found.append("the page does not tell of the conflict")
    told = TOLD if situation.has_manager else TOLD[2:-1] + (
        "this host cannot be patched: slackware", "pending: slackware")
    plain = re.sub("\x1b\\[[0-9]*m", "", seen.text)
    found.extend("does not tell: %s" % text for text in told if text not in plain)
    if situation.has_manager and seen.text.find(TOLD[0]) > seen.text.find(TOLD[2]):
        found.append("is not healthy first")
    if packages(seen.text) > 10:
        found.append("%d packages are shown" % packages(seen.text))
    if situation.columns and max(map(len, plain.split("\n"))) > situation.columns:
        found.append("a line is wider than the terminal")
    for value, bound, what in ((seen.first, FIRST_S, "to the first line"),
                               (seen.silence, SILENCE_S, "of silence"),
                               (seen.seconds, WHOLE_S, "in all")):
        if value > bound:
            found.append("%.1f s %s" % (value, what))
    return found


def trial(situation: Situation, keep: str) -> bool:
    """Show one situation; says whether all was well."""
    if situation.prepare and os.geteuid() != 0:
        print("SKIP %s: NOT CHECKED: needs root" % situation.name)
        return True
    place = tempfile.mkdtemp(prefix="qv-")
    os.chmod(place, 0o1777)
    try:
        seen = watch(situation, place)
        wrong = faults(situation, seen, place)
    finally:
        shutil.rmtree(place)
    if keep:
        with open(os.path.join(keep, "out-%s.txt" % situation.name), "w", encoding="utf-8") as file:
            file.write(seen.text)
    print("%s %-12s exit %d, %5.1f s, first line %.2f s, longest silence %.2f s" % (
        "FAIL" if wrong else "ok  ", situation.name, seen.code, seen.seconds, seen.first,
        seen.silence), flush=True)
    for fault in wrong:
        print("     %s" % fault)
    if wrong:
        print(seen.text)
    return not wrong


def main(words: List[str]) -> int:
    """Run the trials; returns 0 if all was well."""
    keep = ""
    if words[:1] == ["--keep"]:
        keep, words = words[1], words[2:]
    chosen = [situation for situation in SITUATIONS if not words or situation.name in words]
    results = [trial(situation, keep) for situation in chosen]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
