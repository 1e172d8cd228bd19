# SPDX-License-Identifier: BSD-2-Clause
"""The embedded server, spoken to over real sockets on the loopback interface."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Dict
from typing import List
from typing import Tuple

from qualvosec import ini
from qualvosec.server import accesslog
from qualvosec.server import config
from qualvosec.server import httpd
from qualvosec.server import static

from tests import ROOT
from tests import logged

PROGRAM = os.path.join(ROOT, "bin", "qualvosec-server")
MANIFEST = b"web01.example.org:\n  patch: true\n"
COMBINED = re.compile(
    r'^\S+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
    r'"((?:[^"\\]|\\x[0-9A-F]{2})*)" (\d{3}) (\d+) '
    r'"((?:[^"\\]|\\x[0-9A-F]{2})*)" "((?:[^"\\]|\\x[0-9A-F]{2})*)"$')


def exchange(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        reply = b""
        while True:
            piece = connection.recv(65536)
            if not piece:
                return reply
            reply += piece


def split(reply: bytes) -> Tuple[int, Dict[str, str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), fields, body


class Served(unittest.TestCase):
    """A server in this process on a directory of its own."""

    limits = httpd.Limits(threads=4, head_s=5.0, reply_s=5.0)

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.root = os.path.join(self.folder, "root")
        os.mkdir(self.root)
        self.log_path = os.path.join(self.folder, "access.log")
        self.manifest = os.path.join(self.root, "patch.yaml")
        self.put("patch.yaml", MANIFEST)
        self.messages: List[str] = []
        patch = logged.into(self.messages)
        patch.start()
        self.addCleanup(patch.stop)
        self.access = accesslog.AccessLog(self.log_path)
        self.access.open()
        self.addCleanup(self.access.close)
        self.server = httpd.Server(("127.0.0.1", 0), self.root, self.access, self.limits)
        self.port = self.server.server_port
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self.addCleanup(self.server.stop, 5.0)

    def put(self, name: str, data: bytes) -> str:
        path = os.path.join(self.root, name)
        with open(path, "wb") as handle:
            handle.write(data)
        return path

    def ask(self, target: str = "/patch.yaml", method: str = "GET",
            **fields: str) -> Tuple[int, Dict[str, str], bytes]:
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: localhost"]
        lines += ["%s: %s" % (name.replace("_", "-"), value) for name, value in fields.items()]
        return split(exchange(self.port, "\r\n".join(lines + ["", ""]).encode("latin-1")))

    def lines(self, count: int) -> List[str]:
        """The access log as soon as it holds `count` lines: a line is written after its reply."""
        end = time.monotonic() + 10
        while True:
            with open(self.log_path, encoding="ascii") as handle:
                found = handle.read().splitlines()
            if len(found) >= count or time.monotonic() > end:
                self.assertEqual(len(found), count, found)
                return found
            time.sleep(0.01)


class Replies(Served):

    def test_manifest_is_sent_whole_with_its_length_and_validators(self) -> None:
        status, fields, body = self.ask()
        self.assertEqual((status, body), (200, MANIFEST))
        self.assertEqual(fields["Content-Length"], str(len(MANIFEST)))
        self.assertEqual(fields["Content-Type"], "application/yaml")
        self.assertRegex(fields["ETag"], r'^"[0-9a-f-]+"$')
        self.assertRegex(fields["Last-Modified"], r"GMT$")
        self.assertRegex(fields["Date"], r"GMT$")
        self.assertEqual(fields["Connection"], "close")

    def test_head_has_the_same_fields_and_no_body(self) -> None:
        _, get, _ = self.ask()
        status, head, body = self.ask(method="HEAD")
        get.pop("Date")
        head.pop("Date")
        self.assertEqual((status, head, body), (200, get, b""))

    def test_empty_file_has_length_zero(self) -> None:
        self.put("empty.yaml", b"")
        status, fields, body = self.ask("/empty.yaml")
        self.assertEqual((status, fields["Content-Length"], body), (200, "0", b""))

    def test_large_file_arrives_unchanged(self) -> None:
        data = bytes(range(256)) * 8000
        self.put("large.bin", data)
        status, fields, body = self.ask("/large.bin")
        self.assertEqual((status, len(body), fields["Content-Type"]),
                         (200, len(data), "application/octet-stream"))
        self.assertEqual(body, data)

    def test_known_entity_tag_is_answered_304_without_a_body(self) -> None:
        _, fields, _ = self.ask()
        for sent in (fields["ETag"], "W/" + fields["ETag"], '"x", %s' % fields["ETag"], "*"):
            status, again, body = self.ask(If_None_Match=sent)
            self.assertEqual((status, body), (304, b""), sent)
            self.assertEqual(again["ETag"], fields["ETag"])
            self.assertNotIn("Content-Length", again)

    def test_unknown_entity_tag_wins_over_a_date_that_matches(self) -> None:
        _, fields, _ = self.ask()
        status, _, _ = self.ask(If_None_Match='"other"', If_Modified_Since=fields["Last-Modified"])
        self.assertEqual(status, 200)

    def test_known_date_is_answered_304(self) -> None:
        _, fields, _ = self.ask()
        self.assertEqual(self.ask(If_Modified_Since=fields["Last-Modified"])[0], 304)

    def test_manifest_restored_from_an_older_backup_is_sent(self) -> None:
        _, fields, _ = self.ask()
        os.utime(self.manifest, (1000000000, 1000000000))
        self.assertEqual(self.ask(If_Modified_Since=fields["Last-Modified"])[0], 200)
        self.assertEqual(self.ask(If_None_Match=fields["ETag"])[0], 200)

    def test_replaced_manifest_of_the_same_size_and_time_has_another_tag(self) -> None:
        _, before, _ = self.ask()
        info = os.stat(self.manifest)
        new = self.put("new", MANIFEST.replace(b"true", b"null"))
        os.utime(new, ns=(info.st_atime_ns, info.st_mtime_ns))
        os.rename(new, self.manifest)
        status, _, body = self.ask(If_None_Match=before["ETag"])
        self.assertEqual((status, b"null" in body), (200, True))

    def test_date_of_a_file_from_the_future_is_not_after_the_reply(self) -> None:
        os.utime(self.manifest, (4000000000, 4000000000))
        _, fields, _ = self.ask()
        self.assertNotIn("2096", fields["Last-Modified"])

    def test_missing_manifest_is_404_with_a_log_line(self) -> None:
        os.unlink(self.manifest)
        self.assertEqual(self.ask()[0], 404)
        self.assertIn('" 404 ', self.lines(1)[0])
        self.assertEqual([m for m in self.messages if "patch.yaml" in m and "404" in m],
                         self.messages)

    @unittest.skipIf(os.geteuid() == 0, "root reads every file")
    def test_unreadable_manifest_is_500_with_a_log_line(self) -> None:
        os.chmod(self.manifest, 0)
        self.assertEqual(self.ask()[0], 500)
        self.assertIn("permission denied", "".join(self.messages))

    def test_every_other_method_is_405_and_names_the_allowed_ones(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW", "get"):
            status, fields, _ = self.ask(method=method)
            self.assertEqual((status, fields["Allow"]), (405, "GET, HEAD"), method)

    def test_body_of_a_refused_request_does_not_cost_the_reply(self) -> None:
        request = b"POST /patch.yaml HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000
        self.assertEqual(split(exchange(self.port, request))[0], 405)

    def test_whoever_asks_before_sending_a_body_gets_the_answer_itself(self) -> None:
        self.assertEqual(self.ask(Expect="100-continue")[::2], (200, MANIFEST))
        self.assertEqual(self.ask(method="PUT", Expect="100-continue", Content_Length="5")[0], 405)

    def test_absolute_target_and_query_are_understood(self) -> None:
        for target in ("http://patching.example.org/patch.yaml", "/patch.yaml?now=1",
                       "//patch.yaml", "/%70atch.yaml"):
            self.assertEqual(self.ask(target)[0], 200, target)

    def test_no_request_reaches_anything_outside_the_root(self) -> None:
        secret = os.path.join(self.folder, "secret")
        with open(secret, "wb") as handle:
            handle.write(b"secret")
        os.symlink("../secret", os.path.join(self.root, "link"))
        os.symlink(self.folder, os.path.join(self.root, "up"))
        os.mkdir(os.path.join(self.root, "sub"))
        self.put(".htpasswd", b"secret")
        os.mkdir(os.path.join(self.root, ".git"))
        self.put(".git/config", b"secret")
        targets = ["/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret",
                   "/sub/%2e%2e/%2e%2e/secret", "/link", "/up/secret", secret, "//" + secret,
                   "/..\\secret", "/%00/../secret", "/.htpasswd", "/.git/config", "/%2ehtpasswd",
                   "/./../secret", "/sub/..;/../secret", "http://x/../secret", "../secret",
                   "file:///etc/passwd", "/%c0%ae%c0%ae/secret", "/patch.yaml%00.txt",
                   "/", "/sub", "/sub/", "*", "/patch.yaml/", "/patch.yaml/x"]
        for target in targets:
            status, _, body = self.ask(target)
            self.assertIn(status, (400, 403, 404), target)
            self.assertNotIn(b"secret", body, target)

    def test_links_within_the_root_are_followed_as_mounted_volumes_need_it(self) -> None:
        os.mkdir(os.path.join(self.root, "..data-7"))
        self.put("..data-7/real.yaml", b"a: 1\n")
        os.symlink("..data-7", os.path.join(self.root, "..data"))
        os.symlink("..data/real.yaml", os.path.join(self.root, "mounted.yaml"))
        self.assertEqual(self.ask("/mounted.yaml")[2], b"a: 1\n")

    def test_link_that_leaves_the_root_is_told_to_the_administrator(self) -> None:
        os.symlink("/etc/hostname", os.path.join(self.root, "link"))
        self.assertEqual(self.ask("/link")[0], 403)
        self.assertIn("leaves the root", "".join(self.messages))

    def test_links_in_circles_devices_and_pipes_are_refused_at_once(self) -> None:
        os.symlink("loop", os.path.join(self.root, "loop"))
        os.mkfifo(os.path.join(self.root, "pipe"))
        self.assertIn(self.ask("/loop")[0], (403, 404))
        self.assertEqual(self.ask("/pipe")[0], 404)

    def test_malformed_requests_get_one_error_status(self) -> None:
        rows = [(b"GARBAGE\r\n\r\n", 400), (b"GET /patch.yaml HTTP/9.9\r\n\r\n", 505),
                (b"GET /patch.yaml HTTP/x\r\n\r\n", 400), (b"\x16\x03\x01\x02\r\n\r\n", 400),
                (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
                (b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 20000 + b"\r\n\r\n", 431),
                (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
                (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n\r\n", 404)]
        for request, status in rows:
            self.assertEqual(split(exchange(self.port, request))[0], status, request[:40])
        self.lines(len(rows))

    def test_nothing_of_the_request_is_sent_back(self) -> None:
        self.assertNotIn(b"script", self.ask("/<script>x</script>")[2])

    def test_file_that_changes_while_it_is_sent_breaks_the_connection(self) -> None:
        size = 16 << 20
        path = self.put("large.yaml", b"a" * size)
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(b"GET /large.yaml HTTP/1.1\r\n\r\n")
            got = len(connection.recv(1000))
            with open(path, "r+b") as handle:
                handle.write(b"b" * 10)
            os.utime(path, (1, 1))
            piece = b"x"
            while piece:
                piece = connection.recv(1 << 20)
                got += len(piece)
        self.assertLess(got, size)
        self.lines(1)
        self.assertIn("changed while it was sent", "".join(self.messages))

    def test_health_is_ok_and_follows_the_root(self) -> None:
        self.assertEqual(self.ask("/health")[::2], (200, b"ok\n"))
        os.rename(self.root, self.root + "-gone")
        status, _, body = self.ask("/health")
        self.assertEqual((status, body), (503, b"root cannot be entered\n"))
        self.assertEqual(self.ask()[0], 404)


class AccessLog(Served):

    def test_request_is_one_line_in_combined_format(self) -> None:
        agent = "QualvoSec 1.0.0 web01.example.org (s1 r=ok)"
        self.ask(User_Agent=agent)
        found = COMBINED.match(self.lines(1)[0])
        assert found is not None
        self.assertEqual(found.groups(), ("GET /patch.yaml HTTP/1.1", "200", str(len(MANIFEST)),
                                          "-", agent))

    def test_hostile_bytes_stay_inside_their_field_and_line(self) -> None:
        hostile = ['x"', 'x\\', 'a\x1b[31m', 'a\rb', 'a\x00b', 'a\x85b', 'a\xe2\x80\xa8b', 'a\x0bb',
                   '" 200 5 "-" "QualvoSec 1.0.0 root.example.org', 'a\tb', 'z' * 7000]
        for value in hostile:
            lines = "GET /patch.yaml?%s HTTP/1.1\r\nUser-Agent: %s\r\nReferer: %s\r\n\r\n" % (
                value.replace("\r", "").replace(" ", "")[:100], value, value)
            exchange(self.port, lines.encode("latin-1"))
        for line in self.lines(len(hostile)):
            self.assertRegex(line, COMBINED)
            self.assertLess(len(line), 20000)

    def test_folded_header_is_one_line(self) -> None:
        exchange(self.port, b"GET /x HTTP/1.1\r\nUser-Agent: a\r\n b\n\tc\r\n\r\n")
        self.assertRegex(self.lines(1)[0], COMBINED)

    def test_refused_requests_are_logged_with_their_status(self) -> None:
        self.ask("/nope")
        self.ask(method="POST")
        exchange(self.port, b"GARBAGE\r\n\r\n")
        self.assertEqual([line.split('" ')[1].split()[0] for line in self.lines(3)],
                         ["404", "405", "400"])

    def test_connection_without_a_request_leaves_no_line(self) -> None:
        exchange_nothing = socket.create_connection(("127.0.0.1", self.port))
        exchange_nothing.close()
        self.ask()
        self.lines(1)

    def test_log_that_cannot_be_written_is_seen_in_health_and_stops_nothing(self) -> None:
        full = "/dev/full"
        if not os.path.exists(full):
            self.skipTest("this system has no /dev/full")
        fd = os.open(full, os.O_WRONLY)
        with self.access._lock:
            before, self.access._fd = self.access._fd, fd
        assert before is not None
        os.close(before)
        for _ in range(3):
            self.assertEqual(self.ask()[0], 200)
        end = time.monotonic() + 10
        while self.ask("/health")[0] != 503 and time.monotonic() < end:
            time.sleep(0.01)
        self.assertIn(b"no space left", self.ask("/health")[2])
        told = [m for m in self.messages if m.startswith("access log failed")]
        self.assertEqual(len(told), 1)

    def test_cut_line_does_not_swallow_the_next_one(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        book = accesslog.AccessLog("-")
        book._fd = writer
        self.addCleanup(book.close)
        book._torn = True
        entry = accesslog.Entry("192.0.2.1", 0, "GET / HTTP/1.1", 200, 0, "", "")
        self.assertEqual(book.write(entry), "")
        self.assertTrue(os.read(reader, 4096).startswith(b"\n192.0.2.1 - - ["))

    def test_mapped_ipv4_address_is_shown_as_ipv4(self) -> None:
        handler = httpd.Handler.__new__(httpd.Handler)
        handler.client_address = ("::ffff:192.0.2.7", 1)
        self.assertEqual(handler._client(), "192.0.2.7")


class Deadlines(Served):

    limits = httpd.Limits(threads=2, head_s=0.4, reply_s=0.6)

    def test_head_that_trickles_is_ended_at_its_deadline(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(b"GET /patch.yaml HTTP/1.1\r\nX: ")
            reply = b""
            while not reply:
                try:
                    connection.sendall(b"a")
                    connection.settimeout(0.05)
                    reply = connection.recv(4096)
                except socket.timeout:
                    continue
        self.assertIn(b" 408 ", reply)
        self.assertIn('" 408 ', self.lines(1)[0])

    def test_silent_connections_do_not_keep_others_out(self) -> None:
        silent = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(6)]
        try:
            self.assertEqual(self.ask()[0], 200)
        finally:
            for connection in silent:
                connection.close()

    def test_client_that_does_not_read_is_ended_at_the_deadline(self) -> None:
        self.put("large.bin", b"x" * (32 << 20))
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(b"GET /large.bin HTTP/1.1\r\n\r\n")
            line = self.lines(1)[0]
        self.assertLess(int(line.split('" ')[1].split()[1]), 32 << 20)
        self.assertIn("cut file", "".join(self.messages))


class Opening(unittest.TestCase):
    """static.open_below where the file system fails."""

    def test_fault_of_the_file_system_is_500_and_absence_is_404(self) -> None:
        rows = [(errno.EACCES, 500), (errno.EIO, 500), (errno.EMFILE, 500), (errno.ENOENT, 404),
                (errno.ENAMETOOLONG, 404), (errno.ELOOP, 403)]
        for number, status in rows:
            def fail(*_: object, code: int = number, **__: object) -> int:
                raise OSError(code, os.strerror(code))
            with self.assertRaises(static.Refusal) as caught:
                static.open_below("/", ["tmp"], fail)
            self.assertEqual(caught.exception.status, status, errno.errorcode[number])

    def test_link_put_in_place_during_the_walk_is_not_followed(self) -> None:
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        os.mkdir(os.path.join(folder, "sub"))
        target = os.path.join(folder, "sub", "file")
        with open(target, "wb"):
            pass

        def swap(path: str, flags: int, **names: int) -> int:
            if path == "file":
                os.unlink(target)
                os.symlink("/etc/passwd", target)
            return os.open(path, flags, **names)
        with self.assertRaises(static.Refusal) as caught:
            static.open_below(folder, ["sub", "file"], swap)
        self.assertEqual(caught.exception.status, 403)

    def test_no_descriptor_is_left_open(self) -> None:
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("this system has no /proc")
        before = len(os.listdir("/proc/self/fd"))
        for parts in (["etc", "passwd"], ["etc", "nope"], ["nope", "x", "y"], ["etc"]):
            try:
                os.close(static.open_below("/", parts).fd)
            except static.Refusal:
                continue
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Settings(unittest.TestCase):

    def test_every_key_is_read(self) -> None:
        text = ("[general]\nlistener: ::\nport: 80\nroot: /srv\nlog_file: /var/log/a.log\n"
                "log_level: DEBUG\nlog_handler: SyslogHandler()\n")
        self.assertEqual(config.parse(text), config.Config(
            "::", 80, "/srv", "/var/log/a.log", "DEBUG", "SyslogHandler()"))

    def test_faults_name_line_and_key(self) -> None:
        rows = [("[general]\nprot: 80\n", "line 2: prot: unknown key: did you mean \"port\"?"),
                ("[general]\nport: 70000\n", "line 2: port:"), ("[general]\nport: x\n", "port:"),
                ("[general]\n\nroot:\n", "line 3: root: has no value"),
                ("[general]\nroot: srv\n", "line 2: root: 'srv' is not an absolute path"),
                ("[general]\nlog_file: a.log\n", "line 2: log_file:"),
                ("[general]\nlog_level: LOUD\n", "line 2: log_level: LOUD"),
                ("[general]\nlog_handler: os.system('x')\n", "line 2: log_handler:"),
                ("[server]\n", "line 1: [server]: unknown section"), ("port: 80\n", "line 1:")]
        for text, message in rows:
            with self.assertRaises(ini.IniError) as caught:
                config.parse(text)
            self.assertIn(message, str(caught.exception), text)

    def test_command_line_wins_over_the_file(self) -> None:
        folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "server.conf")
        with open(path, "w", encoding="utf-8") as handle:
            handle.write("[general]\nroot: %s\nport: 80\n" % folder)
        got = config.read(path, {"port": 0, "listener": None})
        self.assertEqual((got.root, got.port, got.listener), (folder, 0, "127.0.0.1"))

    def test_a_listener_that_is_empty_or_unprintable_is_refused(self) -> None:
        for listener in ("", "\udcff", "127.0.0.1\n"):
            with self.assertRaisesRegex(config.ServerError, "^listener: '.*' is no address: write"):
                config.check(config.Config(root="/", listener=listener))


class Program(unittest.TestCase):
    """bin/qualvosec-server as a process."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        with open(os.path.join(self.folder, "patch.yaml"), "wb") as handle:
            handle.write(MANIFEST)
        self.log_path = os.path.join(self.folder, "access.log")

    def run_to_end(self, *words: str) -> Tuple[int, str]:
        done = subprocess.run([sys.executable, "-IBS", PROGRAM] + list(words), timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode("utf-8")

    def start(self, *words: str) -> Tuple["subprocess.Popen[bytes]", int]:
        process = subprocess.Popen(
            [sys.executable, "-IBS", PROGRAM, "--port", "0", "--root", self.folder,
             "--log-file", self.log_path] + list(words),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def end() -> None:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.addCleanup(end)
        assert process.stderr is not None
        line = b""
        while b" serving " not in line:
            line = process.stderr.readline()
            self.assertTrue(line, "the server ended before it served")
        return process, int(line.rsplit(b":", 1)[1])

    def test_version_is_one_line_and_exit_0(self) -> None:
        self.assertEqual(self.run_to_end("--version"), (0, "qualvosec-server 1.0.0\n"))

    def test_wrong_settings_are_one_line_and_exit_2(self) -> None:
        missing = os.path.join(self.folder, "missing")
        rows = [(("-c", missing), "does not exist|no such file"), (("--root", missing), "root"),
                (("--port", "x"), "port"), (("--port", "70000"), "port"), (("--nope",), "nope"),
                (("-c", self.folder), "regular file|directory")]
        for words, message in rows:
            code, output = self.run_to_end(*words)
            self.assertEqual(code, 2, (words, output))
            self.assertRegex(output, message)
            self.assertNotIn("Traceback", output)

    def test_taken_port_and_unwritable_log_are_one_line_and_exit_1(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen(1)
            code, output = self.run_to_end("--root", self.folder, "--port",
                                           str(taken.getsockname()[1]))
        self.assertEqual((code, output.count("\n")), (1, 1), output)
        self.assertIn("cannot listen", output)
        code, output = self.run_to_end("--root", self.folder, "--log-file",
                                       os.path.join(self.folder, "no", "dir"))
        self.assertEqual((code, output.count("\n")), (1, 1), output)
        self.assertIn("access log cannot be opened", output)

    def test_sigterm_ends_with_0_and_after_sighup_the_log_is_a_new_file(self) -> None:
        process, port = self.start()
        exchange(port, b"GET /patch.yaml HTTP/1.0\r\nUser-Agent: before\r\n\r\n")
        os.rename(self.log_path, self.log_path + ".1")
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while not os.path.exists(self.log_path) and time.monotonic() < end:
            time.sleep(0.01)
        exchange(port, b"GET /patch.yaml HTTP/1.0\r\nUser-Agent: after\r\n\r\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 0)
        with open(self.log_path + ".1", encoding="ascii") as handle:
            self.assertIn('"before"', handle.read())
        with open(self.log_path, encoding="ascii") as handle:
            self.assertIn('"after"', handle.read())

    def test_sigterm_lets_the_reply_under_way_end(self) -> None:
        size = 24 << 20
        with open(os.path.join(self.folder, "large.bin"), "wb") as handle:
            handle.truncate(size)
        process, port = self.start()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET /large.bin HTTP/1.1\r\n\r\n")
            got = len(connection.recv(1))
            process.send_signal(signal.SIGTERM)
            piece = b"x"
            while piece:
                piece = connection.recv(1 << 20)
                got += len(piece)
        self.assertGreater(got, size)
        self.assertEqual(process.wait(timeout=30), 0)


if __name__ == "__main__":
    unittest.main()
