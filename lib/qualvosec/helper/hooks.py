# SPDX-License-Identifier: BSD-2-Clause
"""The administrator's own programs around a run: pre-patch, post-patch, pre-reboot.

They lie in `<config dir>/hooks.d/<kind>.d/`, belong to root, run in the order of
their names and each within hook_timeout, output to the log. A hook that
fails or that others could change stops what it stands before. The manifest can
neither name nor change them.
"""

import os
import re
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional

from qualvosec import command
from qualvosec.helper import process

# Like run-parts(8): editors' and package managers' leavings have other names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


class HookError(Exception):
    """A hook failed or may not be run; the text is one line."""


def find(folder: str, owner: int = 0, top: str = "/") -> List[str]:
    """Return the hooks of a folder in the order of their names; raises HookError."""
    if not os.path.isdir(folder):
        return []
    found = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if _NAME.fullmatch(name) and os.access(path, os.X_OK) and os.path.isfile(path):
            fault = process.insecure([os.path.realpath(path), path], owner, top)
            if fault:
                raise HookError("hook %s" % fault)
            found.append(path)
    return found


def run_all(config_dir: str, kind: str, timeout_s: int, facts: Dict[str, str],
            log_fd: Optional[int], run: Callable[..., command.Result] = command.run,
            owner: int = 0, top: str = "/") -> None:
    """Run the hooks of one kind; raises HookError at the first that fails.

    A hook gets `facts` (window, outcome) as QUALVOSEC_... in its environment.
    """
    env = dict(process.ENVIRONMENT, QUALVOSEC_HOOK=kind)
    env.update({"QUALVOSEC_" + key.upper(): value for key, value in facts.items()})
    for path in find(os.path.join(config_dir, "hooks.d", kind + ".d"), owner, top):
        try:
            result = run([path], env, deadline_s=timeout_s, log_fd=log_fd)
        except command.CommandError as error:
            raise HookError("hook %s" % error) from None
        if result.timed_out:
            raise HookError("hook %s: not finished after %d seconds" % (path, timeout_s))
        if result.returncode != 0:
            raise HookError("hook %s: failed with exit code %d" % (path, result.returncode))
