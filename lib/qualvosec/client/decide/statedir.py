# SPDX-License-Identifier: BSD-2-Clause
"""The state directory: whose it is, who works in it, and how its files are read back.

The daemon, `once` and `reset` hold its one lock. A file in it that cannot be ours is
moved aside, never followed and never believed.
"""

import errno
import os
import pwd
import stat
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec import paths
from qualvosec.client.root import call

ASIDE = ".unusable"
MAX_REASON = 1000


class StateError(Exception):
    """The state can be neither trusted nor written, or is another's; one line with the remedy.

    `code` is the exit status of who cannot go on without it.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def check_owner(state_dir: str, arguments: str, uid: int = os.geteuid()) -> None:
    """Refuse to work on a state directory of another user; raises StateError with the way out.

    `arguments` are those with which this program was started.
    """
    try:
        info = os.lstat(state_dir)
    except OSError as error:
        raise StateError("state_dir %s: %s: create it: install -d -o %s -m 0700 %s" % (
            state_dir, os.strerror(error.errno or 0).lower(), paths.SERVICE_USER, state_dir), 2)
    if not stat.S_ISDIR(info.st_mode):
        raise StateError("state_dir %s: is not a directory" % state_dir, 2)
    if info.st_uid != uid:
        owner = user_name(info.st_uid)
        raise StateError("state_dir %s: belongs to %s, this is %s: use: %s" % (
            state_dir, owner, user_name(uid), call.as_user(owner, arguments)), 2)
    if info.st_mode & 0o022:
        raise StateError("state_dir %s: others may write to it: chmod 0700 %s"
                         % (state_dir, state_dir), 2)


def user_name(uid: int) -> str:
    """Return the name of a user, "uid N" if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "uid %d" % uid


def take_lock(state_dir: str) -> int:
    """Return the descriptor of the one lock of daemon and `once`; raises StateError."""
    lock = files.lock_file(os.path.join(state_dir, "lock"))
    if lock is None:
        raise StateError("%s/lock: another qualvosec holds it, the daemon or once: wait for its "
                         "end, or stop the daemon" % state_dir)
    return lock


def check_directory(directory: str, uid: int) -> None:
    """Raise StateError unless only this user can write in the directory."""
    try:
        info = os.lstat(directory)
    except OSError as error:
        raise StateError("%s: %s; create it with mode 0700 for the user of the daemon"
                         % (directory, (error.strerror or str(error)).lower())) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != uid or info.st_mode & 0o022:
        raise StateError("%s: is not a directory that only uid %d can write to; "
                         "correct owner and mode (0700)" % (directory, uid))


def _is_foreign(error: files.FileError) -> bool:
    """Say whether the file is the trouble, not the disk or the system."""
    cause = error.__cause__
    return not isinstance(cause, OSError) or cause.errno in (
        errno.ELOOP, errno.EMLINK, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EOPNOTSUPP)


def _is_missing(error: files.FileError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOENT


def move_aside(path: str, why: str) -> str:
    """Rename the file next to itself and return the reason; raises StateError.

    rename(2) follows nothing and reads nothing, so it is safe for links, FIFOs
    and files of any size; the directory was checked to be ours.
    """
    try:
        os.rename(path, path + ASIDE)
        files.sync_directory(os.path.dirname(path))
    except OSError as error:
        raise StateError("%s: it cannot be moved aside (%s); remove it"
                         % (why, (error.strerror or str(error)).lower())) from error
    return "%s; moved aside as %s" % (why[:MAX_REASON], os.path.basename(path) + ASIDE)


def read_own(directory: str, name: str, limit: int, uid: int) -> Tuple[Optional[bytes], str]:
    """Read one of the daemon's own files: (content or None, "" or why it was moved aside).

    Raises StateError when neither reading nor moving aside is safe.
    """
    check_directory(directory, uid)
    path = os.path.join(directory, name)
    files.tidy(path)
    try:
        return files.read_bounded(path, limit, {uid}), ""
    except files.FileError as error:
        if _is_missing(error):
            return None, ""
        if not _is_foreign(error):
            raise StateError("%s; nothing is started until it can be read" % error) from error
        return None, move_aside(path, str(error))
