# SPDX-License-Identifier: BSD-2-Clause
"""The whole manifest: every fault with its place, nothing that is right is blamed."""

import glob
import os
import random
import unittest
from unittest import mock

from qualvosec.manifest import document
from qualvosec.manifest import lookup
from qualvosec.manifest import schema
from qualvosec.manifest import window

from tests import DATA

PIECES = (b"\n", b"  ", b":", b"-", b"\xff", b"\x00", b"[", b"]", b"'", b'"', b".groups:", b"null",
          b"freeze", b"9" * 30, b"web01.example.org:\n", b"\t", b"\r", b"#", b"\n.x:\n",
          b"\nWEB01.example.org.:\n", b"\n.defaults:\n  splay: 5\n",
          b"  group_membership: [prod]\n")
TODAY = window.ordinal(2026, 11, 23)
FOLDER = os.path.join(DATA, "manifest")


def read(text):
    return document.read(text.encode("utf-8"), TODAY)


def agrees(told_text, expected):
    """Compare lines; one that ends in "..." (wording of the parser) says how the line begins."""
    lines, wanted = told_text.split("\n"), expected.split("\n")
    return len(lines) == len(wanted) and all(
        line.startswith(want[:-3]) if want.endswith("...") else line == want
        for line, want in zip(lines, wanted))


def corpus(kind):
    for path in sorted(glob.glob(os.path.join(FOLDER, kind, "*.yaml"))):
        with open(path, "rb") as file:
            data = file.read()
        expected = ""
        if os.path.exists(path[:-5] + ".txt"):
            with open(path[:-5] + ".txt", encoding="utf-8") as file:
                expected = file.read()
        yield os.path.basename(path), data, expected


def told(problems):
    return "".join("%d:%d: %s%s: %s\n" % (
        problem.line, problem.column,
        "" if problem.severity == "error" else problem.severity + ": ",
        problem.what, problem.fix) for problem in problems)


class CorpusTest(unittest.TestCase):

    def test_each_mistake_is_told_with_its_place_and_remedy(self):
        files = list(corpus("invalid"))
        self.assertGreaterEqual(len(files), 50)
        for name, data, expected in files:
            with self.subTest(name):
                found = document.read(data, TODAY)
                self.assertTrue(agrees(told(found.problems), expected), told(found.problems))
                self.assertGreater(found.errors(), 0)

    def test_good_manifests_have_no_errors_and_the_warnings_that_were_expected(self):
        files = list(corpus("valid"))
        self.assertGreaterEqual(len(files), 9)
        for name, data, expected in files:
            with self.subTest(name):
                found = document.read(data, TODAY)
                self.assertEqual(told(found.problems), expected)
                self.assertEqual(found.errors(), 0)
                self.assertNotIn(None, found.hosts.values())

    def test_the_whole_manifest_of_the_design_is_understood(self):
        with open(os.path.join(FOLDER, "valid", "everything.yaml"), "rb") as file:
            found = document.read(file.read(), TODAY)
        policy = found.hosts["web01.example.org"]
        self.assertEqual((policy.weekdays, policy.hour, policy.minute, policy.duration),
                         ((1, 3), 3, 15, 120))
        self.assertEqual((policy.reboot, policy.catch_up, len(policy.freeze)), ("required", 48, 2))
        self.assertEqual(found.header.serial, 2026112301)
        self.assertFalse(found.hosts["web02.example.org"].patch)


def mutated(rng, texts):
    """Return a manifest with a few random injuries."""
    data = bytearray(rng.choice(texts))
    if rng.random() < 0.3:
        data += rng.choice(texts)
    for _ in range(rng.randrange(1, 8)):
        place = rng.randrange(len(data) + 1)
        data[place:place + rng.choice((0, 0, 1, 5, 40))] = rng.choice(PIECES)
    return bytes(data)


def as_a_client(data, name):
    """Return a host's policy as a client finds it, "unlisted", or "refused" with the whole file."""
    try:
        found = lookup.find(lookup.chunks_of(data), name)
    except lookup.ManifestError:
        return "refused"
    if not found.host_line:
        return "unlisted"
    if found.own_fault:
        return None
    return schema.effective(found.host, found.groups, found.defaults, name)[0]


class ReadingTest(unittest.TestCase):

    def test_an_entry_that_is_too_large_for_its_host_is_told(self):
        entry = "a.b:\n  patch: true\n  weekday: 1\n  hour: 3\n"
        found = read(entry + "# gone\n" * 40000 + entry.replace("a.b", "c.d"))
        self.assertEqual(told(found.problems), "1:1: this entry is over 262144 characters: "
                         "shorten it, or its comments\n")
        groups = "".join("  g%d:\n    splay: 5\n" % number for number in range(20000))
        found = read(entry + "  group_membership: [g1]\n.groups:\n" + groups)
        self.assertIn("6:1: this entry is over 262144 characters", told(found.problems))

    def test_a_label_is_compared_with_the_groups_once_however_many_hosts_have_it(self):
        text = ".groups:\n  site_berlin:\n    splay: 5\n" + "".join(
            "h%d.b:\n  patch: false\n  x-n: %d\n  group_membership: [site_berln, debian]\n"
            % (number, number) for number in range(30))
        with mock.patch.object(document, "did_you_mean", wraps=document.did_you_mean) as asked:
            found = read(text)
        self.assertEqual(asked.call_count, 2)
        self.assertEqual(told(found.problems).count("did you mean site_berlin?"), 30)

    def test_a_group_is_not_called_unused_while_an_entry_cannot_be_read(self):
        text = ".groups:\n  prod:\n    splay: 5\na.b:\n  patch: false\n"
        self.assertIn("no host is in this group", told(read(text).problems))
        damaged = read(text + "c.d:\n  group_membership: [prod\n")
        self.assertNotIn("no host is in this group", told(damaged.problems))

    def test_a_fault_in_one_entry_leaves_the_others_valid(self):
        found = read("a.b:\n  patch: yes\nc.d:\n  patch: false\ne.f:\n  hour: 99\n")
        self.assertIsNone(found.hosts["a.b"])
        self.assertIsNone(found.hosts["e.f"])
        self.assertIsNotNone(found.hosts["c.d"])

    def test_a_host_named_twice_in_other_case_has_no_policy(self):
        found = read("a.b:\n  patch: false\nA.B:\n  patch: false\n")
        self.assertEqual(found.hosts, {"a.b": None})

    def test_a_fault_of_the_defaults_is_told_once_for_all_hosts(self):
        found = read(".defaults:\n  hour: 99\n" + "".join(
            "h%d.b:\n  patch: true\n  weekday: 1\n" % number for number in range(20)))
        self.assertEqual(len(found.problems), 1)
        self.assertEqual(set(found.hosts.values()), {None})

    def test_an_unknown_section_stops_every_host_as_it_does_on_the_clients(self):
        found = read(".default:\n  duration: 9\na.b:\n  patch: false\n")
        self.assertEqual((found.hosts, found.errors()), ({"a.b": None}, 1))

    def test_a_damaged_section_does_not_put_the_blame_on_every_host(self):
        found = read(".defaults:\n  weekday: 1\n  hour: 08\na.b:\n  patch: true\n")
        self.assertEqual([(problem.line, problem.column) for problem in found.problems], [(3, 9)])
        self.assertEqual(found.hosts, {"a.b": None})

    def test_entries_that_are_alike_share_one_policy(self):
        found = read("".join("h%d.b:\n  patch: true\n  weekday: 1\n  hour: 2\n" % number
                             for number in range(50)))
        self.assertEqual(len({id(policy) for policy in found.hosts.values()}), 1)

    def test_one_good_entry_does_not_excuse_a_bad_name_with_the_same_fields(self):
        found = read("a.b:\n  patch: false\na_b.c:\n  patch: false\n")
        self.assertEqual((found.errors(), found.hosts["a_b.c"]), (1, None))

    def test_a_name_that_ends_in_two_dots_is_refused_and_explained_by_what_is_written(self):
        found = read("web01..:\n  patch: false\n")
        self.assertEqual((found.errors(), found.hosts), (1, {"web01..": None}))
        explained = document.explain(b"web01..:\n  patch: false\n", "web01..")
        self.assertEqual((explained.policy, len(explained.problems)), (None, 1))

    def test_names_with_percent_signs_and_escapes_are_shown_safely(self):
        found = read('"a%s%d.b":\n  patch: false\n"A%s%d.b":\n  patch: false\n'
                     '"\u00e9\u0130.b":\n  patch: false\n')
        self.assertGreaterEqual(found.errors(), 3)
        self.assertTrue(told(found.problems).replace("\n", "").isprintable())

    def test_a_window_that_only_freezes_now_and_then_is_not_blamed(self):
        found = read('a.b:\n  patch: true\n  weekday: 1\n  hour: 2\n'
                     '  freeze: ["2026-11-01/2027-06-30"]\n')
        self.assertEqual(found.problems, [])

    def test_mutated_manifests_never_raise(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        texts = [data for kind in ("valid", "invalid") for _, data, _ in corpus(kind)
                 if len(data) < 3000]
        for _ in range(1000):
            data = mutated(rng, texts)
            try:
                found = document.read(data, TODAY)
                for name, policy in found.hosts.items():
                    explained = document.explain(data, name)
                    self.assertEqual(explained.policy, policy)
                    self.assertTrue(policy is not None or explained.problems)
            except Exception:
                print("seed %d, text %r" % (seed, data))
                raise
            self.assertTrue(told(found.problems).replace("\n", "").isprintable(), "seed %d" % seed)
            if not found.errors():
                self.assertNotIn(None, found.hosts.values(), "seed %d" % seed)

    def test_every_host_is_told_what_the_administrator_is_shown(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        texts = [data for kind in ("valid", "invalid") for _, data, _ in corpus(kind)
                 if len(data) < 3000]
        compared = 0
        for _ in range(20000 if os.environ.get("QUALVOSEC_LONG") else 500):
            data = mutated(rng, texts)
            shown = document.read(data, TODAY).hosts
            for name in set(shown) | {"web01.example.org", "none.example.org"}:
                told_to_host = "refused"
                if not schema.host_name_fault(name):
                    told_to_host = as_a_client(data, name)
                if told_to_host == "refused":
                    continue
                compared += 1
                here = shown.get(name, "unlisted")
                # Of a line that cannot be read, the administrator is shown a guess at the name.
                if {here, told_to_host} != {None, "unlisted"}:
                    self.assertEqual(told_to_host, here,
                                     "seed %d, host %s, text %r" % (seed, name, data))
        self.assertGreater(compared, 200)


class ExplainTest(unittest.TestCase):

    def test_each_field_is_traced_to_the_line_that_decided_it(self):
        with open(os.path.join(FOLDER, "valid", "everything.yaml"), "rb") as file:
            found = document.explain(file.read(), "WEB01.example.org.")
        lines = {field: [mark.line for _, mark in places]
                 for field, places in found.places.items()}
        self.assertEqual(lines["duration"], [6])
        self.assertEqual(lines["reboot"], [11])
        self.assertEqual(lines["hour"], [15])
        self.assertEqual(lines["freeze"], [8, 12])
        self.assertEqual(lines["minute"], [20])
        self.assertEqual(found.places["reboot"][0][0], (".groups", "prod", "reboot"))

    def test_only_the_faults_of_this_host_are_told(self):
        text = b"a.b:\n  patch: false\nc.d:\n  hour: 99\n"
        self.assertEqual(document.explain(text, "a.b").problems, [])
        self.assertEqual(document.explain(text, "c.d").problems[0].line, 4)
        self.assertIsNone(document.explain(text, "c.d").policy)
        self.assertIsNone(document.explain(text, "e.f"))

    def test_an_entry_that_does_not_parse_is_invalid_not_unlisted(self):
        text = b"a.b:\n  patch: yes\nc.d:\n  patch: false\n"
        self.assertEqual([problem.line for problem in document.explain(text, "a.b").problems], [2])
        self.assertEqual(document.explain(text, "c.d").problems, [])
        self.assertEqual(len(document.explain(b"c.d:\n  x: 1\na.b : c d: e\n", "a.b").problems), 1)
        text = b"c.d:\n  patch: false\n.defaults:\n  hour: 08\n"
        self.assertIsNone(document.explain(text, "c.d").policy)

    def test_a_host_that_is_there_twice_is_not_explained_as_if_it_were_valid(self):
        found = document.explain(b"a.b:\n  patch: false\nA.b:\n  patch: false\n", "a.b")
        self.assertIsNone(found.policy)
        self.assertIn("line 1", found.problems[0].what)


if __name__ == "__main__":
    unittest.main()
