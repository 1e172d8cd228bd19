# SPDX-License-Identifier: BSD-2-Clause
"""etc/nginx/qualvosec.conf in a real nginx on the loopback interface.

It has to do the embedded server's job, with the same answers.
"""

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
from typing import Dict
from typing import List
from typing import Optional
from typing import Tuple

from tests import ROOT
from tests.test_server import COMBINED

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
MANIFEST = b"web01.example.org:\n  patch: true\n" * 100
FRAME = """
daemon off; pid nginx.pid; error_log error.log; worker_processes 1; events {}
http { client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
scgi_temp_path t5; gzip on; include sample.conf; }
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(data)
    os.chmod(path, 0o644)


@unittest.skipUnless(NGINX, "nginx is not installed")
@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class Nginx(unittest.TestCase):

    folder = ""
    port = 0
    process: Optional["subprocess.Popen[bytes]"] = None

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.mkdtemp(prefix="qualvosec-test-")
        try:
            cls.port = free_port()
            cls.prepare(os.path.join(cls.folder, "root"))
            cls.process = subprocess.Popen(
                [str(NGINX), "-p", cls.folder + "/", "-e", "error.log", "-c", "nginx.conf"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            cls.wait_until_it_listens()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.process is not None:
            cls.process.terminate()
            cls.process.wait(timeout=20)
        shutil.rmtree(cls.folder)

    @classmethod
    def prepare(cls, root: str) -> None:
        # nginx gives its workers another user when it is started by root.
        os.chmod(cls.folder, 0o755)
        os.mkdir(root)
        os.mkdir(os.path.join(root, "folder"))
        os.chmod(root, 0o755)
        write(os.path.join(root, "patch.yaml"), MANIFEST)
        write(os.path.join(root, ".secret"), b"secret")
        outside = os.path.join(root, "outside")
        os.symlink("/etc/passwd", outside)
        if os.geteuid() == 0:
            os.lchown(outside, 65534, 65534)
        key, certificate = (os.path.join(cls.folder, name) for name in ("key.pem", "cert.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", key, "-out", certificate],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(ROOT, "etc/nginx/qualvosec.conf"), encoding="utf-8") as handle:
            text = handle.read()
        for old, new in (("listen 443 ssl;", "listen 127.0.0.1:%d ssl;" % cls.port),
                         ("listen [::]:443 ssl;", ""), ("/srv/patching", root),
                         ("/etc/ssl/qualvosec/fullchain.pem", certificate),
                         ("/etc/ssl/qualvosec/privkey.pem", key),
                         ("/var/log/nginx/", cls.folder + "/")):
            if old not in text:
                raise AssertionError("the sample lacks: " + old)
            text = text.replace(old, new)
        write(os.path.join(cls.folder, "sample.conf"), text.encode())
        write(os.path.join(cls.folder, "nginx.conf"), FRAME.encode())

    @classmethod
    def wait_until_it_listens(cls) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", cls.port)).close()
                return
            except ConnectionError:
                time.sleep(0.05)
        with open(os.path.join(cls.folder, "error.log"), encoding="utf-8") as handle:
            raise AssertionError("nginx does not listen: " + handle.read())

    def ask(self, target: str = "/patch.yaml", method: str = "GET",
            **fields: str) -> Tuple[int, Dict[str, str], bytes]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(os.path.join(self.folder, "cert.pem"))
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20,
                                                 context=context)
        try:
            connection.request(method, target, headers={
                name.replace("_", "-"): value for name, value in fields.items()})
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            connection.close()

    def log_lines(self) -> List[str]:
        with open(os.path.join(self.folder, "qualvosec.access.log"), encoding="ascii") as handle:
            return handle.read().splitlines()

    def test_manifest_has_length_type_and_strong_validators_also_for_who_takes_gzip(self) -> None:
        status, fields, body = self.ask(Accept_Encoding="gzip")
        self.assertEqual((status, body), (200, MANIFEST))
        self.assertEqual(fields["Content-Length"], str(len(MANIFEST)))
        self.assertEqual(fields["Content-Type"], "application/yaml")
        self.assertEqual(fields["Cache-Control"], "no-cache")
        self.assertRegex(fields["ETag"], '^"')
        self.assertEqual(self.ask(If_None_Match=fields["ETag"])[0], 304)
        self.assertEqual(self.ask(If_Modified_Since=fields["Last-Modified"])[0], 304)

    def test_everything_but_reading_is_405(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            self.assertEqual(self.ask(method=method)[0], 405, method)
        self.assertEqual(self.ask(method="HEAD")[::2], (200, b""))

    def test_nothing_but_files_of_the_root_is_served(self) -> None:
        for target in ("/nope", "/.secret", "/outside", "/folder/", "/", "/../etc/passwd",
                       "/%2e%2e/etc/passwd", "/folder/..%2f..%2fetc/passwd"):
            status, _, body = self.ask(target)
            self.assertIn(status, (400, 403, 404), target)
            self.assertNotIn(b"secret", body)

    def test_health_is_ok(self) -> None:
        self.assertEqual(self.ask("/health")[::2], (200, b"ok\n"))

    def test_access_log_is_the_format_that_the_admin_tool_reads(self) -> None:
        self.ask("/patch.yaml?hostile", User_Agent='QualvoSec 1.0.0 h (a"\x01\\)')
        end = time.monotonic() + 10
        found: List[str] = []
        while not found and time.monotonic() < end:
            found = [line for line in self.log_lines() if "hostile" in line]
        self.assertRegex(found[0], COMBINED)
        self.assertTrue(re.search(r'"QualvoSec 1\.0\.0 h \(a\\x22\\x01\\x5C\)"$', found[0]))


if __name__ == "__main__":
    unittest.main()
