# SPDX-License-Identifier: BSD-2-Clause
"""The daemon as a process: start, lock, signals, reload, starting anew, and `once`."""

import http.client
import io
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any
from typing import Dict
from typing import List
from typing import Tuple
from unittest import mock

from qualvosec import log
from qualvosec.client import config as configuration
from qualvosec.client import daemon
from qualvosec.client import once
from qualvosec.client.decide import state as states
from qualvosec.client.decide.state import State
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch import line as fetchreply
from qualvosec.client.root import plan
from qualvosec.client.tell import statusline
from qualvosec.manifest.policy import Policy

from tests import DATA
from tests import LIB
from tests import forked
from tests.fakes import Edge

DAY = 86400

# The real launcher's work, with the edges of the test in place of sudo and the fetch child.
LAUNCH = """
import os, sys
sys.path[:0] = [%(lib)r]
from qualvosec import paths
from qualvosec.client.fetch import inforce
from qualvosec.client.root import call
paths.CONFIG_DIR = %(folder)r
call._TOOLS = {"sudo": (%(folder)r + "/sudo",), "doas": ()}
inforce.fetch_argv = lambda: [sys.executable, "-IS", %(folder)r + "/fetch.py"]
look = ("import sys; sys.path[:0] = [%(lib)r]; from qualvosec.client.rivals import look; "
        "look.main(%(folder)r + '/root')")
if len(sys.argv) > 3:
    from qualvosec.client.rivals import look as rivals
    rivals.look.__defaults__ = (%(folder)r + "/root",)
    from qualvosec.client.commands import main
else:
    from qualvosec.client import daemon
    from qualvosec.client.daemon import main
    daemon.LONGEST_WAIT_S = 0.3
    daemon.look_argv = lambda: [sys.executable, "-IS", "-c", look]
sys.exit(main(sys.argv[1:]))
"""

CRON_JOB = ('/etc/cron.daily/upgrade runs "apt-get upgrade" outside the windows; to turn it off: '
            "chmod a-x /etc/cron.daily/upgrade")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DaemonCase(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.addCleanup(self.remove)
        self.edge = Edge(self.folder)
        os.mkdir(self.path("state"), 0o700)
        self.port = free_port()
        self.edge.write("launch.py", LAUNCH % {"lib": LIB, "folder": self.folder})
        self.configure()
        self.edge.answer("status")
        self.edge.publish(Policy(patch=False))

    def install_cron_job(self) -> None:
        """Let the system have another tool that patches it."""
        os.makedirs(self.path("root/etc/cron.daily"))
        self.edge.write("root/etc/cron.daily/upgrade", "#!/bin/sh\napt-get -y upgrade\n")
        os.chmod(self.path("root/etc/cron.daily/upgrade"), 0o755)

    def remove(self) -> None:
        """Remove the folder, although a child of the daemon may still be writing to it."""
        end = time.monotonic() + 20
        while os.path.exists(self.folder) and time.monotonic() < end:
            shutil.rmtree(self.folder, ignore_errors=True)
            time.sleep(0.02)

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def configure(self, **changes: str) -> None:
        keys = {"server": "http://127.0.0.1:1", "fqdn": "web01.example.org",
                "state_dir": self.path("state"), "log_handler": "StreamHandler",
                "log_level": "INFO", "monitoring": "enable", "monitoring_port": str(self.port)}
        keys.update(changes)
        self.edge.write("q.conf", "[general]\n" + "".join(
            "%s: %s\n" % pair for pair in sorted(keys.items())))

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        with open(self.path("log"), "ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-IS", self.path("launch.py"), "-c", self.path("q.conf")]
                + list(words), stderr=stream, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)  # type: ignore[union-attr]
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def run_once(self, *words: str) -> Tuple[int, str, str]:
        done = forked.run(self.path("launch.py"), ("-c", self.path("q.conf")) + words,
                          log=self.path("log"))
        return done.code, done.out, done.err

    def log(self) -> str:
        with open(self.path("log"), encoding="utf-8") as stream:
            return stream.read()

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + 20
        while words not in self.log():
            self.assertLess(time.monotonic(), end, self.log())
            time.sleep(0.02)

    def status(self) -> Dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/status")
        value = json.loads(connection.getresponse().read().decode("utf-8"))
        connection.close()
        return dict(value)


class Lifetime(DaemonCase):
    def test_it_starts_answers_and_ends_with_zero_at_sigterm(self) -> None:
        process = self.start()
        self.wait_for("manifest accepted entry=policy")
        value = self.status()
        self.assertEqual((value["healthy"], value["host"]), (True, "web01.example.org"))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)
        self.assertIn("INFO stopped", self.log())

    def test_another_tool_is_logged_once_and_shown_and_changes_nothing_else(self) -> None:
        self.install_cron_job()
        self.start()
        self.wait_for("WARNING another tool patches this host tool=" + log.quoted(CRON_JOB))
        self.wait_for("manifest accepted entry=policy")
        value = self.status()
        self.assertEqual((value["other_tools"], value["healthy"], value["reasons"]),
                         ([CRON_JOB], True, []))
        self.assertEqual(self.log().count("another tool"), 1)

    def test_other_tools_that_are_wanted_are_not_looked_for(self) -> None:
        self.install_cron_job()
        self.configure(other_tools="ignore")
        self.start()
        self.wait_for("manifest accepted entry=policy")
        self.assertEqual(self.status()["other_tools"], [])
        self.assertNotIn("another tool", self.log())

    def test_a_port_that_somebody_took_first_keeps_no_host_from_its_manifest(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.port))
            self.start()
            self.wait_for("manifest accepted")
            self.assertEqual(self.log().count("CRITICAL monitoring is off"), 1)
            time.sleep(0.5)
            self.assertEqual(self.log().count("monitoring is off"), 1)
        self.wait_for("monitoring is on again")
        self.assertTrue(self.status()["healthy"])
        self.assertIn(" h=monitoring", self.edge.fetches()[0]["user_agent"])

    def test_a_second_instance_is_refused_with_one_line(self) -> None:
        self.start()
        self.wait_for("INFO started")
        code, _, _ = self.run_once()
        self.assertEqual(code, 1)
        self.assertIn("another qualvosec holds it", self.log())
        code, _, _ = self.run_once("once")
        self.assertEqual(code, 1)

    def test_a_state_directory_of_another_user_names_the_command_to_use(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root to give a directory away")
        os.chown(self.path("state"), 1, 1)
        for words in ((), ("once",), ("configtest",), ("reset", "clock")):
            code, _, said = self.run_once(*words)
            self.assertEqual(code, 2, words)
            self.assertRegex(
                said, r"state_dir \S+: belongs to \S+, this is root: use: "
                      r"su(do -u)? .*/qualvosec -c /\S+%s" % "".join(" " + word for word in words))

    def test_a_missing_state_directory_names_the_command_that_makes_it(self) -> None:
        os.rmdir(self.path("state"))
        code, _, said = self.run_once()
        self.assertEqual(code, 2)
        self.assertIn("create it: install -d -o", said)

    def test_a_bad_configuration_is_one_line_and_exit_status_two(self) -> None:
        self.configure(log_level="LOUD")
        code, _, said = self.run_once()
        self.assertEqual((code, said.count("\n")), (2, 1))
        self.assertRegex(said, r"q\.conf: line \d+: log_level: LOUD is not a log level")


    def test_a_reload_that_comes_too_early_ends_nothing(self) -> None:
        self.edge.write("launch.py", LAUNCH.replace("sys.exit(main", """
from qualvosec.client import config
real = config.read
config.read = lambda path: (os.kill(os.getpid(), 1), real(path))[1]
sys.exit(main""") % {"lib": LIB, "folder": self.folder})
        process = self.start()
        self.wait_for("manifest accepted")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)


class Renewal(DaemonCase):
    def test_changed_program_files_start_it_anew_under_the_same_process_id(self) -> None:
        process = self.start()
        self.wait_for("manifest accepted")
        with open(self.path("launch.py"), "a", encoding="ascii") as stream:
            stream.write("# newer\n")
        self.wait_for("own files have changed effect=\"starting anew\"")
        end = time.monotonic() + 20
        while self.log().count("INFO started") < 2:
            self.assertLess(time.monotonic(), end, self.log())
            time.sleep(0.02)
        self.assertTrue(self.status()["healthy"])
        self.assertIsNone(process.poll())

    def test_it_does_not_start_anew_while_a_run_is_alive(self) -> None:
        self.edge.answer("status", alive=True, window="20261124T0215Z", finished=0, outcome="",
                         phase="commit")
        self.start()
        self.wait_for("manifest accepted")
        with open(self.path("launch.py"), "a", encoding="ascii") as stream:
            stream.write("# newer\n")
        time.sleep(1.5)
        self.assertNotIn("starting anew", self.log())
        self.edge.answer("status", window="20261124T0215Z")
        self.wait_for("own files have changed effect=\"starting anew\"")


class Reload(DaemonCase):
    def test_a_bad_configuration_is_refused_and_the_old_one_stays(self) -> None:
        process = self.start()
        self.wait_for("manifest accepted")
        self.edge.write("q.conf", "[general]\nsevrer: x\n")
        process.send_signal(signal.SIGHUP)
        self.wait_for("reload refused")
        value = self.status()
        self.assertFalse(value["healthy"])
        self.assertIn("sevrer: unknown key", value["reasons"][0])
        self.configure()
        process.send_signal(signal.SIGHUP)
        self.wait_for("INFO reloaded")
        self.assertTrue(self.status()["healthy"])

    def test_a_new_port_is_taken_over(self) -> None:
        process = self.start()
        self.wait_for("manifest accepted")
        self.port = free_port()
        self.configure()
        process.send_signal(signal.SIGHUP)
        self.wait_for("INFO reloaded")
        self.assertTrue(self.status()["healthy"])

    def test_a_port_that_is_taken_is_told_and_the_old_one_is_given_up(self) -> None:
        process = self.start()
        self.wait_for("manifest accepted")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            self.configure(monitoring_port=str(other.getsockname()[1]))
            process.send_signal(signal.SIGHUP)
            self.wait_for("INFO reloaded")
            self.assertIn("CRITICAL monitoring is off reason=\"monitoring_listener 127.0.0.1",
                          self.log())
            self.assertRaises(OSError, self.status)
        self.configure()
        process.send_signal(signal.SIGHUP)
        self.wait_for("monitoring is on again")
        self.assertTrue(self.status()["healthy"])

    def test_it_asks_for_the_manifest_at_once(self) -> None:
        process = self.start()
        self.wait_for("manifest accepted")
        self.assertEqual(len(self.edge.fetches()), 1)
        process.send_signal(signal.SIGHUP)
        self.wait_for("INFO reloaded")
        end = time.monotonic() + 20
        while len(self.edge.fetches()) < 2:
            self.assertLess(time.monotonic(), end, self.log())
            time.sleep(0.02)


class Lookouts(unittest.TestCase):
    """The child that looks for other tools, whatever becomes of it."""

    def look(self, lookout: daemon.Lookout, argv: List[str], now: float = 0.0) -> List[str]:
        """Let the child run to its end; the warnings."""
        with mock.patch.object(daemon, "look_argv", lambda: argv), \
                mock.patch.object(daemon.log, "warning") as warning:
            while lookout.tick(now, "warn"):
                for key, mask in self.selector.select(0.05):
                    key.data.handle(key, mask)
        return [log.line(*call[0], **call[1]) for call in warning.call_args_list]

    def setUp(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.addCleanup(self.selector.close)

    def says(self, text: str) -> List[str]:
        return [sys.executable, "-IS", "-c", "print(%r)" % text]

    def test_each_tool_is_told_once_and_forgotten_when_it_is_gone(self) -> None:
        lookout = daemon.Lookout(self.selector)
        told = self.look(lookout, self.says('["one"]'))
        self.assertEqual(told, ["another tool patches this host tool=one"])
        self.assertEqual(self.look(lookout, self.says('["never asked"]'), 6 * 3600 - 1), [])
        self.assertEqual(self.look(lookout, self.says('["one", "two"]'), 6 * 3600),
                         ["another tool patches this host tool=two"])
        self.assertEqual(lookout.found, ("one", "two"))
        self.assertEqual(self.look(lookout, self.says("[]"), 12 * 3600), [])
        self.assertEqual(lookout.found, ())

    def test_ignored_they_are_forgotten_and_looked_for_at_once_when_that_ends(self) -> None:
        lookout = daemon.Lookout(self.selector)
        self.look(lookout, self.says('["one"]'))
        self.assertFalse(lookout.tick(1.0, "ignore"))
        self.assertEqual(lookout.found, ())
        self.assertEqual(len(self.look(lookout, self.says('["one"]'), 2.0)), 1)

    def test_a_child_that_fails_is_told_and_leaves_what_was_found(self) -> None:
        for argv in (self.says("Traceback"), self.says("7"), [sys.executable, "-c", "exit(3)"],
                     ["/nonexistent/python"]):
            lookout = daemon.Lookout(self.selector)
            lookout.found = ("one",)
            told = self.look(lookout, argv)
            self.assertEqual([line[:32] for line in told], ["other tools cannot be looked for"])
            self.assertEqual(lookout.found, ("one",))


class Packages(DaemonCase):
    def ask(self) -> Tuple[int, str]:
        """Return status and body; 0 where the listener has just been closed to be opened anew."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/packages")
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def test_packages_of_the_last_run_are_told_where_that_is_enabled(self) -> None:
        self.edge.answer("status", window="20261124T0215Z", kept=[["vim", "held"]])
        process = self.start()
        self.wait_for("manifest accepted")
        end = time.monotonic() + 20
        while self.status()["last_run"]["manager"] != "apt":
            self.assertLess(time.monotonic(), end, "root's record was not heard")
            time.sleep(0.02)
        self.assertEqual(self.ask()[0], 404)
        self.assertFalse(os.path.exists(self.path("state/packages.json")))
        self.configure(monitoring_packages="enable")
        process.send_signal(signal.SIGHUP)
        self.wait_for("INFO reloaded")
        end = time.monotonic() + 20
        while "held" not in self.ask()[1]:
            self.assertLess(time.monotonic(), end, self.ask())
            time.sleep(0.05)
        status, text = self.ask()
        value = json.loads(text)
        self.assertEqual((status, value["window"], value["upgraded"], value["kept"]), (
            200, "20261124T0215Z", [{"name": "a", "old": "1", "new": "2"}],
            [{"name": "vim", "why": "held"}]))
        self.configure()
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while self.ask()[0] != 404:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)


class Once(DaemonCase):
    def test_it_fetches_decides_and_says_why_it_waits(self) -> None:
        code, out, _ = self.run_once("once")
        self.assertEqual((code, out), (0, "patch is false\n"))
        self.assertEqual(len(self.edge.fetches()), 1)

    def test_a_dry_run_asks_for_what_the_daemon_would_accept(self) -> None:
        self.configure(allowed_signers="/etc/signers", audience="plant-a")
        self.edge.publish(Policy(patch=False), serial=7, signature="good")
        self.run_once("once")
        with mock.patch.object(inforce, "fetch_argv", self.edge.fetch_argv):
            # As --dry-run does before it lists packages, which takes its time.
            once.fetch(configuration.read(self.path("q.conf")), "web01.example.org")
        self.run_once("policy", "--manifest", "http://127.0.0.1:2/other.yaml")
        daily, dry, other = self.edge.fetches()
        self.assertEqual((dry["allowed_signers"], dry["audience"], dry["serial"]),
                         ("/etc/signers", "plant-a", 7))
        self.assertEqual((daily["allowed_signers"], daily["serial"]), ("/etc/signers", 0))
        # A look at any other manifest is nobody's but the asker's.
        self.assertEqual((other["allowed_signers"], other["audience"], other["serial"]),
                         ("", "", 0))

    def decision(self) -> str:
        """Return what --dry-run decides, without the list of packages, which takes its time."""
        said = io.StringIO()
        with mock.patch.object(inforce, "fetch_argv", self.edge.fetch_argv), \
                mock.patch.object(plan, "ask", side_effect=plan.RootError("not now")), \
                mock.patch.object(once.sys, "stdout", said):
            once.dry_run(configuration.read(self.path("q.conf")))
        return "".join(line for line in said.getvalue().splitlines() if "decision" in line)

    def test_a_dry_run_decides_as_the_daemon_would(self) -> None:
        from qualvosec.manifest import window
        now = int(time.time())
        then = time.localtime(now - 60)
        policy = Policy(patch=True, weekdays=(then.tm_wday,), hour=then.tm_hour,
                        minute=then.tm_min)
        today = window.local_day(now, window.host_zone)
        self.edge.publish(policy, expires=today)
        self.assertIn("would upgrade now", self.decision())
        self.edge.publish(policy, expires=today - 1)
        self.assertIn("decision: wait: the manifest expired on", self.decision())
        opening = window.latest(policy, now, "web01.example.org")
        assert opening is not None
        states.save(self.path("state"), State(phase="patching", window=opening.id, op="upgrade"))
        self.assertEqual(self.decision(), "decision: wait: window %s is in phase patching, only "
                         "root can tell more" % opening.id)

    def test_a_signature_that_has_been_bad_for_fifteen_minutes_is_told(self) -> None:
        self.configure(allowed_signers="/etc/signers")
        self.edge.publish(Policy(patch=False), serial=7, signature="good")
        self.run_once("once")
        self.edge.fail_fetch("the signature does not verify", signature="bad")
        self.assertEqual(self.run_once("once")[0], 0)
        with open(self.path("state/policy.json"), encoding="ascii") as stream:
            value = json.load(stream)
        value["accepted"] -= 901
        self.edge.write("state/policy.json", json.dumps(value))
        code, _, said = self.run_once("once")
        self.assertEqual(code, 1)
        self.assertIn("qualvosec: no newer manifest was accepted, the last one stays in force: "
                      "the signature does not verify", said)

    def test_what_is_wrong_is_told_and_ends_with_one(self) -> None:
        self.edge.publish(None, "unlisted")
        code, _, said = self.run_once("once")
        self.assertEqual(code, 1)
        self.assertIn("web01.example.org is not in the manifest", said)

    def test_a_server_that_is_down_without_a_policy_ends_with_one(self) -> None:
        self.edge.fail_fetch("http://127.0.0.1:1/patch.yaml: connection refused")
        code, _, said = self.run_once("once")
        self.assertEqual(code, 1)
        self.assertIn("connection refused", said)

    def test_an_open_window_is_used_and_its_outcome_reported(self) -> None:
        from qualvosec.manifest import window
        then = time.localtime(time.time() - 60)
        policy = Policy(patch=True, weekdays=(then.tm_wday,), hour=then.tm_hour,
                        minute=then.tm_min)
        opening = window.latest(policy, int(time.time()), "web01.example.org")
        assert opening is not None
        self.edge.publish(policy)
        self.edge.answer("upgrade", window=opening.id)
        code, _, said = self.run_once("once")
        self.assertEqual(code, 0, said)
        self.assertEqual(len(self.edge.calls("upgrade")), 1)
        self.assertEqual(self.run_once("once")[0], 0)
        self.assertEqual(len(self.edge.calls("upgrade")), 1)


class Commands(DaemonCase):
    def test_status_speaks_as_a_monitoring_plugin(self) -> None:
        code, out, _ = self.run_once("status")
        self.assertEqual(code, 2)
        self.assertRegex(out, r"^QUALVOSEC CRITICAL - the daemon does not answer on 127\.0\.0\.1"
                              r" port \d+: connection refused; next: .*qualvosec.*\n")
        self.start()
        self.wait_for("manifest accepted")
        code, out, _ = self.run_once("status")
        self.assertEqual((code, out), (0, "QUALVOSEC OK - no run yet, "
                                          "patching is off in the manifest\n"))
        self.assertTrue(json.loads(self.run_once("status", "--json")[1])["healthy"])

    def test_status_without_monitoring_reads_what_once_has_saved(self) -> None:
        self.configure(monitoring="disable")
        self.assertEqual(self.run_once("status")[0], 3)
        self.run_once("once")
        code, out, _ = self.run_once("status")
        self.assertEqual((code, out[:12]), (0, "QUALVOSEC OK"))

    def test_status_without_monitoring_notices_that_nobody_asks_the_server_any_more(self) -> None:
        self.configure(monitoring="disable")
        self.run_once("once")
        config = configuration.read(self.path("q.conf"))
        now = time.time()
        for uptime, later, code in ((9 * DAY, 12 * 3600 - 60, 0), (9 * DAY, 12 * 3600 + 60, 2),
                                    (3600, 3 * DAY, 0)):
            with mock.patch.object(statusline.host, "boot", return_value=("b", uptime)), \
                    mock.patch.object(statusline.time, "time", return_value=now + later):
                found = statusline._ask(config)
            self.assertEqual(found.code, code, found.text)
            self.assertEqual("nobody has had an answer" in found.text, code == 2)

    def test_status_without_monitoring_speaks_of_the_configured_zone(self) -> None:
        self.configure(monitoring="disable", timezone=os.path.join(DATA, "zones", "Apia"))
        self.edge.publish(Policy(patch=True, weekdays=tuple(range(7)), hour=12))
        self.run_once("once")
        told = json.loads(self.run_once("status", "--json")[1])["next_window"]["start"]
        self.assertIn("T23:00:00", told)

    def test_the_zone_of_somebodys_shell_moves_no_window(self) -> None:
        self.edge.write("m.yaml", "a.example.org:\n  patch: true\n  weekday: fri\n  hour: 3\n")
        words = ("next", "--manifest", self.path("m.yaml"), "--fqdn", "a.example.org")
        _, usual, said = self.run_once(*words)
        self.assertNotIn("TZ=", said)
        with mock.patch.dict(os.environ, {"TZ": "XXX-5:17"}):
            _, out, said = self.run_once(*words)
        self.assertEqual(out, usual)
        self.assertIn("qualvosec: TZ=XXX-5:17: does not count, the windows are in the host's own "
                      "time zone: set timezone to change that\n", said)
        self.assertRegex(usual, "Friday .* 03:00")

    def test_a_manifest_that_has_expired_is_told_to_be_so(self) -> None:
        self.edge.write("m.yaml", '.manifest:\n  expires: "2020-01-31"\n'
                                  "a.example.org:\n  patch: true\n  weekday: fri\n  hour: 3\n")
        for what in ("policy", "next"):
            code, out, said = self.run_once(what, "--manifest", self.path("m.yaml"), "--fqdn",
                                            "a.example.org")
            self.assertEqual(code, 0)
            self.assertIn("Friday", out)
            self.assertIn("not in force: the manifest expired on 2020-01-31\n", said)

    def test_a_wrong_option_of_status_is_unknown_not_critical(self) -> None:
        self.assertEqual(self.run_once("status", "--bogus")[0], 3)
        self.assertEqual(self.run_once("policy", "--bogus")[0], 2)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_a_disk_that_is_full_is_one_line_and_no_traceback(self) -> None:
        for command, code in ((["status"], 3), (["next", "--manifest", self.path("none.yaml")], 1),
                              (["configtest"], 1)):
            with open("/dev/full", "wb") as full:
                done = subprocess.Popen(
                    [sys.executable, "-IS", self.path("launch.py"), "-c", self.path("q.conf")]
                    + command, stdout=full, stderr=subprocess.PIPE)
                said = done.communicate()[1].decode("utf-8")
            self.assertEqual(done.returncode, code, said)
            self.assertNotIn("Traceback", said)
            self.assertNotIn("Exception", said)
            self.assertEqual("standard output: no space left on device" in said,
                             command[0] != "next", said)

    def test_policy_and_next_read_a_manifest_file_for_any_host(self) -> None:
        self.edge.write("m.yaml", "a.example.org:\n  patch: true\n  weekday: fri\n  hour: 3\n"
                                  "b.example.org:\n  patch: true\n  hour: 99\n")
        words = ("--manifest", self.path("m.yaml"), "--fqdn")
        code, out, _ = self.run_once("policy", *words, "A.example.org.")
        self.assertEqual(code, 0)
        self.assertIn("weekday: Friday\nhour: 3\nminute: 0\n", out)
        code, out, _ = self.run_once("next", *words, "a.example.org", "-n", "3")
        self.assertEqual((code, out.count("\n"), out.count("Friday")), (0, 3, 3))
        code, _, said = self.run_once("policy", *words, "b.example.org")
        self.assertEqual(code, 1)
        self.assertIn("line 7, column 3: hour: 99", said)
        self.assertEqual(self.run_once("next", *words, "c.example.org")[0], 1)

    def test_configtest_proves_the_whole_path_to_the_helper(self) -> None:
        code, out, said = self.run_once("configtest")
        self.assertEqual(code, 0, said)
        self.assertIn("ok: host web01.example.org", out)
        self.edge.forget("status")
        code, _, said = self.run_once("configtest")
        self.assertEqual(code, 2)
        self.assertIn("check the rule in sudoers.d/qualvosec", said)

    def test_configtest_tells_of_a_system_on_which_nothing_can_be_patched(self) -> None:
        self.edge.answer("status", reason="nixos: not supported: packages come from elsewhere")
        code, _, said = self.run_once("configtest")
        self.assertEqual(code, 2)
        self.assertIn("this host cannot be patched: nixos: not supported", said)

    def test_configtest_tells_how_far_the_package_manager_is_tried(self) -> None:
        self.edge.experimental("status", "pkgin: experimental: tried against recorded answers")
        code, out, said = self.run_once("configtest")
        self.assertEqual(code, 0, said)
        self.assertIn("ok: host web01.example.org", out)
        self.assertIn("note: pkgin: experimental: tried against recorded answers", said)

    def test_configtest_tells_of_a_system_that_cannot_verify_signatures(self) -> None:
        signers = self.path("allowed_signers")
        self.edge.write("allowed_signers", "manifest@qualvosec ssh-ed25519 AAAA\n")
        self.configure(allowed_signers=signers)
        text = LAUNCH.replace("if len(", "from qualvosec.manifest import signature\n"
                              "signature.SSH_KEYGEN = '/nowhere/ssh-keygen'\nif len(", 1)
        self.edge.write("launch.py", text % {"lib": LIB, "folder": self.folder})
        code, _, said = self.run_once("configtest")
        self.assertEqual(code, 2)
        self.assertIn("allowed_signers: /nowhere/ssh-keygen: cannot be started", said)
        self.assertIn("install OpenSSH 8.2 or newer", said)

    def test_a_manifest_that_nothing_speaks_for_is_a_warning(self) -> None:
        warning = "server http://192.0.2.1: anybody on the way can write the manifest"
        self.configure(server="http://192.0.2.1")
        code, _, said = self.run_once("configtest")
        self.assertEqual((code, said.count(warning)), (0, 1))
        self.assertIn("qualvosec: warning: " + warning, said)
        self.start()
        self.wait_for("WARNING the manifest is not guarded reason=" + log.quoted(warning)[:-1])

    def test_configtest_tells_of_files_that_a_fetch_could_not_use(self) -> None:
        self.configure(server="https://127.0.0.1:1", ca_file=self.path("no-ca.pem"),
                       allowed_signers=self.path("no-signers"))
        code, _, said = self.run_once("configtest")
        # Where there is no ssh-keygen, that is told as well.
        told = [line for line in said.splitlines() if "ssh-keygen" not in line]
        self.assertEqual((code, len(told)), (2, 2))
        self.assertRegex(said, "ca_file '.*no-ca.pem': cannot be used .no such file")
        self.assertRegex(said, "allowed_signers .*no-signers: no such file or directory: correct")
        self.edge.write("no-signers", "manifest@qualvosec ssh-ed25519 AAAA\n")
        os.chmod(self.path("no-signers"), 0o666)
        self.configure(allowed_signers=self.path("no-signers"), ca_file=self.path("no-ca.pem"))
        self.assertRegex(self.run_once("configtest")[2],
                         "allowed_signers .*no-signers: is writable by group or others")

    def test_another_tool_is_a_warning_in_status_and_configtest_that_its_command_ends(self) -> None:
        self.configure(monitoring="disable")
        self.run_once("once")
        self.install_cron_job()
        code, out, _ = self.run_once("status")
        self.assertEqual((code, out), (1, "QUALVOSEC WARNING - no run yet, patching is off in the "
                                          "manifest; %s\n" % CRON_JOB))
        detail = json.loads(self.run_once("status", "--json")[1])
        self.assertEqual((detail["other_tools"], detail["healthy"]), ([CRON_JOB], True))
        code, out, said = self.run_once("configtest")
        self.assertEqual(code, 0)
        self.assertIn("ok: host web01.example.org", out)
        self.assertIn("qualvosec: warning: %s\n" % CRON_JOB, said)
        os.chmod(self.path("root/etc/cron.daily/upgrade"), 0o644)
        code, out, _ = self.run_once("status")
        self.assertEqual((code, out[:12]), (0, "QUALVOSEC OK"))
        self.assertEqual(self.run_once("configtest")[2], said)

    def test_a_tool_that_only_downloads_is_a_note_in_configtest_and_no_warning(self) -> None:
        self.configure(monitoring="disable")
        self.run_once("once")
        units = "root/usr/lib/systemd/system/"
        wants = self.path("root/etc/systemd/system/timers.target.wants")
        for folder in (self.path("root/run/systemd/system"), self.path(units), wants,
                       self.path("root/etc/dnf")):
            os.makedirs(folder)
        self.edge.write(units + "dnf-automatic.timer", "[Timer]\nOnCalendar=06:00\n")
        self.edge.write(units + "dnf-automatic.service",
                        "[Service]\nExecStart=/usr/bin/dnf-automatic --timer\n")
        os.symlink("/usr/lib/systemd/system/dnf-automatic.timer",
                   os.path.join(wants, "dnf-automatic.timer"))
        self.edge.write("root/etc/dnf/automatic.conf",
                        "[commands]\napply_updates = no\ndownload_updates = yes\n")
        code, out, said = self.run_once("configtest")
        self.assertEqual(code, 0)
        self.assertIn("note: dnf-automatic.timer only downloads updates outside the windows; to "
                      "turn it off: systemctl disable --now dnf-automatic.timer\n", said)
        self.assertNotIn("warning", said)
        self.assertEqual(self.run_once("status")[0], 0)

    def test_what_is_wrong_stays_critical_beside_another_tool(self) -> None:
        self.install_cron_job()
        code, out, _ = self.run_once("status")
        self.assertEqual(code, 2)
        self.assertRegex(out, "^QUALVOSEC CRITICAL - the daemon does not answer.*; " + CRON_JOB)

    def test_other_tools_that_are_wanted_are_ignored(self) -> None:
        self.configure(monitoring="disable", other_tools="ignore")
        self.run_once("once")
        self.install_cron_job()
        self.assertEqual(self.run_once("status")[0], 0)
        self.assertNotIn("warning", self.run_once("configtest")[2])

    def test_reset_needs_the_daemon_to_be_stopped_and_forgets_what_it_names(self) -> None:
        self.run_once("once")
        cached = self.path("state/policy.json")
        self.assertTrue(os.path.exists(cached))
        self.assertEqual(self.run_once("reset", "serial")[0], 0)
        self.assertFalse(os.path.exists(cached))
        for what in ("clock", "interrupted"):
            self.assertEqual(self.run_once("reset", what)[0], 0)
        self.start()
        self.wait_for("INFO started")
        self.assertEqual(self.run_once("reset", "clock")[0], 1)

    def test_a_reply_of_the_fetch_child_is_what_the_cache_keeps(self) -> None:
        self.run_once("once")
        with open(self.path("state/policy.json"), encoding="ascii") as stream:
            kept = json.load(stream)
        self.assertEqual(fetchreply.from_object(kept["answer"], []).policy, Policy(patch=False))
