# SPDX-License-Identifier: BSD-2-Clause
"""The manifest as this host last accepted it, and the child that asks for a newer one.

The last accepted answer of the fetch child is the client's cache: it stays in
force through every failure of network or server, until it is too old or its own
expiry has passed. A manifest that arrived always replaces it. A change of the
server or of the host's name drops it.
"""

import os
import selectors
import time
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec import log
from qualvosec import paths
from qualvosec import useragent
from qualvosec.client import config as configuration
from qualvosec.client.config import Config
from qualvosec.client.decide import ahead
from qualvosec.client.decide.ahead import View
from qualvosec.client.decide.state import State
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.fetch import cache
from qualvosec.client.fetch import line
from qualvosec.client.fetch import pace
from qualvosec.client.fetch.line import FetchReply
from qualvosec.client.fetch.pace import Pace
from qualvosec.command import FIXED_PATH
from qualvosec.command import Child
from qualvosec.command import CommandError
from qualvosec.contract import shape
from qualvosec.manifest import window
from qualvosec.useragent import Token

DEADLINE_S = 60
# The child keeps its own deadline; a resolver that hangs is ended from here.
PARENT_GRACE_S = 15
MAX_ANSWER = line.MAX_REPLY_BYTES
DATE_TOLERANCE_S = 300
RENAMED = ("the policy in force was accepted for %s, and this host would now be called %s: "
           "set fqdn, or, if %s is right: qualvosec reset name")
_ENV = {"PATH": FIXED_PATH, "LC_ALL": "C", "HOME": "/"}


class Accepted(NamedTuple):
    """An answer that is in force: when, from where and for whom it was accepted."""

    answer: FetchReply
    accepted: int
    url: str
    fqdn: str
    signers: str = ""   # which state of the signers file vouched for it
    version: str = ""   # of the program that read the manifest
    newer: str = ""     # what in it this version does not know

    def bound(self) -> Tuple[int, str]:
        """Return serial and hash that the next one has to respect; (0, "") where none signed it.

        Anybody may have set the serial of an unsigned manifest, to one that no signer reaches.
        """
        return (self.answer.serial, self.answer.sha256) if self.signers else (0, "")


def _signers(config: Config) -> str:
    """Return what changes when the signers change: an old answer must then prove itself again."""
    if not config.allowed_signers:
        return ""
    try:
        info = os.stat(config.allowed_signers)
    except OSError:
        return config.allowed_signers
    return "%s %d %d" % (config.allowed_signers, info.st_mtime_ns, info.st_size)


def fetch_argv() -> List[str]:
    """Return the command of the fetch child."""
    return [paths.PYTHON, "-IBS", os.path.join(paths.SBIN_DIR, "qualvosec"), "--fetch"]


def view_of(found: Optional[Accepted], config: Config, fqdn: str, reason: str, now: int) -> View:
    """Return what an accepted answer tells this host now; `reason`: why there is none."""
    if not fqdn:
        return View(None, "unknown", configuration.unnamed(config), "")
    if found is None:
        return View(None, "unknown", reason or "no manifest has arrived yet", fqdn)
    reply = found.answer
    if reply.entry != "policy":
        return View(None, reply.entry, "; ".join(reply.faults[:3]), fqdn)
    if found.newer:
        # It may say when not to start: this version waits for what it can read itself.
        return View(reply.policy, "unknown", "the last answer was kept by a later version (%s): "
                    "waiting for the server's" % found.newer, fqdn)
    age = now - min(found.accepted, now)
    if age > config.max_age:
        return View(reply.policy, "expired", "the server has not answered for %d days"
                    % (age // 86400), fqdn)
    if reply.expires and window.local_day(now, window.host_zone) > reply.expires:
        return View(reply.policy, "expired", "the manifest expired on %04d-%02d-%02d"
                    % window.civil(reply.expires), fqdn)
    return View(reply.policy, "", "", fqdn)


def kept(config: Config) -> Optional[Accepted]:
    """Return what the daemon keeps, for any name; None if it cannot be read. Writes nothing."""
    try:
        path = os.path.join(config.state_dir, cache.NAME)
        return _from_cache(shape.parse(files.read_bounded(path, cache.MAX_BYTES)))
    except (files.FileError, ValueError):
        return None


def peek(config: Config, fqdn: str) -> Optional[Accepted]:
    """Return what the daemon accepted last for this name, None if there is nothing to read."""
    found = kept(config)
    return found if found and (found.url, found.fqdn) == (config.url(), fqdn) else None


def renamed(found: Optional[Accepted], config: Config, fqdn: str) -> str:
    """Say what to do where the name was derived and is another one than before, else "".

    Who hands out names must not choose among the entries of a manifest.
    """
    if (config.fqdn or not fqdn or found is None or found.answer.entry != "policy"
            or found.fqdn in ("", fqdn)):
        return ""
    return RENAMED % (found.fqdn, fqdn, fqdn)


class Acceptance:
    """The policy in force and the pace of asking for a newer one."""

    def __init__(self, config: Config, fqdn: str, selector: selectors.BaseSelector,
                 now: int) -> None:
        """Load what was accepted last; raises StateError when that is not safe."""
        self._config = config
        self._fqdn = fqdn
        self._selector = selector
        self._child: Optional[Child] = None
        self.reason = ""
        # Since when the signature does not verify, 0: it does or none is asked for.
        self.distrusted = 0
        self.dated: Optional[bool] = None
        self.pace = Pace(now)
        self._found = self._load()
        if self._found:
            self.pace = self.pace._replace(success=self._found.accepted)

    def _load(self) -> Optional[Accepted]:
        value, why = cache.load(self._config.state_dir, os.geteuid())
        if value is not None:
            try:
                found = _from_cache(value)
                if found.newer:
                    log.warning("a file is newer than this version", file=cache.NAME,
                                unknown=found.newer)
                return found
            except ValueError as error:
                why = "%s: %s: ignored" % (cache.NAME, error)
        if why:
            log.error("the last policy is lost", reason=why)
        return None

    def renamed(self) -> str:
        """See the function of that name."""
        return renamed(self._found, self._config, self._fqdn)

    def _current(self) -> Optional[Accepted]:
        found = self._found
        if found and (found.url, found.fqdn) == (self._config.url(), self._fqdn):
            return found
        return None

    def reconfigure(self, config: Config, fqdn: str) -> None:
        """Take over another configuration or name: the next fetch is due at once."""
        if (config.url(), fqdn) != (self._config.url(), self._fqdn):
            self.want_now()
        self._config, self._fqdn = config, fqdn

    def want_now(self) -> None:
        """Forget the pace: a fetch is due at once."""
        self.pace = self.pace._replace(began=0, attempt=0, failures=0, retry_after=0)

    # --- what is in force ------------------------------------------------------------------------

    def view(self, now: int) -> View:
        """Return what this host is told, with the reason where that is nothing."""
        if self.renamed():
            return View(None, "unknown", self.renamed(), "")
        return view_of(self._current(), self._config, self._fqdn, self.reason, now)

    def entry(self) -> str:
        """Return policy, unlisted or invalid; "" before anything was accepted."""
        found = self._current()
        return found.answer.entry if found else ""

    def faults(self) -> Tuple[str, ...]:
        """Return the faults of an invalid entry with their places."""
        found = self._current()
        return found.answer.faults if found else ()

    def serial(self) -> int:
        """Return the serial of the manifest in force, 0 if it has none."""
        found = self._current()
        return found.answer.serial if found else 0

    def expires(self) -> int:
        """Return the last valid day of the manifest in force as an ordinal, 0 if it has none."""
        found = self._current()
        return found.answer.expires if found else 0

    # --- asking ----------------------------------------------------------------------------------

    def fetching(self) -> bool:
        """Say whether a fetch is under way."""
        return self._child is not None

    def _due_at(self, now: int, state: State) -> int:
        view, found = self.view(now), self._current()
        opening = ahead.open_window(view, state, now) or ahead.next_start(view, state, now)
        return pace.due(self.pace, now, self._config.fetch_interval, self._fqdn,
                          found is not None and not found.newer, opening.start if opening else None,
                          state.last.finished)

    def due(self, now: int, state: State) -> bool:
        """Say whether it is time to ask the server."""
        return self._may_ask() and not self._child and self._due_at(now, state) <= now

    def wait(self, now: int, state: State) -> float:
        """Return the seconds until something has to be done here."""
        if self._child:
            end = self._child.deadline()
            return max(0.0, end - time.monotonic()) if end is not None else 1.0
        return float(max(0, self._due_at(now, state) - now)) if self._may_ask() else 60.0

    def _may_ask(self) -> bool:
        return bool(self._fqdn) and not self.renamed()

    def start(self, now: int, token: Token) -> None:
        """Start the fetch child; a failure to start counts as a failed fetch."""
        if self._child or not self._may_ask():
            return
        config, found, kept = self._config, self._current(), self._found
        # The manifest's serial counts for whoever of its hosts this is.
        serial, sha256 = kept.bound() if kept and kept.url == config.url() else (0, "")
        if found and (self.distrusted or found.signers != _signers(config)
                      or found.version != paths.VERSION):
            # Without validators both files come whole, are verified, and read by this version.
            found = None
        agent = useragent.write(paths.VERSION, self._fqdn, token if config.reports() else None)
        request = line.request_line(
            url=config.url(), fqdn=self._fqdn, user_agent=agent,
            etag=found.answer.etag if found else "",
            last_modified=found.answer.last_modified if found else "",
            serial=serial, sha256=sha256, fresh=bool(self.distrusted),
            signature_sha256=found.answer.signature_sha256 if found else "",
            allowed_signers=config.allowed_signers, audience=config.audience,
            ca_file=config.ca_file, client_cert=config.client_cert, client_key=config.client_key,
            proxy=config.proxy, deadline_s=DEADLINE_S)
        self.pace = pace.attempted(self.pace, now)
        try:
            self._child = Child(fetch_argv(), _ENV, self._selector, request,
                                deadline_s=DEADLINE_S + PARENT_GRACE_S, limit=MAX_ANSWER + 1)
        except CommandError as error:
            self._failed("%s" % error, 0)

    def collect(self, now: int) -> None:
        """Take over the answer of a fetch that has ended."""
        ended = self._child.poll() if self._child else None
        if ended is None:
            return
        self._child = None
        if ended.timed_out:
            self._failed("no answer from %s within %d s" % (self._config.url(), DEADLINE_S), 0)
            return
        try:
            reply = line.parse_reply(ended.stdout)
        except ValueError as error:
            self._failed("the fetch ended without a usable answer: %s" % error, 0)
            return
        if reply.date and reply.result != "failed":
            self.dated = abs(reply.date - now) <= DATE_TOLERANCE_S
            if not self.dated:
                log.warning("clock differs from the server's", seconds=now - reply.date)
        self._take(reply, now)

    def _take(self, reply: FetchReply, now: int) -> None:
        found = self._current()
        if reply.signature == "bad":
            self.distrusted = self.distrusted or now
        elif reply.result != "failed":
            self.distrusted = 0
        if reply.result == "failed" or (reply.result == "same" and found is None):
            self._failed(reply.reason or "the server says unchanged, but nothing was accepted yet",
                         reply.retry_after)
            return
        self.reason = ""
        self.pace = pace.succeeded(self.pace, now)
        if reply.result == "same" and found is not None:
            self._keep(found._replace(accepted=now))
            return
        before = found.answer if found is not None else FetchReply("")
        if (before.sha256, before.entry) != (reply.sha256, reply.entry):
            log.info("manifest accepted", entry=reply.entry, serial=reply.serial)
        if reply.entry != "policy":
            log.critical("this host is not patched", entry=reply.entry,
                         reason="; ".join(reply.faults[:3]))
        self._keep(Accepted(reply, now, self._config.url(), self._fqdn,
                            _signers(self._config), paths.VERSION))

    def _keep(self, found: Accepted) -> None:
        self._found = found
        try:
            cache.save(self._config.state_dir, {
                "answer": line.to_object(found.answer), "accepted": found.accepted,
                "url": found.url, "fqdn": found.fqdn, "signers": found.signers,
                "version": found.version})
        except StateError as error:
            log.error("the policy cannot be kept", reason=error)

    def _failed(self, reason: str, retry_after: int) -> None:
        if reason != self.reason:
            log.warning("fetch failed", reason=reason)
        self.reason = reason
        self.pace = pace.failed(self.pace, retry_after)

    def leave(self) -> None:
        """Let go of a fetch that is under way; it ends at its own deadline."""
        if self._child:
            self._child.forget()


_ACCEPTED = shape.record(Accepted, answer=line.from_object, url=shape.text(MAX_ANSWER),
                         signers=shape.text(MAX_ANSWER))


def _from_cache(value: object) -> Accepted:
    """Return what _keep() of any version saved; raises ValueError."""
    notes: shape.Notes = []
    found: Accepted = _ACCEPTED(value, notes)
    if found.answer.result != "new":
        raise ValueError("holds no accepted answer")
    return found._replace(newer=shape.told(notes))
