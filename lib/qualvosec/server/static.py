# SPDX-License-Identifier: BSD-2-Clause
"""From the target of a request to an open file below the root, or a refusal.

Nothing outside the root can be reached: `..`, NUL and names that start with a
dot are refused before the file system is asked, a symbolic link may point
anywhere below the root and nowhere else, and the walk to the file follows no
link, so that one put in place meanwhile changes nothing. Only regular files are
served; a directory is never listed.
"""

import errno
import os
import stat
import urllib.parse
from typing import Callable
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Sequence

CONTENT_TYPES = {
    ".yaml": "application/yaml",  # RFC 9512
    ".yml": "application/yaml",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
}

# Names a directory on the way; needs no right to list it where the system has O_PATH.
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# A FIFO put there must not hold a thread, a terminal must not become ours.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Opener = Callable[..., int]


class Refusal(Exception):
    """The request gets an error status; `reason` is one line for the log, None for nothing new."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Resource(NamedTuple):
    """An open regular file and what its reply says; the receiver closes `fd`."""

    fd: int
    size: int
    modified_ns: int
    etag: str
    content_type: str


def path_parts(target: str) -> List[str]:
    """Return the names in the path of a request target (RFC 9112, 3.2); raises Refusal."""
    path = target.split("?", 1)[0].split("#", 1)[0]
    if not path.startswith("/"):
        scheme, separator, rest = path.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise Refusal(400, "request target is not a path")
        path = "/" + rest.partition("/")[2]
    parts = [os.fsdecode(urllib.parse.unquote_to_bytes(part)) for part in path.split("/")]
    for part in parts:
        if part in (".", ".."):
            raise Refusal(404, "path walks through directories")
        if part.startswith("."):
            raise Refusal(404, "name starts with a dot")
        if "/" in part or "\0" in part:
            raise Refusal(400, "path has a quoted slash or NUL")
    if parts[-1] == "":
        raise Refusal(404, "is a directory: directories are not listed")
    return [part for part in parts if part]


def open_below(root: str, parts: Sequence[str], open_file: Opener = os.open) -> Resource:
    """Open the regular file that `parts` name below the directory `root`; raises Refusal."""
    try:
        base = os.path.realpath(root)
        real = os.path.realpath(os.path.join(base, *parts))
        prefix = base.rstrip("/") + "/"
        if not real.startswith(prefix):
            raise Refusal(403, "symbolic link leaves the root")
        fd = _walk(base, real[len(prefix):].split("/"), open_file)
    except OSError as error:
        raise _refusal(error)
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise Refusal(404, "is not a regular file")
    return Resource(fd, info.st_size, info.st_mtime_ns, etag_of(info), content_type(parts[-1]))


def _walk(base: str, names: Sequence[str], open_file: Opener) -> int:
    folder = open_file(base, _STEP)
    try:
        for name in names[:-1]:
            below = open_file(name, _STEP | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        return open_file(names[-1], _OPEN, dir_fd=folder)
    finally:
        os.close(folder)


def _refusal(error: OSError) -> Refusal:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return Refusal(404, "does not exist")
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return Refusal(403, "symbolic links go round in circles")
    # Whatever keeps the server from reading a file that is there is the
    # administrator's to mend: permissions, a broken disk.
    return Refusal(500, "cannot be read: %s" % (error.strerror or str(error)).lower())


def etag_of(info: os.stat_result) -> str:
    """Return a strong validator: replaced files differ by inode, edited ones by time or size."""
    return '"%x-%x-%x"' % (info.st_ino, info.st_size, info.st_mtime_ns)


def content_type(name: str) -> str:
    """Return the media type for a file name; bytes when it is none of the few known ones."""
    return CONTENT_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")


def not_modified(etag: str, last_modified: str, if_none_match: Optional[str],
                 if_modified_since: Optional[str]) -> bool:
    """Say whether the client's copy is this one (RFC 9110, 13.1).

    The date is compared for equality, as nginx does: a manifest restored from a
    backup is older than the client's copy and is a change all the same.
    """
    if if_none_match is not None:
        known = [tag.strip() for tag in if_none_match.split(",")]
        return "*" in known or any(tag in (etag, "W/" + etag) for tag in known)
    return if_modified_since is not None and if_modified_since.strip() == last_modified
