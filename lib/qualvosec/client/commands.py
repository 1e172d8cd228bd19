# SPDX-License-Identifier: BSD-2-Clause
"""The sub-commands of qualvosec(8): once, status, policy, next, plan, configtest, reset.

Exit status: 0 done, 1 failed, 2 usage or configuration; `status` answers as a
monitoring plugin does (0 to 3). Whatever goes wrong is one line on stderr.
"""

import argparse
import json
import os
import sys
import time
from typing import Callable
from typing import Dict
from typing import List
from typing import Optional
from typing import Tuple

from qualvosec import command
from qualvosec import download
from qualvosec import files
from qualvosec import log
from qualvosec import paths
from qualvosec import tls
from qualvosec.client import config as configuration
from qualvosec.client import once
from qualvosec.client.config import Config
from qualvosec.client.config import ConfigError
from qualvosec.client.decide import state as states
from qualvosec.client.decide.statedir import StateError
from qualvosec.client.decide.statedir import check_owner
from qualvosec.client.decide.statedir import take_lock
from qualvosec.client.fetch import cache
from qualvosec.client.fetch import child as fetching
from qualvosec.client.fetch import inforce
from qualvosec.client.fetch import line
from qualvosec.client.fetch.inforce import Accepted
from qualvosec.client.rivals import look
from qualvosec.client.root import call
from qualvosec.client.root import plan
from qualvosec.client.root.record import RootError
from qualvosec.client.tell import statusline
from qualvosec.contract.call import MAX_ANSWER
from qualvosec.manifest import policy as policies
from qualvosec.manifest import signature
from qualvosec.manifest import window
from qualvosec.manifest.policy import Policy
from qualvosec.safetext import safe
from qualvosec.usage import Parser

DEFAULT_FILE = os.path.join(paths.CONFIG_DIR, "qualvosec.conf")
UNKNOWN = 3     # to a monitoring system 2 is critical


def main(argv: List[str]) -> int:
    """Run one sub-command and return its exit status."""
    args = _parser().read(argv)
    try:
        code = int(_COMMANDS[args.command](args))
        sys.stdout.flush()
        return code
    except (ConfigError, window.WindowError) as error:
        return _complain(error, UNKNOWN if args.command == "status" else 2)
    except StateError as error:
        return _complain(error, error.code)
    except (line.FetchError, RootError, files.FileError, command.CommandError) as error:
        return _complain(error, 1)
    except (BrokenPipeError, KeyboardInterrupt):
        # The reader went away or the user gave up: nothing to explain.
        _close_stdout()
        return 1
    except OSError as error:
        # Of every file it is told above what is wrong with it: this is a full disk.
        _close_stdout()
        return _complain("standard output: %s: what was printed is not whole"
                         % (error.strerror or "").lower(),
                         UNKNOWN if args.command == "status" else 1)


def _close_stdout() -> None:
    """Keep the interpreter from complaining at its end of what it cannot write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _complain(error: object, code: int) -> int:
    sys.stderr.write("qualvosec: %s\n" % safe(str(error), 1000))
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="qualvosec", description="Patches this host in the windows that a manifest names. "
        "Without a command: the daemon, in the foreground.")
    parser.take_config("configuration (%s)" % DEFAULT_FILE)
    parser.add_argument("--version", action="version", version="qualvosec " + paths.VERSION)
    sub = parser.command("once", "fetch, decide and act one time, for cron")
    sub.add_argument("--dry-run", action="store_true",
                     help="show the decision and the pending updates, change nothing")
    sub = parser.command("status", "one line for monitoring: exit status 0, 1, 2 or 3", UNKNOWN)
    sub.add_argument("--json", action="store_true", help="everything that /status tells")
    for name, text in (("policy", "the policy in force for this host"),
                       ("next", "the coming windows of this host")):
        sub = parser.command(name, text)
        sub.add_argument("--manifest", metavar="FILE|URL", help="read this manifest instead")
        sub.add_argument("--fqdn", metavar="NAME", help="for this host instead")
        sub.add_argument("--timezone", metavar="ZONE", help="in this time zone")
        sub.add_argument("--json", action="store_true", help="as one JSON object")
        if name == "next":
            sub.add_argument("-n", "--count", type=int, default=5, metavar="N",
                             help="how many windows (%(default)s)")
    sub = parser.command("plan", "pending updates and what the policy takes of them")
    sub.add_argument("--json", action="store_true", help="as one JSON object")
    parser.command("configtest",
                   "check the configuration, the state directory and the helper's rule")
    sub = parser.command("reset",
                         "the way out of a stuck safeguard, while the daemon is stopped")
    sub.add_argument("what", choices=("clock", "name", "serial", "interrupted"))
    return parser


def _config(args: argparse.Namespace) -> Config:
    """Read the configuration; `plan` and --manifest serve a host without one by the defaults."""
    optional = args.command == "plan" or getattr(args, "manifest", None)
    if optional and not args.config and not os.path.lexists(DEFAULT_FILE):
        return Config(DEFAULT_FILE, "http://localhost")
    return configuration.read(args.config or DEFAULT_FILE)


def _once(args: argparse.Namespace) -> int:
    config = _config(args)
    if args.dry_run:
        return once.dry_run(config)
    log.configure(config.log_handler, config.log_level)
    return once.run(config)


def _status(args: argparse.Namespace) -> int:
    config = _config(args)
    configuration.use_zone(config)
    found = statusline.ask(config)
    if args.json:
        sys.stdout.write(json.dumps(found.detail, indent=2, sort_keys=True) + "\n")
    else:
        sys.stdout.write(statusline.line(found))
    return found.code


def _subject(args: argparse.Namespace) -> Tuple[Config, str, line.FetchReply]:
    """Return configuration, name and answer that policy, next and plan speak about."""
    config = _config(args)
    try:
        configuration.use_zone(config._replace(timezone=args.timezone) if args.timezone else config)
    except window.WindowError as error:
        if not args.timezone:
            raise
        args.parser.error("--%s" % error)
    fqdn = (args.fqdn or configuration.host_name(config)).rstrip(".").lower()
    if not fqdn:
        raise ConfigError("%s; or use --fqdn" % configuration.unnamed(config))
    if not configuration.is_host_name(fqdn):
        args.parser.error("--fqdn: %s: is not a host name" % fqdn)
    found = _found(args.manifest, config, fqdn)
    view = inforce.view_of(found, config, fqdn, "", int(time.time()))
    if view.why == "expired":
        sys.stderr.write("qualvosec: not in force: %s\n" % view.detail)
    return config, fqdn, found.answer


def _found(manifest: Optional[str], config: Config, fqdn: str) -> Accepted:
    """Return what was accepted last or, of a manifest that is named, what it says now."""
    known = None if manifest else inforce.peek(config, fqdn)
    if known is not None:
        return known
    now = int(time.time())
    if not manifest:
        return Accepted(once.fetch(config, fqdn), now, config.url(), fqdn)
    if manifest.startswith(("http://", "https://")):
        server, _, rest = manifest.partition("://")[2].partition("/")
        scheme = manifest.partition("://")[0]
        # Somebody's look at any manifest: this host's signers have no say in it.
        return Accepted(once.fetch(config._replace(
            server="%s://%s" % (scheme, server), manifest=rest, allowed_signers="",
            audience=""), fqdn), now, manifest, fqdn)
    data = files.read_bounded(os.path.realpath(manifest), download.MAX_MANIFEST_BYTES)
    return Accepted(fetching.answer(
        line.FetchRequest(manifest, fqdn, ""),
        fetch=lambda request: download.Response(200, (data,), "", "", 0)), now, manifest, fqdn)


def _policy_of(fqdn: str, reply: line.FetchReply) -> Policy:
    if reply.result == "failed":
        raise line.FetchError(reply.reason)
    if reply.policy is None:
        what = "is not in the manifest" if reply.entry == "unlisted" else "its entry is invalid"
        faults = ": " + "; ".join(reply.faults) if reply.faults else ""
        raise line.FetchError("%s: %s%s" % (fqdn, what, faults))
    return reply.policy


def _policy(args: argparse.Namespace) -> int:
    _, fqdn, reply = _subject(args)
    policy = _policy_of(fqdn, reply)
    if args.json:
        shown = dict(policies.values(policy), host=fqdn)
        sys.stdout.write(json.dumps(shown, sort_keys=True) + "\n")
        return 0
    sys.stdout.write("host: %s\n" % fqdn)
    for name, text in policies.texts(policy).items():
        sys.stdout.write("%s: %s\n" % (name, safe(text, 2000)))
    return 0


def _next(args: argparse.Namespace) -> int:
    _, fqdn, reply = _subject(args)
    policy = _policy_of(fqdn, reply)
    if not 1 <= args.count <= 1000:
        args.parser.error("--count: %d is not from 1 to 1000" % args.count)
    found = window.openings(policy, int(time.time()), args.count, fqdn) if policy.patch else []
    if args.json:
        rows = [{"window": row.id, "opens": row.opens, "start": row.start, "closes": row.closes}
                for row in found]
        sys.stdout.write(json.dumps({"host": fqdn, "windows": rows}) + "\n")
        return 0
    if not policy.patch:
        sys.stdout.write("%s: patch is false: no window\n" % fqdn)
    elif not found:
        sys.stdout.write("%s: no window opens within ten years: check freeze and week\n" % fqdn)
    for row in found:
        local = time.strftime("%A %Y-%m-%d %H:%M %Z", time.localtime(row.start))
        sys.stdout.write("%s  %s  until %s\n" % (
            row.id, local, time.strftime("%H:%M", time.localtime(row.closes))))
    return 0


def _plan(args: argparse.Namespace) -> int:
    config = _config(args)
    found = inforce.peek(config, configuration.host_name(config))
    policy = found.answer.policy if found else None
    result = plan.ask(policy or Policy())
    if args.json:
        sys.stdout.write(plan.as_json(result))
        return 0
    if policy is None:
        sys.stdout.write("no policy can be read here: everything that is pending is shown\n")
    sys.stdout.write(plan.table(result))
    return 0


def _about_files(config: Config) -> List[str]:
    """Return what is wrong with the files that a fetch needs."""
    faults = []
    try:
        if config.allowed_signers:
            signature.check_signers(config.allowed_signers)
    except signature.SignatureError as error:
        faults.append(str(error))
    try:
        if config.server.startswith("https:"):
            tls.context(config.ca_file, config.client_cert, config.client_key)
    except tls.TlsError as error:
        faults.append(str(error))
    return faults


def _configtest(args: argparse.Namespace) -> int:
    config = _config(args)
    configuration.use_zone(config)
    faults: List[str] = []
    fqdn = configuration.host_name(config)
    if not fqdn:
        faults.append(configuration.unnamed(config))
    faults.extend(filter(None, [inforce.renamed(inforce.kept(config), config, fqdn)]))
    try:
        check_owner(config.state_dir, "-c %s configtest" % config.path)
    except StateError as error:
        faults.append(str(error))
    if config.allowed_signers and signature.obstacle():
        faults.append("allowed_signers: %s" % signature.obstacle())
    faults.extend(_about_files(config))
    argv = call.argv(config.privilege)
    if not argv:
        faults.append(call.missing(config.privilege))
    elif not os.access(call.helper_path(), os.X_OK):
        faults.append("%s: is missing or not executable: install it" % call.helper_path())
    elif not faults:
        reply = _try_helper(argv)
        faults.extend(_refusal(reply))
        if reply.experimental:
            sys.stderr.write("qualvosec: note: %s\n" % safe(reply.experimental, 1000))
    for fault in faults:
        sys.stderr.write("qualvosec: %s: %s\n" % (config.path, safe(fault, 1000)))
    if config.unguarded():
        sys.stderr.write("qualvosec: warning: %s\n" % safe(config.unguarded(), 1000))
    for rival in look.of(config.other_tools):
        sys.stderr.write("qualvosec: %s: %s\n" % (
            "note" if rival.kind == look.DOWNLOADS else "warning", safe(rival.text(), 1000)))
    if not faults:
        sys.stdout.write("%s: ok: host %s, server %s\n" % (config.path, fqdn, config.url()))
    return 2 if faults else 0


def _try_helper(argv: Tuple[str, ...]) -> call.Reply:
    """Ask the helper for its status through sudo or doas: proves the whole path."""
    ended = command.run(argv, call.ENV, call.request("status", wait=False), 30.0,
                        MAX_ANSWER)
    return call.read_reply(ended, argv[0])


def _refusal(reply: call.Reply) -> List[str]:
    if reply.status == "ok":
        return ["this host cannot be patched: %s" % reply.reason] if reply.reason else []
    return [reply.reason or reply.status]


def _reset(args: argparse.Namespace) -> int:
    config = _config(args)
    check_owner(config.state_dir, "-c %s reset %s" % (config.path, args.what))
    lock = take_lock(config.state_dir)
    try:
        if args.what == "serial":
            cache.drop(config.state_dir)
        elif args.what == "name":
            cache.forget_name(config.state_dir)
        else:
            state = states.load(config.state_dir, os.geteuid())
            states.save(config.state_dir, states.reset_clock(state, int(time.time()))
                        if args.what == "clock" else states.reset_interrupted(state))
    finally:
        os.close(lock)
    sys.stdout.write("reset: %s: done; start the daemon again\n" % args.what)
    return 0


_COMMANDS: Dict[str, Callable[[argparse.Namespace], int]] = {
    "once": _once, "status": _status, "policy": _policy, "next": _next, "plan": _plan,
    "configtest": _configtest, "reset": _reset}
