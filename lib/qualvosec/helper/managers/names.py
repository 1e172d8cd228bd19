# SPDX-License-Identifier: BSD-2-Clause
"""Which installed names the patterns of a request mean.

What leaves this module is always an element of the installed set that the caller passed in.
"""

from typing import Collection
from typing import Dict
from typing import List
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec.contract.names import matches


def expand(patterns: Sequence[str], installed: Collection[str],
           own: str = "") -> Tuple[Set[str], List[str]]:
    """Return the installed names that any pattern matches, and the patterns that match none.

    An installed name may carry its architecture, `libc6:i386`; what carries none is of the
    architecture `own`. A pattern without one means every copy.
    """
    found: Set[str] = set()
    idle = []
    bare = {name: name.partition(":")[0] for name in installed}
    for pattern in patterns:
        if ":" in pattern:
            hits = {name for name in bare if matches(
                pattern, name if ":" in name or not own else name + ":" + own)}
        else:
            hits = {name for name, stem in bare.items() if matches(pattern, stem)}
        found |= hits
        if not hits:
            idle.append(pattern)
    return found, idle


def unwanted(only: Sequence[str], exclude: Sequence[str], pending: Collection[str],
             installed: Collection[str], own: str = "") -> Tuple[Dict[str, str], List[str]]:
    """Return {pending name: why it is not wanted}, and a warning for each pattern without effect.

    An empty `only` means every package; an `only` that matches nothing means none.
    """
    listed, idle_only = expand(only, installed, own)
    barred, idle_exclude = expand(exclude, installed, own)
    why = {name: "in packages_blacklist" if name in barred else "not in packages_whitelist"
           for name in pending if name in barred or (only and name not in listed)}
    warnings = ["%s: %s matches no installed package" % (key, pattern)
                for key, idle in (("packages_whitelist", idle_only),
                                  ("packages_blacklist", idle_exclude)) for pattern in idle]
    return why, warnings
