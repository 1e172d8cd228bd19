# SPDX-License-Identifier: BSD-2-Clause
"""Whose turn it is to change the manifest: a lock file beside it, for whatever writes it.

The lock is held from reading to replacing, so that no change is lost between two
commands. The file of the lock stays: to delete it would let two hold it.
"""

import errno
import os
import stat

from qualvosec import files
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import Terminal

SHORT_WAIT_S = 2.0
LOCK_WAIT_S = 300.0


def take(path: str, terminal: Terminal) -> int:
    """Wait for other editors of a file and return the lock; raises AdminError, files.FileError.

    Who may write the manifest may lock it. Closing the descriptor ends the turn.
    """
    try:
        info = os.stat(path)
    except OSError as error:
        raise AdminError("%s: %s: an empty file will do for a start"
                         % (path, (error.strerror or str(error)).lower())) from None
    folder, name = os.path.split(path)
    lock = os.path.join(folder, ".%s.lock" % name)
    mode = 0o600 | (info.st_mode & 0o060)
    held = files.lock_file(lock, SHORT_WAIT_S, mode)
    if held is None:
        terminal.warn("%s: waiting for another edit" % path)
        held = files.lock_file(lock, LOCK_WAIT_S, mode)
    if held is None:
        raise AdminError("%s: another edit has held the lock for %d seconds: see who has %s open"
                         % (path, LOCK_WAIT_S, lock))
    own = os.fstat(held)
    if own.st_nlink != 1:
        # Whoever owns the directory could have root give away any file of the system.
        os.close(held)
        raise AdminError("%s: has another name (a hard link): refused: remove it" % lock)
    if os.geteuid() == 0 and (own.st_uid, own.st_gid) != (info.st_uid, info.st_gid):
        os.fchown(held, info.st_uid, info.st_gid)
    if own.st_uid == os.geteuid() and stat.S_IMODE(own.st_mode) != mode:
        os.fchmod(held, mode)
    return held


def told(error: files.FileError) -> str:
    """Return why a manifest could not be replaced, with what to do about the usual reasons."""
    number = getattr(error.__cause__, "errno", 0)
    if number == errno.EPERM:
        return "%s: owner and group could not be kept: do this as the owner of the file" % error
    if number == errno.EACCES:
        return "%s: its directory has to be writable, too: a new file takes its place" % error
    return str(error)
