# SPDX-License-Identifier: BSD-2-Clause
"""End-to-end trials: the installed product on a booted Debian in a container.

Not part of `make test`: needs root, systemd-nspawn, nginx and a Debian mirror.
Started by `make e2e`, that is tests/e2e/run.py.
"""
