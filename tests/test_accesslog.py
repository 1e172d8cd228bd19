# SPDX-License-Identifier: BSD-2-Clause
"""Access logs of several servers, in any order, with anything in them."""

import bz2
import calendar
import glob
import gzip
import io
import lzma
import os
import random
import shutil
import sys
import tempfile
import time
import tracemalloc
import unittest
from unittest import mock

from qualvosec import useragent
from qualvosec.admin.fleet import accesslog
from qualvosec.admin.fleet import logfile
from qualvosec.admin.fleet import logline

from tests import DATA

FOLDER = os.path.join(DATA, "accesslog")
HOSTILE = ("\x00", "\x1b", "\x9b", "\x07", "\r", '"', "\\", "\\\"", "[", "]", " ", "\t", "\xff",
           "QualvoSec ", "[23/Nov/2026:05:00:00 +0000] ", "a" * 300, "(s1 ", "%s", "\x7f", "' \"")


def at(text):
    day, hour, minute, second = text.split()[0], *text.split()[1].split(":")
    year, month, date = day.split("-")
    return calendar.timegm((int(year), int(month), int(date),
                            int(hour), int(minute), int(second)))


def line(name="a.example.org", time="23/Nov/2026:05:00:00 +0000", source="192.0.2.1",
         status="200", agent=None):
    return '%s - - [%s] "GET /patch.yaml HTTP/1.1" %s 12 "-" "%s"\n' % (
        source, time, status, agent or "QualvoSec 1.0.0 " + name)


def data(name):
    return accesslog.read([os.path.join(FOLDER, name)])


def short(log):
    return {name: (seen.source, seen.sighting.token.outcome if seen.sighting.token else None)
            for name, seen in log.hosts.items()}


class Scratch(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode("latin-1"))
        return path

    def read(self, *texts, **options):
        paths = [self.write("log%d" % number, text) for number, text in enumerate(texts)]
        return accesslog.read(paths, **options)


class FormatTest(unittest.TestCase):

    def test_combined_as_nginx_writes_it(self):
        log = data("nginx-combined.log")
        self.assertEqual(short(log), {"web01.example.org": ("192.0.2.11", "ok"),
                                      "web02.example.org": ("192.0.2.12", "failed")})
        self.assertEqual(log.hosts["web02.example.org"].time, at("2026-11-23 00:00:00"))
        self.assertEqual((log.sightings, log.broken), (2, 0))

    def test_vhost_combined_as_apache_writes_it(self):
        log = data("apache-vhost-combined.log")
        self.assertEqual(short(log), {
            "web05.example.org": ("192.0.2.21", "nothing"),
            "web06.example.org": ("client.example.net", None),
            "web07.example.org": ("2001:db8::21", None)})
        self.assertEqual(log.hosts["web05.example.org"].time, at("2026-11-23 04:12:00"))

    def test_lighttpd_writes_the_virtual_host_as_second_word(self):
        self.assertEqual(short(data("lighttpd.log")), {
            "web08.example.org": ("192.0.2.31", "partial"),
            "web09.example.org": ("192.0.2.32", None)})

    def test_a_virtual_host_that_is_called_by_its_address_is_not_the_client(self):
        for head, source in (("192.0.2.80 192.0.2.1 - -", "192.0.2.1"),
                             ("192.0.2.80 2001:db8::1 - bob", "2001:db8::1"),
                             ("192.0.2.80:80 192.0.2.1 - -", "192.0.2.1"),
                             ("192.0.2.1 - a b", "192.0.2.1"),
                             # lighttpd, with a user name of two words
                             ("192.0.2.1 192.0.2.80 a b", "192.0.2.1"),
                             ("192.0.2.1 192.0.2.80 bob", "192.0.2.1")):
            self.assertEqual(logline.read_source(head.encode("ascii")), source, head)

    def test_openbsd_httpd_with_its_two_further_fields(self):
        self.assertEqual(short(data("openbsd-httpd.log")), {
            "bsd01.example.org": ("192.0.2.41", "ok"),
            "bsd02.example.org": ("2001:db8::41", None)})

    def test_lines_of_the_original_client(self):
        log = data("original-client.log")
        self.assertEqual(short(log), {"giro48.example.org": ("192.0.2.51", None)})
        self.assertEqual(log.hosts["giro48.example.org"].time, at("2024-02-08 08:15:10"))
        self.assertEqual(log.hosts["giro48.example.org"].first, at("2024-02-08 02:15:10"))

    def test_the_common_format_is_named_because_it_shows_nobody(self):
        log = data("common.log")
        self.assertEqual(log.hosts, {})
        self.assertEqual(log.anonymous, (os.path.join(FOLDER, "common.log"),))
        self.assertEqual(data("nginx-combined.log").anonymous, ())

    def test_hostile_lines_are_counted_and_forge_nobody(self):
        log = data("hostile.log")
        self.assertEqual(short(log), {"real.example.org": ("192.0.2.71", None)})
        self.assertEqual(log.hosts["real.example.org"].time, at("2026-11-23 05:00:09"))
        self.assertEqual((log.sightings, log.broken), (1, 8))

    def test_every_file_of_the_corpus_has_a_test(self):
        self.assertEqual(len(glob.glob(os.path.join(FOLDER, "*.log"))), 7)


class ReadTest(Scratch):

    def test_the_newest_time_wins_whatever_the_order_of_lines_and_files(self):
        new = line(time="23/Nov/2026:05:00:00 +0000", source="192.0.2.2")
        old = line(time="23/Nov/2026:05:30:00 +0100", source="192.0.2.1")
        for texts in ((new + old,), (old + new,), (new, old), (old, new)):
            seen = self.read(*texts).hosts["a.example.org"]
            self.assertEqual((seen.source, seen.time), ("192.0.2.2", at("2026-11-23 05:00:00")))
            self.assertEqual(seen.first, at("2026-11-23 04:30:00"))
            self.assertEqual(seen.nearby, (("192.0.2.1", at("2026-11-23 04:30:00")),))

    def test_answers_that_brought_no_manifest_are_no_sightings(self):
        for status, count in (("200", 1), ("304", 1), ("206", 1), ("404", 0), ("403", 0),
                              ("301", 0), ("500", 0), ("401", 0)):
            self.assertEqual(self.read(line(status=status)).sightings, count, status)

    def test_compressed_files_are_known_by_their_content(self):
        text = (line() + line("b.example.org")).encode("ascii")
        paths = [self.write("a.gz", gzip.compress(text)), self.write("b.bz2", bz2.compress(text)),
                 self.write("c.xz", lzma.compress(text)), self.write("d", gzip.compress(text))]
        log = accesslog.read(paths)
        self.assertEqual((log.sightings, log.faults), (8, ()))

    def test_a_damaged_file_is_a_fault_and_the_rest_still_counts(self):
        noise = "".join(line("h%d.b" % random.randrange(10 ** 9)) for _ in range(3000))
        whole = gzip.compress(noise.encode("ascii"))
        for cut in (whole[:-20], whole[:len(whole) // 2], whole[:500] + b"\xff" * 100):
            bad = self.write("bad.gz", cut)
            log = accesslog.read([bad, self.write("good", line())])
            self.assertEqual(len(log.faults), 1)
            self.assertTrue(log.faults[0].startswith(bad + ": "), log.faults)
            self.assertIn("a.example.org", log.hosts)

    def test_what_stands_before_the_fault_of_a_small_archive_counts_too(self):
        text = "".join(line("h%d.b" % number, source="192.0.2.%d" % (number % 250))
                       for number in range(100)).encode("ascii")
        for pack, keep in ((gzip.compress, -20), (lzma.compress, -50)):
            log = accesslog.read([self.write("cut", pack(text)[:keep])])
            self.assertEqual(len(log.faults), 1)
            self.assertGreater(log.sightings, 50, pack)
        for pack in (gzip.compress, lzma.compress, bz2.compress):
            log = accesslog.read([self.write("more", pack(text) + b"more than it shall hold")])
            # What is behind an archive is a fault to gzip alone.
            self.assertEqual((log.sightings, len(log.faults)),
                             (100, int(pack is gzip.compress)), pack)

    def test_an_archive_that_this_python_cannot_read_is_a_fault(self):
        path = self.write("a.xz", lzma.compress(line().encode("ascii")))
        with mock.patch.dict(sys.modules, {"lzma": None}):
            log = accesslog.read([path, self.write("good", line("b.example.org"))])
        self.assertEqual((log.faults, list(log.hosts)), (
            (path + ": this Python was built without lzma: unpack the file",), ["b.example.org"]))

    def test_a_missing_file_is_a_fault(self):
        log = accesslog.read([os.path.join(self.folder, "none")])
        self.assertIn("no such file", log.faults[0])

    def test_globs_and_several_paths_name_each_file_once(self):
        self.write("access.log", line())
        self.write("access.log.1", line())
        path = os.path.join(self.folder, "access.log")
        self.assertEqual(logfile.expand([path + "*", path]), ([path, path + ".1"], []))

    def test_a_path_or_glob_that_names_no_file_is_a_fault_and_the_others_are_still_there(self):
        path = self.write("access.log", line())
        link = os.path.join(self.folder, "dangling")
        os.symlink(path + ".none", link)
        for bad, reason in ((path + ".gone", "no such file"), (self.folder, "is a directory"),
                            (os.path.join(self.folder, "x*"), "no such file"),
                            (link, "no such file")):
            found, (fault,) = logfile.expand([bad, path])
            self.assertEqual(found, [path])
            self.assertTrue(fault.startswith(bad + ": " + reason), fault)

    @unittest.skipIf(os.geteuid() == 0, "root may look everywhere")
    def test_what_is_in_a_closed_directory_is_not_said_to_be_missing(self):
        folder = os.path.join(self.folder, "closed")
        os.mkdir(folder)
        self.write("closed/access.log", line())
        self.addCleanup(os.chmod, folder, 0o700)
        for mode, name, reason in ((0, "access.log", "permission denied"),
                                   (0, "access*", "permission denied"),
                                   (0, "deeper/access.log", "permission denied"),
                                   (0o111, "access*", "permission denied"),
                                   (0o111, "none.log", "no such file"),
                                   (0o555, "none*", "no such file")):
            os.chmod(folder, mode)
            found, (fault,) = logfile.expand([os.path.join(folder, name)])
            self.assertEqual(found, [])
            self.assertIn(reason, fault, (oct(mode), name))

    def test_a_name_with_glob_characters_is_first_a_name(self):
        path = self.write("access[1].log", line())
        self.assertEqual(logfile.expand([path]), ([path], []))

    def test_the_time_the_logs_cover_is_that_of_all_their_lines(self):
        other = '192.0.2.1 - - [%s] "GET / HTTP/1.1" 200 1 "-" "curl"\n'
        log = self.read(other % "20/Nov/2026:00:00:00 +0000" + line(),
                        line() + other % "24/Nov/2026:00:00:00 +0000", "")
        self.assertEqual((log.begins, log.ends),
                         (at("2026-11-20 00:00:00"), at("2026-11-24 00:00:00")))
        self.assertEqual(self.read("")[1:3], (0, 0))

    def test_a_time_inside_a_field_does_not_stretch_what_the_logs_cover(self):
        agent = "x [01/Jan/1999:00:00:00 +0000] "
        self.assertEqual(self.read(line(agent=agent)).begins, at("2026-11-23 05:00:00"))

    def test_a_line_over_the_limit_is_skipped_whole(self):
        for size in (9000, 300000, 2000000):
            long = line(agent="QualvoSec 1.0.0 a.b " + "x" * size)
            log = self.read(line() + long + line("b.example.org"))
            self.assertEqual((log.sightings, log.overlong, log.broken), (2, 1, 0), size)

    def test_a_file_without_line_ends_does_not_fill_the_memory(self):
        class Endless(io.RawIOBase):
            left = 20000000

            def readable(self):
                return True

            def readinto(self, buffer):
                size = min(len(buffer), self.left)
                buffer[:size] = b"x" * size
                self.left -= size
                return size
        pieces = list(logfile.pieces(io.BufferedReader(Endless())))
        self.assertLess(sum(map(len, pieces)), 300000)

    def test_the_longest_line_is_read_and_one_byte_more_is_not(self):
        for end in ("", " end"):
            for length, expected in ((logfile.MAX_LINE, (81, 0)), (logfile.MAX_LINE + 1, (80, 1))):
                rows = [line().rstrip("\n") + end] * 80
                whole = rows[0] + " "
                rows.insert(60, whole + "x" * (length - len(whole)))
                log = self.read("\n".join(rows))
                self.assertEqual((log.sightings, log.overlong), expected)

    def test_times_that_no_clock_could_show_are_counted_and_not_believed(self):
        good = "".join(line(time="23/Nov/2026:05:%02d:00 +0000" % minute) for minute in range(50))
        for wrong in ("01/Jan/1970:00:00:09 +0000", "31/Dec/1999:23:59:59 +0000",
                      "25/Nov/2026:06:00:00 +0000"):
            for count in (1, 50):
                bad = "".join(line(name, time=wrong) for name in ("a.example.org", "b.example.org")
                              * count)
                for text in (bad + good, good + bad, good + bad + good):
                    log = self.read(text, latest=at("2026-11-24 06:00:00"))
                    self.assertEqual((log.mistimed, log.broken), (2 * count, 0), wrong)
                    self.assertEqual(list(log.hosts), ["a.example.org"])
                    self.assertEqual((log.begins, log.ends, log.hosts["a.example.org"].time),
                                     (at("2026-11-23 05:00:00"), at("2026-11-23 05:49:00"),
                                      at("2026-11-23 05:49:00")), wrong)
        self.assertEqual(self.read(line(time="25/Nov/2026:06:00:00 +0000")).mistimed, 0)

    def test_more_kinds_of_lines_than_are_known_at_a_time_lose_nothing(self):
        limit = accesslog.MAX_KINDS
        text = "".join(line("h%d.b" % (number % 700), time="23/Nov/2026:%02d:%02d:%02d +0000" % (
            number // 3600, number // 60 % 60, number % 60)) for number in range(3000))
        try:
            accesslog.MAX_KINDS = 100
            few = self.read(text)
        finally:
            accesslog.MAX_KINDS = limit
        self.assertEqual(few, self.read(text))
        self.assertEqual((len(few.hosts), few.sightings), (700, 3000))

    def test_strangers_are_bounded_and_listed_hosts_are_not_crowded_out(self):
        limit = accesslog.MAX_STRANGERS
        try:
            accesslog.MAX_STRANGERS = 10
            text = "".join(line("h%d.b" % number) for number in range(30)) + line()
            log = self.read(text, listed={"a.example.org"})
        finally:
            accesslog.MAX_STRANGERS = limit
        self.assertEqual((len(log.hosts), log.strangers), (11, 20))
        self.assertIn("a.example.org", log.hosts)

    def test_long_lines_that_are_all_different_do_not_fill_the_memory(self):
        filler = "x" * 7500
        for user, query, referer, agent in (
                ("-", filler, "-", ""), ("-", "", filler, ""), (filler, "", "-", ""),
                ("-", "", "-", " (%s" % filler)):
            text = "".join(
                '192.0.2.1 - %s%d [23/Nov/2026:05:00:00 +0000] "GET /patch.yaml?%s%d HTTP/1.1" 200 '
                '12 "%s%d" "QualvoSec 1.0.0 a.example.org%s"\n' % (
                    user, number, query, number, referer, number, agent and agent + "%d)" % number)
                for number in range(800))
            path = self.write("log", text)
            tracemalloc.start()
            try:
                log = accesslog.read([path])
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertEqual((log.sightings, log.broken), (0, 800) if agent else (800, 0))
            self.assertLess(peak, 4 << 20)

    def test_sources_of_one_host_are_bounded(self):
        text = "".join(line(source="192.0.2.%d" % number) for number in range(200))
        self.assertLessEqual(len(self.read(text).hosts["a.example.org"].nearby), 3)


def slow_fields(text):
    """Cut the quoted fields of a line one character at a time."""
    fields, field, is_in, is_escaped = [], "", False, False
    for char in text:
        if not is_in:
            is_in, field = char == '"', ""
        elif is_escaped:
            field, is_escaped = field + char, False
        elif char == "\\":
            field, is_escaped = field + char, True
        elif char == '"':
            fields.append(field)
            is_in = False
        else:
            field += char
    return fields


def slow_sightings(text):
    """Return (sightings, newest time by name) of lines in plain combined format."""
    count, newest = 0, {}
    for row in text.split("\n"):
        fields = slow_fields(row[row.find('] "') + 2:])
        if "QualvoSec " not in row or len(row) > logfile.MAX_LINE or len(fields) < 3:
            continue
        found = useragent.read(fields[2])
        status = row.split('" ')[1][:3]
        if found is not None and (status.startswith("2") or status == "304"):
            count += 1
            time = at("2026-11-%s %s" % (row.split("[")[1][:2], row.split("[")[1][12:20]))
            newest[found.fqdn] = max(time, newest.get(found.fqdn, 0))
    return count, newest


def slow_hosts(texts):
    """Return {name: (newest, first, source, words, {other source: newest})}, line by line."""
    found = {}
    for text in texts:
        for row in text.split("\n"):
            fields = slow_fields(row[row.find('] "') + 2:])
            sighting = useragent.read(fields[2]) if len(fields) > 2 else None
            if sighting is None or row.split('" ')[1][:3] not in ("200", "304"):
                continue
            stamp = row[row.find("[") + 1:row.find("]")]
            east = int(stamp[-5:-2]) * 3600 + int(stamp[-5] + stamp[-2:]) * 60
            time = at("2026-%02d-%s %s" % (
                ("Sep", "Oct", "Nov", "Dec").index(stamp[3:6]) + 9, stamp[:2], stamp[12:20])) - east
            found.setdefault(sighting.fqdn, []).append((time, row.split(" ")[0], fields[2]))
    result = {}
    for name, rows in found.items():
        newest = max(rows)
        others = {}
        for time, source, _ in rows:
            if source != newest[1]:
                others[source] = max(time, others.get(source, 0))
        nearest = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:3]
        result[name] = (newest[0], min(rows)[0], newest[1], useragent.read(newest[2]),
                        tuple(nearest))
    return result


def slow_request(text):
    """Cut a line after its time by hand; returns (status, agent), None if it is of no format."""
    words, place = [], 0
    for kind in 'q.dq"':
        if text[place:place + 1] != " ":
            return None
        place += 1
        end = place + 1
        if kind in "d.":
            while text[end:end + 1] not in (" ", ""):
                end += 1
            number = text[place:end]
            is_number = bool(number) and not set(number) - set("0123456789")
            if not (is_number and (kind == "d" or len(number) == 3)
                    or kind == "d" and number == "-"):
                return None
        else:
            if text[place:place + 1] != '"':
                return None
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            end += 1
            if end > len(text):
                return None
        words.append(text[place:end])
        place = end
    return words[1], words[4][1:-1]


def slow_time(text):
    """Return the seconds of "23/Nov/2026:05:00:00 +0000] ", None if it is none."""
    form = "".join("0" if char in "0123456789" else char for char in text)
    if form[:3] + form[6:] != "00//0000:00:00:00 +0000] ".replace("+0000", text[21:22] + "0000"):
        return None
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    day, month, year = int(text[:2]), text[3:6], int(text[7:11])
    hour, minute, second = int(text[12:14]), int(text[15:17]), int(text[18:20])
    if (text[21] not in "+-" or not all("A" <= char.upper() <= "Z" for char in month)
            or not month.istitle() or hour > 23 or minute > 59 or second > 60):
        return None
    if (month not in months or not year
            or not 1 <= day <= calendar.monthrange(year, months.index(month) + 1)[1]):
        return False
    east = int(text[22:24]) * 3600 + int(text[24:26]) * 60
    return (calendar.timegm((year, months.index(month) + 1, day, hour, minute, second))
            - (-east if text[21] == "-" else east))


def slow_read(rows, latest):
    """Count lines one by one; returns (sightings, broken, overlong, mistimed) and the hosts."""
    sightings = broken = overlong = mistimed = 0
    hosts = {}
    for row in "\n".join(rows).split("\n"):
        if "QualvoSec " not in row:
            continue
        if len(row) > logfile.MAX_LINE:
            overlong += 1
            continue
        found = [(place, moment) for place, moment in (
            (place, slow_time(row[place + 2:place + 30])) for place in range(len(row) - 30)
            if row[place:place + 2] == " [" and row[place + 30] == '"') if moment is not None]
        request = slow_request(row[found[0][0] + 29:]) if found else None
        if request is None or found[0][1] is False:
            broken += 1
            continue
        status, agent = request
        if not agent.startswith("QualvoSec "):
            continue
        sighting = useragent.read(agent)
        source = logline.read_source(row[:found[0][0]].encode("latin-1"))
        if sighting is None or not source:
            broken += 1
        elif status[0] == "2" or status == "304":
            moment = found[0][1]
            if not accesslog.EARLIEST <= moment <= latest:
                mistimed += 1
                continue
            sightings += 1
            first, newest, origin = hosts.get(sighting.fqdn, (moment, moment, source))
            hosts[sighting.fqdn] = (min(first, moment),) + max((newest, origin), (moment, source))
    return (sightings, broken, overlong, mistimed), hosts


def damaged(rng, row, share):
    """Return a row, or, for some of them, what a crash, a fault or a joker makes of it."""
    if rng.random() >= share:
        return row
    place = rng.randrange(len(row) + 1)
    what = rng.randrange(8)
    if what == 0:
        return row[:place] + "\0" * (len(row) - place)
    if what == 1:
        return row[:place]
    if what == 2:
        return row[place:]
    if what == 3:
        return row + "x" * rng.choice((8000, 8100, 9000))
    if what == 4:
        return row.replace("/2026:", rng.choice(("/1970:", "/2027:", "/2x26:")))
    if what == 5:
        return row[:place] + rng.choice("[]\n") + row[place + 1:]
    text = rng.choice(HOSTILE).replace("\r", "\0")
    return row[:place] + text + row[place + (len(text) if what == 6 else 0):]


class FuzzTest(Scratch):

    def test_hosts_agree_with_a_slow_reader_whatever_the_order_zones_and_sources(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        report = "QualvoSec 1.0.0 h%d.example.org (s1 w=%s r=%s u=0 k=0 p=0 b=no)"
        for trial in range(15):
            hosts, sources = rng.choice((1, 5, 40)), rng.choice((1, 1, 2, 4))
            zones = rng.choice((["+0000"], ["-0330"], ["+0100", "+0200"]))
            more = rng.choice(("", "", ' "%d" 0.%d'))
            disorder = rng.choice((0, 0, 5, 5000, 10 ** 6))
            texts = []
            for _ in range(rng.choice((1, 1, 3))):
                rows, now = [], at("2026-10-%02d 00:00:00" % rng.randrange(10, 31))
                for _ in range(400):
                    now += rng.choice((0, 1, 60, 3000))
                    moment = time.gmtime(now - rng.randrange(disorder + 1))
                    host = rng.randrange(hosts)
                    source = "192.0.%d.%d" % (host, rng.randrange(sources))
                    agent = rng.choice((report % (host, rng.choice(
                        ("-", "20261020T0000Z")), rng.choice(("-", "ok"))), "curl/8"))
                    rows.append(line(
                        agent=agent, source=source, status=rng.choice(("200", "304", "404")),
                        time=time.strftime("%d/%b/%Y:%H:%M:%S ", moment) + rng.choice(zones)
                    ).rstrip("\n") + (more and more % (rng.randrange(9), rng.randrange(999))))
                texts.append("\n".join(rows))
            with self.subTest(seed=seed, trial=trial):
                log = self.read(*texts)
                self.assertEqual({name: (seen.time, seen.first, seen.source, seen.sighting,
                                         seen.nearby) for name, seen in log.hosts.items()},
                                 slow_hosts(texts))
                self.assertEqual(log.broken, 0)

    def test_every_line_is_counted_as_by_a_slow_reader_however_few_are_damaged(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        for trial in range(6):
            more = rng.choice(("", ' "-" rt=0.%03d', ' [%d]'))
            foreign, damage = rng.choice((0, 0, .03, .5, .95)), rng.choice((.002, .02, .3))
            rows, now = [], at("2026-10-03 20:00:00")
            for _ in range(3000):
                now += rng.choice((0, 1, 2, 30))
                row = line("h%d.example.org" % rng.randrange(40), source="192.0.2.7",
                           time=time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
                           status=rng.choice(("200", "304", "304", "304", "404")),
                           agent="curl/8" if rng.random() < foreign else None).rstrip("\n")
                rows.append(damaged(rng, row + (more and more % rng.randrange(1000)), damage))
            with self.subTest(seed=seed, trial=trial):
                log = self.read("\n".join(rows), latest=at("2026-12-31 00:00:00"))
                counts, newest = slow_read(rows, at("2026-12-31 00:00:00"))
                self.assertEqual((log.sightings, log.broken, log.overlong, log.mistimed), counts)
                self.assertEqual({name: (seen.first, seen.time, seen.source)
                                  for name, seen in log.hosts.items()}, newest)

    def test_a_damaged_clock_between_good_ones_is_counted_as_broken(self):
        good = [line(time="23/Nov/2026:05:00:%02d +0000" % second) for second in range(60)]
        for place, text in ((30, "05:00:2x"), (59, "05:00:58 +000x"), (10, "05:00:0:")):
            rows = list(good)
            rows[place] = rows[place].replace("05:00:%02d +0000" % place, text)
            log = self.read("".join(rows))
            self.assertEqual((log.sightings, log.broken), (59, 1), text)

    def test_a_damaged_clock_in_a_repeated_line_costs_that_line_alone(self):
        good = [line(time="23/Nov/2026:05:00:%02d +0000" % second) for second in range(10)]
        log = self.read("".join(good) + good[-1].replace("05:00:09", "05:00:9x"))
        self.assertEqual((log.sightings, log.broken), (10, 1))
        self.assertEqual(log.hosts["a.example.org"].time, at("2026-11-23 05:00:09"))

    def test_counts_agree_with_a_slow_reader_when_agents_and_referers_are_garbage(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        rows = []
        safe = [text for text in HOSTILE if not set(text) & set('"\r\n\x85')]
        for _ in range(1500):
            agent = rng.choice(("QualvoSec 1.0.0 h%d.example.org" % rng.randrange(40), "curl/8",
                                "QualvoSec 1.0.0 h1.b (s1 w=- r=- u=0 k=0 p=0 b=no)"))
            if rng.random() < 0.3:
                agent += rng.choice(safe).replace("\\", "\\\\")
            referer = rng.choice(("-", "http://x/\\\"y", "QualvoSec 1.0.0 h2.b", "\\\\"))
            rows.append('192.0.2.1 - - [%02d/Nov/2026:%02d:00:%02d +0000] "GET /p HTTP/1.1" %s 1 '
                        '"%s" "%s"' % (rng.randrange(1, 29), rng.randrange(24), rng.randrange(60),
                                       rng.choice(("200", "304", "404")), referer, agent))
        text = "\n".join(rows)
        log = self.read(text)
        count, newest = slow_sightings(text)
        self.assertEqual(log.sightings, count, "seed %d" % seed)
        self.assertEqual({name: seen.time for name, seen in log.hosts.items()}, newest,
                         "seed %d" % seed)
        self.assertGreater(count, 100)

    def test_mutated_lines_never_raise_and_only_host_names_come_out(self):
        seed = random.randrange(2 ** 32)
        rng = random.Random(seed)
        good = []
        for path in glob.glob(os.path.join(FOLDER, "*.log")):
            with open(path, encoding="latin-1") as file:
                good.extend(file.read().split("\n"))
        rows = []
        for _ in range(10000):
            row = rng.choice(good)
            for _ in range(rng.randrange(1, 5)):
                place = rng.randrange(len(row) + 1)
                row = row[:place] + rng.choice(HOSTILE) + row[place + rng.choice((0, 0, 1, 9)):]
            rows.append(row)
        with self.subTest(seed=seed):
            log = self.read("\n".join(rows))
        for name, seen in log.hosts.items():
            text = "%s %s %s %s" % (name, seen.source, seen.sighting, seen.nearby)
            self.assertTrue(text.isprintable(), "seed %d: %a" % (seed, text))
            self.assertEqual(text, text.encode("ascii", "replace").decode("ascii"),
                             "seed %d" % seed)
        self.assertGreater(log.broken, 50)


if __name__ == "__main__":
    unittest.main()
