#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Open the report in a real browser: Chromium without a screen, driven by chromedriver.

Renders, sorts and filters small, hostile and large fleets; no console message, no request but
for the page itself, nothing injected, no task of a second or more. `--keep DIR` writes the
pages and screenshots there. Needs chromium and chromium-driver; the last line is the verdict.
"""

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "lib")]

from qualvosec.admin.fleet import accesslog  # noqa: E402
from qualvosec.admin.fleet import facts  # noqa: E402
from qualvosec.admin.fleet.overview import rows  # noqa: E402
from qualvosec.admin.show import report  # noqa: E402
from qualvosec.manifest import document  # noqa: E402

from tests import fleet_samples  # noqa: E402
from tests import test_report  # noqa: E402

ARGUMENTS = ["--headless", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars"]
KEEP = ""
# Long tasks, gathered from before the page's first byte.
WATCH = ("window.slow = []; new PerformanceObserver(function (list) {"
         "list.getEntries().forEach(function (entry) { window.slow.push(entry.duration); });"
         "}).observe({type: 'longtask', buffered: true});")


class Browser:
    """One chromedriver with one session, spoken to by the WebDriver protocol."""

    def __init__(self, folder, port):
        self.process = subprocess.Popen(["chromedriver", "--port=%d" % port],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.base = "http://127.0.0.1:%d" % port
        for _ in range(100):
            try:
                if self.call("GET", "/status")["ready"]:
                    break
            except OSError:
                time.sleep(0.1)
        arguments = ARGUMENTS + ["--user-data-dir=" + os.path.join(folder, "profile")]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        found = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}})
        self.base += "/session/" + found["sessionId"]

    def call(self, method, path, body=None):
        data = json.dumps(body or {}).encode("utf-8") if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, method=method,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read().decode("utf-8"))["value"]

    def tool(self, command, **params):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def open(self, path, width=1400, is_dark=False):
        """Open a page as a fresh one; returns the addresses that it asked for."""
        self.tool("Emulation.setDeviceMetricsOverride", width=width, height=1000,
                  deviceScaleFactor=1, mobile=False)
        self.tool("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}])
        self.call("POST", "/url", {"url": "about:blank"})
        self.log("performance")
        self.log("browser")
        self.call("POST", "/url", {"url": "file://" + path})
        time.sleep(0.3)
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent"]

    def picture(self, name):
        data = base64.b64decode(self.tool("Page.captureScreenshot", format="png")["data"])
        if KEEP:
            with open(os.path.join(KEEP, name + ".png"), "wb") as file:
                file.write(data)
        return data

    def end(self):
        try:
            self.call("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait()


class BrowserTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="qualvosec-browser.")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        cls.browser = Browser(cls.folder, port)
        cls.addClassCleanup(cls.browser.end)
        cls.browser.tool("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def page(self, name, hosts):
        """Write the page of a sample fleet; returns its path."""
        now = int(time.time())
        log = os.path.join(self.folder, "log")
        fleet_samples.write_log(log, hosts, hosts * 20, now - 60, days=14)
        listed = document.read(fleet_samples.manifest(hosts), now // 86400 + 719163).hosts
        found = rows(listed, accesslog.read([log], listed), now, 7)
        return self.write(name, report.page(found, [], facts.Weeks(now)))

    def write(self, name, text):
        path = os.path.join(KEEP or self.folder, name + ".html")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def opened(self, path, **options):
        asked = self.browser.open(path, **options)
        self.assertEqual(asked, ["file://" + path])
        self.assertEqual(self.browser.log("browser"), [])

    def column(self, number):
        return self.browser.run(
            "var column = arguments[0];"
            "return Array.prototype.slice.call(document.getElementById('hosts').rows, 1).map("
            "function (row) { return row.cells[column].textContent; });", number)

    def click(self, title):
        """Click a heading; returns the seconds until the next picture is made."""
        return self.call_async(
            "var done = arguments[1], begin = performance.now();"
            "var all = document.querySelectorAll('th button');"
            "for (var i = 0; i < all.length; i++) {"
            "if (all[i].textContent === arguments[0]) { all[i].click(); } }"
            "requestAnimationFrame(function () { setTimeout(function () {"
            "done((performance.now() - begin) / 1000); }, 0); });", title)

    def call_async(self, script, *arguments):
        return self.browser.call("POST", "/execute/async",
                                 {"script": script, "args": list(arguments)})

    def filter(self, text, kind=""):
        self.browser.run(
            "var find = document.getElementById('find'), kind = document.getElementById('kind');"
            "find.value = arguments[0]; kind.value = arguments[1];"
            "find.dispatchEvent(new Event('input')); kind.dispatchEvent(new Event('change'));",
            text, kind)
        time.sleep(0.5)

    def test_twenty_hosts_sort_filter_and_fit_every_screen(self):
        path = self.page("small", 20)
        self.opened(path)
        names = self.column(0)
        self.assertEqual(len(names), 20)
        self.click("System")
        self.assertEqual(self.column(0), sorted(names))
        self.click("System")
        self.assertEqual(self.column(0), sorted(names, reverse=True))
        self.click("Upgraded")
        numbers = [int(text) for text in self.column(9) if text != "-"]
        self.assertEqual(numbers, sorted(numbers))
        self.filter("WEB prod")
        self.assertEqual({name[:3] for name in self.column(0)}, {"web"})
        self.filter("", "g")
        self.assertLessEqual(set(self.column(1)), {"ok", "nothing", "no run yet"})
        self.filter("no such host")
        self.assertEqual(self.column(0), [], self.browser.run(
            "return document.getElementById('shown').textContent"))
        self.assertEqual(self.browser.run("return document.getElementById('shown').textContent"),
                         "0 of 20 hosts")
        self.assertEqual(self.browser.log("browser"), [])
        for is_dark in (False, True):
            for width in (390, 1400):
                self.opened(path, width=width, is_dark=is_dark)
                self.assertLessEqual(self.browser.run(
                    "return document.documentElement.scrollWidth"), width)
                self.assertGreater(len(self.browser.picture(
                    "small-%s-%d" % ("dark" if is_dark else "light", width))), 5000)

    def test_on_paper_every_column_is_there_and_the_heading_on_every_page(self):
        # The printable width of a sheet across, 96 dots an inch: that of a small screen.
        for name, hosts in (("small", 20), ("large", 10000)):
            self.opened(self.page(name, hosts), width=940, is_dark=True)
            self.browser.tool("Emulation.setEmulatedMedia", media="print")
            try:
                shown, heading, tools, wide = self.browser.run(
                    "var table = document.getElementById('hosts'), body = document.body;"
                    "function look(what) { return getComputedStyle(what).display; }"
                    "return [Array.prototype.filter.call(table.rows[1].cells, function (cell) {"
                    "return cell.offsetWidth > 20; }).length, look(table.tHead),"
                    "look(document.getElementById('tools')),"
                    "Math.max(table.scrollWidth, body.scrollWidth)];")
                self.assertEqual((shown, heading, tools), (15, "table-header-group", "none"))
                self.assertLessEqual(wide, 940)
                self.assertEqual(self.browser.run(
                    "return getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
                self.browser.picture(name + "-print")
            finally:
                self.browser.tool("Emulation.setEmulatedMedia", media="")

    def test_without_its_script_the_page_is_whole(self):
        path = self.page("plain", 20)
        self.browser.tool("Emulation.setScriptExecutionDisabled", value=True)
        try:
            self.opened(path)
            found = self.browser.tool("DOM.getDocument", depth=-1)
            self.assertIn("Outcomes", json.dumps(found))
            self.browser.picture("plain")
        finally:
            self.browser.tool("Emulation.setScriptExecutionDisabled", value=False)

    def test_hostile_texts_stay_texts(self):
        listed = [test_report.row(text, status="ok", source=text) for text in test_report.HOSTILE]
        path = self.write("hostile", test_report.page(listed, test_report.HOSTILE))
        self.opened(path)
        self.assertEqual(self.browser.run(
            "return [document.scripts.length, document.images.length, document.forms.length,"
            "document.querySelectorAll('iframe,object,embed,link,a').length]"), [1, 0, 0, 0])
        self.assertEqual(len(self.column(0)), len(test_report.HOSTILE))
        self.assertIn("<script>alert(1)</script>", self.column(0))

    def test_what_gets_in_nevertheless_is_not_run(self):
        text = test_report.page([test_report.row()]).replace(
            "<footer>", "<script>window.evil = 1</script><img src=x onerror='window.evil=1'>"
            "<footer>")
        self.browser.open(self.write("planted", text))
        self.assertIsNone(self.browser.run("return window.evil"))
        self.assertGreater(len(self.browser.log("browser")), 1)

    def test_ten_thousand_hosts_open_and_sort_without_a_long_task(self):
        path = self.page("large", 10000)
        self.opened(path)
        self.assertEqual(self.browser.run(
            "return document.getElementById('hosts').rows.length"), 10001)
        took = [self.click(title) for title in ("System", "System", "Last seen", "Status")]
        self.filter("web0")
        self.filter("")
        slow = self.browser.run("return window.slow")
        print("10000 hosts: sort %.2f s at most, longest task %.2f s"
              % (max(took), max(slow or [0]) / 1000))
        self.assertLess(max(slow or [0]), 1000)
        self.browser.run("window.scrollTo(0, 0)")
        for is_dark, width in ((False, 1400), (True, 390)):
            self.opened(path, width=width, is_dark=is_dark)
            self.browser.run("document.getElementById('tools').scrollIntoView()")
            self.browser.picture("large-%d" % width)


def main():
    global KEEP
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", metavar="DIR", default="")
    KEEP = parser.parse_args().keep
    if KEEP:
        os.makedirs(KEEP, exist_ok=True)
        KEEP = os.path.realpath(KEEP)
    for program in ("chromedriver", "chromium"):
        if shutil.which(program) is None:
            print("browser: NOT CHECKED: %s is not installed" % program)
            return 1
    found = unittest.main(argv=["browser"], exit=False).result
    print("browser: %s" % ("good" if found.wasSuccessful() else "failed"))
    return 0 if found.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
