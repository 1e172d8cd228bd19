# SPDX-License-Identifier: BSD-2-Clause
"""The unprivileged client on every host: daemon, sub-commands, fetch, health."""
