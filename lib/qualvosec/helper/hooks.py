# SPDX-License-Identifier: BSD-2-Clause
"""The administrator's own programs around a run: pre-patch, post-patch, pre-reboot.

They lie in `<config dir>/hooks.d/<kind>.d/`, belong to root, run in the order of
their names and each within hook_timeout, output to the log. A hook that
fails or that others could change stops what it stands before. The manifest can
neither name nor change them.
"""

import os
import re
from typing import Dict

from qualvosec.helper import process
from qualvosec.helper.managers import base
from qualvosec.helper.managers import system

# Like run-parts(8): editors' and package managers' leavings have other names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def run_all(config_dir: str, kind: str, timeout_s: int, facts: Dict[str, str],
            world: base.World) -> None:
    """Run the hooks of one kind; raises Refused at the first that fails, CommandError, too.

    A hook gets `facts` (window, outcome) as QUALVOSEC_... in its environment.
    """
    folder = os.path.join(config_dir, "hooks.d", kind + ".d")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in names if _NAME.fullmatch(name)]
    hooks = [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]
    fault = process.insecure(hooks + [os.path.realpath(path) for path in hooks])
    if fault:
        raise base.Refused("hook %s" % fault)
    env = dict(system.ENVIRONMENT, QUALVOSEC_HOOK=kind)
    env.update({"QUALVOSEC_" + key.upper(): value for key, value in facts.items()})
    for path in hooks:
        result = world.run([path], env, deadline_s=timeout_s, log_fd=world.log_fd)
        if result.timed_out:
            raise base.Refused("hook %s: not finished after %d seconds" % (path, timeout_s))
        if result.returncode != 0:
            raise base.Refused("hook %s: failed with exit code %d" % (path, result.returncode))
