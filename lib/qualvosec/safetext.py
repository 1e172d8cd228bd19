# SPDX-License-Identifier: BSD-2-Clause
"""What came from outside, made safe for a terminal or a log line.

Control characters (C0, C1), line and paragraph separators, bidirectional
overrides and other invisible format characters are shown as escapes; the rest
stays as it is. The result never contains a line end.
"""


def safe(text: str, limit: int = 200) -> str:
    """Return printable text of at most `limit` characters, "..." at the end if it was cut."""
    if len(text) <= limit and text.isprintable() and "\\" not in text:
        return text
    out = []
    for char in text[:limit + 1]:
        if char == "\\":
            out.append("\\\\")
        elif char.isprintable():
            out.append(char)
        elif ord(char) < 256:
            out.append("\\x%02x" % ord(char))
        else:
            out.append("\\u%04x" % ord(char))
    joined = "".join(out)
    if len(joined) > limit:
        return joined[:max(0, limit - 3)] + "..."
    return joined
