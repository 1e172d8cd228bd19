# SPDX-License-Identifier: BSD-2-Clause
"""The manual pages are the specification: they name what the code has, all of it and no more."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Set
from typing import Tuple

from qualvosec import ini
from qualvosec import log
from qualvosec import paths
from qualvosec.admin import commands as admin_commands
from qualvosec.admin import settings as admin
from qualvosec.admin.fleet import facts
from qualvosec.admin.fleet import overview
from qualvosec.client import commands as client_commands
from qualvosec.client import config as client
from qualvosec.client import daemon
from qualvosec.contract import call
from qualvosec.contract import names as packages
from qualvosec.contract import words as vocabulary
from qualvosec.helper import config as helper
from qualvosec.helper import managers
from qualvosec.manifest import document
from qualvosec.manifest import fields
from qualvosec.manifest import schema
from qualvosec.manifest.policy import Policy
from qualvosec.server import config as server
from qualvosec.server import main as server_main

from tests import ROOT
from tests import forked
from tests import mdoc

OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
LINKED = re.compile(r"^\.Xr (\S+) (\d)", re.M)
BLANK = "[general]\n"
# What each command takes, and a page tells once.
EVERYWHERE = {"-h", "--help", "-c", "--config"}


def run(program: str, *words: str, data: bytes = b"") -> Tuple[int, str]:
    """Exit code and output of a program of this checkout."""
    done = forked.run(os.path.join(ROOT, "bin", program), words, data,
                      {"LC_ALL": "C", "COLUMNS": "200"})
    return done.code, done.out + done.err


def options_of_help(text: str) -> Set[str]:
    """The options that a --help text explains."""
    found: Set[str] = set()
    for line in text.splitlines():
        if line.startswith("  -"):
            # The explanation is two blanks away; it may name other options.
            found.update(OPTION.findall(re.split(r"  +", line.strip())[0]))
    return found


def commands_of_help(text: str) -> Set[str]:
    """The sub-commands that a --help text lists."""
    return set(re.findall(r"^    ([a-z]+)(?:  |$)", text, re.M))


def options_of(items: Sequence[mdoc.Item]) -> Set[str]:
    """The options that items of a page explain, as they are typed."""
    return {"-" + name for item in items for name in item.named("Fl")}


class Synopsis(NamedTuple):
    """One form of a program's command line."""

    command: str
    options: Set[str]


def synopses(page: str) -> List[Synopsis]:
    """The forms in a page's SYNOPSIS."""
    found: List[Synopsis] = []
    for line in mdoc.sections(page)["SYNOPSIS"][1:]:
        words = line.split()
        if words[0] == ".Nm":
            found.append(Synopsis("", set()))
        elif words[0] == ".Cm":
            if not found[-1].command:
                found[-1] = Synopsis(words[1], found[-1].options)
        elif "Fl" in line:
            names = words[words.index("Fl" if "Fl" in words else ".Fl") + 1:]
            if words[0] == ".Op":
                names = names[:1]
            found[-1].options.update("-" + name for name in names if name != "|")
    return found


class Options(unittest.TestCase):

    def commands(self, page: str, program: str) -> Dict[str, Set[str]]:
        """Compare commands; return each with the options that its --help explains."""
        _, text = run(program, "--help")
        listed = {name for item in mdoc.items(page, "COMMANDS") for name in item.aliases()}
        self.assertGreater(len(listed), 1)
        self.assertEqual(set(listed), commands_of_help(text), page)
        return {name: options_of_help(run(program, name, "--help")[1]) for name in listed}

    def test_every_option_and_command_of_the_client_is_in_its_page_and_no_other(self) -> None:
        page = "qualvosec.8"
        top = options_of(mdoc.items(page, "DESCRIPTION"))
        self.assertEqual(top, options_of_help(run("qualvosec", "--help")[1]))
        shared: Set[str] = set()
        for item in mdoc.items(page, "COMMANDS"):
            name = item.named("Cm")[0]
            # policy has what next has, but the number.
            explained = options_of(item.items)
            if name == "next":
                shared = explained
            if name == "policy":
                self.assertEqual(explained, set())
                continue
            self.assertEqual(explained | EVERYWHERE,
                             options_of_help(run("qualvosec", name, "--help")[1]), name)
        self.assertEqual(shared - {"-n", "--count"} | EVERYWHERE,
                         options_of_help(run("qualvosec", "policy", "--help")[1]))

    def test_every_option_and_command_of_the_admin_tool_is_in_its_page_and_no_other(self) -> None:
        page = "qualvosec-admin.8"
        top = options_of(mdoc.items(page, "DESCRIPTION"))
        everywhere = EVERYWHERE | {"--manifest"}
        self.assertEqual(top - {"--manifest"},
                         options_of_help(run("qualvosec-admin", "--help")[1]))
        offered = self.commands(page, "qualvosec-admin")
        for item in mdoc.items(page, "COMMANDS"):
            for name in item.aliases():
                self.assertEqual(options_of(item.items) | everywhere, offered[name], name)

    def test_every_option_of_the_server_is_in_its_page_and_no_other(self) -> None:
        self.assertEqual(options_of(mdoc.items("qualvosec-server.8", "DESCRIPTION")),
                         options_of_help(run("qualvosec-server", "--help")[1]))

    def test_synopsis_and_explanation_of_a_page_name_the_same(self) -> None:
        for page in ("qualvosec.8", "qualvosec-admin.8", "qualvosec-server.8",
                     "qualvosec-helper.8"):
            forms = synopses(page)
            used = {option for form in forms for option in form.options}
            told = options_of(mdoc.all_items(mdoc.items(page, "DESCRIPTION")))
            listed: Set[str] = set()
            if "COMMANDS" in mdoc.sections(page):
                items = mdoc.items(page, "COMMANDS")
                told |= options_of(mdoc.all_items(items))
                listed = {item.aliases()[0] for item in items}
            # Long forms of a short option stand in the explanation alone.
            self.assertEqual(told - used - {"--config", "--count"}, set(), page)
            self.assertEqual(used - told, set(), page)
            self.assertEqual({form.command for form in forms} - {""}, listed, page)

    def test_usage_of_the_daemon_names_every_command(self) -> None:
        named = re.findall(r"\] ((?:[a-z]+\|)+[a-z]+) ", daemon.USAGE)[0].split("|")
        self.assertEqual(sorted(named), sorted(client_commands._COMMANDS))

    def test_both_names_of_the_configuration_start_the_daemon_and_its_commands(self) -> None:
        missing = "/nonexistent/q.conf: no such file or directory: write it"
        for option in ("-c", "--config"):
            for words, code in (((), 2), (("status",), 3), (("configtest",), 2)):
                found = run("qualvosec", option, "/nonexistent/q.conf", *words)
                self.assertEqual(found[0], code, found)
                self.assertIn(missing, found[1])
                self.assertEqual("cannot start" in found[1], not words, found)
            self.assertEqual(run("qualvosec", option), (
                2, "%squalvosec: %s: needs the name of a FILE\n" % (daemon.USAGE, option)))

    def test_what_reset_takes_is_explained(self) -> None:
        item = [item for item in mdoc.items("qualvosec.8", "COMMANDS")
                if item.named("Cm")[0] == "reset"][0]
        self.assertEqual(item.named("Cm")[1:], [each.named("Cm")[0] for each in item.items])
        self.assertIn("{%s}" % ",".join(item.named("Cm")[1:]), run("qualvosec", "reset", "-h")[1])

    def test_examples_are_command_lines_that_the_programs_take(self) -> None:
        parsers = {"qualvosec": client_commands._parser(),
                   "qualvosec-admin": admin_commands._parser(),
                   "qualvosec-server": server_main.arguments()}
        tried = 0
        for page in mdoc.PAGES:
            text = "\n".join(mdoc.sections(page).get("EXAMPLES", []))
            text = text.replace("\\e\n", "").replace(".Dl ", "")
            for line in re.findall(r"^[$#] (.*)$", text, re.M):
                words = shlex.split(line.split("&&")[0])
                if words[:2] == ["sudo", "-u"]:
                    words = words[3:]
                program = os.path.basename(words[0])
                if program in parsers:
                    parsers[program].parse_args(words[1:])
                    tried += 1
        self.assertGreater(tried, 4)


class Keys(unittest.TestCase):
    """Page, section, known keys, defaults, sample and reader of each configuration."""

    def rows(self) -> List[Tuple[str, str, Sequence[str], object, str]]:
        return [("qualvosec.conf.5", "KEYS", client.KEYS, client.Config("", ""), "qualvosec.conf"),
                ("qualvosec-helper.8", "CONFIGURATION", helper.Config._fields, helper.Config(),
                 "helper.conf"),
                ("qualvosec-admin.8", "CONFIGURATION", admin.KEYS, admin.Settings(),
                 "qualvosec_admin.conf"),
                ("qualvosec-server.8", "CONFIGURATION", server.KEYS, server.Config(),
                 "qualvosec_server.conf")]

    def test_pages_samples_and_code_have_the_same_keys(self) -> None:
        for page, section, keys, _, sample in self.rows():
            told = [item.named("Ic")[0] for item in mdoc.items(page, section)]
            self.assertEqual(sorted(told), sorted(keys), page)
            with open(os.path.join(ROOT, "etc", sample), encoding="utf-8") as handle:
                shown = re.findall(r"^#?([a-z]\w+): ", handle.read(), re.M)
            self.assertEqual(sorted(shown), sorted(keys), sample)

    def test_defaults_of_the_pages_are_those_of_the_code(self) -> None:
        for page, section, _, defaults, _ in self.rows():
            for item in mdoc.items(page, section):
                key = item.named("Ic")[0]
                value = getattr(defaults, key)
                found = re.search(r"default is (.+?)[.,:]?(?: |$)", item.text())
                if value in ("", ()) or key == "allow":
                    continue        # the default is told in words
                if key == "log_file_path":
                    self.assertEqual([path for path in value if path not in item.text()], [])
                    continue
                assert found is not None, "%s: %s: no default" % (page, key)
                expected = str(value).lower() if isinstance(value, bool) else str(value)
                if key in ("fetch_interval", "max_age"):
                    expected = client.span(value)
                told = found.group(1).split(",")[0] if value == "-" else found.group(1)
                self.assertEqual(told, expected, (page, key))

    def test_ranges_of_the_pages_are_those_of_the_code(self) -> None:
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        tried = 0
        for page, section, _, _, _ in self.rows():
            if page == "qualvosec-server.8":
                continue            # its one number is a port
            for item in mdoc.items(page, section):
                key = item.named("Ic")[0]
                text = "%s%s: 999999999x\n" % (BLANK, key)
                path = os.path.join(folder, "x.conf")
                with open(path, "w", encoding="utf-8") as handle:
                    handle.write(text + ("server: https://x\n" if key != "server"
                                         and page == "qualvosec.conf.5" else ""))
                os.chmod(path, 0o644)
                reader = {"qualvosec.conf.5": client.read, "qualvosec-helper.8": helper.read,
                          "qualvosec-admin.8": admin.read}[page]
                try:
                    reader(path)    # type: ignore[operator]
                except Exception as error:
                    limits = re.search(r"from (\d+[a-z]?) to (\d+[a-z]?)\b", str(error))
                    if limits and limits.group(2) != "65535":
                        self.assertIn("%s to %s" % limits.groups(), item.text(), (page, key))
                        tried += 1
        self.assertGreater(tried, 5)

    def test_closed_lists_of_the_page_are_those_of_the_code(self) -> None:
        items = {item.named("Ic")[0]: item for item in mdoc.items("qualvosec.conf.5", "KEYS")}
        handlers = [item.named("Cm")[0] for item in items["log_handler"].items]
        self.assertEqual(handlers, [name.split("(")[0] for name in log.HANDLERS])
        for key, values in (("log_level", log.LEVELS), ("privilege", client.PRIVILEGES),
                            ("report", client.REPORTS)):
            told: Set[str] = set()
            for line in items[key].lines:
                if line.startswith(".Cm "):
                    told.update(re.findall(r"\w+", line[4:]))
            self.assertEqual(told, set(values), key)
        text = mdoc.plain(mdoc.sections("qualvosec.conf.5")["DESCRIPTION"])
        self.assertIn("Truth values are %s or %s." % (", ".join(ini._TRUE), ", ".join(ini._FALSE)),
                      text)
        self.assertIn("a unit, %s or d; without" % ", ".join(
            unit for unit in client._UNITS if unit != "d"), text)
        items = {item.named("Ic")[0]: item
                 for item in mdoc.items("qualvosec-helper.8", "CONFIGURATION")}
        told = {word for line in items["package_manager"].lines if line.startswith(".Cm ")
                for word in line.split()[1:] if word not in (",", ".")}
        self.assertEqual(told, {"auto"} | set(managers.KINDS))

    def test_example_of_the_configuration_is_read(self) -> None:
        (text,) = mdoc.literal("qualvosec.conf.5", "EXAMPLES")
        self.assertEqual(client.from_text(text).server, "https://patching.example.org")


class Manifest(unittest.TestCase):

    def test_page_and_code_have_the_same_fields(self) -> None:
        told = [item.named("Ic")[0] for item in mdoc.items("qualvosec-manifest.5",
                                                           "FIELDS OF A HOST")]
        self.assertEqual(sorted(told), sorted(fields.FIELDS))

    def test_page_and_code_have_the_same_reserved_names(self) -> None:
        items = mdoc.items("qualvosec-manifest.5", "RESERVED NAMES")
        self.assertEqual({item.named("Ic")[0] for item in items}, set(schema.RESERVED))
        header = [item for item in items if item.named("Ic")[0] == schema.HEADER][0]
        self.assertEqual({item.named("Ic")[0] for item in header.items},
                         set(schema.Header._fields))

    def remedy_for(self, name: str, value: object) -> str:
        """What the reader of a field says is to be done about a value."""
        fixes: List[str] = []

        def complain(what: str, fix: str, index: object = None) -> None:
            fixes.append(fix)

        fields.FIELDS[name].read(value, complain)
        return "".join(fixes)

    def test_defaults_and_ranges_of_the_fields_are_those_of_the_code(self) -> None:
        for item in mdoc.items("qualvosec-manifest.5", "FIELDS OF A HOST"):
            name = item.named("Ic")[0]
            value = getattr(Policy(), fields.FIELDS[name].policy)
            found = re.search(r"default is (\w+)", item.text())
            if name == "hour":
                self.assertIsNone(found)        # it has to be given
            elif isinstance(value, (bool, int, str)):
                assert found is not None, name
                expected = "false" if value in (False, "never") and name in (
                    "patch", "reboot", "security_only") else str(value)
                self.assertEqual(found.group(1), expected, name)
            limits = re.search(r"from (\d+) to (\d+)", self.remedy_for(name, 10 ** 9))
            if limits and name != "splay":      # no longer than the window
                self.assertIn("%s to %s" % limits.groups(), item.text(), name)

    def test_caps_of_the_page_are_those_of_the_code(self) -> None:
        text = mdoc.plain(mdoc.sections("qualvosec-manifest.5")["FIELDS OF A HOST"])
        for words in ("At most %d patterns of %d characters." % (packages.MAX_PATTERNS,
                                                                 packages.MAX_PATTERN),
                      "At most %d names of %d characters." % (fields.MAX_LABELS,
                                                              fields.MAX_LABEL_CHARS),
                      "At most %d." % fields.MAX_RANGES):
            self.assertIn(words, text)

    def test_example_has_no_fault(self) -> None:
        (text,) = mdoc.literal("qualvosec-manifest.5", "EXAMPLES")
        found = document.read(text.encode("utf-8"), 738000)
        self.assertEqual([p for p in found.problems if p.severity == "error"], [])
        self.assertEqual(len(found.hosts), 2)


class Vocabulary(unittest.TestCase):

    def test_outcomes_and_states_of_the_reboot_are_those_of_the_code(self) -> None:
        items = mdoc.items("qualvosec.8", "DIAGNOSTICS")
        self.assertEqual([item.named("Sy")[0] for item in items], list(vocabulary.OUTCOMES))
        self.assertIn("one of %s." % ", ".join(vocabulary.REBOOTS),
                      mdoc.plain(mdoc.sections("qualvosec.8")["DIAGNOSTICS"]))

    def test_requests_to_the_helper_are_those_of_the_code(self) -> None:
        items = mdoc.items("qualvosec-helper.8", "DESCRIPTION/Requests")
        told = {}
        for item in items:
            after = item.text().split("Further key")[1]
            keys = after.split(": ", 1)[1].split(", whether")[0]
            told[item.named("Cm")[0]] = set(re.findall(r"\w+", keys))
        self.assertEqual(told, {op: set(keys) for op, keys in call.KEYS.items()})

    def test_hooks_and_their_variables_are_those_of_the_code(self) -> None:
        with open(os.path.join(ROOT, "lib/qualvosec/helper/transaction.py"),
                  encoding="utf-8") as handle:
            kinds = set(re.findall(r'_hooks\("([\w-]+)"', handle.read()))
        items = mdoc.items("qualvosec-helper.8", "CONFIGURATION/Hooks")
        self.assertEqual({item.named("Pa")[0] for item in items}, {kind + ".d" for kind in kinds})
        told = {item.named("Ev")[0] for item in mdoc.items("qualvosec-helper.8", "ENVIRONMENT")}
        self.assertEqual(told, {"QUALVOSEC_HOOK", "QUALVOSEC_WINDOW", "QUALVOSEC_OUTCOME"})

    def test_status_words_of_the_overview_are_those_of_the_code(self) -> None:
        with open(overview.__file__, encoding="utf-8") as handle:
            text = handle.read()
        words = set(re.findall(r'status = "([a-z ]+)"', text))
        words |= set(re.findall(r'else "([a-z ]+)"$', text, re.M))
        words |= set(re.findall(r'return "([a-z]+ [a-z]+(?: [a-z]+)?)"', text))
        items = mdoc.items("qualvosec-admin.8", "COMMANDS/Status of a host")
        self.assertEqual({" ".join(item.words[1:]) for item in items},
                         words | {"orphaned", "never seen", "newer"})

    def test_what_statuses_ask_of_a_person_is_told_as_the_code_has_it(self) -> None:
        with open(os.path.join(ROOT, "man", "qualvosec-admin.8"), encoding="utf-8") as handle:
            good, warn = re.findall(r"^(?:Good|Worth a look) are\n((?:\.Sy .*\n|and\n)+)",
                                    handle.read(), re.M)
        for told, level in ((good, facts.GOOD), (warn, facts.WARN)):
            words = [word.strip() for word in re.sub(r"^\.Sy|^and$|\.$", ",", told, flags=re.M)
                     .split(",") if word.strip()]
            self.assertEqual(set(words), {status for status in facts.STATUSES
                                          if facts.level(status) == level})


class ExitStatus(unittest.TestCase):

    def told(self, page: str) -> List[str]:
        return [item.words[0] for item in mdoc.items(page, "EXIT STATUS")]

    def test_pages_name_the_codes_that_the_programs_end_with(self) -> None:
        for program in ("qualvosec", "qualvosec-admin", "qualvosec-server"):
            expected = ["0", "1", "2"]
            if program == "qualvosec":
                expected += ["0", "1", "2", "3"]        # status
            self.assertEqual(self.told(program + ".8"), expected)
            self.assertEqual(run(program, "--version")[0], 0)
            self.assertEqual(run(program, "-c", "/nonexistent")[0], 2)
            self.assertEqual(run(program, "--nonsense")[0], 2)
        self.assertEqual(run("qualvosec", "policy", "--manifest", "/nonexistent", "--fqdn",
                             "a.example.org", "-c", "/nonexistent")[0], 2)
        self.assertEqual(run("qualvosec-admin", "check", "/nonexistent")[0], 1)
        self.assertEqual(run("qualvosec-server", "--root", "/", "--port", "0", "--listener",
                             "192.0.2.1")[0], 1)

    def test_status_answers_unknown_for_wrong_usage_and_configuration(self) -> None:
        self.assertEqual(run("qualvosec", "status", "--nonsense")[0], 3)
        self.assertEqual(run("qualvosec", "-c", "/nonexistent", "status")[0], 3)

    def test_helper_ends_with_the_codes_of_its_page(self) -> None:
        self.assertEqual(self.told("qualvosec-helper.8"), ["0", "1", "2"])
        self.assertEqual(run("qualvosec-helper", "--version")[0], 0)
        self.assertEqual(run("qualvosec-helper", "--nonsense")[0], 2)
        self.assertEqual(run("qualvosec-helper", data=b"{}")[0], 2)
        if os.geteuid() != 0:       # as root it would look at this machine's own record
            late = (b'{"v":1,"op":"reboot","window":"20260101T0000Z","not_after":1}')
            self.assertEqual(run("qualvosec-helper", data=late)[0], 1)


class Pages(unittest.TestCase):

    def links(self) -> Set[Tuple[str, str]]:
        found: Set[Tuple[str, str]] = set()
        for page in mdoc.PAGES:
            with open(os.path.join(mdoc.FOLDER, page), encoding="utf-8") as handle:
                found.update(LINKED.findall(handle.read()))
        return found

    def test_folder_holds_these_pages_and_no_other(self) -> None:
        self.assertEqual(sorted(os.listdir(mdoc.FOLDER)), sorted(mdoc.PAGES))

    def test_links_to_our_own_pages_lead_somewhere(self) -> None:
        for name, section in self.links():
            if name.startswith("qualvosec"):
                self.assertIn("%s.%s" % (name, section), mdoc.PAGES)

    def test_every_program_unit_and_module_that_names_a_page_names_one_that_exists(self) -> None:
        ours = re.compile(r"\b(qualvosec[\w.-]*)\((\d)\)")
        for folder in ("bin", "lib", "systemd", "etc", "rc.d"):
            for base, folders, names in os.walk(os.path.join(ROOT, folder)):
                folders[:] = [each for each in folders if each[0] not in "._"]
                for name in names:
                    with open(os.path.join(base, name), encoding="utf-8") as handle:
                        for page in ours.findall(handle.read()):
                            self.assertIn("%s.%s" % page, mdoc.PAGES, os.path.join(base, name))

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_mandoc_has_nothing_to_say(self) -> None:
        # Pages that are referred to have to be found: ours, and others as stand-ins.
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        for name, section in self.links() | {tuple(page.rsplit(".", 1)) for page in mdoc.PAGES}:
            page = "%s.%s" % (name, section)
            target = os.path.join(folder, "man" + section, page)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if page in mdoc.PAGES:
                shutil.copy(os.path.join(mdoc.FOLDER, page), target)
                continue
            with open(target, "w", encoding="utf-8") as handle:
                handle.write(".Dd November 23, 2026\n.Dt %s %s\n.Os\n.Sh NAME\n.Nm %s\n"
                             ".Nd of another product\n" % (name.upper(), section, name))
        if shutil.which("makewhatis"):
            subprocess.run(["makewhatis", folder], check=True)
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "style"]
            + [os.path.join(mdoc.FOLDER, page) for page in mdoc.PAGES],
            env={"MANPATH": folder, "PATH": os.environ.get("PATH", os.defpath)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = [line for line in done.stdout.decode().splitlines() if "outdated mandoc.db" not in
                line]
        self.assertEqual(said, [])

    def test_directories_of_the_pages_are_those_that_installation_replaces(self) -> None:
        known = (paths.CONFIG_DIR, paths.STATE_DIR, paths.HELPER_STATE_DIR, paths.HELPER_LOG_DIR,
                 "/usr/local/libexec/qualvosec/", "/usr/local/sbin/",
                 "/etc/sudoers.d",
                 "/usr/local/share/doc/qualvosec/", "/etc/systemd/system/qualvosec.service.d/",
                 "/etc/doas.conf", "/etc/cron.d", "/srv/patching", "/var/log/nginx/", "/dev/null",
                 "/var/log/qualvosec-server")
        for page in mdoc.PAGES:
            with open(os.path.join(mdoc.FOLDER, page), encoding="utf-8") as handle:
                for path in re.findall(r"(?<![\w/.:])/(?:etc|usr|var|srv|dev)/[\w./-]+",
                                       handle.read()):
                    self.assertTrue(path.startswith(known), "%s: %s" % (page, path))


if __name__ == "__main__":
    unittest.main()
