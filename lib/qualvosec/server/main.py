# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-server: serve one directory with patch.yaml until SIGTERM.

Stays in the foreground, needs no privilege beyond reading its root and writing
its log. SIGHUP opens the access log anew after a rotation; SIGTERM and SIGINT
let the replies under way end and exit with 0. Exit codes: 0 done, 1 failed
(the address is taken, the log cannot be opened), 2 usage or configuration.
"""

import argparse
import os
import signal
import sys
import threading
from typing import List
from typing import Optional

from qualvosec import log
from qualvosec import paths
from qualvosec.server import accesslog
from qualvosec.server import config as settings
from qualvosec.server import httpd
from qualvosec.usage import Parser

STOP_WAIT_S = 5.0
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
PROGRAM = "qualvosec-server"


def arguments() -> Parser:
    """Return the command line's grammar."""
    parser = Parser(
        prog=PROGRAM, description="Serve the directory that holds patch.yaml over HTTP.",
        epilog="Options win over the file. See qualvosec-server(8).")
    parser.take_config("configuration (default: %s, if no --root is given)" % default_file())
    parser.add_argument("--root", metavar="DIR", help="directory to serve")
    parser.add_argument("--listener", metavar="ADDRESS",
                        help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=_port, metavar="PORT",
                        help="port to listen on, 0 for any free one (default: 8080)")
    parser.add_argument("--log-file", metavar="FILE",
                        help="access log, - for standard output (default: -)")
    parser.add_argument("--version", action="version",
                        version="%s %s" % (PROGRAM, paths.VERSION))
    return parser


def default_file() -> str:
    """Return the configuration file that is read when none is named."""
    return os.path.join(paths.CONFIG_DIR, "qualvosec_server.conf")


def _port(text: str) -> int:
    if not (text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError("%r is not a port: use 0 to 65535" % text[:40])
    return int(text)


def main(argv: Optional[List[str]] = None) -> int:
    """Run the program; returns its exit code."""
    options = arguments().read(sys.argv[1:] if argv is None else argv)
    try:
        path = options.config
        if path is None and options.root is None:
            path = default_file()
        config = settings.read(path, {
            "root": options.root and os.path.abspath(options.root),
            "listener": options.listener, "port": options.port, "log_file": options.log_file})
        log.configure(config.log_handler, config.log_level, PROGRAM)
        return serve(config)
    except settings.ServerError as error:
        print("%s: %s" % (PROGRAM, error), file=sys.stderr)
        return error.code


def serve(config: settings.Config) -> int:
    """Serve until a signal ends it; raises ServerError when it cannot start."""
    access = accesslog.AccessLog(config.log_file)
    try:
        access.open()
    except OSError as error:
        raise settings.ServerError("%s: access log cannot be opened: %s: correct log_file or its "
                                   "owner" % (config.log_file, _reason(error)), 1) from None
    try:
        server = httpd.Server((config.listener, config.port), config.root, access)
    except OSError as error:
        raise settings.ServerError("%s port %d: cannot listen: %s: correct listener or port"
                                   % (config.listener, config.port, _reason(error)), 1) from None
    if os.geteuid() == 0:
        log.warning("running as root", advice="start it as an ordinary user")
    # Blocked in every thread and waited for in this one: a handler could run
    # in the middle of anything.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    worker = threading.Thread(target=server.serve_forever, name="listener", daemon=True)
    worker.start()
    print("%s: serving %s on %s" % (PROGRAM, config.root, server.url()), file=sys.stderr,
          flush=True)
    while signal.sigwait(SIGNALS) == signal.SIGHUP:
        _reopen(access)
    if not server.stop(STOP_WAIT_S):
        log.warning("a reply was cut at the end", waited_s=STOP_WAIT_S)
    log.info("stopped")
    access.close()
    return 0


def _reopen(access: accesslog.AccessLog) -> None:
    try:
        access.open()
        log.info("access log reopened")
    except OSError as error:
        log.critical("access log failed", reason=_reason(error),
                     advice="the old file stays open: correct log_file")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
