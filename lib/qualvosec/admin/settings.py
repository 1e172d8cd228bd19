# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec_admin.conf, see qualvosec-admin(8): where the manifest and the access logs are.

One section, a closed set of keys, a line number in every error. Command-line
options stand in for each key, so the file is only needed where they are not
given.
"""

import os
import shlex
from typing import NamedTuple
from typing import Tuple

from qualvosec import files
from qualvosec import ini
from qualvosec.admin.terminal import AdminError

MAX_CONFIG = 65536
# By etc/nginx/qualvosec.conf and etc/qualvosec_server.conf; those that are there are read.
USUAL_LOGS = ("/var/log/nginx/qualvosec.access.log*", "/var/log/qualvosec-server/access.log*")
KEYS = ("server", "manifest", "log_file_path", "alive_days", "ca_file", "key")


class Settings(NamedTuple):
    """Every setting with its final value; empty where it is not set and has no default."""

    server: str = ""
    manifest: str = ""
    log_file_path: Tuple[str, ...] = USUAL_LOGS
    alive_days: int = 7
    ca_file: str = ""
    key: str = ""

    def source(self) -> str:
        """Return the file or URL of the manifest, "" when neither is set."""
        if self.manifest or not self.server:
            return self.manifest
        if self.server.endswith((".yaml", ".yml")):
            return self.server
        return self.server.rstrip("/") + "/patch.yaml"


def read(path: str) -> Settings:
    """Read and check a configuration file; raises AdminError."""
    try:
        # An administrator may link the file; what the link names is checked.
        return from_text(files.read_bounded(os.path.realpath(path), MAX_CONFIG).decode("utf-8"))
    except files.FileError as error:
        raise AdminError(str(error)) from error
    except UnicodeDecodeError:
        raise AdminError("%s: is not UTF-8 text: save it as UTF-8" % path) from None
    except ini.IniError as error:
        raise AdminError("%s: %s" % (path, error)) from None


def from_text(text: str) -> Settings:
    """Check the text of a configuration; raises ini.IniError."""
    items = ini.parse(text, {"general": KEYS}).get("general", {})
    for key, item in items.items():
        if not item.value:
            raise ini.IniError("line %d: %s: has no value: give one or remove the line"
                               % (item.line, key))
    config = Settings()
    if "server" in items:
        if not items["server"].value.startswith(("http://", "https://")):
            raise ini.IniError("line %d: server: is not an http or https URL: write https://host"
                               % items["server"].line)
        config = config._replace(server=items["server"].value)
    if "log_file_path" in items:
        config = config._replace(log_file_path=_paths(items["log_file_path"]))
    if "alive_days" in items:
        config = config._replace(
            alive_days=ini.integer(items["alive_days"], "alive_days", 1, 3650))
    if "manifest" in items:
        config = config._replace(manifest=_path(items["manifest"], "manifest"))
    if "ca_file" in items:
        config = config._replace(ca_file=_path(items["ca_file"], "ca_file"))
    if "key" in items:
        config = config._replace(key=_path(items["key"], "key"))
    return config


def _path(item: ini.Setting, key: str) -> str:
    if not item.value.startswith("/"):
        raise ini.IniError("line %d: %s: is not an absolute path: start it with /"
                           % (item.line, key))
    return item.value


def _paths(item: ini.Setting) -> Tuple[str, ...]:
    """Cut a list of paths at blanks and commas; quotes keep them together."""
    words = shlex.shlex(item.value, posix=True)
    words.whitespace += ","
    words.whitespace_split = True
    words.commenters = ""
    try:
        paths = tuple(words)
    except ValueError:
        raise ini.IniError("line %d: log_file_path: a quote is not closed: close it"
                           % item.line) from None
    return tuple(_path(ini.Setting(path, item.line), "log_file_path") for path in paths)
