# SPDX-License-Identifier: BSD-2-Clause
"""Boot id, uptime, name and veto, read from files that a test prepares."""

import os
import tempfile
import unittest

from qualvosec.client import host

from tests import newcomer


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)


class Boot(Folder):
    def test_linux_names_every_boot(self) -> None:
        self.write("proc/sys/kernel/random/boot_id", "2f1e-aa\n")
        self.write("proc/uptime", "1234.56 99.0\n")
        self.assertEqual(host.boot(5000.0, self.folder), ("2f1e-aa", 1234))

    def test_what_root_sees_counts_where_the_unit_tells_it(self) -> None:
        self.write("proc/sys/kernel/random/boot_id", "another\n")
        self.write("proc/uptime", "1234.56 99.0\n")
        self.write("run/qualvosec-boot-id", "2f1e-aa\n")
        self.assertEqual(host.boot(5000.0, self.folder), ("2f1e-aa", 1234))

    def test_the_procfs_of_a_bsd_does_not_pass_for_linux(self) -> None:
        self.write("proc/uptime", "77.00 5.00\n")
        self.assertEqual(host.boot(5000.0, self.folder, lambda: 1000.0), ("4000", 1000))

    def test_elsewhere_the_time_of_the_boot_is_digits_only(self) -> None:
        name, uptime = host.boot(5000.5, self.folder, lambda: 1000.2)
        self.assertEqual((name, uptime), ("4000", 1000))


# As the installer of Debian 12 writes it, without and with a domain (netcfg, hosts.c), and as
# anaconda and FreeBSD leave it.
DEBIAN = """127.0.0.1\tlocalhost
127.0.1.1\t%s

# The following lines are desirable for IPv6 capable hosts
::1     localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
FEDORA = """127.0.0.1   localhost localhost.localdomain localhost4 localhost4.localdomain4
::1         localhost localhost.localdomain localhost6 localhost6.localdomain6
"""
FREEBSD = """::1\t\t\tlocalhost localhost.my.domain
127.0.0.1\t\tlocalhost localhost.my.domain
"""


class Starting(Folder):
    def test_every_system_is_told_its_own_command(self) -> None:
        said = {system: host.starting(self.folder, system)
                for system in ("FreeBSD", "OpenBSD", "NetBSD")}
        self.assertEqual(host.starting(self.folder, "Linux"), "start the service qualvosec")
        os.makedirs(os.path.join(self.folder, "run/openrc"))
        said["Alpine"] = host.starting(self.folder, "Linux")
        os.makedirs(os.path.join(self.folder, "run/systemd/system"))
        said["Debian"] = host.starting(self.folder, "Linux")
        blocks = newcomer.read()
        for system, command in said.items():
            told = " && ".join(newcomer.bare(line.text) for line in blocks[system.lower()])
            self.assertTrue(told.endswith(command), "%s: %s: README: %s" % (system, command, told))


class NameInHosts(Folder):
    def name(self, nodename: str, text: str) -> str:
        self.write("etc/hosts", text)
        return host.name_in_hosts(nodename, self.folder)

    def test_the_installers_file_with_a_domain_names_the_host(self) -> None:
        self.assertEqual(self.name("debian", DEBIAN % "debian.example.org\tdebian"),
                         "debian.example.org")

    def test_files_of_installers_without_a_domain_do_not(self) -> None:
        for text in (DEBIAN % "debian", FEDORA, FREEBSD, ""):
            for nodename in ("debian", "localhost"):
                with self.subTest(text=text, nodename=nodename):
                    self.assertEqual(self.name(nodename, text), "")

    def test_a_missing_or_unreadable_file_names_nobody(self) -> None:
        self.assertEqual(host.name_in_hosts("debian", self.folder), "")
        os.makedirs(os.path.join(self.folder, "etc/hosts"))
        self.assertEqual(host.name_in_hosts("debian", self.folder), "")

    def test_case_trailing_dots_and_the_order_of_a_line_do_not_matter(self) -> None:
        self.assertEqual(self.name("Web01", "10.0.0.5 WEB01 Web01.Example.ORG.\n"),
                         "web01.example.org")

    def test_addresses_comments_and_names_of_others_do_not_count(self) -> None:
        for line in ("10.0.0.5", "web01 b.example.org", "10.0.0.5 b.example.org # web01",
                     "# 10.0.0.5 web01.example.org web01", "10.0.0.5 web01 # web01.example.org",
                     "10.0.0.6 web010.example.org web010", "10.0.0.7 web01.example.org"):
            with self.subTest(line=line):
                self.assertEqual(self.name("web01", line + "\n"), "")

    def test_the_first_line_with_a_full_name_counts_not_that_of_localhost(self) -> None:
        self.assertEqual(self.name("web01", "127.0.0.1 localhost localhost.localdomain web01\n"
                                   "10.0.0.5 web01.example.org web01\n"
                                   "10.0.0.6 web01.example.net web01\n"), "web01.example.org")

    def test_a_host_that_is_called_localhost_has_no_name(self) -> None:
        self.assertEqual(self.name("localhost", "127.0.0.1 localhost shop.example.org\n"), "")

    def test_bytes_that_are_no_text_hide_no_line(self) -> None:
        os.makedirs(os.path.join(self.folder, "etc"))
        with open(os.path.join(self.folder, "etc/hosts"), "wb") as stream:
            stream.write(b"10.0.0.1 \xff\xfe\n" + b"x" * 9000 + b"\n10.0.0.5 a.example.org a\n")
        self.assertEqual(host.name_in_hosts("a", self.folder), "a.example.org")


class Veto(Folder):
    def veto(self, text: str) -> str:
        self.write("veto", text)
        return host.veto(self.folder, "2026-11-24")

    def test_no_file_is_no_veto(self) -> None:
        self.assertEqual(host.veto(self.folder, "2026-11-24"), "")

    def test_the_first_line_is_the_reason(self) -> None:
        self.assertEqual(self.veto("migration under way\nuntil: 2026-11-24\n"),
                         "migration under way")
        self.assertEqual(self.veto("until: 2026-12-24\nlate reason\n"), "late reason")

    def test_a_veto_that_cannot_be_read_holds(self) -> None:
        os.mkfifo(os.path.join(self.folder, "veto"))
        self.assertIn("not a regular file", host.veto(self.folder, "2026-11-24"))
