# SPDX-License-Identifier: BSD-2-Clause
"""What a process of root inherits from its caller, and what it gets rid of first.

sudo, doas and a socket hand over descriptors, limits, a mask, signals and an
environment that the unprivileged side may have chosen. clean() replaces all of
them. admitted() looks who has connected to a socket. insecure() finds code that
others than root could change.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from typing import List
from typing import Optional
from typing import Sequence

from qualvosec.helper.managers import base
from qualvosec.helper.managers import system

_ANY = resource.RLIM_INFINITY
# A file size limit set by the caller would end dpkg in the middle of a package.
_ENDING = (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA)
# What else a maintainer script would feel, and the least that it needs.
_NARROW = (("NPROC", _ANY), ("NOFILE", 1024), ("STACK", 8 << 20), ("MEMLOCK", 64 << 10))
_OOM = "/proc/self/oom_score_adj"
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def clean(ignored: Sequence[int] = ()) -> None:
    """Replace environment, mask, directory, signals and limits; close descriptors from 3 on.

    `ignored` signals are so for what is started, too: only the front has a terminal to fear.
    """
    os.environ.clear()
    os.environ.update(system.ENVIRONMENT)
    time.tzset()
    os.umask(0o022)
    os.chdir("/")
    os.closerange(3, 65536)
    # SIGPIPE stays ignored: a reader that has gone must not end a run.
    for number in set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        signal.signal(number, signal.SIG_DFL)
    for number in ignored:
        # A character typed at the caller's terminal would freeze us with the lock in hand.
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.geteuid() == 0:
        try:
            for limit in _ENDING:
                resource.setrlimit(limit, (_ANY, _ANY))
        except ValueError:
            # Root of a container may lack the capability.
            sys.exit("qualvosec-helper: limits: cannot be lifted, see ulimit -Ha: set none")
        for name, least in _NARROW:
            _widen(getattr(resource, "RLIMIT_" + name, None), least)
        # A container may forbid these two, and nothing ends for it.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        with contextlib.suppress(OSError), open(_OOM, "r+b", buffering=0) as file:
            file.write(b"0")


def _widen(number: Optional[int], least: int) -> None:
    """Raise a limit that this system knows to the least that is needed, as far as we may."""
    if number is None:
        return
    soft, hard = resource.getrlimit(number)
    if soft == _ANY or (least != _ANY and soft >= least):
        return
    if hard != _ANY and (least == _ANY or hard < least):
        with contextlib.suppress(ValueError):
            resource.setrlimit(number, (least, least))
            return
        least = hard    # root of a container may lack the capability
    resource.setrlimit(number, (least, hard))


def admitted(fd: int) -> int:
    """Return the descriptor of the request; raises Refused for a connection of a stranger.

    A connection to a socket is root's or that of the socket's owner (SocketUser in the
    unit); the mode of the socket says so, too, and this holds when that was widened. What has
    no name (a pipe, the socketpair of an sshd before sudo) is none: there sudo or doas
    have judged. Only systemd on Linux serves the helper so: SO_PEERCRED of unix(7).
    """
    if stat.S_ISSOCK(os.fstat(fd).st_mode) and sys.platform == "linux":
        with socket.socket(socket.AF_UNIX, fileno=os.dup(fd)) as end:
            peer = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            place, uid = str(end.getsockname()), int.from_bytes(peer[4:8], sys.byteorder)
        if place and uid not in (0, os.stat(place).st_uid):
            raise base.Refused("uid %d: is neither root nor the owner of %s" % (uid, place))
    return fd


def caller_gone(wait_s: float) -> bool:
    """Wait, at most until the reader of our answer has gone away; say whether it has."""
    watcher = select.poll()
    watcher.register(1, 0)
    return bool(watcher.poll(int(wait_s * 1000)))


def own_files() -> List[str]:
    """Return our programs and every file of the project: what is not loaded yet may be later."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return [os.path.realpath(path) for path in (sys.argv[0], system.TRANSACTION[-1])] + [
        os.path.join(folder, name) for folder, _, names in os.walk(home) for name in names]


def insecure(paths: List[str]) -> str:
    """Say which of the files and their parents others than root and us could change, if any.

    Of a directory that is not there, as where nothing is configured, the parents count.
    """
    seen: List[str] = []
    for path in [path if os.path.lexists(path) else os.path.dirname(path) for path in paths]:
        while path not in seen:
            seen.append(path)
            info = os.stat(path)
            sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
            if info.st_uid not in (0, os.geteuid()):
                return "%s: belongs to uid %d: chown it to root" % (path, info.st_uid)
            if info.st_mode & 0o022 and not sticky:
                return "%s: others may write to it: chmod go-w it" % path
            path = os.path.dirname(path)
    return ""
