# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec.conf: the slides' file is read; every mistake names file, line, key and remedy."""

import contextlib
import os
import socket
import tempfile
import unittest
from typing import List
from unittest import mock

from qualvosec import download
from qualvosec.client import config
from qualvosec.ini import IniError

SLIDES = """[general]
server: https://patching.example.org
monitoring: enable
monitoring_port: 8037
monitoring_listener: 127.0.0.1
log_level: CRITICAL
log_handler: SystemdHandler()
"""


def general(*lines: str) -> config.Config:
    return config.from_text("[general]\nserver: https://p.example.org\n" + "\n".join(lines) + "\n")


class Reading(unittest.TestCase):
    def test_the_slides_configuration_is_read_as_it_stands(self) -> None:
        found = config.from_text(SLIDES)
        self.assertEqual(found.url(), "https://patching.example.org/patch.yaml")
        self.assertEqual((found.monitoring, found.monitoring_port, found.monitoring_listener,
                          found.log_level, found.log_handler),
                         (True, 8037, "127.0.0.1", "CRITICAL", "SystemdHandler()"))

    def test_times_are_written_with_a_unit(self) -> None:
        found = general("fetch_interval: 90m", "max_age: 14d")
        self.assertEqual((found.fetch_interval, found.max_age), (5400, 14 * 86400))
        self.assertEqual(general("fetch_interval: 3600").fetch_interval, 3600)

    def test_every_mistake_names_its_line_and_what_to_write(self) -> None:
        table = [
            ("server2: x", "line 3: server2: unknown key: did you mean \"server\"?"),
            ("manifest: ../../etc/passwd", "line 3: manifest: '../../etc/passwd' is not a path"),
            ("manifest: https://x/y", "is not a path below the server"),
            ("monitoring: maybe", "line 3: monitoring: 'maybe' is neither true nor false"),
            ("monitoring_port: 0", "is not a whole number from 1 to 65535"),
            ("monitoring_listener: localhost", "is not an IP address: write 127.0.0.1"),
            ("monitoring_hosts: a_b", "is not a host name"),
            ("log_level: LOUD", "LOUD is not a log level: use one of DEBUG"),
            ("log_handler: os.system('id')", "is not a log handler: use one of"),
            ("fqdn: -x.example.org", "line 3: fqdn: '-x.example.org' is not a host name"),
            ("fetch_interval: 6 hours", "is not a time from 1m to 7d: write 90m, 6h or 30d"),
            ("fetch_interval: 5s", "is not a time from 1m to 7d"),
            ("max_age: \u0663d", "is not a time"),
            ("privilege: su", "'su' is not one of auto, sudo, doas, socket"),
            ("ca_file: ca.pem", "is not an absolute path"),
            ("proxy: socks5://p", "is not an http or https URL"),
            ("proxy: https://p:3128", "line 3: proxy: 'https://p:3128' is not the address of"),
            ("proxy: http://p:3128/x", "is not the address of a proxy: write http://host:port"),
            ("client_key: /k", "client_key: needs client_cert too"),
            ("timezone:", "line 3: timezone: has no value"),
        ]
        for line, words in table:
            with self.subTest(line=line), \
                    self.assertRaises((IniError, config.ConfigError)) as caught:
                general(line)
            self.assertIn(words, str(caught.exception))

    def test_a_server_is_a_plain_http_url(self) -> None:
        for value in ("ftp://h", "file:///etc/passwd", "https://", "h.example.org",
                      "https://u:p@h/", "https://h/#x", "https://h/?q", "data:,x"):
            with self.subTest(value=value), self.assertRaisesRegex(IniError, "line 2: server"):
                config.from_text("[general]\nserver: %s\n" % value)

    def test_what_is_taken_can_be_fetched_and_what_cannot_is_refused_with_its_line(self) -> None:
        values = ["https://h", "http://h:8080/", "https://a-b.c_d.example.org:443/x/y/",
                  "http://[::1]", "http://[2001:db8::1]:80/x", "http://192.0.2.1", "https://H/%20",
                  "https://h/!\"$%&'()*+,-.:;=@[]^_`{|}~", "https://h//",
                  "https://h:0", "https://h:65536", "https://h:99999", "https://h:port",
                  "https://h:", "https://h:80:80", "https://h:\u0663", "https://[::1", "https://::1",
                  "https://[::1]80", "https://[h]", "https://[fe80::1%eth0]",
                  "https://h.", "https://a..b", "https://-h", "https://h-", "https://" + "a" * 64,
                  "https://b\xfccher.example", "https://h/\xe4", "https://h/<x>", "https://h\\x"]
        taken = 0
        for value in values:
            try:
                url = config.from_text("[general]\nserver: %s\n" % value).url()
            except IniError as error:
                self.assertRegex(str(error), "^line 2: server: .*: write ")
                url = ""
            with self.subTest(value=value):
                if url:
                    taken += 1
                    download.parse_url(url)
                else:
                    self.assertRaises(download.DownloadError, download.parse_url,
                                      value.rstrip("/") + "/patch.yaml")
        self.assertEqual(taken, 9)

    def test_a_manifest_that_nothing_speaks_for_is_told(self) -> None:
        for server, more, told in (
                ("http://p.example.org", "", True), ("http://192.0.2.1:80/x", "", True),
                ("http://127.0.0.1.example.org", "", True), ("https://p.example.org", "", False),
                ("http://p.example.org", "allowed_signers: /s\n", False),
                ("http://127.0.0.1:80", "", False), ("http://localhost", "", False),
                ("http://[::1]:80", "", False)):
            text = config.from_text("[general]\nserver: %s\n%s" % (server, more)).unguarded()
            with self.subTest(server=server, more=more):
                self.assertEqual("%s: anybody on the way can write" % server in text, told)
                self.assertEqual(bool(text), told)

    def test_a_missing_server_says_what_to_write(self) -> None:
        with self.assertRaisesRegex(config.ConfigError, "write server: https://host"):
            config.from_text("[general]\n", "/etc/q.conf")

    def test_files_that_cannot_be_read_are_one_line(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "q.conf")
            with self.assertRaisesRegex(config.ConfigError, "q.conf: no such file.*-c"):
                config.read(path)
            with open(path, "wb") as stream:
                stream.write(b"[general]\nserver: https://\xff\n")
            with self.assertRaisesRegex(config.ConfigError, "q.conf: is not UTF-8 text"):
                config.read(path)
            with open(path, "wb") as stream:
                stream.write(b"[general]\nserver: nonsense\n")
            with self.assertRaisesRegex(config.ConfigError, "q.conf: line 2: server"):
                config.read(path)


class Reports(unittest.TestCase):
    def test_the_token_goes_out_over_tls_or_loopback_only_unless_told(self) -> None:
        for server, expected in (("https://h", True), ("http://h", False),
                                 ("http://127.0.0.1:8080", True), ("http://localhost:80", True),
                                 ("http://[::1]:80/", True),
                                 ("http://localhost.example.org", False),
                                 ("http://127.evil.example.org", False)):
            with self.subTest(server=server):
                found = config.from_text("[general]\nserver: %s\n" % server)
                self.assertEqual(found.reports(), expected)
        self.assertFalse(general("report: disable").reports())
        self.assertTrue(config.from_text("[general]\nserver: http://h\nreport: enable\n").reports())


class HostName(unittest.TestCase):
    def name(self, nodename: str, in_file: str = "", fqdn: str = "") -> str:
        found = config.Config("x", "https://h", fqdn=fqdn)
        return config.host_name(found, lambda: nodename, lambda _: in_file)

    def test_the_configured_name_comes_first(self) -> None:
        self.assertEqual(self.name("a.example.org", "b.example.org", "c.example.org"),
                         "c.example.org")

    def test_a_dotted_nodename_is_taken_before_the_file(self) -> None:
        self.assertEqual(self.name("A.Example.ORG.", "b.example.org"), "a.example.org")

    def test_etc_hosts_answers_for_a_short_nodename(self) -> None:
        asked: List[str] = []
        found = config.host_name(config.Config("x", "https://h"), lambda: "A",
                                 lambda own: asked.append(own) or "a.example.org")
        self.assertEqual((found, asked), ("a.example.org", ["a"]))

    def test_a_localhost_name_is_no_name(self) -> None:
        for in_file in ("localhost", "localhost.localdomain", "ip6-localhost.example.org", "a",
                        "1.0.0.127.in-addr.arpa", "a..b", ""):
            with self.subTest(in_file=in_file):
                self.assertEqual(self.name("a", in_file), "")

    def test_no_resolver_is_ever_asked(self) -> None:
        def asked(*_: object) -> str:
            raise AssertionError("a resolver was asked")

        names = ("getfqdn", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getaddrinfo",
                 "getnameinfo")
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(mock.patch.object(socket, name, asked))
            config.host_name(config.Config("x", "https://h"), lambda: "no-such-host-name")

    def test_without_a_name_the_line_to_write_is_told_with_its_file(self) -> None:
        for nodename, line in (("debian", "fqdn: debian.example.org"),
                               ("Debian", "fqdn: debian.example.org"),
                               ("localhost", "fqdn: web01.example.org"),
                               ("", "fqdn: web01.example.org"),
                               ("a_b\x1b", "fqdn: web01.example.org")):
            with self.subTest(nodename=nodename):
                told = config.unnamed(config.Config("/etc/q.conf", "https://h"),
                                      lambda own=nodename: own)
                self.assertIn('set fqdn: write the line "%s"' % line, told)
                self.assertTrue(told.endswith("into /etc/q.conf"), told)
                config.from_text("[general]\nserver: https://h\n%s\n" % line)
