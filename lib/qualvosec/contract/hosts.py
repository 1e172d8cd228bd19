# SPDX-License-Identifier: BSD-2-Clause
"""The form of a host name (RFC 1123), in the manifest, in a report and in a log."""

import re

MAX_HOST = 253
HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
HOST_NAME = re.compile(r"%s(?:\.%s)*" % (HOST_LABEL.pattern, HOST_LABEL.pattern))
