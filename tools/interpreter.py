# SPDX-License-Identifier: BSD-2-Clause
"""Print the interpreter that installed programs are to start: an absolute, lasting path.

Run by the interpreter that the administrator chose. A shim or a virtual
environment is resolved to the executable behind it; the unversioned link
`python3` is preferred, because it outlives an upgrade of the system's Python.
With the word `trusted`, the path must also be one that root may run and every
user can reach. Exit code 1 with one line on standard error otherwise.
"""

import os
import stat
import sys

FLOOR = (3, 6)
USUAL_DIRS = ("/usr/bin", "/usr/local/bin", "/usr/pkg/bin")
# The oldest kernels in use cut the first line of a script after 127 bytes.
MAX_LINE_BYTES = 127 - len("#! -IBS")


def lasting_path() -> str:
    """Return the executable of this interpreter under the name that lasts longest."""
    real = os.path.realpath(sys.executable)
    for folder in (os.path.dirname(real),) + USUAL_DIRS:
        link = os.path.join(folder, "python3")
        if os.path.realpath(link) == real:
            return link
    return real


def fault_of(path: str) -> str:
    """Return why root must not run `path`, or why a service user cannot; "" if all is well."""
    for target in (path, os.path.realpath(path)):
        here = target
        while True:
            info = os.stat(here)
            sticky_dir = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
            if info.st_uid != 0:
                return "%s belongs to uid %d, who could run anything as root" % (here, info.st_uid)
            if info.st_mode & 0o022 and not sticky_dir:
                return "%s can be changed by others than root" % here
            if not info.st_mode & 0o001:
                return "%s cannot be entered or run by a service user" % here
            if here == "/":
                break
            here = os.path.dirname(here)
    return ""


def main() -> int:
    """Print the path; returns the exit code."""
    if sys.version_info < FLOOR:
        sys.stderr.write("install: %s is Python %d.%d: QualvoSec needs 3.6 or newer: "
                         "name another with PYTHON=\n" % ((sys.executable,) + sys.version_info[:2]))
        return 1
    path = lasting_path()
    if len(os.fsencode(path)) > MAX_LINE_BYTES or any(c.isspace() for c in path):
        sys.stderr.write("install: %s is too long or has a blank: name another with PYTHON=\n"
                         % path)
        return 1
    fault = fault_of(path) if sys.argv[1:] == ["trusted"] else ""
    if fault:
        sys.stderr.write("install: interpreter %s: %s: name another, "
                         "for example PYTHON=/usr/bin/python3\n" % (path, fault))
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
