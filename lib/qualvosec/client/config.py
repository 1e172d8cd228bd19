# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec.conf(5): one section, a closed set of keys, a line number in every error.

The daemon reads this at start and on SIGHUP. Nothing comes from the environment.
The host's own name is decided here too, because it is what the manifest is
searched for: `fqdn`, else a dotted nodename, else the dotted name that /etc/hosts
gives this nodename. Never DNS: whoever answers there would choose the entry.
"""

import os
import socket
import sys
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

from qualvosec import files
from qualvosec import ini
from qualvosec import log
from qualvosec import paths
from qualvosec.client import host
from qualvosec.manifest.window import set_zone
from qualvosec.safetext import safe

MAX_CONFIG = 65536
# What etc/qualvosec.conf has before anybody has written a server there.
SAMPLE_SERVER = "https://patching.example.org"
PRIVILEGES = ("auto", "sudo", "doas", "socket")
REPORTS = ("auto", "enable", "disable")
OTHER_TOOLS = ("warn", "ignore")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
KEYS = ("server", "manifest", "monitoring", "monitoring_port", "monitoring_listener",
        "monitoring_hosts", "monitoring_packages", "log_level", "log_handler", "fqdn", "timezone",
        "fetch_interval", "max_age", "privilege", "ca_file", "client_cert", "client_key",
        "proxy", "report", "state_dir", "allowed_signers", "audience",
        "other_tools")


class ConfigError(ValueError):
    """The configuration cannot be used; the text is one line: file, line, key, remedy."""


class Config(NamedTuple):
    """Every setting with its final value; times in seconds."""

    path: str
    server: str
    manifest: str = "patch.yaml"
    monitoring: bool = False
    monitoring_port: int = 8037
    monitoring_listener: str = "127.0.0.1"
    monitoring_hosts: Tuple[str, ...] = ()
    monitoring_packages: bool = False
    log_level: str = "WARNING"
    log_handler: str = "SystemdHandler"
    fqdn: str = ""
    timezone: str = ""
    fetch_interval: int = 6 * 3600
    max_age: int = 30 * 86400
    privilege: str = "auto"
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    proxy: str = ""
    report: str = "auto"
    state_dir: str = paths.STATE_DIR
    allowed_signers: str = ""
    audience: str = ""
    other_tools: str = "warn"

    def url(self) -> str:
        """Return the URL of the manifest."""
        return self.server.rstrip("/") + "/" + self.manifest.lstrip("/")

    def reports(self) -> bool:
        """Say whether the report token goes out: auto means over TLS or to this host only."""
        if self.report != "auto":
            return self.report == "enable"
        return self._is_private()

    def _is_private(self) -> bool:
        host = host_of(self.server)
        loopback = host in ("localhost", "::1") or (host.startswith("127.") and is_address(host))
        return loopback or self.server.startswith("https://")

    def unguarded(self) -> str:
        """Return what to tell where nothing speaks for the manifest, "" where something does."""
        if self.allowed_signers or self._is_private():
            return ""
        return ("server %s: anybody on the way can write the manifest that comes over plain http: "
                "use https, or sign it and set allowed_signers" % self.server)


def host_of(url: str) -> str:
    """Return the host of an http(s) URL in lower case, brackets and port removed."""
    authority = url.split("://", 1)[-1].split("/", 1)[0]
    if authority.startswith("["):
        return authority[1:].split("]", 1)[0].lower()
    return authority.rsplit(":", 1)[0].lower()


def read(path: str) -> Config:
    """Read and check a configuration file; raises ConfigError."""
    try:
        # An administrator may link the file; what the link names is checked.
        text = files.read_bounded(os.path.realpath(path), MAX_CONFIG).decode("utf-8")
        return from_text(text, path)
    except files.FileError as error:
        raise ConfigError("%s: write it, see qualvosec.conf(5), or name another with -c" % error
                          if isinstance(error.__cause__, FileNotFoundError) else str(error))
    except UnicodeDecodeError:
        raise ConfigError("%s: is not UTF-8 text: save it as UTF-8" % path)
    except ini.IniError as error:
        raise ConfigError("%s: %s" % (path, error))


def from_text(text: str, path: str = "qualvosec.conf") -> Config:
    """Check the text of a configuration; raises ConfigError or IniError."""
    items = ini.parse(text, {"general": KEYS}).get("general", {})
    if "server" not in items:
        raise ConfigError("%s: [general] server: is missing: write server: https://host" % path)
    values: Dict[str, object] = {"path": path}
    for key, item in items.items():
        if item.value == "":
            raise ini.IniError("line %d: %s: has no value: give one or remove the line"
                               % (item.line, key))
        values[key] = _CHECKS.get(key, _text)(item, key)
    config = Config(**values)  # type: ignore[arg-type]
    if config.client_key and not config.client_cert:
        raise ConfigError("%s: line %d: client_key: needs client_cert too"
                          % (path, items["client_key"].line))
    if config.audience and not config.allowed_signers:
        raise ConfigError("%s: line %d: audience: binds only signed manifests: set allowed_signers"
                          % (path, items["audience"].line))
    return config


def _text(item: ini.Setting, key: str) -> str:
    return item.value


def _server(item: ini.Setting, key: str) -> str:
    scheme, found, rest = item.value.partition("://")
    authority = rest.split("/", 1)[0]
    if scheme not in ("http", "https") or not found or not host_of(item.value):
        raise _bad(item, key, "is not an http or https URL: write https://host")
    if "@" in authority or "#" in rest or "?" in rest or " " in rest or "\\" in rest:
        raise _bad(item, key, "holds a user, query, fragment or blank: write https://host/path")
    name, bracket, port = authority.rpartition("]")
    if not bracket:
        name, colon, port = authority.partition(":")
        port = colon + port
    # Names of machines, unlike those of hosts, may have an underscore.
    if not (":" in name and is_address(name[1:]) if bracket
            else is_host_name(name.lower().replace("_", "x"))):
        raise _bad(item, key, "has no host name or address: write https://host or "
                   "https://[2001:db8::1]")
    if port and not _is_port(port):
        raise _bad(item, key, "has no port from 1 to 65535 behind its host: write https://host:443")
    if not _plain(rest, "/!\"$%&'()*+,-.:;=@[]^_`{|}~"):
        raise _bad(item, key, "has characters that no URL has: write them as %XX")
    return item.value


def _is_port(text: str) -> bool:
    digits = text[1:]
    return (text[0] == ":" and 0 < len(digits) < 6 and not digits.strip("0123456789")
            and 0 < int(digits) < 65536)


def _proxy(item: ini.Setting, key: str) -> str:
    value = _server(item, key)
    if not value.startswith("http://") or value.partition("://")[2].partition("/")[2]:
        raise _bad(item, key, "is not the address of a proxy: write http://host:port")
    return value


def _manifest(item: ini.Setting, key: str) -> str:
    parts = item.value.split("/")
    if "://" in item.value or ".." in parts or not _plain(item.value, "/._-+~"):
        raise _bad(item, key, "is not a path below the server: write patch.yaml")
    return item.value


def _plain(text: str, more: str) -> bool:
    return all(c in more or (c.isalnum() and ord(c) < 128) for c in text)


def _bad(item: ini.Setting, key: str, why: str) -> ini.IniError:
    return ini.IniError("line %d: %s: %r %s" % (item.line, key, item.value[:60], why))


def _path(item: ini.Setting, key: str) -> str:
    if not item.value.startswith("/"):
        raise _bad(item, key, "is not an absolute path: start it with /")
    return item.value


def _name(item: ini.Setting, key: str) -> str:
    name = item.value.rstrip(".").lower()
    if not is_host_name(name):
        raise _bad(item, key, "is not a host name: letters, digits, hyphens and dots")
    return name


def is_host_name(name: str) -> bool:
    """Say whether `name` is a lower-case RFC 1123 host name of at most 253 characters."""
    labels = name.split(".")
    return len(name) <= 253 and all(
        0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-"
        and label == label.lower() and _plain(label, "-") for label in labels)


def is_address(text: str) -> bool:
    """Say whether `text` is an IPv4 or IPv6 address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return True
        except OSError:
            continue
    return False


def _names(item: ini.Setting, key: str) -> Tuple[str, ...]:
    words = item.value.replace(",", " ").split()
    return tuple(_name(ini.Setting(word, item.line), key) for word in words)


def _seconds(low: int, high: int) -> Callable[[ini.Setting, str], int]:
    def check(item: ini.Setting, key: str) -> int:
        number, unit = item.value[:-1], item.value[-1:]
        if unit not in _UNITS:
            number, unit = item.value, "s"
        plain = 0 < len(number) <= 9 and not number.strip("0123456789")
        if not plain or not low <= int(number) * _UNITS[unit] <= high:
            raise _bad(item, key, "is not a time from %s to %s: write 90m, 6h or 30d"
                       % (span(low), span(high)))
        return int(number) * _UNITS[unit]
    return check


def span(seconds: int) -> str:
    """Return a time in the largest whole unit, as the configuration spells it."""
    for unit in "dhm":
        if seconds and seconds % _UNITS[unit] == 0:
            return "%d%s" % (seconds // _UNITS[unit], unit)
    return "%ds" % seconds


def _port(item: ini.Setting, key: str) -> int:
    return ini.integer(item, key, 1, 65535)


def _listener(item: ini.Setting, key: str) -> str:
    if not is_address(item.value):
        raise _bad(item, key, "is not an IP address: write 127.0.0.1")
    return item.value


def _handler(item: ini.Setting, key: str) -> str:
    try:
        log.parse_handler(item.value)
    except log.LogError as error:
        raise ini.IniError("line %d: %s: %s" % (item.line, key, error))
    return item.value


def _level(item: ini.Setting, key: str) -> str:
    try:
        return log.parse_level(item.value)
    except log.LogError as error:
        raise ini.IniError("line %d: %s: %s" % (item.line, key, error))


def _choice(values: Tuple[str, ...]) -> Callable[[ini.Setting, str], str]:
    return lambda item, key: ini.choice(item, key, values)


_CHECKS: Dict[str, Callable[[ini.Setting, str], object]] = {
    "server": _server, "manifest": _manifest, "monitoring": ini.boolean, "monitoring_port": _port,
    "monitoring_listener": _listener, "monitoring_hosts": _names,
    "monitoring_packages": ini.boolean, "log_level": _level,
    "log_handler": _handler, "fqdn": _name, "fetch_interval": _seconds(60, 7 * 86400),
    "max_age": _seconds(3600, 366 * 86400), "privilege": _choice(PRIVILEGES),
    "report": _choice(REPORTS), "ca_file": _path, "client_cert": _path, "client_key": _path,
    "proxy": _proxy, "state_dir": _path,
    "allowed_signers": _path, "other_tools": _choice(OTHER_TOOLS)}


def _nodename() -> str:
    return os.uname()[1]


def host_name(config: Config, nodename: Callable[[], str] = _nodename,
              hosts: Callable[[str], str] = host.name_in_hosts) -> str:
    """Return this host's name in lower case, "" when there is none that can be trusted.

    A file that answers "localhost.localdomain" would make many hosts share one entry.
    """
    if config.fqdn:
        return config.fqdn
    own = nodename().rstrip(".").lower()
    for name in (own,) if "." in own else (hosts(own),):
        if "." in name and is_host_name(name) and not (
                host.is_loopback(name) or name.endswith(".arpa")):
            return name
    return ""


def unnamed(config: Config, nodename: Callable[[], str] = _nodename) -> str:
    """Return what to say and do where host_name() is empty."""
    return "this host has no name that can be trusted: set fqdn: " + naming(config, nodename)


def naming(config: Config, nodename: Callable[[], str] = _nodename) -> str:
    """Return the line to write where host_name() is empty, and its file."""
    label = nodename().split(".")[0].lower()
    if not is_host_name(label) or host.is_loopback(label):
        label = "web01"
    return "write the line \"fqdn: %s.example.org\", with your own domain, into %s" % (
        label, config.path)


def use_zone(config: Config) -> None:
    """Make the configured time zone, or the host's, the process's own; raises WindowError."""
    if config.timezone:
        set_zone(config.timezone)
    elif "TZ" in os.environ:
        # Of an earlier configuration, or of the shell that started us: the host's own zone counts.
        offsets, name = _offsets(), os.environ.pop("TZ")
        time.tzset()
        if offsets != _offsets() and not name.startswith(":/"):
            sys.stderr.write("qualvosec: TZ=%s: does not count, the windows are in the host's own "
                             "time zone: set timezone to change that\n" % safe(name, 80))


def _offsets() -> List[int]:
    """Return what tells the process's time zone from most others: summer and winter time."""
    now = time.time()
    return [time.localtime(now + days * 86400).tm_gmtoff for days in (0, 91, 182, 273)]
