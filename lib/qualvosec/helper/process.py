# SPDX-License-Identifier: BSD-2-Clause
"""What a process of root inherits from its caller, and what it gets rid of first.

sudo, doas and a socket hand over descriptors, limits, a mask, signals and an
environment that the unprivileged side may have chosen. clean() replaces all of
them. insecure() finds code that others than root could change.
"""

import os
import resource
import signal
import stat
import sys
from typing import Iterable
from typing import Set

from qualvosec import command

ENVIRONMENT = {"PATH": command.FIXED_PATH, "HOME": "/root", "LC_ALL": "C", "TERM": "dumb"}
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM,
            signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)
_LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA)


def clean() -> None:
    """Replace environment, mask, directory, signals and limits; close descriptors from 3 on."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    os.umask(0o022)
    os.chdir("/")
    os.closerange(3, 1024)
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else []:
        if int(name) > 2:
            os.closerange(int(name), int(name) + 1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.geteuid() == 0:
        for limit in _LIMITS:
            # A file size limit set by the caller would end dpkg in the middle of a package.
            resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def own_files() -> Set[str]:
    """Return the program and every module of the project that this process has loaded."""
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "qualvosec"]
    return {os.path.realpath(path) for path in
            [sys.argv[0]] + [getattr(module, "__file__", None) or "" for module in modules] if path}


def insecure(paths: Iterable[str], owner: int = 0, top: str = "/") -> str:
    """Say which of the files and their parents up to `top` others could change; empty: none."""
    seen: Set[str] = set()
    for path in paths:
        while path not in seen:
            seen.add(path)
            info = os.stat(path)
            sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
            if info.st_uid not in (0, owner):
                return "%s: belongs to uid %d: chown it to root" % (path, info.st_uid)
            if info.st_mode & 0o022 and not sticky:
                return "%s: others may write to it: chmod go-w it" % path
            if path == top:
                break
            path = os.path.dirname(path)
    return ""
