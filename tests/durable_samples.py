#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Let commits write their durable files for test_durable: durable_samples.py COMMIT...

What is written lies in tests/data/durable/<commit>/, each file by that commit's own code,
run from an archive of that commit, with a value in every field that is not its default.
The values stand here once; the test compares with them what today's code reads.
Run it for HEAD whenever a commit has changed the keys of a file: the test says so.
"""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from typing import Any
from typing import Dict
from typing import List
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, "tests", "data", "durable")
WINDOW, BEFORE = "20261124T0215Z", "20261117T0215Z"
SCHEDULE = "1@3:15+90~30 week 1,2 freeze 739970,739985"
STAMP = 1795490200

# By name of the field, of every version; what had another form earlier stands behind.
RESULT: Dict[str, Any] = {
    "window": WINDOW, "outcome": "partial", "reason": "kept back: vim", "finished": 1795487100,
    "upgraded": 3, "kept": 1, "pending": 2, "clean": False, "due": "due",
    "due_reasons": ("linux-image-6.1.0-31-amd64", "libc6"), "config_files": 4}
STATE: Dict[str, Any] = {
    "phase": "patched", "window": WINDOW, "op": "repair", "begun": 1795486510,
    "opens": 1795486500, "closes": 1795491900, "cutoff": 1795495500, "deadline": 1795499100,
    "date": 739944, "tries": 2,
    "known": (WINDOW + " repair 1795486511 1795487100 done partial 1", 1795486511),
    "boot_id": "5b1f0c2e-0a51-4d0e-8f6c-6f4c1f8e2d11", "noted": 1795486512, "asked": 1795400000,
    "reboot": "deferred", "reboot_reason": "veto: moving house", "kernel": "6.1.0-30-amd64",
    "retry": 1795487400, "obstacle": (BEFORE, "refused", "veto: moving house"),
    "consumed": ((1794881700, 1794887100), (1795486500, 1795491900)),
    "days": (SCHEDULE, (739937, 739944)), "concluded": WINDOW, "schedule": SCHEDULE,
    "since": 1794000000, "awaited": ("20261201T0215Z", 1796096700), "seen": 1795486800,
    "success": 1794881700, "failures": 2, "hold": 1793000000,
    "trouble": "state.json: is a symbolic link: refused"}
OLD_KNOWN: Dict[int, Tuple[Any, ...]] = {
    3: (WINDOW, "repair", 1795486511), 4: (WINDOW, "repair", 1795486511, 1795487100)}
CONSUMED_DAY, CONSUMED_DATE = (SCHEDULE, 739944), 739944
POLICY: Dict[str, Any] = {
    "patch": True, "reboot": "required", "weekdays": (1, 3), "hour": 3, "minute": 15,
    "duration": 90, "reboot_grace": 120, "splay": 30, "weeks": (1, 2),
    "freeze": ((739970, 739985),), "catch_up": 1, "security_only": True, "only": ("lib*", "vim"),
    "exclude": ("docker-ce",), "groups": ("prod",)}
REPLY: Dict[str, Any] = {
    "result": "new", "reason": "", "entry": "policy", "faults": (), "etag": 'W/"6a-1f"',
    "last_modified": "Mon, 23 Nov 2026 10:00:00 GMT", "signature": "good",
    "signature_etag": '"6b-2"', "signature_last_modified": "Mon, 23 Nov 2026 10:00:01 GMT",
    "signature_sha256": hashlib.sha256(b"signature").hexdigest(),
    "serial": 2026112301, "expires": 740000, "sha256": hashlib.sha256(b"patch").hexdigest(),
    "date": 1795480000, "retry_after": 120}
FAULTS = ("line 3, column 5: hour: 25", "line 4, column 3: turn: is not a field")
ACCEPTED: Dict[str, Any] = {
    "accepted": 1795480001, "url": "https://patching.example.org/patch.yaml",
    "fqdn": "web01.example.org", "signers": "/etc/qualvosec/allowed_signers 1794000000 91",
    "version": "1.0.0"}
REQUEST: Dict[str, Any] = {
    "op": "upgrade", "window": WINDOW, "not_after": 1795495500, "refresh": True,
    "security_only": True, "only": ("lib*", "vim"), "exclude": ("docker-ce",), "wait": True}
PAST: Dict[str, Any] = {
    "window": BEFORE, "op": "upgrade", "outcome": "ok", "committed": True, "finished": 1794882000}
RECORD: Dict[str, Any] = {
    "window": WINDOW, "op": "upgrade", "manager": "apt", "boot_id": "5b1f0c2e",
    "accepted": 1795486511, "started": 1795486513, "finished": 1795487100, "phase": "done",
    "committed": True, "outcome": "partial", "reason": "kept back: vim",
    "upgraded": (("libc6", "2.36-9", "2.36-10"), ("openssl", "", "3.0.15-1")),
    "kept": (("vim", "held"),), "pending": 2, "clean": False, "reboot": "due",
    "reboot_reasons": ("libc6",), "config_files": ("/etc/ssl/openssl.cnf.dpkg-dist",),
    "reboot_requested": 1795487160, "reboot_delay": 60, "reboot_refused": "veto: moving house",
    "kernel": "6.1.0-30-amd64", "upgraded_count": 902, "kept_count": 11, "config_files_count": 21}
RUN: Dict[str, Any] = {
    "accepted": 1795486511, "boot_id": "5b1f0c2e", "taken": False,
    "planned": (("libc6", "2.36-9", "2.36-10"),), "reboot_window": BEFORE, "last_reboot": STAMP,
    "recovered": BEFORE}
SIGNED: Dict[str, Any] = {"serial": 2026112302, "data": b"patch", "signature": b"-----\n"}


def _filled(kind: Any, values: Dict[str, Any], **more: Any) -> Any:
    """Return a value of a class of that commit; KeyError for a new field: give it a value here."""
    return kind(**{key: more[key] if key in more else values[key] for key in kind._fields})


def _write_state(folder: str) -> None:
    module = importlib.import_module("qualvosec.client.decide.state")
    width = len(module.State().known)
    state = _filled(module.State, STATE, last=_filled(module.RunResult, RESULT),
                    known=OLD_KNOWN.get(width, STATE["known"]), consumed_day=CONSUMED_DAY,
                    consumed_date=CONSUMED_DATE)
    module.save(folder, state)


def _write_invalid(folder: str) -> None:
    _write_policy(folder, entry="invalid", policy=None, faults=FAULTS)
    os.rename(os.path.join(folder, "policy.json"), os.path.join(folder, "policy-invalid.json"))


def _write_policy(folder: str, **fields: Any) -> None:
    acceptance = importlib.import_module("qualvosec.client.fetch.inforce")
    fetchreply = importlib.import_module("qualvosec.client.fetch.line")
    policies = importlib.import_module("qualvosec.manifest.policy")
    fields.setdefault("policy", _filled(policies.Policy, POLICY))
    reply = _filled(fetchreply.FetchReply, REPLY, **fields)
    one = acceptance.Acceptance.__new__(acceptance.Acceptance)
    one._config = SimpleNamespace(state_dir=folder)
    one._keep(_filled(acceptance.Accepted, ACCEPTED, reply=reply, answer=reply, newer=""))


def _write_run(folder: str) -> None:
    records = importlib.import_module("qualvosec.helper.record")
    requests = importlib.import_module("qualvosec.helper.request")
    record = _filled(records.Record, RECORD, history=(_filled(records.Past, PAST),))
    store = records.Store(folder)
    store.prepare()
    store.write(_filled(records.State, RUN, record=record,
                        request=_filled(requests.Request, REQUEST)))
    os.chmod(os.path.join(folder, "run.json"), 0o600)


def _write_stamp(folder: str) -> None:
    importlib.import_module("qualvosec.helper.reboot").write_stamp(folder, STAMP)


def _write_packages(folder: str) -> None:
    """From the record as root's side of that commit prints it."""
    records = importlib.import_module("qualvosec.helper.record")
    client = importlib.import_module("qualvosec.client.root.record")
    packages = importlib.import_module("qualvosec.client.tell.packages")
    record = _filled(records.Record, RECORD, history=(_filled(records.Past, PAST),))
    wire = json.loads(json.dumps(records.to_json(record)))
    told = getattr(client, "told_from_json", None)
    packages.keep(folder, told(wire, []) if told else wire)


def _write_signed(folder: str) -> None:
    signing = importlib.import_module("qualvosec.admin.edit.signing")
    path = os.path.join(folder, "patch.yaml")
    with open(path, "wb") as file:
        file.write(SIGNED["data"])
    signing.store(path, signing.Signed(SIGNED["data"], SIGNED["serial"], SIGNED["signature"]))
    os.unlink(path)
    os.unlink(path + signing.SIGNATURE_SUFFIX)


WRITERS = {"state.json": _write_state, "policy-invalid.json": _write_invalid,
           "policy.json": _write_policy, "run.json": _write_run,
           "reboot.stamp": _write_stamp, "packages.json": _write_packages,
           "patch.yaml.signed": _write_signed}


def write_all(folder: str) -> List[str]:
    """Write every file that the code on sys.path knows into `folder`; returns their names."""
    os.chmod(folder, 0o700)
    written = []
    for name, write in WRITERS.items():
        try:
            write(folder)
        except ImportError:
            # That commit has no such file yet, or no longer.
            continue
        written.append(name)
    for name in set(os.listdir(folder)) - set(written):
        os.unlink(os.path.join(folder, name))
    return sorted(written)


def main(argv: List[str]) -> int:
    """Archive each commit and let it write, in a process of its own."""
    if argv[1:2] == ["--write"]:
        sys.path.insert(0, argv[2])
        print(" ".join(write_all(argv[3])))
        return 0
    for name in argv[1:]:
        commit = subprocess.check_output(["git", "rev-parse", "--short=7", name + "^{commit}"],
                                         cwd=ROOT).decode("ascii").strip()
        with tempfile.TemporaryDirectory() as work:
            archive = subprocess.check_output(["git", "archive", commit, "lib"], cwd=ROOT)
            subprocess.run(["tar", "-x", "-C", work], input=archive, check=True)
            made = os.path.join(work, "made")
            os.mkdir(made)
            done = subprocess.check_output(
                [sys.executable, "-IBS", os.path.abspath(__file__), "--write",
                 os.path.join(work, "lib"), made]).decode("ascii")
            target = os.path.join(DATA, commit)
            shutil.rmtree(target, ignore_errors=True)
            os.makedirs(target)
            for file in done.split():
                shutil.copyfile(os.path.join(made, file), os.path.join(target, file))
        print("%s: %s" % (commit, done.strip()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
