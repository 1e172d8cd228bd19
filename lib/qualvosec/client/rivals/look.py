# SPDX-License-Identifier: BSD-2-Clause
"""Other tools on this host that install updates outside the windows, and how to turn them off.

What starts by itself is read from files, as anybody may: timers of systemd, cron, periodic
directories, the settings of the tools. Only what is switched on counts: an
unattended-upgrades whose setting is 0 or whose timer is masked is not named. Not counted
are Livepatch (no package changes), snapd (snaps are no packages of the system) and
what waits for a person. root's own crontab is not readable here: it is
looked at only where root asks. Never imported by the resident daemon.
"""

import json
import re
import sys
from typing import Callable
from typing import Dict
from typing import Iterator
from typing import List
from typing import NamedTuple
from typing import Sequence

from qualvosec.client.rivals import aptconf
from qualvosec.client.rivals import shellwords
from qualvosec.client.rivals import units
from qualvosec.client.rivals.systemfiles import Tree
from qualvosec.safetext import safe

INSTALLS, REBOOTS, DOWNLOADS = "installs", "reboots", "downloads"
MOST = 20
APT_OFF = "99-no-unattended-upgrades"
_TABLES = ("etc/crontab",)
_ANACRON = "etc/anacrontab"   # period, delay and name stand before the command
_TABLE_FOLDERS = ("etc/cron.d", "usr/local/etc/cron.d")
_ROOTS_TABLES = ("etc/crontabs/root", "var/spool/cron/root", "var/spool/cron/crontabs/root",
                 "var/cron/tabs/root", "var/spool/cron/tabs/root")
_SCRIPTS = tuple("etc/cron." + often for often in ("hourly", "daily", "weekly", "monthly")) + tuple(
    folder + often for folder in ("etc/periodic/", "usr/local/etc/periodic/")
    for often in ("15min", "hourly", "daily", "weekly", "monthly"))
_LOCAL_SCRIPTS = ("etc/daily.local", "etc/weekly.local", "etc/monthly.local")
_SHELL = re.compile(r"#!.*\b[a-z]{0,2}sh\b")
# Where administrators keep scripts of their own: looked into when something starts them.
_HOMEMADE = ("/usr/local/", "/opt/", "/etc/", "/srv/")


class Rival(NamedTuple):
    """One tool: what it is, what it does, the command or step that turns it off."""

    name: str
    does: str
    off: str
    kind: str = INSTALLS

    def text(self) -> str:
        """Return one line for a person."""
        return "%s %s outside the windows; to turn it off: %s" % (self.name, self.does, self.off)


class Job(NamedTuple):
    """Something that starts by itself: how it is called, a command of it, how to stop it."""

    name: str
    words: Sequence[str]
    off: str


def look(root: str = "/") -> List[Rival]:
    """Return the other tools of the system below `root`, at most MOST, each once."""
    tree = Tree(root)
    found: Dict[str, Rival] = {}
    for job in jobs(tree):
        special = _SPECIAL.get(job.words[0].rpartition("/")[2], _by_command)
        for rival in special(tree, job):
            found.setdefault(rival.name, rival)
    for rival in _services(tree):
        found.setdefault(rival.name, rival)
    return list(found.values())[:MOST]


def of(setting: str) -> List[Rival]:
    """Return the other tools of this system unless `other_tools` says to ignore them."""
    return look() if setting == "warn" else []


def warnings(found: Sequence[Rival]) -> List[str]:
    """Return the lines about those that change the system."""
    return [rival.text() for rival in found if rival.kind != DOWNLOADS]


def main(root: str = "/") -> int:
    """Write the warnings as one JSON line, for the daemon; returns 0."""
    sys.stdout.write(json.dumps([safe(text, 300) for text in warnings(look(root))]) + "\n")
    return 0


# --- what starts by itself -----------------------------------------------------------------------


def jobs(tree: Tree) -> Iterator[Job]:
    """Return every command that a timer, cron or periodic(8) starts on this system."""
    for start in units.starts(tree):
        for line in start.commands:
            for words in shellwords.commands(" ".join(map(_quoted, line))):
                yield from _looked_into(tree, Job(start.name, words, start.off))
    for path in _TABLES + tuple(folder + "/" + name for folder in _TABLE_FOLDERS
                                for name in tree.names(folder) if _is_run(name)):
        yield from _table(tree, path, 6)
    yield from _table(tree, _ANACRON, 3)
    for path in _ROOTS_TABLES:
        yield from _table(tree, path, 5)
    yield from _scripts(tree)


def _quoted(word: str) -> str:
    return "'%s'" % word.replace("'", "") if re.search(r"[\s;&|<>()]", word) else word


def _is_run(name: str) -> bool:
    """Say whether cron takes a file of this name, as far as all versions of it agree."""
    return not name.startswith(".") and not name.endswith(
        ("~", ".rpmsave", ".rpmnew", ".rpmorig", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".bak"))


def _table(tree: Tree, path: str, fields: int) -> Iterator[Job]:
    for number, line in enumerate(tree.read(path).split("\n"), 1):
        for text in shellwords.cron_command(line, fields):
            for words in shellwords.commands(text):
                yield from _looked_into(tree, Job(
                    "/%s line %d" % (path, number), words,
                    "put a # before line %d of /%s" % (number, path)))


def _scripts(tree: Tree) -> Iterator[Job]:
    for folder in _SCRIPTS:
        for name in tree.names(folder):
            path = "%s/%s" % (folder, name)
            # The one script that leaves the work to systemd's timer where that runs.
            if _is_run(name) and tree.executable(path) and not (
                    name == "apt-compat" and units.running(tree)):
                yield from _script(tree, path, Job("/" + path, (), "chmod a-x /" + path))
    for path in _LOCAL_SCRIPTS:
        yield from _script(tree, path, Job("/" + path, (), "remove that line from /" + path))


def _script(tree: Tree, path: str, job: Job) -> Iterator[Job]:
    text = tree.read(path)
    if "\0" in text or (text.startswith("#!") and not _SHELL.match(text)):
        return
    for line in text.replace("\\\n", " ").split("\n"):
        for words in shellwords.commands(line):
            yield job._replace(words=words)


def _looked_into(tree: Tree, job: Job) -> Iterator[Job]:
    """Return the job, and the commands of the script that it starts if that is homemade."""
    yield job
    if job.words[0].startswith(_HOMEMADE):
        yield from _script(tree, job.words[0].lstrip("/"), job)


# --- which of it installs updates ----------------------------------------------------------------


def _by_command(tree: Tree, job: Job) -> Iterator[Rival]:
    what = shellwords.installs(job.words)
    if what:
        yield Rival(job.name, "runs \"%s\"" % what, job.off)


def _unattended_upgrades(tree: Tree, job: Job) -> Iterator[Rival]:
    """What apt's own daily job does with the package unattended-upgrades: see apt.conf(5)."""
    settings = aptconf.read(tree)
    interval = settings.get("apt::periodic::unattended-upgrade", aptconf.Value("0", ""))
    on = settings.get("apt::periodic::enable", aptconf.Value("1", "")).text
    if (job.words[1:2] not in ([], ["install"]) or not tree.exists("usr/bin/unattended-upgrade")
            or _is_zero(interval.text) or _is_zero(on)):
        return
    off = job.off
    if interval.path < "%s/%s" % (aptconf.PARTS, APT_OFF) and interval.path != aptconf.MAIN:
        off = "echo 'APT::Periodic::Unattended-Upgrade \"0\";' >/%s/%s" % (aptconf.PARTS, APT_OFF)
    reboot = settings.get("unattended-upgrade::automatic-reboot", aptconf.Value("", "")).text
    yield Rival("unattended-upgrades", "installs updates%s" % (
        " and reboots" if _is_true(reboot) else ""), off)


def _is_zero(text: str) -> bool:
    return re.fullmatch(r"0*[smhd]?", text.strip()) is not None


def _is_true(text: str) -> bool:
    return text.strip().strip("\"'").lower() in ("1", "yes", "true", "on", "enable", "enabled",
                                                 "with")


def _dnf_automatic(tree: Tree, job: Job) -> Iterator[Rival]:
    """dnf-automatic(8), dnf5-automatic(8): the options of the unit, then the settings."""
    paths = ["usr/share/dnf5/dnf5-plugins/automatic.conf", "etc/dnf/automatic.conf"]
    if job.words[0].endswith("dnf-automatic"):
        named = [word for word in job.words[1:] if not word.startswith("-")]
        paths = [path.lstrip("/") for path in named] or paths[1:]
    settings: Dict[str, str] = {}
    for path in paths:
        settings.update(_ini(tree.read(path)))
    told = {"apply_updates": ("installupdates", "no-installupdates"),
            "download_updates": ("downloadupdates", "no-downloadupdates")}
    for key, (yes, no) in told.items():
        if "--" + yes in job.words or "--" + no in job.words:
            settings[key] = "yes" if "--" + yes in job.words else "no"
    if _is_true(settings.get("apply_updates", "")):
        reboots = settings.get("reboot", "never") in ("when-changed", "when-needed")
        yield Rival(job.name, "installs updates" + (" and reboots" if reboots else ""), job.off)
    elif _is_true(settings.get("download_updates", "")):
        yield Rival(job.name, "only downloads updates", job.off, DOWNLOADS)


def _dnf(tree: Tree, job: Job) -> Iterator[Rival]:
    return (_dnf_automatic if "automatic" in job.words[1:] else _by_command)(tree, job)


def _yum_cron(tree: Tree, job: Job) -> Iterator[Rival]:
    """yum-cron(8): its cron jobs do nothing while the service is off."""
    path = (list(job.words[1:2]) or ["/etc/yum/yum-cron.conf"])[0].lstrip("/")
    settings = _ini(tree.read(path))
    on = units.enabled(tree, "yum-cron.service") or tree.exists("var/lock/subsys/yum-cron")
    if on and _is_true(settings.get("apply_updates", "")):
        yield Rival("yum-cron", "installs updates", "systemctl disable --now yum-cron.service")
    elif on and _is_true(settings.get("download_updates", "")):
        yield Rival("yum-cron", "only downloads updates",
                    "systemctl disable --now yum-cron.service", DOWNLOADS)


def _cron_apt(tree: Tree, job: Job) -> Iterator[Rival]:
    """cron-apt(8): each line in action.d holds the options of one apt-get."""
    for name in tree.names("etc/cron-apt/action.d"):
        for line in tree.read("etc/cron-apt/action.d/" + name).split("\n"):
            if shellwords.installs(["apt-get"] + line.split()):
                yield Rival("cron-apt", "installs updates", job.off)
                return


def _mint(tree: Tree, job: Job) -> Iterator[Rival]:
    """Linux Mint's Update Manager: the timer is always there, a file switches it on."""
    if "upgrade" in job.words[1:] and tree.exists(
            "var/lib/linuxmint/mintupdate-automatic-upgrades-enabled"):
        yield Rival("mintupdate", "installs updates", job.off)


def _online_update(tree: Tree, job: Job) -> Iterator[Rival]:
    """YaST's online update: a script in cron's directories that looks at its settings first."""
    path = "etc/sysconfig/automatic_online_update"
    if _is_true(_ini(tree.read(path)).get("aou_enable_cronjob", "")):
        yield Rival("YaST online update", "installs updates", "sed -i 's/^AOU_ENABLE_CRONJOB=.*/"
                    "AOU_ENABLE_CRONJOB=\"false\"/' /" + path)


_SPECIAL: Dict[str, Callable[[Tree, Job], Iterator[Rival]]] = {
    "apt.systemd.daily": _unattended_upgrades, "dnf-automatic": _dnf_automatic, "dnf": _dnf,
    "dnf5": _dnf, "yum-cron": _yum_cron, "cron-apt": _cron_apt, "mintupdate-automation": _mint,
    "online_update": _online_update}


def _services(tree: Tree) -> Iterator[Rival]:
    """Return what is no job: services that wait for their moment, a boot that was prepared."""
    settings = aptconf.read(tree)
    shutdown = settings.get("unattended-upgrade::installonshutdown", aptconf.Value("", "")).text
    if _is_true(shutdown) and units.enabled(tree, "unattended-upgrades.service"):
        yield Rival("unattended-upgrades.service", "installs updates when the host shuts down",
                    "systemctl disable --now unattended-upgrades.service")
    manager = _ini(tree.read("etc/rebootmgr.conf"))
    if units.enabled(tree, "rebootmgr.service") and manager.get("strategy") != "off":
        yield Rival("rebootmgr.service", "reboots",
                    "systemctl disable --now rebootmgr.service", REBOOTS)
    for link in ("system-update", "etc/system-update"):
        if tree.exists(link):
            yield Rival("an offline update (/%s)" % link, "installs updates at the next boot",
                        "rm /" + link)


def _ini(text: str) -> Dict[str, str]:
    """Return {lower-case key: value}, whatever the section: none of these keys is in two."""
    found = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals and line[:1] not in "#;[":
            found[key.strip().lower()] = value.strip()
    return found
