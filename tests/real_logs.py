#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Read access logs that real servers wrote: nginx, Apache and lighttpd, in every format.

Each server runs on loopback with a configuration and a directory of its own, is asked by our
client's download and by curl, and is ended afterwards. Servers that are not installed are said
to be NOT CHECKED, and that fails. The last line is the verdict.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec import download  # noqa: E402
from qualvosec import useragent  # noqa: E402
from qualvosec.admin.fleet import accesslog  # noqa: E402

TOKEN = useragent.Token("20261117T0215Z", "ok", 14, 1, 2, "verified", "20261117T0215Z")
NGINX = """daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{}}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  log_format common '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent';
  log_format vhost_combined '$host:$server_port $remote_addr - $remote_user [$time_local] '
    '"$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"';
  log_format more '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" "$http_x_forwarded_for" rt=$request_time';
  access_log {folder}/combined.log combined;
  access_log {folder}/common.log common;
  access_log {folder}/vhost_combined.log vhost_combined;
  access_log {folder}/more.log more;
  server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; root {folder}/www; }}
}}
"""
APACHE = """ServerRoot {folder}
ServerName patching.example.org
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
Mutex file:{folder}
Listen 127.0.0.1:{port}
Listen [::1]:{port}
{user}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
DocumentRoot {folder}/www
LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" \\
  vhost_combined
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
LogFormat "%h %l %u %t \\"%r\\" %>s %b" common
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\" %D" more
CustomLog {folder}/vhost_combined.log vhost_combined
CustomLog {folder}/combined.log combined
CustomLog {folder}/common.log common
CustomLog {folder}/more.log more
"""
LIGHTTPD = """server.document-root = "{folder}/www"
server.port = {port}
server.bind = "127.0.0.1"
server.modules = ( "mod_accesslog" )
mimetype.assign = ( ".yaml" => "application/yaml" )
$SERVER["socket"] == "[::1]:{port}" {{ }}
accesslog.filename = "{folder}/combined.log"
"""


def ask(url, name, *options):
    """Ask as curl does, with a user agent that names a host."""
    subprocess.check_call(["curl", "-s", "-g", "-o", os.devnull, "-A", name] + list(options)
                          + [url])


class RealLogs(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="qualvosec-logs.")
        self.addCleanup(shutil.rmtree, self.folder, True)
        os.chmod(self.folder, 0o755)
        os.mkdir(os.path.join(self.folder, "www"))
        with open(os.path.join(self.folder, "www", "patch.yaml"), "w", encoding="ascii") as file:
            file.write("a.example.org:\n  patch: false\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def serve(self, text, argv, user=""):
        """Run a server with this configuration, ask it, and end it."""
        if shutil.which(argv[0]) is None:
            self.fail("NOT CHECKED: %s is not installed" % argv[0])
        path = os.path.join(self.folder, "server.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(text.format(folder=self.folder, port=self.port,
                                   user=user if os.geteuid() == 0 else ""))
        if os.geteuid() == 0:
            shutil.chown(self.folder, "www-data")
        with open(os.path.join(self.folder, "out"), "wb") as out:
            process = subprocess.Popen(argv + [path], stdout=out, stderr=out)
        try:
            self.wait()
            self.begin = int(time.time())
            self.ask_all()
            self.end = int(time.time())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()

    def wait(self):
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        with open(os.path.join(self.folder, "out"), encoding="utf-8") as file:
            self.fail("the server does not answer: %s" % file.read())

    def ask_all(self):
        url = "http://127.0.0.1:%d" % self.port
        first = download.fetch(download.Request(
            url + "/patch.yaml", useragent.write("1.0.0", "web01.example.org", TOKEN)))
        first.body()
        # Asked again with what it said: this one is a 304.
        again = download.fetch(download.Request(
            url + "/patch.yaml", useragent.write("1.0.0", "web02.example.org", TOKEN),
            etag=first.etag, last_modified=first.last_modified))
        self.assertEqual(again.status, 304)
        again.body()
        ask("http://[::1]:%d/patch.yaml" % self.port, "QualvoSec 1.0.2 Giro48.example.org")
        ask(url + "/patch.yaml", "QualvoSec 1.0.0 user.example.org", "-u", "a [b] \"c\":d")
        ask(url + "/none.yaml", "QualvoSec 1.0.0 missing.example.org")
        ask(url + "/patch.yaml", "curl/8", "-e", "QualvoSec 1.0.0 referer.example.org")
        ask(url + "/patch.yaml?a=%22QualvoSec%201.0.0%20q.example.org", "curl/8")
        ask(url + "/patch.yaml", 'QualvoSec 1.0.0 x.example.org" 200 1 "-" "QualvoSec 1.0.0 y.b')
        ask(url + "/patch.yaml", "QualvoSec 1.0.0 \x1b[2Jz.example.org")

    def check(self, broken, *names):
        for name in names:
            path = os.path.join(self.folder, name + ".log")
            with self.subTest(name):
                log = accesslog.read([path])
                with open(path, "rb") as file:
                    shown = file.read().decode("latin-1")
                self.assertEqual({host: (seen.source, seen.sighting.token)
                                  for host, seen in log.hosts.items()}, {
                    "web01.example.org": ("127.0.0.1", TOKEN),
                    "web02.example.org": ("127.0.0.1", TOKEN),
                    "giro48.example.org": ("::1", None),
                    "user.example.org": ("127.0.0.1", None)}, shown)
                self.assertEqual((log.sightings, log.broken, log.faults, log.anonymous),
                                 (4, broken, (), ()), shown)
                for seen in log.hosts.values():
                    self.assertTrue(self.begin - 1 <= seen.time <= self.end + 1, shown)

    def check_common(self):
        path = os.path.join(self.folder, "common.log")
        log = accesslog.read([path])
        self.assertEqual((log.hosts, log.anonymous), ({}, (path,)))
        self.assertTrue(self.begin - 1 <= log.ends <= self.end + 1)

    def test_nginx(self):
        self.serve(NGINX, ["nginx", "-e", os.path.join(self.folder, "error.log"), "-p",
                           self.folder, "-c"], "user www-data;")
        self.check(2, "combined", "vhost_combined", "more")
        self.check_common()

    def test_apache(self):
        self.serve(APACHE, ["apache2", "-D", "FOREGROUND", "-f"], "User www-data\nGroup www-data")
        # Apache refuses control characters in a header and logs no user agent.
        self.check(1, "combined", "vhost_combined", "more")
        self.check_common()

    def test_lighttpd(self):
        self.serve(LIGHTTPD, ["lighttpd", "-D", "-f"])
        # Control characters in a header: as Apache.
        self.check(1, "combined")


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    found = unittest.main(exit=False).result
    print("real_logs: %s" % ("good" if found.wasSuccessful() else "failed"))
    sys.exit(not found.wasSuccessful())
