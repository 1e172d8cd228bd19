# SPDX-License-Identifier: BSD-2-Clause
"""From what is pending and what was asked for to the plan: the same for every system.

The request is turned into a set of pending names to leave out; the adapter says in
a simulation what the package manager would do without them. A plan that still holds one
of them, or removes or downgrades anything, is never carried out: what wants a removal
is left out as well where the package manager names it, else the run is refused.
"""

from typing import Callable
from typing import Collection
from typing import Dict
from typing import List
from typing import Mapping
from typing import NamedTuple
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec.helper.managers import base
from qualvosec.helper.managers import names

TRIES = 12
NO_METADATA = "no security metadata: %s cannot tell which updates are security updates"
NOT_SECURITY = "not a security update"
NOT_SIMULATED = ("not simulated, because %s lets only root do that: what cannot be installed "
                 "is shown as selected")
BLACKLISTED = "in packages_blacklist"
UNSATISFIED = "its dependencies cannot be satisfied"
DOWNGRADE = "would be downgraded"
SAME = "is offered anew in the version that is installed"
NEEDS_EXCLUDED = "needs an update that is excluded"


class Simulation(NamedTuple):
    """What the package manager would do.

    `needs` are packages that a second try must leave out, too, and why;
    `why` says of single packages what keeps them back, `again` are installed anew as they are.
    """

    install: Tuple[base.Package, ...] = ()
    removed: Tuple[str, ...] = ()
    needs: Mapping[str, str] = {}
    why: Mapping[str, str] = {}
    again: Tuple[str, ...] = ()


Simulate = Callable[[Set[str]], Simulation]


class Pending(NamedTuple):
    """What an adapter knows before the choice: updates, installed packages, holds.

    `phased` are updates that the vendor offers to some hosts only, and not to this one;
    `own` is the architecture of names that carry none, where the adapter tells them apart.
    """

    updates: Mapping[str, base.Package]
    installed: Collection[str]
    security_known: bool = False
    held: Collection[str] = ()
    warnings: Tuple[str, ...] = ()
    phased: Collection[str] = ()
    own: str = ""
    hold: str = "held by the administrator"


def plan(manager: str, selection: base.Selection, found: Pending,
         simulate: Simulate) -> base.Plan:
    """Return the plan of a selection; raises Unsupported or Refused."""
    if selection.security_only and not found.security_known:
        raise base.Unsupported(NO_METADATA % manager)
    unwanted, warnings = names.unwanted(selection.only, selection.exclude, found.updates,
                                        found.installed, found.own)
    if selection.security_only:
        for name, package in found.updates.items():
            if not package.security:
                unwanted.setdefault(name, NOT_SECURITY)
    left = {name: base.Left(name, why, base.POLICY) for name, why in unwanted.items()}
    excluded, forced = set(unwanted), {}  # type: Set[str], Dict[str, str]
    chosen = Simulation()
    if set(found.updates) - excluded:
        chosen, forced = _choose(manager, selection, found.own, excluded, simulate)
    going = {package.name for package in chosen.install}
    for name in sorted(set(found.updates) - going - set(left)):
        left[name] = base.Left(name, _reason(name, found, chosen, forced, excluded),
                               base.PHASED if name in found.phased else base.KEPT)
    # Nobody asked for what comes in new unless all was asked for.
    partly = selection.only or selection.security_only
    for name, why in forced.items():
        kind = base.POLICY if partly or why in (BLACKLISTED, SAME) else base.KEPT
        left.setdefault(name, base.Left(name, why, kind))
    urgent = {package.name for package in found.updates.values() if package.security}
    install = tuple(package._replace(security=package.name in urgent)
                    for package in sorted(chosen.install))
    return base.Plan(tuple(sorted(found.updates.values())), install, tuple(sorted(left.values())),
                     found.security_known, found.warnings + tuple(warnings),
                     tuple(sorted(excluded | set(forced))), selection)


def assume(updates: Mapping[str, base.Package]) -> Simulate:
    """Return what stands in for a simulation where this user may not ask for one."""
    return lambda excluded: Simulation(tuple(
        package for name, package in updates.items() if name not in excluded))


def by_names(wanted: Collection[str], excluded: Collection[str],
             ask: Callable[[Sequence[str]], Simulation], limit: int = 100) -> Simulation:
    """Simulate an explicit list of names; what is named pulls in what it needs.

    `ask` simulates the names it gets. A name that alone would bring in something excluded,
    or remove something, is returned in `needs`; beyond `limit` names none is tried.
    """
    whole = ask(sorted(wanted)) if wanted else Simulation()
    if not _against(whole, excluded) or len(wanted) > limit:
        return whole._replace(removed=tuple(_against(whole, excluded)))
    needs = {}
    for name in sorted(wanted):
        wrong = _against(ask([name]), excluded)
        if wrong:
            barred = sorted(set(wrong) & set(excluded))
            needs[name] = ("%s: %s" % (NEEDS_EXCLUDED, some(barred)) if barred else
                           DOWNGRADE if wrong == [name] else
                           "needs the removal of %s" % some(wrong))
    return Simulation((), (), needs) if needs else whole


def _against(simulation: Simulation, excluded: Collection[str]) -> List[str]:
    touched = {package.name for package in simulation.install}
    return sorted(set(simulation.removed) | (touched & set(excluded)))


def _choose(manager: str, selection: base.Selection, own: str, excluded: Set[str],
            simulate: Simulate) -> Tuple[Simulation, Dict[str, str]]:
    """Simulate until nothing more has to be left out; what comes in new obeys `exclude`, too."""
    forced: Dict[str, str] = {}
    for _ in range(TRIES):
        chosen = simulate(excluded | set(forced))
        new = [package.name for package in chosen.install if not package.old] + list(chosen.again)
        late = dict.fromkeys(names.expand(selection.exclude, new, own)[0], BLACKLISTED)
        late.update(chosen.needs)
        if not set(late) - excluded - set(forced):
            break
        forced.update({name: why for name, why in late.items() if name not in excluded})
    wrong = [package.name for package in chosen.install
             if package.name in excluded or package.name in forced]
    wrong += list(chosen.removed) + sorted(set(late) - excluded - set(forced))
    if wrong:
        raise base.Refused("%s would not keep to the selection: %s" % (manager, some(wrong)))
    return chosen, forced


def _reason(name: str, found: Pending, chosen: Simulation, forced: Mapping[str, str],
            excluded: Collection[str]) -> str:
    """Say of an update that was wanted and is not in the plan what holds it back."""
    if name in found.held:
        return found.hold
    if name in found.phased:
        return "phased: not yet offered to this host"
    if name in forced:
        return forced[name]
    if name in chosen.why:
        return chosen.why[name]
    if excluded:
        return NEEDS_EXCLUDED
    held = set(found.held) & set(found.updates)
    return UNSATISFIED + (" while %s is held" % some(sorted(held)) if held else "")


def some(items: Collection[str]) -> str:
    """Return a short list for a message."""
    shown = sorted(set(items))
    return ", ".join(shown[:5]) + (" and %d more" % (len(shown) - 5) if len(shown) > 5 else "")
