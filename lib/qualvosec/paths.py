# SPDX-License-Identifier: BSD-2-Clause
"""Version, interpreter and directories: the one file that installation rewrites.

In a checkout the values below hold: programs come from bin/, configuration and
state from the places of a Linux package. `make install` replaces the quoted
text of the assignments that it knows. Nothing here is read from the
environment: what runs as root must not be steered by its caller.
"""

import os
import sys

VERSION = "1.0.0"

_HERE = os.path.dirname(os.path.abspath(__file__))
_CHECKOUT_BIN = os.path.join(os.path.dirname(os.path.dirname(_HERE)), "bin")

PYTHON = ""
SBIN_DIR = ""
LIBEXEC_DIR = ""
CONFIG_DIR = "/etc/qualvosec"
STATE_DIR = "/var/lib/qualvosec"
HELPER_STATE_DIR = "/var/lib/qualvosec-helper"
HELPER_LOG_DIR = "/var/log/qualvosec-helper"
RUN_DIR = "/run"
SERVICE_USER = "qualvosec"

PYTHON = PYTHON or sys.executable
SBIN_DIR = SBIN_DIR or _CHECKOUT_BIN
LIBEXEC_DIR = LIBEXEC_DIR or _CHECKOUT_BIN
