# SPDX-License-Identifier: BSD-2-Clause
"""What any version of this project wrote is read by this one, value by value; nothing is lost.

The samples in tests/data/durable were written by old commits, see README there and
durable_samples.py. `python3 -m tests.test_durable` prints the table of commits and files.
"""

import json
import os
import shutil
import sys
import tempfile
import unittest
from types import SimpleNamespace
from typing import Any
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Set
from typing import Tuple
from unittest import mock

from qualvosec import log
from qualvosec import paths
from qualvosec.admin.edit import signing
from qualvosec.client.decide import outcome
from qualvosec.client.decide import state as states
from qualvosec.client.decide.state import RunResult
from qualvosec.client.decide.state import State
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch.inforce import Accepted
from qualvosec.client.fetch.line import FetchReply
from qualvosec.client.root.record import record_from_json
from qualvosec.client.tell import packages
from qualvosec.helper import record as records
from qualvosec.helper import request as requests
from qualvosec.manifest.policy import Policy

from tests import durable_samples as samples

UID = os.geteuid()
COMMITS = sorted(name for name in os.listdir(samples.DATA) if name != "README")
EVERYWHERE = {"state.json", "policy.json", "policy-invalid.json", "run.json", "packages.json",
              "patch.yaml.signed"}
CONFIG: Any = SimpleNamespace(max_age=30 * 86400, fetch_interval=6 * 3600,
                              url=lambda: samples.ACCEPTED["url"])


def content(commit: str, name: str) -> bytes:
    with open(os.path.join(samples.DATA, commit, name), "rb") as file:
        return file.read()


def having(name: str) -> List[str]:
    """Return the commits with a sample of this file."""
    return [commit for commit in COMMITS
            if os.path.exists(os.path.join(samples.DATA, commit, name))]


def keys(value: object, path: str = "") -> Set[str]:
    """Return every key of an object, at any depth, with the types that it holds."""
    if isinstance(value, dict):
        found = {"%s:%s" % (path, "object")}
        for key, inner in value.items():
            found |= keys(inner, path + "." + key)
        return found
    if isinstance(value, list):
        return {"%s:%s" % (path, "list")}.union(*[keys(each, path + "[]") for each in value])
    return {"%s:%s" % (path, type(value).__name__)}


def with_strangers(value: Any) -> Any:
    """Return the value with a key in every object that no version knows."""
    if isinstance(value, dict):
        return dict({key: with_strangers(inner) for key, inner in value.items()},
                    unknown_to_us={"a": [1, None, 1.5, {"b": True}]})
    return [with_strangers(entry) for entry in value] if isinstance(value, list) else value


def expected(kind: Any, values: Dict[str, Any], raw: Dict[str, Any], **more: Any) -> Any:
    """Return the value with every field that was written; what was not has its default."""
    given = {key: values[key] for key in kind._fields if key in values and key in raw}
    return kind(**dict(given, **{key: value for key, value in more.items() if key in raw}))


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.told: List[str] = []
        warning = mock.patch.object(log, "warning", self.warned)
        warning.start()
        self.addCleanup(warning.stop)

    def warned(self, event: str, **words: object) -> None:
        self.told.append(log.line(event, **words))

    def put(self, name: str, data: bytes) -> None:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o600)

    def put_all(self, commit: str, strangers: bool = False) -> None:
        """Put the files of a commit in place of those that lie there."""
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        for name in os.listdir(os.path.join(samples.DATA, commit)):
            data = content(commit, name)
            if strangers and name.endswith(".signed"):
                data += b"unknown_to_us 5\n"
            elif strangers and name.endswith(".json"):
                data = json.dumps(with_strangers(json.loads(data.decode("ascii")))).encode("ascii")
            self.put(name, data)

    # --- how each file is read today --------------------------------------------------------------

    def state(self) -> State:
        return states.load(self.folder, UID)

    def policy(self) -> Accepted:
        config = SimpleNamespace(state_dir=self.folder, url=CONFIG.url)
        found = inforce.peek(config, samples.ACCEPTED["fqdn"])    # type: ignore[arg-type]
        assert found is not None
        return found

    def run_state(self) -> records.State:
        return records.Store(self.folder).read(self.told.append)


class Corpus(Case):
    def test_samples_cover_every_file_and_the_versions_that_hosts_have(self) -> None:
        self.assertEqual({name for name in EVERYWHERE if having(name)}, EVERYWHERE)
        self.assertTrue({"7e6697b", "658c00e"} <= set(COMMITS))
        with open(os.path.join(samples.DATA, "README"), encoding="utf-8") as file:
            text = file.read()
        for commit in COMMITS:
            self.assertIn("\n%s " % commit, text)
        self.assertEqual(len(having("reboot.stamp")), 3)

    def test_samples_have_a_value_in_every_field_that_is_not_its_default(self) -> None:
        rows: List[Tuple[Any, Any]] = [
            (State(), samples.STATE), (RunResult(), samples.RESULT), (Policy(), samples.POLICY),
            (FetchReply(""), samples.REPLY), (records.Record(), samples.RECORD),
            (records.Past(), samples.PAST), (records.State(), samples.RUN),
            (requests.Request(), samples.REQUEST)]
        for default, values in rows:
            for key in default._fields:
                if key in ("last", "policy", "record", "request", "history"):
                    continue
                if (type(default).__name__, key) in (("FetchReply", "reason"), (
                        "FetchReply", "faults")):
                    # An accepted answer has no reason; faults are in policy-invalid.json.
                    continue
                self.assertNotEqual(getattr(default, key), values[key], key)

    def test_layout_of_today_has_a_sample(self) -> None:
        """Where this fails: durable_samples.py HEAD, and add what it wrote."""
        samples.write_all(self.folder)
        for name in EVERYWHERE:
            with open(os.path.join(self.folder, name), "rb") as file:
                data = file.read()
            if not name.endswith(".json"):
                self.assertIn(data, [content(commit, name) for commit in having(name)])
                continue
            layouts = [keys(json.loads(content(commit, name).decode("ascii")))
                       for commit in having(name)]
            self.assertIn(keys(json.loads(data.decode("ascii"))), layouts, name)


class Read(Case):
    def test_state_of_every_commit(self) -> None:
        for commit in having("state.json"):
            with self.subTest(commit):
                self.put_all(commit)
                raw = json.loads(content(commit, "state.json").decode("ascii"))
                wanted = expected(State, samples.STATE, raw,
                                  last=expected(RunResult, samples.RESULT, raw["last"]))
                old = samples.OLD_KNOWN.get(len(raw["known"]))
                if old:
                    wanted = wanted._replace(known=(" ".join(str(word) for word in old), old[2]))
                if "days" not in raw:
                    wanted = wanted._replace(days=(samples.SCHEDULE, (739944,)))
                self.assertEqual(self.state(), wanted)
                self.assertEqual((wanted.consumed, wanted.reboot, wanted.last.outcome),
                                 (samples.STATE["consumed"], "deferred", "partial"))
                self.assertEqual(self.told, [])
                self.assertEqual(states.from_bytes(states.to_bytes(wanted)), wanted)

    def test_policy_of_every_commit_stays_in_force(self) -> None:
        for commit in having("policy.json"):
            for name in ("policy.json", "policy-invalid.json"):
                with self.subTest(commit=commit, name=name):
                    self.put_all(commit)
                    raw = json.loads(content(commit, name).decode("ascii"))
                    self.put("policy.json", content(commit, name))
                    answer = expected(FetchReply, samples.REPLY, raw["answer"], faults=(), policy=(
                        expected(Policy, samples.POLICY, raw["answer"]["policy"] or {})))
                    if name == "policy-invalid.json":
                        answer = answer._replace(policy=None, entry="invalid",
                                                 faults=samples.FAULTS)
                    found = self.policy()
                    self.assertEqual(found, expected(Accepted, samples.ACCEPTED, dict(
                        raw, answer=answer), answer=answer))
                    view = inforce.view_of(found, CONFIG, found.fqdn, "", found.accepted + 60)
                    self.assertEqual((view.policy, view.why), (answer.policy, "" if answer.policy
                                                               else "invalid"))
        self.assertEqual(self.told, [])

    def test_record_of_every_commit(self) -> None:
        for commit in having("run.json"):
            with self.subTest(commit):
                self.put_all(commit)
                raw = json.loads(content(commit, "run.json").decode("ascii"))
                wanted = expected(
                    records.State, samples.RUN, dict(raw, last_reboot=1),
                    record=expected(records.Record, samples.RECORD, raw["record"], history=(
                        expected(records.Past, samples.PAST, raw["record"]["history"][0]),)),
                    request=expected(requests.Request, samples.REQUEST, raw["request"]))
                self.assertEqual(wanted.last_reboot, samples.STAMP)
                found = self.run_state()
                self.assertEqual(found, wanted)
                records.Store(self.folder).write(found)
                self.assertEqual(self.run_state(), wanted)

    def test_record_of_every_commit_is_told_to_the_daemon(self) -> None:
        for commit in having("run.json"):
            self.put_all(commit)
            wire = json.loads(json.dumps(records.to_json(self.run_state().record)))
            record = record_from_json(wire)
            self.assertEqual((record.window, record.outcome, record.done), (
                samples.WINDOW, "partial", (samples.BEFORE, samples.WINDOW)), commit)

    def test_a_record_that_was_judged_before_the_upgrade_is_not_judged_again(self) -> None:
        for commit in having("state.json"):
            self.put_all(commit)
            self.put("run.json", content("658c00e", "run.json"))
            wire = json.loads(json.dumps(records.to_json(self.run_state().record)))
            record = record_from_json(dict(wire, op="repair"))
            self.assertTrue(outcome.is_known(self.state(), record), commit)
            for change in ({"accepted": 1795486512}, {"accepted": 17954865110}, {"op": "upgrade"},
                           {"window": samples.BEFORE}):
                other = record_from_json(dict(wire, **dict({"op": "repair"}, **change)))
                self.assertFalse(outcome.is_known(self.state(), other), (commit, change))

    def test_what_was_signed_last_and_the_packages_of_the_last_run(self) -> None:
        for commit in having("patch.yaml.signed"):
            self.put_all(commit)
            found = signing.read_record(os.path.join(self.folder, "patch.yaml"))
            self.assertEqual(found, (samples.SIGNED["serial"], samples.REPLY["sha256"]), commit)
        for commit in having("packages.json"):
            self.put_all(commit)
            self.assertEqual(packages.load(self.folder).encode("ascii"),
                             content(commit, "packages.json"))

    def test_keys_that_no_version_knows_are_ignored_with_one_line_for_each_file(self) -> None:
        for commit in COMMITS:
            with self.subTest(commit):
                self.put_all(commit)
                found = self.everything()
                del self.told[:]
                self.put_all(commit, strangers=True)
                self.assertEqual(self.everything(), found)
                # policy.json is told of by the daemon, and here by what it waits for.
                self.assertEqual(len(self.told), len(having_of(commit, "state.json", "run.json")))
                for line in self.told:
                    self.assertIn("newer than this version", line)
                    self.assertIn("unknown_to_us", line)

    def everything(self) -> List[Any]:
        found: List[Any] = []
        for name, read in (("state.json", self.state), ("run.json", self.run_state)):
            if os.path.exists(os.path.join(self.folder, name)):
                found.append(read())
        if os.path.exists(os.path.join(self.folder, "policy.json")):
            found.append(self.policy()._replace(newer=""))
        found.append(signing.read_record(os.path.join(self.folder, "patch.yaml")))
        return found

    def test_a_policy_with_more_than_this_version_knows_waits_for_the_server(self) -> None:
        self.put_all("658c00e", strangers=True)
        found = self.policy()
        self.assertTrue(found.newer)
        view = inforce.view_of(found, CONFIG, found.fqdn, "", found.accepted + 60)
        self.assertEqual(view.why, "unknown")
        self.assertIn("waiting for the server", view.detail)
        self.assertIn("unknown_to_us", view.detail)


class Asked(NamedTuple):
    etag: str
    signature_sha256: str
    serial: int
    at_once: bool       # not only some time within the twenty minutes after a start


class Ask(Case):
    def asked(self) -> Asked:
        """Return what the daemon asks the server for, with the files as they lie."""
        config = SimpleNamespace(
            fqdn=samples.ACCEPTED["fqdn"],
            state_dir=self.folder, url=CONFIG.url, max_age=CONFIG.max_age, report="disable",
            fetch_interval=CONFIG.fetch_interval, allowed_signers="/etc/signers", audience="",
            ca_file="", client_cert="", client_key="", proxy="", reports=lambda: False)
        signers = samples.ACCEPTED["signers"]
        with mock.patch.object(inforce, "_signers", lambda config: signers), \
                mock.patch.object(inforce, "Child") as child:
            one = inforce.Acceptance(config, samples.ACCEPTED["fqdn"],   # type: ignore[arg-type]
                                        mock.Mock(), 1795480100)
            at_once = one.due(1795480100, State())
            one.start(1795480100, mock.Mock())
        request = json.loads(child.call_args[0][3].decode("ascii"))
        return Asked(request["etag"], request["signature_sha256"], request["serial"], at_once)

    def test_another_version_asks_for_the_whole_manifest_and_keeps_to_the_serial(self) -> None:
        self.put_all("658c00e")
        self.assertEqual(self.asked(), Asked("", "", 2026112301, False))

    def test_the_same_version_asks_for_what_is_new(self) -> None:
        self.put_all("658c00e")
        kept = json.loads(content("658c00e", "policy.json").decode("ascii"))
        self.put("policy.json", json.dumps(dict(kept, version=paths.VERSION)).encode("ascii"))
        self.assertEqual(self.asked(), Asked(samples.REPLY["etag"],
                                             "", 2026112301, False))

    def test_what_a_later_version_kept_is_asked_for_at_once(self) -> None:
        self.put_all("658c00e", strangers=True)
        self.assertEqual(self.asked(), Asked("", "", 2026112301, True))
        self.assertEqual(len(self.told), 1, self.told)
        self.assertIn("newer than this version file=policy.json unknown=", self.told[0])
        self.assertIn("unknown_to_us", self.told[0])


def having_of(commit: str, *names: str) -> List[str]:
    return [name for name in names if commit in having(name)]


def table() -> None:
    """Print which commit's files today's code reads, and what is kept."""
    case = Read()
    case.setUp()
    lost = 0
    kept = {"state.json": lambda: "outcome %s, %d windows used, reboot %s" % (
                case.state().last.outcome, len(case.state().consumed), case.state().reboot),
            "policy.json": lambda: "policy of serial %d" % case.policy().answer.serial,
            "run.json": lambda: "window %s %s, last reboot %d" % (
                case.run_state().record.window, case.run_state().record.outcome,
                case.run_state().last_reboot)}
    for commit in COMMITS:
        case.put_all(commit)
        for name in having_of(commit, *sorted(kept)):
            try:
                said = "read: " + kept[name]()
            except Exception as error:  # the table says so of any reason
                lost, said = lost + 1, "LOST: %s" % error
            sys.stdout.write("%s  %-12s %s\n" % (commit, name, said))
    sys.stdout.write("%d lost\n" % lost)
    case.doCleanups()


if __name__ == "__main__":
    table()
