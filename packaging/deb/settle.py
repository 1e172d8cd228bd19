# SPDX-License-Identifier: BSD-2-Clause
"""Take the builder out of .deb files: settle.py SECONDS FILE ...

CPack leaves the builder's user, group and umask in the headers of the outer ar(5)
archive. They become root, root and 0644, all times SECONDS; nothing else changes.
"""

import os
import sys
from typing import List

MAGIC = b"!<arch>\n"
HEADER = 60


def settled(data: bytes, seconds: int) -> bytes:
    """Return an ar archive with equal headers whoever made it; raises ValueError."""
    if not data.startswith(MAGIC):
        raise ValueError("is not an ar archive")
    result, place = [MAGIC], len(MAGIC)
    while place < len(data):
        header = data[place:place + HEADER]
        if len(header) != HEADER or header[58:] != b"`\n":
            raise ValueError("byte %d: is not the header of a member" % place)
        size = int(header[48:58])
        end = place + HEADER + size + size % 2
        result.append(header[:16] + b"%-12d%-6d%-6d%-8s" % (seconds, 0, 0, b"100644")
                      + data[place + 48:end])
        place = end
    return b"".join(result)


def main(argv: List[str]) -> int:
    """Settle each file in place."""
    for path in argv[1:]:
        if not path.endswith(".deb"):
            continue
        try:
            with open(path, "rb") as stream:
                data = settled(stream.read(), int(argv[0]))
            with open(path + ".new", "wb") as stream:
                stream.write(data)
            os.chmod(path + ".new", 0o644)
            os.rename(path + ".new", path)
        except (OSError, ValueError) as error:
            sys.stderr.write("settle.py: %s: %s\n" % (path, error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
