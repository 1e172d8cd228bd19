# SPDX-License-Identifier: BSD-2-Clause
"""What the fields of a manifest may hold, and which level decides."""

import datetime
import unittest

from qualvosec.manifest import schema
from qualvosec.manifest.fields import FIELDS
from qualvosec.manifest.policy import Policy
from qualvosec.manifest.policy import from_json
from qualvosec.manifest.policy import to_json

ABSENT = schema.ABSENT
HOST = "web01.example.org"


def day(text):
    return datetime.datetime.strptime(text, "%Y-%m-%d").date().toordinal()


def policy(host, groups=ABSENT, defaults=ABSENT):
    found, faults, _ = schema.effective(host, groups, defaults, HOST)
    if found is None or faults:
        raise AssertionError("refused: %s" % [fault.message for fault in faults])
    return found


def messages(host, groups=ABSENT, defaults=ABSENT):
    found, faults, _ = schema.effective(host, groups, defaults, HOST)
    if found is not None:
        raise AssertionError("accepted: %r" % (found,))
    return [fault.message for fault in faults]


def with_fields(**fields):
    return dict({"patch": True, "weekday": 1, "hour": 3}, **fields)


class FieldTest(unittest.TestCase):

    def test_every_field_of_an_entry_reaches_the_policy(self):
        found = policy({
            "patch": True, "reboot": "required", "weekday": ["sun", 0], "hour": 23, "minute": 59,
            "duration": 1440, "reboot_grace": 0, "splay": 1440, "week": ["last", 1],
            "freeze": ["2026-12-20/2027-01-05"], "catch_up": 168, "security_only": True,
            "packages_whitelist": ["libc6:amd64", "python3*"], "packages_blacklist": ["vim"],
            "group_membership": ["prod", "patch_cycle_monday"], "x-owner": "web team"})
        self.assertEqual(found, Policy(
            patch=True, reboot="required", weekdays=(0, 6), hour=23, minute=59, duration=1440,
            reboot_grace=0, splay=1440, weeks=(-1, 1),
            freeze=((day("2026-12-20"), day("2027-01-05")),), catch_up=168, security_only=True,
            only=("libc6:amd64", "python3*"), exclude=("vim",),
            groups=("prod", "patch_cycle_monday")))

    def test_every_policy_that_the_schema_makes_is_accepted_by_the_daemon(self):
        for fields in ({"patch": False}, with_fields(week=["last", 5, 1], weekday=[6, "mon"]),
                       with_fields(freeze=["0001-01-01/9999-12-31"], packages_whitelist=["a*"])):
            found = policy(fields)
            self.assertEqual(from_json(to_json(found)), found)

    def test_what_is_not_written_has_the_documented_default(self):
        self.assertEqual(policy({"patch": False}), Policy())

    def test_reboot_true_is_always_and_false_is_never(self):
        self.assertEqual(policy(with_fields(reboot=True)).reboot, "always")
        self.assertEqual(policy(with_fields(reboot=False)).reboot, "never")

    def test_a_day_may_be_a_number_an_english_name_or_its_first_three_letters(self):
        for value in (2, "Wednesday", "wednesday", "WED", ["wed"], [2, "Wednesday"]):
            with self.subTest(value=value):
                self.assertEqual(policy(with_fields(weekday=value)).weekdays, (2,))

    def test_wrong_values_are_refused_with_field_and_remedy(self):
        cases = (
            ("patch", "yes", "neither true nor false"), ("patch", 1, "write true or false"),
            ("patch", None, "nothing"), ("security_only", "on", "neither true nor false"),
            ("reboot", "sometimes", "write true, false or required"), ("reboot", 1, "not known"),
            ("weekday", 7, "7 is not a day: use 0 (Monday) to 6"), ("weekday", -1, "not a day"),
            ("weekday", True, "not a day"), ("weekday", "Tuesdy", "did you mean Tuesday?"),
            ("weekday", "1", "not a day"), ("weekday", [], "empty"), ("weekday", [[1]], "a list"),
            ("weekday", None, "nothing is not a day"), ("weekday", "1-5", "not a day"),
            ("hour", 24, "0 to 23"), ("hour", -1, "0 to 23"), ("hour", "3", "not a number"),
            ("hour", True, "not a number"), ("hour", "08", "not a number"), ("hour", [3], "a list"),
            ("minute", 60, "0 to 59"), ("duration", 0, "1 to 1440"), ("duration", 1441, "1 to"),
            ("reboot_grace", 1441, "0 to 1440"), ("splay", -1, "0 to 1440"),
            ("catch_up", 169, "0 to 168"), ("catch_up", "2h", "not a number"),
            ("week", 0, "use 1 to 5 or last"), ("week", 6, "1 to 5"), ("week", [], "empty"),
            ("week", "first", "use 1 to 5 or last"), ("week", -1, "1 to 5"),
            ("freeze", [], "empty"), ("freeze", "2026-12-20/2027-01-05", "not a list"),
            ("freeze", ["2026-12-20"], "not a range"), ("freeze", [20261220], "not a range"),
            ("freeze", ["2026-02-30/2026-03-01"], "'2026-02-30' is not a date"),
            ("freeze", ["2026-1-1/2026-1-2"], "not a date"),
            ("freeze", ["2027-01-05/2026-12-20"], "ends before it begins"),
            ("freeze", ["2026-01-01/2026-01-02/2026-01-03"], "not a range"),
            ("freeze", ["٢٠٢٦-01-01/2026-01-02"], "not a date"),
            ("freeze", None, "nothing is not a list"),
            ("packages_whitelist", "a, b", "write [a, b]"), ("packages_whitelist", [], "empty"),
            ("packages_blacklist", [9], "quote it"), ("packages_blacklist", ["-y"], "-y"),
            ("packages_blacklist", ["a b"], "letters"), ("packages_blacklist", [""], "'' is not"),
            ("packages_blacklist", ["../x"], "letters"), ("packages_blacklist", ["a/b"], "a/b"),
            ("packages_blacklist", ["a" * 129], "more than 128"),
            ("packages_blacklist", ["vim\n"], "vim\\x0a"), ("packages_blacklist", [None], "quote"),
            ("packages_whitelist", ["$(id)"], "letters"), ("packages_whitelist", ["vim="], "vim="),
            ("group_membership", "prod", "write [prod]"), ("group_membership", [], "empty"),
            ("group_membership", [1], "quote it"), ("group_membership", ["a b"], "letters"),
            ("group_membership", ["a" * 65], "64"), ("group_membership", [""], "'' is not"),
        )
        for field, value, expected in cases:
            with self.subTest(field=field, value=value):
                found = messages(with_fields(**{field: value}))
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(field + ": "), found[0])
                self.assertIn(expected, found[0])

    def test_every_value_of_a_wrong_type_is_refused_by_every_field(self):
        class Odd:
            pass
        for field in FIELDS:
            for number, value in enumerate((None, {}, {"a": 1}, 1.5, Odd(), [{}], [[]], [None],
                                            10 ** 5000, [-10 ** 5000], "\x1b[2J")):
                with self.subTest(field=field, number=number):
                    found = messages(with_fields(**{field: value}))
                    self.assertTrue(all(len(text) < 250 for text in found), found)
                    self.assertFalse(any("\x1b" in text for text in found), found)

    def test_every_bad_item_of_a_list_is_named_by_its_place(self):
        _, faults, _ = schema.effective(
            with_fields(weekday=[0, 9, "mon", "x"]), ABSENT, ABSENT, HOST)
        self.assertEqual([fault.path for fault in faults],
                         [(HOST, "weekday", 1), (HOST, "weekday", 3)])

    def test_an_unknown_field_makes_the_entry_invalid_and_names_the_nearest(self):
        self.assertEqual(messages(with_fields(weekdy=1)),
                         ["weekdy: unknown field: did you mean weekday?"])
        self.assertEqual(messages(with_fields(blacklist=["vim"])),
                         ["blacklist: unknown field: did you mean packages_blacklist?"])
        self.assertIn("name it x-...", messages(with_fields(zzzz=1))[0])

    def test_fields_that_start_with_x_are_the_administrators(self):
        self.assertEqual(policy(with_fields(**{"x-rack": [1, {"a": None}]})), policy(with_fields()))

    def test_more_patterns_than_the_helper_takes_are_refused(self):
        self.assertEqual(len(policy(with_fields(
            packages_blacklist=["p%d" % n for n in range(500)])).exclude), 500)
        self.assertIn("too many", messages(with_fields(
            packages_blacklist=["p%d" % n for n in range(501)]))[0])

    def test_package_lists_that_do_not_fit_into_one_request_are_refused(self):
        long = ["%0120d" % n for n in range(130)]
        self.assertIn("too long together", messages(with_fields(packages_blacklist=long))[0])
        self.assertIn("too long together", messages(with_fields(
            packages_whitelist=long[:65], packages_blacklist=long[65:]))[0])


class LevelTest(unittest.TestCase):

    def test_the_host_wins_over_its_groups_and_these_over_the_defaults(self):
        found = policy(with_fields(group_membership=["a", "b"], minute=1),
                       {"a": {"minute": 2, "duration": 20, "splay": 2}, "b": {"duration": 30}},
                       {"minute": 3, "duration": 40, "splay": 4, "catch_up": 5})
        self.assertEqual((found.minute, found.duration, found.splay, found.catch_up),
                         (1, 30, 2, 5))

    def test_of_two_groups_the_later_named_in_the_entry_wins(self):
        groups = {"a": {"duration": 20}, "b": {"duration": 30}}
        self.assertEqual(policy(with_fields(group_membership=["b", "a"]), groups).duration, 20)

    def test_freeze_and_blacklist_are_united_over_all_levels(self):
        found = policy(with_fields(group_membership=["a"], packages_blacklist=["vim"],
                                   freeze=["2026-01-01/2026-01-02"]),
                       {"a": {"packages_blacklist": ["nano", "vim"],
                              "freeze": ["2026-02-01/2026-02-02"]}},
                       {"packages_blacklist": ["kernel*"], "freeze": ["2026-03-01/2026-03-02"]})
        self.assertEqual(set(found.exclude), {"vim", "nano", "kernel*"})
        self.assertEqual(len(found.freeze), 3)

    def test_a_whitelist_of_the_host_replaces_the_groups(self):
        found = policy(with_fields(group_membership=["a"], packages_whitelist=["nginx"]),
                       {"a": {"packages_whitelist": ["vim"]}})
        self.assertEqual(found.only, ("nginx",))

    def test_a_host_that_is_patched_needs_day_and_hour_from_some_level(self):
        self.assertEqual(policy({"patch": True}, defaults={"weekday": 1, "hour": 0}).weekdays, (1,))
        self.assertEqual(messages({"patch": True, "hour": 0}),
                         ["patch: true without weekday: add weekday: 0 (Monday) to 6 or an "
                          "English day name"])
        self.assertIn("true without hour", messages({"patch": True, "weekday": 0})[0])
        self.assertEqual(policy({"patch": False}).patch, False)

    def test_splay_may_not_exceed_the_duration_wherever_they_come_from(self):
        self.assertEqual(policy(with_fields(splay=60)).splay, 60)
        self.assertIn("0 to 60", messages(with_fields(splay=61))[0])
        self.assertIn("0 to 30", messages(with_fields(splay=31), defaults={"duration": 30})[0])
        self.assertEqual(policy(with_fields(splay=90), defaults={"duration": 90}).splay, 90)

    def test_a_fault_in_a_level_that_the_host_uses_makes_it_invalid(self):
        self.assertTrue(messages(with_fields(), defaults={"hour": 99}))
        self.assertTrue(messages(with_fields(group_membership=["a"]), {"a": {"hour": 99}}))
        self.assertTrue(messages(with_fields(group_membership=["a"]), {"a": None}))

    def test_a_fault_in_a_group_of_others_is_none_of_its_business(self):
        self.assertEqual(policy(with_fields(group_membership=["a"]),
                                {"a": {"splay": 1}, "b": {"hour": 99}, "c d": None}).splay, 1)
        self.assertEqual(policy(with_fields(), {"b": {"hour": 99}}).splay, 0)

    def test_a_label_without_an_entry_in_groups_is_only_a_label(self):
        self.assertEqual(policy(with_fields(group_membership=["x"]), {"a": {"splay": 1}}).groups,
                         ("x",))

    def test_sections_whose_fields_slipped_to_column_one_are_faults_not_absent(self):
        self.assertIn("indent them", messages(with_fields(), defaults=None)[0])
        self.assertIn("indent them", messages(with_fields(), groups=None)[0])
        self.assertIn("indent them", messages(None)[0])
        self.assertIn("instead of fields", messages([1])[0])

    def test_a_field_in_column_one_is_called_that(self):
        self.assertEqual(schema.read_level(None, ("group_membership",)).faults[0].message,
                         "group_membership: a field in column 1: indent it below its host")

    def test_membership_belongs_into_hosts_alone(self):
        self.assertIn("not possible here",
                      messages(with_fields(), defaults={"group_membership": ["a"]})[0])
        self.assertIn("not possible here",
                      schema.read_level({"group_membership": ["a"]},
                                        (".groups", "b")).faults[0].message)

    def test_the_place_that_decided_each_field_is_known(self):
        _, _, places = schema.effective(
            with_fields(group_membership=["a"], freeze=["2026-01-01/2026-01-02"]),
            {"a": {"duration": 9, "freeze": ["2026-01-01/2026-01-02"]}}, {"hour": 1, "minute": 2},
            HOST)
        self.assertEqual(places["hour"], ((HOST, "hour"),))
        self.assertEqual(places["minute"], ((".defaults", "minute"),))
        self.assertEqual(places["duration"], ((".groups", "a", "duration"),))
        self.assertEqual(places["freeze"], ((".groups", "a", "freeze"), (HOST, "freeze")))


class HeaderTest(unittest.TestCase):

    def test_serial_expiry_and_audience_are_read(self):
        header, faults = schema.check_header(
            {"serial": 2026112301, "expires": "2026-12-23", "audience": "prod", "x-by": 1})
        self.assertEqual(faults, [])
        self.assertEqual(header, schema.Header(2026112301, day("2026-12-23"), "prod"))
        self.assertEqual(schema.check_header(ABSENT), (schema.Header(), []))

    def test_wrong_values_are_refused(self):
        for name, value, expected in (
                ("serial", "1", "not a number"), ("serial", -1, "range"),
                ("serial", 10 ** 18, "range"), ("expires", "23.12.2026", "in quotes"),
                ("expires", 20261223, "not a date"), ("audience", "", "not a name"),
                ("audience", ["a"], "not a name"), ("serail", 1, "did you mean serial?")):
            with self.subTest(name=name, value=value):
                _, faults = schema.check_header({name: value})
                self.assertEqual(len(faults), 1)
                self.assertIn(expected, faults[0].message)
        self.assertIn("no fields", schema.check_header(None)[1][0].message)


class NameTest(unittest.TestCase):

    def test_host_names_follow_rfc_1123(self):
        for name in ("web01.example.org", "WEB01.example.org.", "a", "3com.example.org",
                     "a" * 63 + ".b", "10.0.0.1"):
            with self.subTest(name=name):
                self.assertEqual(schema.host_name_fault(name), "")
        for name in ("", ".", "*", "*.example.org", "a_b", "-a", "a-", "a..b", "a" * 64, "ä.org",
                     "a b", ".x", "a\n", "\u212a.org", "a.b..", ".".join(["a" * 49] * 6)):
            with self.subTest(name=name):
                self.assertNotEqual(schema.host_name_fault(name), "")

    def test_names_are_compared_without_case_and_final_dot(self):
        self.assertEqual(schema.fold("WEB01.Example.ORG."), "web01.example.org")


if __name__ == "__main__":
    unittest.main()
