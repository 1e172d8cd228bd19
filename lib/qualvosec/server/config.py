# SPDX-License-Identifier: BSD-2-Clause
"""Settings of the embedded server: qualvosec_server.conf and the command line.

The file is optional as long as the command line names the root; a value of the
command line wins. Every fault names file, line and key. Nothing listens
outside the host unless `listener` says so: the server speaks plain HTTP.
"""

import os
from typing import Any
from typing import Dict
from typing import Mapping
from typing import NamedTuple
from typing import Optional

from qualvosec import files
from qualvosec import ini
from qualvosec import log
from qualvosec.server import accesslog

MAX_CONFIG_BYTES = 65536
SECTION = "general"
KEYS = ("listener", "port", "root", "log_file", "log_level", "log_handler")


class ServerError(Exception):
    """The settings cannot be used; the text is one line: place, what is wrong, what to do."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


class Config(NamedTuple):
    """Settings of one server; `log_file` is the access log, "-" is standard output."""

    listener: str = "127.0.0.1"
    port: int = 8080
    root: str = ""
    log_file: str = accesslog.STDOUT
    log_level: str = "WARNING"
    log_handler: str = "StreamHandler"


def parse(text: str) -> Config:
    """Read the text of a configuration file; raises ini.IniError."""
    items = ini.parse(text, {SECTION: KEYS}).get(SECTION, {})
    texts: Dict[str, Any] = {key: item.value for key, item in items.items() if key != "port"}
    config = Config()._replace(**texts)
    if "port" in items:
        config = config._replace(port=ini.integer(items["port"], "port", 0, 65535))
    for key, item in items.items():
        if item.value == "":
            raise ini.IniError("line %d: %s: has no value: give one or remove the line"
                               % (item.line, key))
    for key, check in (("log_level", log.parse_level), ("log_handler", log.parse_handler)):
        if key in items:
            try:
                check(items[key].value)
            except log.LogError as error:
                raise ini.IniError("line %d: %s: %s" % (items[key].line, key, error)) from None
    for key in ("root", "log_file"):
        value = getattr(config, key)
        if key in items and value != accesslog.STDOUT and not os.path.isabs(value):
            raise ini.IniError("line %d: %s: %r is not an absolute path: start it with /"
                               % (items[key].line, key, value[:80]))
    return config


def read(path: Optional[str], given: Mapping[str, object]) -> Config:
    """Return the settings of the file at `path` with `given` laid over them; raises ServerError.

    `path` None means no file. Values of `given` that are None were not given.
    """
    config = Config()
    if path is not None:
        try:
            # An administrator may link the file; what the link names is checked.
            data = files.read_bounded(os.path.realpath(path), MAX_CONFIG_BYTES)
            config = parse(data.decode("utf-8"))
        except files.FileError as error:
            raise ServerError("%s: name it with -c, or serve a directory with --root"
                              % error) from None
        except UnicodeDecodeError:
            raise ServerError("%s: is not UTF-8 text: save it as such" % path) from None
        except ini.IniError as error:
            raise ServerError("%s: %s" % (path, error)) from None
    over: Dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return check(config._replace(**over))


def check(config: Config) -> Config:
    """Return `config` if its root can be served; raises ServerError."""
    # An empty one would be every address of this host.
    if not config.listener or not config.listener.isprintable():
        raise ServerError("listener: %s is no address: write 127.0.0.1, or 0.0.0.0 for every one"
                          % ascii(config.listener[:80]))
    if not config.root:
        raise ServerError("root: is not set: name the directory that holds patch.yaml")
    if not os.path.isdir(config.root):
        raise ServerError("%s: root is not a directory: create it or correct root" % config.root)
    if not os.access(config.root, os.X_OK):
        raise ServerError("%s: root may not be entered by uid %d: give this user the right"
                          % (config.root, os.geteuid()))
    return config
