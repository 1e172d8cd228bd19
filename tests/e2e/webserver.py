# SPDX-License-Identifier: BSD-2-Clause
"""nginx of this machine, running in the network namespace of a container.

It serves the manifest with the configuration that the project ships (only listener,
directories and log are put in) and the apt repository on a second port. It outlives
the container's reboots, meets no port of the machine, and its access log is evidence.
"""

import os
import subprocess
import time
from typing import Dict
from typing import List
from typing import Optional

MANIFEST_PORT = 8080
REPO_PORT = 8081

_CONFIG = """daemon off;
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/nginx-error.log;
events {{ worker_connections 64; }}
http {{
    default_type text/plain;
    client_body_temp_path {work}/nginx-tmp;
    proxy_temp_path {work}/nginx-tmp;
    fastcgi_temp_path {work}/nginx-tmp;
    uwsgi_temp_path {work}/nginx-tmp;
    scgi_temp_path {work}/nginx-tmp;
{manifest_server}
    server {{
        listen 127.0.0.1:{repo_port};
        access_log {work}/repo-access.log;
        location / {{ root {repo}; }}
    }}
}}
"""


class WebServer:
    """start() and stop() as often as wanted; files appear below `www`."""

    def __init__(self, netns: str, work: str, repo: str, shipped: str) -> None:
        self.www = os.path.join(work, "www")
        self.access_log = os.path.join(work, "access.log")
        self.tls: Dict[str, str] = {}   # directives; with any, the manifest is behind https
        self._netns = netns
        self._work = work
        self._repo = repo
        self._shipped = shipped
        self._process: Optional["subprocess.Popen[bytes]"] = None

    def _manifest_server(self) -> str:
        """The shipped server block with this trial's listener, paths and TLS, or none, in it."""
        with open(self._shipped, encoding="utf-8") as file:
            lines = file.read().splitlines()
        values = {
            "listen": "127.0.0.1:%d%s" % (MANIFEST_PORT, " ssl" if self.tls else ""),
            "root": self.www,
            "access_log": self.access_log + " combined",
        }
        seen = set()
        out = []
        for line in lines:
            words = line.split()
            if words and words[0].startswith("ssl_"):
                continue
            if words and words[0] in values:
                if words[0] == "listen" and "listen" in seen:
                    continue
                seen.add(words[0])
                line = "    %s %s;" % (words[0], values[words[0]])
                if words[0] == "listen":
                    line += "".join("\n    %s %s;" % item for item in self.tls.items())
            out.append(line)
        missing = sorted(set(values) - seen)
        if missing:
            raise OSError("%s: no %s directive" % (self._shipped, ", ".join(missing)))
        return "\n".join(out)

    def start(self) -> None:
        """Start nginx and wait until it listens."""
        for path in (self.www, os.path.join(self._work, "nginx-tmp")):
            os.makedirs(path, exist_ok=True)
        config = os.path.join(self._work, "nginx.conf")
        text = _CONFIG.format(
            work=self._work,
            repo=self._repo,
            repo_port=REPO_PORT,
            manifest_server=self._manifest_server(),
        )
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(self._work, "nginx-console.log"), "ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "ip", "netns", "exec", self._netns]
                + ["nginx", "-p", self._work, "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._wait_listening()

    def _wait_listening(self) -> None:
        probe = ["ip", "netns", "exec", self._netns, "ss", "-Hltn"]
        end = time.monotonic() + 10
        while time.monotonic() < end:
            listeners = subprocess.run(probe, stdout=subprocess.PIPE, check=False).stdout
            if b":%d " % MANIFEST_PORT in listeners and b":%d " % REPO_PORT in listeners:
                return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise OSError("nginx does not listen: see %s/nginx-console.log" % self._work)

    def stop(self) -> None:
        """End it; harmless when it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def put(self, name: str, text: str) -> None:
        """Publish a file, at once as a whole, with a modification time of its own."""
        path = os.path.join(self.www, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)

    def requests(self) -> List[str]:
        """The lines of the access log so far."""
        try:
            with open(self.access_log, encoding="utf-8", errors="replace") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []
