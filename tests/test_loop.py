# SPDX-License-Identifier: BSD-2-Clause
"""The engine with real children: what it asks, when it acts, what it remembers."""

import io
import os
import selectors
import tempfile
import time
import unittest
from typing import Any
from typing import Callable
from unittest import mock

from qualvosec.client import config as configuration
from qualvosec.client import engine as loop
from qualvosec.client import once
from qualvosec.client.config import Config
from qualvosec.client.engine import Engine
from qualvosec.client.fetch import cache
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch import line as fetchreply
from qualvosec.client.root import call
from qualvosec.client.tell import findings
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy

from tests import logged
from tests.fakes import Edge

NAME = "web01.example.org"


class EngineCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.edge = Edge(holder.name)
        self.addCleanup(self.reap)
        self.state_dir = os.path.join(holder.name, "state")
        self.config_dir = os.path.join(holder.name, "etc")
        os.mkdir(self.state_dir, 0o700)
        os.mkdir(self.config_dir)
        self.config = Config("q.conf", "http://127.0.0.1:1", fqdn=NAME, state_dir=self.state_dir)
        self.said: "list[str]" = []
        for patch in (mock.patch.object(call, "_TOOLS", {"sudo": (self.edge.sudo,),
                                                             "doas": ()}),
                      mock.patch.object(inforce, "fetch_argv", self.edge.fetch_argv),
                      logged.into(self.said)):
            patch.start()
            self.addCleanup(patch.stop)
        self.skew = 0.0
        self.edge.answer("status")

    def reap(self) -> None:
        """Wait for every child: one that still writes would keep the folder from going away."""
        for name in os.listdir(self.edge.folder):
            if name.endswith(".hold"):
                os.unlink(os.path.join(self.edge.folder, name))
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            return

    def engine(self) -> Engine:
        self.selector = selectors.DefaultSelector()
        self.addCleanup(self.selector.close)
        engine = Engine(self.config, self.selector, now=lambda: time.time() + self.skew,
                        config_dir=self.config_dir)
        self.addCleanup(engine.leave)
        return engine

    def open_now(self, **fields: Any) -> Policy:
        """Return a policy whose window has opened a minute ago."""
        then = time.localtime(time.time() - 60)
        return Policy(patch=True, weekdays=(then.tm_wday,), hour=then.tm_hour,
                      minute=then.tm_min, duration=60)._replace(**fields)

    def until(self, engine: Engine, findings: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not findings():
            self.assertLess(time.monotonic(), end, "%r %r" % (engine.action, self.said))
            engine.tick()
            for key, mask in self.selector.select(0.05):
                key.data.handle(key, mask)

    def settled(self, engine: Engine) -> Engine:
        """Tick until the engine waits with nothing under way."""
        self.until(engine, lambda: engine.action.kind == "wait" and not engine.busy()
                   and engine.action.why != "starting")
        return engine

    def window_now(self, policy: Policy) -> str:
        found = window.latest(policy, int(time.time()), NAME)
        assert found is not None
        return found.id


class Runs(EngineCase):
    def test_an_open_window_is_used_once_and_the_helper_gets_exactly_the_policy(self) -> None:
        policy = self.open_now(only=("lib*",), exclude=("vim",), security_only=True)
        name = self.window_now(policy)
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=name, history=[
            {"window": name, "op": "upgrade", "outcome": "ok", "committed": True, "finished": 2}])
        engine = self.engine()
        self.until(engine, lambda: engine.state.last.outcome)
        self.settled(engine)
        calls = self.edge.calls("upgrade")
        self.assertEqual(len(calls), 1)
        self.assertEqual(calls[0]["argv"], ["-n", call.helper_path()])
        self.assertEqual(calls[0]["env"].keys() - {"LC_CTYPE"}, {"PATH", "LC_ALL", "HOME"})
        request = calls[0]["request"]
        closes = window.opens_of(name) + 3600
        self.assertEqual(request, {"v": 1, "op": "upgrade", "window": name, "not_after": closes,
                                   "only": ["lib*"], "exclude": ["vim"], "security_only": True})
        self.assertEqual((engine.state.last.outcome, engine.state.last.upgraded), ("ok", 1))
        for _ in range(5):
            engine.tick()
        self.settled(self.engine())
        self.assertEqual(len(self.edge.calls("upgrade")), 1)

    def test_what_a_later_helper_says_is_logged_once_and_the_outcome_with_its_numbers(self) -> None:
        policy = self.open_now()
        self.edge.publish(policy)
        name = self.window_now(policy)
        self.edge.answer("upgrade", window=name, outcome="held", unpacked=3, upgraded=[],
                         upgraded_count=900, kept_count=None, pending=None)
        engine = self.engine()
        self.until(engine, lambda: engine.state.last.outcome)
        for _ in range(5):
            engine.tick()
        said = [line for line in self.said if "held" in line or "newer" in line]
        self.assertEqual(len([line for line in said if line.endswith(
            "unknown=\"unpacked, outcome is held\"")]), 1, said)
        line, = [line for line in said if "outcome window=%s" % name in line]
        self.assertIn("outcome=held upgraded=900 kept=? pending=?", line)
        self.assertEqual((engine.snapshot().healthy, engine.state.last.upgraded), (True, 900))
        self.assertIn("held", engine.snapshot().reasons[0])

    def test_state_is_on_disk_before_the_helper_is_called(self) -> None:
        policy = self.open_now()
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=self.window_now(policy))
        self.edge.write("upgrade.hold", "")
        engine = self.engine()
        self.until(engine, lambda: self.edge.calls("upgrade"))
        self.assertEqual(self.engine().state.phase, "patching")
        os.unlink(os.path.join(self.edge.folder, "upgrade.hold"))
        self.until(engine, lambda: engine.state.last.outcome)

    def test_the_fetch_before_a_start_decides(self) -> None:
        self.edge.publish(self.open_now())
        engine = self.engine()
        engine._accept.want_now()
        self.edge.publish(self.open_now(patch=False))
        self.settled(engine)
        self.assertEqual(self.edge.calls("upgrade"), [])
        self.assertTrue(self.edge.fetches())

    def test_a_server_that_is_down_leaves_the_last_policy_in_force(self) -> None:
        policy = self.open_now(weekdays=((time.localtime().tm_wday + 3) % 7,))
        self.edge.publish(policy)
        self.settled(self.engine())
        self.edge.fail_fetch("connection refused")
        engine = self.engine()
        engine.fetch_now()
        self.until(engine, lambda: engine.snapshot().fetch_reason)
        self.assertEqual(engine.view(int(time.time())).policy, policy)
        shown = engine.snapshot()
        self.assertTrue(shown.healthy)
        self.assertIn("connection refused", " ".join(shown.reasons))

    def test_a_full_disk_starts_nothing(self) -> None:
        policy = self.open_now()
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=self.window_now(policy))
        engine = self.engine()
        with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
            self.until(engine, lambda: "cannot be written" in engine.action.why)
            self.assertFalse(engine.snapshot().healthy)
        self.assertEqual(self.edge.calls("upgrade"), [])
        self.until(engine, lambda: engine.state.last.outcome)

    def test_a_reboot_is_asked_for_once_after_the_run(self) -> None:
        policy = self.open_now(reboot="always")
        name = self.window_now(policy)
        self.edge.publish(policy)
        run = {"window": name, "boot_id": "other"}
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            run["boot_id"] = stream.read().strip()
        self.edge.answer("upgrade", **run)
        self.edge.answer("reboot", reboot_requested=int(time.time()), **run)
        engine = self.engine()
        self.until(engine, lambda: self.edge.calls("reboot"))
        self.until(engine, lambda: not engine.busy())
        for _ in range(5):
            engine.tick()
        self.assertEqual(len(self.edge.calls("reboot")), 1)
        self.assertEqual((engine.state.phase, engine.state.reboot), ("rebooting", "requested"))

    def test_a_run_that_another_daemon_started_is_adopted(self) -> None:
        policy = self.open_now()
        name = self.window_now(policy)
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=name)
        self.edge.write("upgrade.hold", "")
        first = self.engine()
        self.until(first, lambda: self.edge.calls("upgrade"))
        first.leave()
        self.edge.answer("status", alive=True, window=name, finished=0, outcome="",
                         phase="commit")
        self.edge.write("status.hold", "")
        second = self.engine()
        second.tick()
        os.unlink(os.path.join(self.edge.folder, "status.hold"))
        self.until(second, lambda: second.action.kind == "watch")
        self.assertTrue(second.snapshot().running_since)
        self.edge.answer("status", window=name)
        self.until(second, lambda: second.state.last.outcome == "ok")
        self.assertEqual(len(self.edge.calls("upgrade")), 1)
        os.unlink(os.path.join(self.edge.folder, "upgrade.hold"))


    def test_a_host_that_fell_in_the_middle_of_a_run_asks_the_server_at_once(self) -> None:
        policy = self.open_now()
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=self.window_now(policy))
        self.edge.write("upgrade.hold", "")
        first = self.engine()
        self.until(first, lambda: self.edge.calls("upgrade"))
        first.leave()
        self.edge.write("status.hold", "")
        second = self.engine()
        self.until(second, lambda: len(self.edge.fetches()) == 2)


class Faults(EngineCase):
    def test_a_missing_rule_is_unhealthy_and_asked_again_later(self) -> None:
        self.edge.publish(self.open_now())
        self.edge.forget("status")
        engine = self.settled(self.engine())
        shown = engine.snapshot()
        self.assertFalse(shown.healthy)
        self.assertIn("sudo refused the helper", " ".join(shown.reasons))
        self.assertEqual(self.edge.calls("upgrade"), [])
        self.edge.answer("status")
        self.edge.publish(self.open_now(), date=int(time.time()) + 400)
        self.skew = 400
        self.until(engine, lambda: not engine.snapshot().reasons
                   or "sudo refused" not in " ".join(engine.snapshot().reasons))

    def test_a_helper_that_refuses_to_tell_what_it_knows_is_unhealthy_and_nothing_starts(
            self) -> None:
        self.edge.publish(self.open_now())
        self.edge.answer("status", status="refused", reason="helper.conf: line 2: allwo: unknown")
        engine = self.settled(self.engine())
        shown = engine.snapshot()
        self.assertFalse(shown.healthy)
        self.assertIn("helper.conf: line 2: allwo: unknown", " ".join(shown.reasons))
        self.assertIn("helper.conf: line 2: allwo: unknown", " ".join(self.said))
        self.assertEqual(self.edge.calls("upgrade"), [])

    def test_a_run_is_not_given_up_because_the_helper_refuses_to_tell(self) -> None:
        policy = self.open_now()
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=self.window_now(policy))
        self.edge.write("upgrade.hold", "")
        first = self.engine()
        self.until(first, lambda: self.edge.calls("upgrade"))
        first.leave()
        self.edge.answer("status", status="refused", reason="helper.conf: damaged")
        second = self.settled(self.engine())
        self.assertEqual((second.state.phase, second.state.last.outcome), ("patching", ""))

    def test_a_helper_that_gives_no_answer_is_unhealthy_and_waited_for(self) -> None:
        self.edge.publish(Policy(patch=True, weekdays=(2,), hour=3))
        self.edge.write("status.hold", "")
        engine = self.engine()
        self.until(engine, lambda: self.edge.calls("status") and engine.snapshot().entry)
        self.assertTrue(engine.snapshot().healthy)
        with mock.patch.object(engine, "_clock", lambda: time.monotonic() + loop.SILENT_S):
            engine.tick()
            self.assertFalse(engine.snapshot().healthy)
            self.assertIn("gives no answer", " ".join(engine.snapshot().reasons))
            engine.tick()
        self.assertEqual(len(self.edge.calls("status")), 1)
        os.unlink(os.path.join(self.edge.folder, "status.hold"))
        self.until(engine, lambda: not engine.snapshot().reasons)

    def test_a_system_that_cannot_be_patched_is_unhealthy_before_its_first_window(self) -> None:
        why = "fedora: not supported: an image-based system (ostree, bootc)"
        self.edge.answer("status", reason=why)
        self.edge.publish(Policy(patch=True, weekdays=(2,), hour=3))
        engine = self.settled(self.engine())
        shown = engine.snapshot()
        self.assertFalse(shown.healthy)
        self.assertIn("this host cannot be patched: " + why, shown.reasons)
        self.assertEqual(findings.token(engine.situation(int(time.time()))).health, "unsupported")
        self.edge.publish(Policy())
        engine.fetch_now()
        self.until(engine, lambda: engine.snapshot().healthy)
        self.edge.answer("status")
        engine.reconfigure(engine.config)
        self.until(engine, lambda: not engine.snapshot().reasons)

    def test_not_listed_and_invalid_take_effect_at_once_and_are_unhealthy(self) -> None:
        for entry, faults, words in (("unlisted", (), "is not in the manifest"),
                                     ("invalid", ("line 3, column 5: hour: 99",), "hour: 99")):
            with self.subTest(entry=entry):
                self.edge.publish(None, entry, faults=faults)
                engine = self.engine()
                engine.fetch_now()
                self.settled(engine)
                self.until(engine, lambda: engine.snapshot().entry == entry)  # noqa: B023
                shown = engine.snapshot()
                self.assertFalse(shown.healthy)
                self.assertIn(words, " ".join(shown.reasons))
        self.assertEqual(self.edge.calls("upgrade"), [])

    def test_patch_false_is_normal_and_healthy(self) -> None:
        self.edge.publish(Policy(patch=False))
        shown = self.settled(self.engine()).snapshot()
        self.assertEqual((shown.healthy, shown.reasons), (True, ()))

    def test_a_veto_holds_the_run_and_names_its_reason(self) -> None:
        self.edge.publish(self.open_now())
        with open(os.path.join(self.config_dir, "veto"), "w", encoding="ascii") as stream:
            stream.write("migration\n")
        engine = self.settled(self.engine())
        self.assertEqual(self.edge.calls("upgrade"), [])
        self.assertIn("vetoed on this host: migration", engine.snapshot().reasons)

    def test_a_clock_that_was_set_must_prove_itself_before_anything_starts(self) -> None:
        monday = time.localtime(time.time() + 86400)
        self.edge.publish(self.open_now(weekdays=(monday.tm_wday,)))
        engine = self.settled(self.engine())
        self.skew = 86400
        self.until(engine, lambda: len(self.edge.fetches()) == 2)
        self.settled(engine)
        self.assertEqual(self.edge.calls("upgrade"), [])
        self.assertIn("clock", engine.action.why)
        self.assertIn("clock moved seconds=", " ".join(self.said))

    def test_a_refusal_is_told_and_tried_again_only_minutes_later(self) -> None:
        self.edge.publish(self.open_now())
        self.edge.answer("upgrade", status="refused", reason="op upgrade is not allowed here")
        engine = self.engine()
        self.until(engine, lambda: engine.state.last.outcome or engine.state.obstacle[0])
        self.settled(engine)
        self.assertEqual(len(self.edge.calls("upgrade")), 1)
        self.assertIn("op upgrade is not allowed here", " ".join(engine.snapshot().reasons))

    def test_a_fetch_child_that_writes_nonsense_is_a_failed_fetch(self) -> None:
        self.edge.write("fetch.reply", "{}\n")
        engine = self.engine()
        self.until(engine, lambda: engine.snapshot().fetch_reason)
        self.assertIn("without a usable answer", engine.snapshot().fetch_reason)


class Naming(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.config = self.config._replace(fqdn="")
        self.derived = NAME
        patch = mock.patch.object(configuration, "host_name",
                                  lambda config: config.fqdn or self.derived)
        patch.start()
        self.addCleanup(patch.stop)
        self.edge.publish(self.open_now(patch=False))
        self.settled(self.engine())
        self.derived = "db01.example.org"
        self.edge.publish(self.open_now())

    def words(self, engine: Engine) -> "list[str]":
        said = findings.findings(engine.situation(int(time.time())))
        return [finding.word for finding in said if finding.bad]

    def test_a_derived_name_that_changes_starts_nothing_until_a_person_has_said_so(self) -> None:
        engine = self.engine()
        engine.fetch_now()
        self.settled(engine)
        self.assertEqual((len(self.edge.fetches()), self.edge.calls("upgrade")), (1, []))
        self.assertEqual(self.words(engine), ["noname"])
        self.assertIn("qualvosec reset name", engine.situation(int(time.time())).view.detail)
        cache.forget_name(self.state_dir)
        engine = self.settled(self.engine())
        self.assertEqual([fetch["fqdn"] for fetch in self.edge.fetches()],
                         [NAME, "db01.example.org"])

    def test_a_name_that_has_come_back_is_served_without_a_restart(self) -> None:
        engine = self.settled(self.engine())
        self.derived = NAME
        self.skew = 400.0
        self.until(engine, lambda: len(self.edge.fetches()) == 2)
        self.assertEqual(self.edge.fetches()[-1]["fqdn"], NAME)

    def test_dry_run_decides_nothing_under_another_name(self) -> None:
        said = io.StringIO()
        with mock.patch("sys.stderr", said):
            self.assertEqual(once.dry_run(self.config), 1)
        self.assertIn("qualvosec reset name", said.getvalue())
        self.assertEqual(len(self.edge.fetches()), 1)

    def test_a_name_that_is_set_counts_whatever_was_before(self) -> None:
        self.config = self.config._replace(fqdn="db01.example.org")
        self.settled(self.engine())
        self.assertEqual(len(self.edge.fetches()), 2)

    def test_a_name_that_was_not_listed_is_not_remembered(self) -> None:
        cache.forget_name(self.state_dir)
        self.edge.publish(None, entry="unlisted")
        self.settled(self.engine())
        self.derived = "db02.example.org"
        self.settled(self.engine())
        self.assertEqual(self.edge.fetches()[-1]["fqdn"], "db02.example.org")


class Clock(EngineCase):
    def test_the_date_of_an_answer_that_was_refused_does_not_count(self) -> None:
        self.edge.publish(Policy(patch=False))
        engine = self.settled(self.engine())
        self.assertIs(engine._accept.dated, True)
        self.edge.write("fetch.reply", fetchreply.reply_line(fetchreply.FetchReply(
            "failed", "does not verify", date=1000000000)).decode("ascii"))
        engine.fetch_now()
        self.until(engine, lambda: len(self.edge.fetches()) == 2)
        self.settled(engine)
        self.assertIs(engine._accept.dated, True)


class Signed(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.signers = os.path.join(self.edge.folder, "signers")
        self.edge.write("signers", "one\n")
        self.config = self.config._replace(allowed_signers=self.signers, audience="fleet")
        self.edge.publish(Policy(patch=False), etag='"1"', signature_sha256="ab" * 32,
                          signature="good", serial=7)

    def fetched(self, count: int) -> "dict[str, Any]":
        self.until(self.running, lambda: len(self.edge.fetches()) == count)
        self.settled(self.running)
        return self.edge.fetches()[-1]

    def test_what_was_accepted_binds_what_is_accepted_next(self) -> None:
        self.running = self.settled(self.engine())
        self.running.fetch_now()
        fetch = self.fetched(2)
        self.assertEqual((fetch["etag"], fetch["signature_sha256"], fetch["serial"],
                          fetch["allowed_signers"], fetch["audience"]),
                         ('"1"', "ab" * 32, 7, self.signers, "fleet"))
        self.assertEqual(len(fetch["sha256"]), 64)

    def test_other_signers_make_an_accepted_manifest_prove_itself_again(self) -> None:
        self.settled(self.engine())
        self.edge.write("signers", "another\n")
        self.running = self.engine()
        self.running.fetch_now()
        fetch = self.fetched(2)
        self.assertEqual((fetch["etag"], fetch["signature_sha256"], fetch["serial"]), ("", "", 7))

    def test_the_serial_of_a_signed_manifest_counts_under_another_name(self) -> None:
        self.settled(self.engine())
        self.config = self.config._replace(fqdn="web02.example.org")
        self.running = self.settled(self.engine())
        fetch = self.fetched(2)
        self.assertEqual((fetch["fqdn"], fetch["etag"], fetch["serial"]),
                         ("web02.example.org", "", 7))

    def test_the_serial_of_an_unsigned_manifest_binds_no_signed_one(self) -> None:
        signing, self.config = self.config, self.config._replace(allowed_signers="", audience="")
        self.edge.publish(Policy(patch=False), serial=10 ** 18 - 1)
        self.settled(self.engine())
        self.config = signing
        self.running = self.engine()
        self.running.fetch_now()
        fetch = self.fetched(2)
        self.assertEqual((fetch["allowed_signers"], fetch["serial"], fetch["sha256"]),
                         (self.signers, 0, ""))

    def test_a_bad_signature_is_asked_again_past_caches_and_then_unhealthy(self) -> None:
        self.settled(self.engine())
        self.edge.fail_fetch("the signature does not verify", signature="bad")
        self.running = self.engine()
        self.running.fetch_now()
        self.assertFalse(self.fetched(2)["fresh"])
        self.assertTrue(self.running.snapshot().healthy)
        self.skew = 120
        self.assertTrue(self.fetched(3)["fresh"])
        self.skew = 1300
        self.running.tick()
        self.assertFalse(self.running.snapshot().healthy)
        self.assertIn("the signature does not verify", self.running.snapshot().reasons[0])


class Cache(EngineCase):
    def test_a_change_of_server_drops_what_was_accepted(self) -> None:
        self.edge.publish(Policy(patch=False), etag='"1"')
        self.settled(self.engine())
        self.config = self.config._replace(server="http://127.0.0.1:2")
        engine = self.engine()
        self.assertEqual(engine.view(int(time.time())).why, "unknown")
        self.settled(engine)
        self.until(engine, lambda: len(self.edge.fetches()) == 2)
        self.assertEqual([fetch["etag"] for fetch in self.edge.fetches()], ["", ""])

    def test_validators_and_report_go_out_with_the_next_fetch(self) -> None:
        self.edge.publish(Policy(patch=False), etag='"1"', last_modified="x")
        engine = self.settled(self.engine())
        engine.fetch_now()
        self.until(engine, lambda: len(self.edge.fetches()) == 2)
        fetch = self.edge.fetches()[1]
        self.assertEqual((fetch["etag"], fetch["last_modified"]), ('"1"', "x"))
        self.assertRegex(fetch["user_agent"], r"^QualvoSec \S+ %s \(s1 w=- r=- .*b=no" % NAME)

    def test_a_policy_without_an_answer_for_max_age_is_expired(self) -> None:
        self.edge.publish(self.open_now())
        self.edge.forget("status")
        engine = self.settled(self.engine())
        view = engine.view(int(time.time()) + self.config.max_age + 60)
        self.assertEqual(view.why, "expired")

    def test_that_a_policy_has_expired_is_logged_once_when_the_server_was_asked(self) -> None:
        today = window.local_day(int(time.time()), window.host_zone)
        self.edge.publish(self.open_now(), expires=today - 1)
        engine = self.settled(self.engine())
        self.settled(engine)
        self.assertEqual([text for text in self.said if "no longer in force" in text], [
            "the policy is no longer in force "
            "reason=\"the manifest expired on %04d-%02d-%02d\"" % window.civil(today - 1)])
        self.edge.publish(self.open_now(), expires=today)
        again = self.engine()
        again.fetch_now()
        self.said.clear()
        self.until(again, lambda: again.view(int(time.time())).why == "")
        self.assertNotIn("no longer in force", " ".join(self.said))

    def test_that_the_state_was_lost_is_logged_although_nothing_else_happens(self) -> None:
        self.edge.publish(self.open_now())
        with open(os.path.join(self.state_dir, "state.json"), "w", encoding="ascii") as stream:
            stream.write("{")
        engine = self.settled(self.engine())
        self.assertEqual(self.edge.calls("upgrade"), [])
        self.assertIn("the state was lost reason=", " ".join(self.said))
        self.said.clear()
        self.settled(self.engine())
        self.assertNotIn("the state was lost reason=", " ".join(self.said))
        self.assertFalse(engine.snapshot().healthy)

    def test_a_manifests_own_expiry_counts_in_local_days(self) -> None:
        self.edge.publish(Policy(patch=False), expires=window.local_day(int(time.time()),
                                                                        window.host_zone))
        engine = self.settled(self.engine())
        self.assertEqual(engine.view(int(time.time())).why, "")
        self.assertEqual(engine.view(int(time.time()) + 86400).why, "expired")

    def test_a_damaged_cache_is_no_policy(self) -> None:
        self.edge.publish(self.open_now())
        self.edge.forget("status")
        self.settled(self.engine())
        with open(os.path.join(self.state_dir, "policy.json"), "w", encoding="ascii") as stream:
            stream.write('{"answer": {}, "accepted": 1, "url": "", "fqdn": "", "signers": ""}')
        self.assertEqual(self.engine().view(int(time.time())).why, "unknown")
