# SPDX-License-Identifier: BSD-2-Clause
"""Edits of a manifest: what was asked for changes, and not a byte more."""

import os
import random
import unittest

from qualvosec import yamlsubset
from qualvosec.manifest import entrytext
from qualvosec.manifest import window
from qualvosec.manifest.edit import spans
from qualvosec.manifest.entrytext import EditError

from tests import manifest_mutations
from tests import manifest_samples

LONG = bool(os.environ.get("QUALVOSEC_LONG"))
TODAY = window.ordinal(2026, 11, 24)
FIELDS = {"patch": True, "weekday": 1, "hour": 3}
SCALARS = [True, False, 0, 7, 59, -3, 10 ** 17, "a", "it's", 'say "x"', "no", "08", "1.20", "x: y",
           "a # b", "", " ", "# a", "[a", "3:15", "2026-12-20", "\\", "\u00e4\u00df", "~", "null",
           "-", "- a", "*a", "&a", "!x", "%", "@", "`", "<<", "=", "a,b", "libc6:amd64", "y"]


def text(*lines, end="\n"):
    return end.join(lines + ("",)).encode("utf-8")


FLEET = text("# the fleet", "a.b:   # first", "  patch: false", "", "# about c", "c.d:",
             "  patch: true   # yes", "  hour: 03", "  weekday: [1,  2]  # two days", "  minute: 5",
             "  packages_blacklist:", "    # keep", "    - vim", "    - 'php*'  # old", "", "# end")


def added(data, name="new.b", fields=None):
    return spans.add(spans.read(data), {name: fields or FIELDS}, TODAY).data


def removed(data, *names, **options):
    return spans.remove(spans.read(data), names, TODAY, **options).data


def changed(data, name, **fields):
    return spans.change(spans.read(data), {name: fields}, TODAY).data


class Case(unittest.TestCase):

    def refused(self, words, work, *arguments, **options):
        with self.assertRaises(EditError) as caught:
            work(*arguments, **options)
        self.assertIn(words, str(caught.exception))
        self.assertTrue(str(caught.exception).isprintable())


class AddTest(Case):

    def test_an_entry_is_appended_and_all_before_it_stays(self):
        self.assertEqual(added(FLEET), FLEET + text("", "new.b:", "  patch: true", "  weekday: 1",
                                                    "  hour: 3"))

    def test_entries_without_blank_lines_between_them_stay_so(self):
        data = text("a.b:", "  patch: false", "c.d:", "  patch: false")
        self.assertEqual(added(data), data + text("new.b:", "  patch: true", "  weekday: 1",
                                                  "  hour: 3"))

    def test_indent_and_line_ends_are_those_of_the_file(self):
        data = b"\xef\xbb\xbf" + text("---", "a.b:", "    patch: false", end="\r\n")
        self.assertEqual(added(data, fields={"patch": False}),
                         data + b"\r\nnew.b:\r\n    patch: false\r\n")

    def test_a_last_line_without_end_is_ended_first(self):
        self.assertEqual(added(b"a.b:\n  patch: false", fields={"patch": False}),
                         b"a.b:\n  patch: false\n\nnew.b:\n  patch: false\n")

    def test_an_empty_file_becomes_a_manifest(self):
        self.assertEqual(added(b"", fields={"patch": False}), b"new.b:\n  patch: false\n")
        self.assertEqual(added(b"# fleet\n", fields={"patch": False}),
                         b"# fleet\n\nnew.b:\n  patch: false\n")

    def test_names_and_values_are_quoted_where_a_reader_could_misread_them(self):
        data = added(b"", "1.b", {"patch": False, "x-a": "no", "x-b": "1.20", "x-c": "it's: #",
                                  "packages_blacklist": ["php*", "libc6:amd64", "vim"]})
        self.assertEqual(yamlsubset.load(data)["1.b"]["x-c"], "it's: #")
        self.assertIn(b"\n  packages_blacklist: ['php*', 'libc6:amd64', vim]\n", data)
        self.assertEqual(added(b"", "null", {"patch": False}), b"'null':\n  patch: false\n")

    def test_a_long_list_takes_a_line_for_each_item(self):
        names = ["package%03d" % number for number in range(100)]
        data = added(b"", fields=dict(FIELDS, packages_whitelist=names))
        self.assertIn(b"\n  packages_whitelist:\n    - package000\n    - package001\n", data)

    def test_a_thousand_hosts_are_one_edit(self):
        found = spans.add(spans.read(FLEET), {"h%d.b" % number: FIELDS for number in range(1000)},
                         TODAY)
        self.assertEqual((len(found.spans), len(found.hosts)), (1, 1000))
        self.assertEqual(len(yamlsubset.load(found.data)), 1002)

    def test_a_host_that_is_there_is_refused_with_its_line_in_whatever_spelling(self):
        for name in ("a.b", "A.B", "a.b."):
            self.refused("%s: is in the manifest already, on line 2" % name, added, FLEET, name)

    def test_one_bad_name_refuses_all(self):
        self.refused("a_b.c: 'a_b' is not a part", spans.add, spans.read(FLEET),
                     {"good.b": FIELDS, "a_b.c": FIELDS}, TODAY)
        for name in ("", ".groups", "*.b", "a b", "a\nb", "a..b", "x" * 64):
            self.refused("write the full name of a host", added, FLEET, name)

    def test_of_many_refused_hosts_some_are_named_and_all_counted(self):
        self.refused("and 7 more", spans.add, spans.read(FLEET),
                     {"h_%d" % number: FIELDS for number in range(12)}, TODAY)


class RemoveTest(Case):

    def test_an_entry_goes_and_the_comment_above_it_stays(self):
        self.assertEqual(removed(FLEET, "C.d"),
                         text("# the fleet", "a.b:   # first", "  patch: false", "",
                              "# about c", "", "# end"))

    def test_the_comment_above_goes_when_it_is_asked_for(self):
        self.assertEqual(removed(FLEET, "c.d", with_comment=True),
                         text("# the fleet", "a.b:   # first", "  patch: false", "", "# end"))

    def test_of_two_blank_lines_around_an_entry_one_goes(self):
        data = text("a.b:", "  patch: false", "", "c.d:", "  patch: false", "", "e.f:",
                    "  patch: false")
        entry = text("a.b:", "  patch: false")
        self.assertEqual(removed(data, "a.b"), data[len(entry) + 1:])
        self.assertEqual(removed(data, "c.d"), entry + data[2 * (len(entry) + 1) - 1:])
        self.assertEqual(removed(data, "e.f"), data[:2 * len(entry) + 1])
        self.assertEqual(removed(data, "c.d", "e.f"), entry)
        self.assertEqual(removed(data, "a.b", "c.d").lstrip(b"\n"), data[2 * (len(entry) + 1):])

    def test_what_is_missing_is_refused_and_the_nearest_named(self):
        self.refused("web1.b: is not in the manifest: did you mean web2.b?", removed,
                     FLEET + b"web2.b:\n  patch: false\n", "web1.b")
        self.refused("use add", removed, FLEET, "xyz.example.org")
        self.refused("named twice", removed, FLEET, "a.b", "A.b")

    def test_a_host_that_is_listed_twice_is_left_to_the_administrator(self):
        data = text("a.b:", "  patch: false", "A.b:", "  patch: false", "c.d:", "  patch: false")
        self.refused("twice, on lines 1 and 3", removed, data, "a.b")

    def test_the_last_entry_stays_since_clients_refuse_an_empty_file(self):
        self.refused("would be empty", removed, b"a.b:\n  patch: false\n", "a.b")

    def test_no_host_left_is_told(self):
        found = spans.remove(spans.read(b".defaults:\n  splay: 5\na.b:\n  patch: false\n"),
                            ["a.b"], TODAY)
        self.assertEqual(found.data, b".defaults:\n  splay: 5\n")
        self.assertIn("no host is left", found.notes[0])


class ChangeTest(Case):

    def changes(self, old, new, name="c.d", **fields):
        self.assertEqual(changed(FLEET, name, **fields), FLEET.replace(old, new, 1))

    def test_a_value_is_replaced_and_its_comment_stays(self):
        self.changes(b"patch: true   # yes", b"patch: false   # yes", patch=False)
        self.changes(b"[1,  2]  # two", b"tue  # two", weekday="tue")
        self.changes(b"hour: 03", b"hour: 5", hour=5)

    def test_a_new_field_comes_behind_the_last_line(self):
        self.changes(b"# old\n", b"# old\n  splay: 5\n", splay=5)
        self.changes(b"  patch: false\n", b"  patch: false\n  x-y: z\n", "a.b", **{"x-y": "z"})

    def test_a_field_is_taken_out(self):
        self.changes(b"  minute: 5\n", b"", minute=None)
        self.changes(FLEET[FLEET.index(b"  packages"):FLEET.index(b"\n# end")], b"",
                     packages_blacklist=None)

    def test_items_that_stay_keep_their_lines_and_comments(self):
        self.changes(b"    - 'php*'", b"    - curl\n    - 'php*'",
                     packages_blacklist=["vim", "curl", "php*"])
        self.changes(b"    # keep\n    - vim\n", b"", packages_blacklist=["php*"])

    def test_a_list_in_lines_can_become_a_value_in_its_key_line(self):
        data = text("a.b:", "  weekday:  # days", "  - 1", "  # gone", "  - 2", "  hour: 3",
                    "  patch: true")
        self.assertEqual(changed(data, "a.b", weekday=5),
                         text("a.b:", "  weekday: 5  # days", "  hour: 3", "  patch: true"))

    def test_a_field_without_value_gets_one(self):
        data = text("a.b:", "  patch: false", "  x-note:   # none")
        self.assertEqual(changed(data, "a.b", **{"x-note": "a"}),
                         text("a.b:", "  patch: false", "  x-note: a   # none"))

    def test_text_keeps_its_quotes_and_hashes_within_them(self):
        data = text("a.b:", "  patch: false", "  x-n: \"a # b\" # c", "  x-m: 'its' # d",
                    "  x-o: a#b # e")
        self.assertEqual(changed(data, "a.b", **{"x-n": 'q"q', "x-m": "q", "x-o": "q"}),
                         text("a.b:", "  patch: false", '  x-n: "q\\"q" # c', "  x-m: 'q' # d",
                              "  x-o: q # e"))

    def test_quoted_keys_tabs_and_missing_line_ends_are_no_obstacle(self):
        data = b"'a.b':\t# x\n  \"hour\" : 3\n  patch: false\n  x-a: 1"
        self.assertEqual(changed(data, "a.b", hour=4), data.replace(b"3", b"4"))
        self.assertEqual(changed(data, "a.b", minute=4), data + b"\n  minute: 4")
        self.assertEqual(changed(data, "a.b", **{"x-a": 22}), data[:-1] + b"22")

    def test_crlf_stays_crlf(self):
        data = FLEET.replace(b"\n", b"\r\n")
        self.assertEqual(changed(data, "c.d", minute=6, splay=3,
                                 packages_blacklist=["vim", "curl"]),
                         changed(FLEET, "c.d", minute=6, splay=3,
                                 packages_blacklist=["vim", "curl"]).replace(b"\n", b"\r\n"))

    def test_what_is_so_already_changes_nothing(self):
        found = spans.change(spans.read(FLEET), {"c.d": {"hour": 3, "weekday": [1, 2],
                                                       "splay": None}}, TODAY)
        self.assertEqual((found.data, found.spans, found.hosts), (FLEET, (), ()))

    def test_one_is_not_true(self):
        data = text("a.b:", "  patch: false", "  x-a: 1")
        self.assertEqual(changed(data, "a.b", **{"x-a": True}),
                         text("a.b:", "  patch: false", "  x-a: true"))

    def test_text_that_cannot_be_written_is_refused(self):
        for value in ("a\tb", "a\nb", "\x1b[2J", "\u202e"):
            self.refused("cannot be written", changed, FLEET, "a.b", **{"x-a": value})


class FaultTest(Case):

    def test_an_edit_that_would_leave_a_new_fault_is_refused_and_the_fault_named(self):
        self.refused("c.d: minute: 77 is out of range: write a number from 0 to 59",
                     changed, FLEET, "c.d", minute=77)
        self.refused("new.b: patch: true without weekday", added, FLEET, fields={"patch": True})
        self.refused("did you mean weekday?", changed, FLEET, "c.d", wekday=1)
        self.refused("no fields", changed, FLEET, "a.b", patch=None)

    def test_faults_that_were_there_before_do_not_stop_an_edit(self):
        data = FLEET.replace(b"minute: 5", b"minute: 77") + b".groups:\n  g:\n    hour: x\n"
        self.assertIn(b"hour: 4", changed(data, "c.d", hour=4))
        self.assertIn(b"new.b", added(data))
        self.assertNotIn(b"a.b", removed(data, "a.b"))
        self.assertEqual(changed(data, "c.d", minute=5), data.replace(b"77", b"5"))

    def test_faults_that_stay_are_told(self):
        data = FLEET + b".defaults:\n  hour: x\n"
        for found in (spans.change(spans.read(data), {"c.d": {"hour": 4}}, TODAY),
                      spans.add(spans.read(data), {"new.b": {"patch": False}}, TODAY)):
            self.assertEqual(found.notes, ("the manifest: 1 older fault in these hosts or in "
                                           "sections they may use: see qualvosec-admin check",))

    def test_a_new_warning_is_told(self):
        data = FLEET + b".groups:\n  production:\n    splay: 5\n"
        found = spans.change(spans.read(data), {"c.d": {"group_membership": ["producton"]}}, TODAY)
        self.assertIn("did you mean production?", found.notes[0])

    def test_a_file_that_does_not_parse_is_not_edited_and_the_place_named(self):
        self.refused("line 2, column 10: ", added, b"a.b:\n  patch: yes\n")
        self.refused("a list", added, b"- a\n")


class SerialTest(Case):

    def test_a_serial_is_raised_with_every_edit_in_its_own_bytes(self):
        data = b".manifest:\n  serial: 7  # n\n" + FLEET
        for new, old in ((added(data), added(FLEET)), (removed(data, "a.b"), removed(FLEET, "a.b")),
                         (changed(data, "c.d", hour=5), changed(FLEET, "c.d", hour=5))):
            self.assertEqual(new, b".manifest:\n  serial: 8  # n\n" + old)

    def test_a_serial_that_is_a_date_follows_the_date(self):
        for old, new in ((2026112301, 2026112401), (2026112401, 2026112402),
                         (2026112499, 2026112500), (2027010101, 2027010102), (5, 6),
                         (20261123, 20261124), (9999999999, 10000000000)):
            self.assertEqual(spans.next_serial(old, TODAY), new)

    def test_an_edit_that_changes_nothing_leaves_the_serial(self):
        data = b".manifest:\n  serial: 7\n" + FLEET
        self.assertEqual(changed(data, "c.d", hour=3), data)

    def test_a_serial_that_is_none_or_at_its_end_refuses_the_edit(self):
        for serial in (b"'7'", b"-1", b"999999999999999999", b"true"):
            self.refused("serial: cannot be raised", added,
                         b".manifest:\n  serial: " + serial + b"\n" + FLEET)


class FuzzTest(Case):
    """Random edits of random manifests; every step is the same for the same seed."""

    came_back = 0

    def manifest(self, rng):
        """A manifest that parses, in one of the shapes that files come in."""
        while True:
            if rng.random() < 0.5:
                data = manifest_mutations.mutated(rng)
            else:
                lines = manifest_mutations.base(rng)
                for place in [number for number, line in enumerate(lines) if "hour:" in line][::-1]:
                    lines.insert(place, "  x-q: %s%s" % (
                        rng.choice(manifest_mutations.SCALARS), rng.choice(["", "   # x-q: b"])))
                data = ("\n".join(lines) + "\n").encode("utf-8", "replace")
            if rng.random() < 0.2:
                data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            if rng.random() < 0.2:
                data = data.rstrip(b"\r\n")
            if rng.random() < 0.1 and not data.startswith(b"\xef\xbb\xbf"):
                data = b"\xef\xbb\xbf" + data
            try:
                return data, spans.read(data)
            except EditError:
                continue

    def value(self, rng):
        if rng.random() < 0.3:
            return [rng.choice(SCALARS) for _ in range(rng.randrange(1, 4))]
        return rng.choice(SCALARS)

    def verify(self, data, source, found):
        """Bytes outside the spans are identical, and each span stands in what was touched."""
        place, pieces = 0, []
        for span in found.spans:
            self.assertGreaterEqual(span.start, place)
            pieces += [data[place:span.start], span.new]
            place = span.end
        self.assertEqual(b"".join(pieces) + data[place:], found.data)
        old, new = source.root, yamlsubset.load(found.data)
        for name in new:
            if name not in found.hosts and name != ".manifest":
                self.assertEqual(repr(old[name]), repr(new[name]))
        self.assertEqual([name for name in old if name in new],
                         [name for name in new if name in old])

    def test_edits_change_what_was_asked_for_and_no_other_byte(self):
        seed = 20261124
        rng = random.Random(seed)
        done = {"add": 0, "remove": 0, "change": 0, "refused": 0}
        for number in range(20000 if LONG else 250):
            data, source = self.manifest(rng)
            with self.subTest(seed=seed, number=number, data=data):
                try:
                    self.one(rng, data, source, done)
                except EditError as error:
                    self.assertNotIn("the result would", str(error))
                    self.assertTrue(str(error).isprintable())
                    done["refused"] += 1
        for kind, count in done.items():
            self.assertGreater(count, 20, kind)
        self.assertGreater(self.came_back, 20)

    def one(self, rng, data, source, done):
        kind = rng.choice(["add", "remove", "change", "change"])
        hosts = list(source.known.values()) or ["a.b"]
        if kind == "add":
            found = spans.add(source, {"new%d.b" % number: {
                "patch": False, "x-a": self.value(rng)} for number in range(rng.randrange(1, 4))},
                TODAY)
            self.add_and_remove(data, source, found)
        elif kind == "remove":
            found = spans.remove(source, rng.sample(hosts, rng.randrange(1, len(hosts) + 1)), TODAY,
                                rng.random() < 0.3)
        else:
            name = rng.choice(hosts)
            fields = list(source.root.get(name) or ()) if isinstance(
                source.root.get(name), dict) else []
            field = rng.choice(["x-note", "minute"] + fields)
            value = rng.randrange(7) if field in ("weekday", "hour", "minute") else self.value(rng)
            found = spans.change(source, {name: {field: value}}, TODAY)
            self.set_and_set_back(data, source, found, name, field)
        self.verify(data, source, found)
        done[kind] += 1

    def without_serial(self, data):
        return b"\n".join(line for line in data.split(b"\n") if b"serial:" not in line)

    def add_and_remove(self, data, source, found):
        if not source.root:
            return
        back = spans.remove(spans.read(found.data), found.hosts, TODAY).data
        ended = data if data.endswith(b"\n") or not source.body else (
            data + entrytext.line_end(data))
        self.assertEqual(self.without_serial(back), self.without_serial(ended))

    def set_and_set_back(self, data, source, found, name, field):
        fields = source.root[name] or {}
        old = fields.get(field)
        if not found.spans or (field in fields and (old is None or isinstance(old, (list, dict)))):
            return
        again = spans.read(found.data)
        back = self.without_serial(spans.change(again, {name: {field: old}}, TODAY).data)
        expected = self.without_serial(data)
        if field not in fields:
            self.assertIn(back, (expected, expected + entrytext.line_end(data)))
            return
        old_text, new_text = self.written(source, name, field), self.written(again, name, field)
        # Another spelling of the old value (03, True, needless quotes) shows in the new one only
        # if that is text, and can be written so.
        if old_text == entrytext.spell(old) or (
                isinstance(old, str) and new_text != entrytext.spell(again.root[name][field])):
            self.assertEqual(back, expected)
            self.came_back += 1

    def written(self, source, name, field):
        """How a value that stands in its key's line is written."""
        for line in spans._entry(source, name).split(b"\n")[1:]:
            text = line.rstrip(b"\r").decode("utf-8")
            if field in text and yamlsubset.read_line(text).key == field:
                start, end = entrytext._value_span(text)
                return text[start:end]
        raise AssertionError("no field %s" % field)

    def test_scalars_of_large_samples_come_back_byte_for_byte(self):
        seed = 7
        rng = random.Random(seed)
        data = manifest_samples.manifest(60, seed)
        source = spans.read(data)
        tried = 0
        for name, entry in source.root.items():
            for field, old in entry.items() if name in source.known else ():
                if isinstance(old, (list, dict)) or rng.random() < 0.5:
                    continue
                usual = {"patch": not old, "reboot": old is not True}
                new = usual.get(field, "x") if isinstance(old, (bool, str)) else (old + 1) % 7
                with self.subTest(seed=seed, name=name, field=field):
                    there = spans.change(source, {name: {field: new}}, TODAY)
                    if not there.spans:
                        continue
                    back = spans.change(spans.read(there.data), {name: {field: old}}, TODAY)
                    self.assertEqual(self.without_serial(back.data), self.without_serial(data))
                    self.verify(data, source, there)
                    tried += 1
        self.assertGreater(tried, 50)


if __name__ == "__main__":
    unittest.main()
