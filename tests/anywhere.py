#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run the tests as on other machines, on other days and as other users: tests/anywhere.py.

Needs root on Linux with unshare(1), a C compiler and zoneinfo. Each run has mount, host
name and process namespaces of its own, with its own copy of /etc and of this checkout:
this machine stays as it is. Where the clock is another one, every program has it, also sudo
and what is started with an empty environment (clock.c, through /etc/ld.so.preload); a probe
tries that first, and a run whose probe fails has failed.

Usage: tests/anywhere.py [--python PROGRAM] [--run NAME ...] [--jobs N] [WORD ...]
Words choose tests by part of their name. Exit code 1 if a run failed, 2 if none can be made.
"""

import argparse
import json
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple
from typing import TypeVar

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DAY_S = 86400
TO_2036 = -1            # as many seconds as are left until then
SLACK_S = 20            # of a busy machine, between two readings of the clock
USER, UID = "someone", 54321
Test = TypeVar("Test", bound=Callable[..., Any])


class Run(NamedTuple):
    """One run of all tests: what is different from the machine that it is made on."""

    name: str
    is_root: bool
    shift_s: int
    zone: str
    host: str
    umask: int
    reaps: bool             # whether process 1 waits for orphans
    is_crowded: bool        # an environment full of settings; otherwise PATH alone
    has_home: bool          # whether the home in passwd is there
    is_owner: bool          # of the checkout; otherwise root is


HERE = Run("root-today", is_root=True, shift_s=0, zone="UTC", host="debian", umask=0o022,
           reaps=True, is_crowded=False, has_home=True, is_owner=True)
# Together: root and not, four clocks, four zones, and each of the other things both ways.
RUNS = (
    HERE,
    HERE._replace(name="user-8-days", is_root=False, shift_s=8 * DAY_S, zone="Pacific/Chatham",
                  host="web01.example.org", umask=0o077, reaps=False),
    HERE._replace(name="root-400-days", shift_s=400 * DAY_S, zone="America/St_Johns", host="db-7",
                  umask=0o077, reaps=False, is_crowded=True),
    HERE._replace(name="user-2036", is_root=False, shift_s=TO_2036, zone="Europe/Lisbon",
                  host="localhost", umask=0o002, reaps=False, has_home=False, is_owner=False),
)

# Tests that cannot pass under another clock, at most ten: each with its reason.
NOT_SHIFTED = {
    "tests.test_anywhere.Planted.test_what_rests_on_the_machine_or_the_day_falls":
        "makes another clock itself, and one within the other is not made",
    "tests.test_anywhere.Planted.test_a_clock_that_does_not_reach_every_program_fails_the_run":
        "makes another clock itself, and one within the other is not made",
}

# Said by programs that a run starts: what each of them takes for the time.
PROBE = r"""
import json, os, subprocess, sys, tempfile, threading, time
sys.path.insert(0, os.path.join(os.getcwd(), "lib"))
from qualvosec import command
from qualvosec.helper import process
from qualvosec.helper.managers import system
def said(argv, **options):
    return float(subprocess.check_output(argv, **options).split()[0])
date = ["date", "+%s"]
cleared = ["env", "-i", sys.executable, "-IBS", "-c", "import time; print(time.time())"]
found = {"python": time.time(), "gmtime": time.mktime(time.localtime()), "date": said(date),
         "env -i date": said(["env", "-i", "/bin/date", "+%s"]), "env -i python": said(cleared)}
folder = tempfile.mkdtemp()
path = os.path.join(folder, "file")
open(path, "w").close()
found["stat"], found["lstat"] = os.stat(path).st_mtime, os.lstat(path).st_mtime
with open(path) as file:
    found["fstat"] = os.fstat(file.fileno()).st_mtime
found["scandir"] = next(iter(os.scandir(folder))).stat().st_mtime
found["stat(1)"] = said(["stat", "-c", "%Y", path])
subprocess.check_call(["touch", path])
found["touch(1)"] = os.stat(path).st_mtime
for shift in (-1, 1, -3 * 86400, 3 * 86400, -500 * 86400, 500 * 86400):
    given = int(found["python"]) + shift
    os.utime(path, (given, given))
    found["os.utime, %+d" % shift] = os.stat(path).st_mtime - shift
    subprocess.check_call(["touch", "-d", "@%d" % given, path])
    found["touch -d, %+d" % shift] = said(["stat", "-c", "%Y", path]) - shift
os.remove(path)
os.rmdir(folder)
began = time.monotonic()
lock = threading.Lock()
lock.acquire()
lock.acquire(timeout=0.01)
threading.Event().wait(0.01)
found["waiting"] = time.time() - (time.monotonic() - began)
process.clean()
found["helper's child"] = float(command.run(date, system.ENVIRONMENT).stdout)
print(json.dumps(found))
"""


class CannotError(Exception):
    """The run cannot be made here; one line."""


def unless_shifted(test: Test) -> Test:
    """Skip a test of NOT_SHIFTED where the clock is another one."""
    why = NOT_SHIFTED["%s.%s" % (test.__module__, test.__qualname__)]
    try:
        with open("/etc/ld.so.preload", encoding="utf-8") as file:
            is_shifted = "qualvosec-anywhere" in file.read()
    except OSError:
        is_shifted = False
    return unittest.skipIf(is_shifted, "not under another clock: %s" % why)(test)


def main() -> int:
    """Make the runs; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run the tests as on other machines and days.")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--run", action="append", default=[], choices=[run.name for run in RUNS])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    runs = [run for run in RUNS if not options.run or run.name in options.run]
    try:
        if options.inside:
            run, = (run for run in RUNS if run.name == options.inside[0])
            return inside(run, options.inside[1], options.python, options.words)
        demand(runs)
    except CannotError as error:
        print("anywhere: %s" % error, file=sys.stderr)
        return 2
    scratch = tempfile.mkdtemp(prefix="qualvosec-anywhere.", dir="/tmp")
    try:
        return outside(runs, scratch, options)
    finally:
        shutil.rmtree(scratch)


def demand(runs: List[Run]) -> None:
    """Raise CannotError where something is missing."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        raise CannotError("needs root on Linux: run it as root")
    for program in ("unshare", "mount", "cc"):
        if shutil.which(program, path=PATH) is None:
            raise CannotError("%s: is not installed" % program)
    if subprocess.call(unshared(["true"]), stderr=subprocess.DEVNULL):
        raise CannotError("unshare: no namespaces here: run it where root may make them")
    for run in runs:
        if not os.path.exists(os.path.join("/usr/share/zoneinfo", run.zone)):
            raise CannotError("%s: no such zone: install tzdata" % run.zone)


def unshared(argv: List[str]) -> List[str]:
    """Return the command line with namespaces of its own around it."""
    return ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--propagation", "private",
            "--"] + argv


def outside(runs: List[Run], scratch: str, options: argparse.Namespace) -> int:
    """Make the runs, as many side by side as asked; prints what failed, then a table."""
    os.umask(0o022)
    os.chmod(scratch, 0o755)
    waiting, started, results = list(runs), [], {}
    while waiting or started:
        while waiting and len(started) < max(1, options.jobs):
            run = waiting.pop(0)
            started.append((run, start(run, os.path.join(scratch, run.name), options)))
        run, child = started.pop(0)
        child.wait()
        results[run.name] = told(run, os.path.join(scratch, run.name))
        shutil.rmtree(os.path.join(scratch, run.name))
    print("%-14s %6s %9s %8s %7s %7s" % ("run", "tests", "failures", "skipped", "wall s", "CPU s"))
    for name, (tests, failures, skipped, wall, cpu, _) in results.items():
        print("%-14s %6d %9d %8d %7.0f %7.0f" % (name, tests, failures, skipped, wall, cpu))
    for name, why in NOT_SHIFTED.items():
        print("not under another clock: %s: %s" % (name, why))
    bad = [name for name, result in results.items() if not result[-1]]
    if bad:
        print("failed: %s" % ", ".join(bad))
    return 1 if bad else 0


def start(run: Run, folder: str, options: argparse.Namespace) -> "subprocess.Popen[bytes]":
    """Prepare a directory for a run, and start it."""
    copy_checkout(os.path.join(folder, "checkout"), run.umask)
    shutil.copytree("/etc", os.path.join(folder, "etc"), symlinks=True,
                    ignore_dangling_symlinks=True)
    for name in ("temporary", "home"):
        os.mkdir(os.path.join(folder, name))
    os.symlink("temporary", os.path.join(folder, "link"))
    if not run.is_root:
        for name in ("temporary", "home") + ("checkout",) * run.is_owner:
            subprocess.check_call(["chown", "-R", "%d:%d" % (UID, UID),
                                   os.path.join(folder, name)])
    shift_s = shift(run)
    if shift_s:
        subprocess.check_call(
            ["cc", "-shared", "-fPIC", "-O2", "-fno-builtin", "-Wall",
             "-Wno-builtin-declaration-mismatch", "-Wno-attribute-alias",
             "-DSHIFT=%dL" % shift_s, "-DBASE=%dL" % time.time(),
             "-o", os.path.join(folder, "clock.so"), os.path.join(ROOT, "tests", "clock.c"),
             "-ldl"])
    argv = [sys.executable, "-B", os.path.abspath(__file__), "--python", options.python,
            "--inside", run.name, folder] + options.words
    with open(os.path.join(folder, "output"), "wb") as output:
        return subprocess.Popen(unshared(argv), stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT)


def shift(run: Run) -> int:
    """Return how many seconds the clock of a run is ahead."""
    if run.shift_s != TO_2036:
        return run.shift_s
    # In the middle of a February: 19 months before 32 bits are full.
    return max(0, 2086819200 - int(time.time()))


def copy_checkout(target: str, umask: int) -> None:
    """Copy what git would take, or everything where there is no git, without history.

    The modes are those of a clone that was made with the mask.
    """
    listed = subprocess.Popen(["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", "-co",
                               "--exclude-standard"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) if shutil.which("git") else None
    names = listed.communicate()[0].decode("utf-8").split("\0")[:-1] if listed else []
    if not names:
        shutil.copytree(ROOT, target, symlinks=True,
                        ignore=shutil.ignore_patterns(".git", "__pycache__", "build"))
    for name in names:
        source, copy = os.path.join(ROOT, name), os.path.join(target, name)
        if os.path.lexists(source):
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    for top, _, files in os.walk(target):
        for path in [top] + [os.path.join(top, name) for name in files]:
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                os.chmod(path, (0o777 if mode & 0o100 else 0o666) & ~umask)


def told(run: Run, folder: str) -> Tuple[int, int, int, float, float, bool]:
    """Return tests, failures, skipped, seconds, seconds of CPU, and whether all is well."""
    with open(os.path.join(folder, "output"), encoding="utf-8", errors="replace") as file:
        output = file.read()
    try:
        with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
            code, wall, cpu = json.load(file)
    except OSError:
        code, wall, cpu = 1, 0.0, 0.0
    ran = re.findall(r"^Ran (\d+) tests?", output, re.MULTILINE)
    ends = re.findall(r"^(?:OK|FAILED)(?: \((.*)\))?$", output, re.MULTILINE)
    counts = {kind: int(number) for kind, number in
              re.findall(r"([a-z]+(?: [a-z]+)*)=(\d+)", ends[-1] if ends else "")}
    skipped = counts.pop("skipped", 0)
    counts.pop("expected failure", None)
    is_good = code == 0 and bool(ran) and bool(ends)
    print("%s: %s" % (run.name, "passed" if is_good else "FAILED"))
    shown = output.splitlines()
    if is_good:
        shown = [line for line in shown if line.startswith(("probe:", "skipped "))]
    print("".join("    %s\n" % line for line in shown), end="", flush=True)
    return (int(ran[-1]) if ran else 0,
            sum(counts.values()) or int(not is_good), skipped, wall, cpu, is_good)


# --- in the namespaces ------------------------------------------------------------


def inside(run: Run, folder: str, python: str, words: List[str]) -> int:
    """Be process 1: make the place, try it, run the tests; returns their exit code."""
    make_etc(run, folder)
    socket.sethostname(run.host)
    subprocess.check_call(["mount", "--bind", os.path.join(folder, "etc"), "/etc"])
    subprocess.check_call(["mount", "-t", "proc", "proc", "/proc"])
    time.tzset()
    probe(run, folder, python)
    began = time.monotonic()
    code = wait(start_inside(run, folder, [python, "-m", "tests"] + words), run.reaps)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(os.path.join(folder, "result.json"), "w", encoding="utf-8") as file:
        json.dump([code, time.monotonic() - began, used.ru_utime + used.ru_stime], file)
    return code


def make_etc(run: Run, folder: str) -> None:
    """Write what is different in the copy of /etc."""
    etc = os.path.join(folder, "etc")

    def put(name: str, text: str, mode: str = "w") -> None:
        path = os.path.join(etc, name)
        if mode == "w" and os.path.lexists(path):
            os.remove(path)
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)

    put("hostname", run.host + "\n")
    put("hosts", "127.0.1.1 %s\n" % run.host if run.is_root else "")
    put("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    put("timezone", run.zone + "\n")
    local = os.path.join(etc, "localtime")
    if os.path.lexists(local):
        os.remove(local)
    os.symlink("/usr/share/zoneinfo/" + run.zone, local)
    put("passwd", "%s:x:%d:%d::%s:/bin/sh\n" % (
        USER, UID, UID, os.path.join(folder, "home") if run.has_home else "/nonexistent"), "a")
    put("group", "%s:x:%d:\n" % (USER, UID), "a")
    if shift(run):
        put("ld.so.preload", os.path.join(folder, "clock.so") + "\n")


def environment(run: Run, folder: str) -> Dict[str, str]:
    """Return the environment of a run."""
    if not run.is_crowded:
        return {"PATH": PATH}
    # What people, builds and services have set.
    return {"PATH": PATH, "HOME": os.path.join(folder, "no such home"), "LANG": "de_DE.UTF-8",
            "LC_ALL": "POSIX", "LANGUAGE": "de", "TZ": "Asia/Kathmandu", "COLUMNS": "20",
            "LINES": "5", "TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "POSIXLY_CORRECT": "1",
            "CDPATH": "/usr", "TMPDIR": os.path.join(folder, "link"),
            "http_proxy": "http://127.0.0.1:9/", "https_proxy": "http://127.0.0.1:9/",
            "SSL_CERT_FILE": "/dev/null", "SOURCE_DATE_EPOCH": "1", "MAKEFLAGS": "-s",
            "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "1", "PYTHONIOENCODING": "ascii",
            "PYTHONUTF8": "0", "PYTHONWARNINGS": "default", "PYTHONPATH": "/nonexistent",
            "PYTHONOPTIMIZE": "1", "SUDO_USER": "root", "NOTIFY_SOCKET": "/nonexistent",
            "XDG_CONFIG_HOME": "/nonexistent", "GIT_DIR": "/nonexistent"}


def start_inside(run: Run, folder: str, argv: List[str],
                 **options: int) -> "subprocess.Popen[bytes]":
    """Start a program as the run's user, in the copy of the checkout."""
    def become() -> None:
        os.umask(run.umask)
        if not run.is_root:
            os.setgroups([])
            os.setgid(UID)
            os.setuid(UID)

    return subprocess.Popen(argv, env=environment(run, folder), preexec_fn=become,
                            cwd=os.path.join(folder, "checkout"), **options)


def wait(child: "subprocess.Popen[bytes]", reaps: bool) -> int:
    """Wait for a child, and for whatever else ends if process 1 reaps."""
    while reaps:
        pid, status = os.wait()
        if pid == child.pid:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    return child.wait()


def probe(run: Run, folder: str, python: str) -> None:
    """Try whether every program has the clock of the run; exits if not."""
    # This process was there before the preload, so its clock is the machine's.
    expected = time.time() + shift(run)
    child = start_inside(run, folder, [python, "-IBS", "-c", PROBE], stdout=subprocess.PIPE)
    found = json.loads(child.communicate()[0].decode("utf-8") or "{}")
    if child.returncode or not found:
        sys.exit("probe: it cannot be run: %s" % python)
    if shutil.which("sudo", path=PATH):
        found["sudo"] = said_by_sudo(folder)
    else:
        print("probe: sudo: NOT CHECKED: it is not installed")
    wrong = ["%s: %+d s" % (name, value - expected) for name, value in sorted(found.items())
             if abs(value - expected) > SLACK_S]
    if wrong:
        sys.exit("probe: these do not have the clock of the run: %s" % ", ".join(wrong))
    print("probe: the clock is %d s ahead for: %s" % (shift(run), ", ".join(
        sorted({name.split(",")[0] for name in found}))), flush=True)


def said_by_sudo(folder: str) -> float:
    """Return the time that a program has which an unprivileged user starts by sudo."""
    path, kept = "/etc/sudoers", os.path.join(folder, "sudoers")
    shutil.copy2(path, kept)
    with open(path, "w", encoding="utf-8") as file:
        file.write("ALL ALL=(ALL) NOPASSWD: ALL\n")
    try:
        return float(subprocess.check_output(["sudo", "-n", "-u", "nobody", "sudo", "-n", "date",
                                              "+%s"]))
    finally:
        shutil.copy2(kept, path)


if __name__ == "__main__":
    sys.exit(main())
