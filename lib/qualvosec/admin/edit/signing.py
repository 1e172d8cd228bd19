# SPDX-License-Identifier: BSD-2-Clause
"""qualvosec-admin sign: signatures by ssh-keygen(1) -Y sign, for hosts with allowed_signers.

Beside the manifest stand two files: patch.yaml.sig, which the hosts fetch, and
patch.yaml.signed, which holds serial and hash of what was signed last. From the
second one follows whether the serial has to be raised, and whether somebody
changed the manifest without signing it. The private key is read by ssh-keygen
alone, which may ask for its passphrase or use an agent. See docs/signing.md.
"""

import argparse
import hashlib
import os
import re
import stat
import subprocess
from typing import Callable
from typing import List
from typing import NamedTuple
from typing import Optional
from typing import Tuple

from qualvosec import files
from qualvosec import paths
from qualvosec.admin import source
from qualvosec.admin.edit import lock as turns
from qualvosec.admin.terminal import DONE
from qualvosec.admin.terminal import Add
from qualvosec.admin.terminal import AdminError
from qualvosec.admin.terminal import Terminal
from qualvosec.admin.terminal import UsageError
from qualvosec.admin.terminal import count
from qualvosec.manifest import document
from qualvosec.manifest import signature
from qualvosec.manifest.edit import serial as serials
from qualvosec.manifest.entrytext import EditError
from qualvosec.manifest.window import host_zone
from qualvosec.manifest.window import local_day
from qualvosec.safetext import safe

SIGNATURE_SUFFIX = ".sig"
RECORD_SUFFIX = ".signed"
_MAX_RECORD = 4096
# A later version may have more to note.
_RECORD = re.compile(r"serial ([0-9]{1,18})\nsha256 ([0-9a-f]{64})\n(?:[a-z0-9_]+ [ -~]*\n)*")


class Signed(NamedTuple):
    """A manifest that may be published, with the signature for exactly these bytes."""

    data: bytes
    serial: int
    signature: bytes


class LastSigned(NamedTuple):
    """What was signed last."""

    serial: int
    sha256: str


def register(add: Add) -> None:
    """Tell the parser of this command."""
    signer = add("sign", sign, "sign the manifest, with a higher serial if it changed")
    signer.add_argument("--key", metavar="FILE", default="",
                        help="private key, or a public one whose private key is in the agent")


def sign(options: argparse.Namespace, terminal: Terminal) -> int:
    """Raise the serial if it has to be, write the signature beside the manifest."""
    settings = source.settings(options)
    key = options.key or settings.key
    if not key:
        raise UsageError("key: is not set: give --key FILE or set it in %s"
                         % os.path.join(paths.CONFIG_DIR, source.CONFIG_NAME), of_words=False)
    place = settings.source()
    if not os.path.isfile(place):
        raise UsageError("%s: is not a local file: give --manifest FILE" % (place or "manifest"),
                         of_words=False)
    try:
        lock = turns.take(os.path.realpath(place), terminal)
    except files.FileError as error:
        raise AdminError(turns.told(error)) from None
    try:
        return _sign_file(source.load(settings), key, terminal)
    finally:
        os.close(lock)


def _sign_file(manifest: source.Manifest, key: str, terminal: Terminal) -> int:
    today = local_day(terminal.now, host_zone)
    faults = document.read(manifest.data, today).errors()
    if faults:
        raise AdminError("%s: has %s: correct what qualvosec-admin check shows first"
                         % (manifest.name, count(faults, "fault")))
    signed = prepare(manifest.name, manifest.data, key, today)
    publish(manifest.name, manifest.data, signed)
    terminal.say("%s: signed, serial %d\n" % (safe(manifest.name), signed.serial))
    return DONE


def run_tool(argv: List[str], data: bytes) -> Tuple[int, bytes, bytes]:
    """Run ssh-keygen; returns its exit status and its two outputs, raises OSError.

    It gets this terminal and environment: it may need them for a passphrase or an agent.
    """
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    out, err = process.communicate(data)
    return process.returncode, out, err


def prepare(path: str, data: bytes, key: str, today: int,
            run: Callable[[List[str], bytes], Tuple[int, bytes, bytes]] = run_tool) -> Signed:
    """Return the content `data`, meant for the file `path`, signed with the key file `key`.

    The serial is raised unless it is above that of the last signature already
    or the content is still the same. Writes nothing; raises AdminError.
    """
    last = read_record(path)
    try:
        serial = serials.of(data)
        is_same = last is not None and last.sha256 == _sha256(data)
        if not is_same and (last is None or serial <= last.serial):
            data, serial = serials.raised(data, today, last.serial if last else 0)
    except EditError as error:
        raise AdminError("%s: %s" % (path, error)) from None
    return Signed(data, serial, _sign(data, key, run))


def _sign(data: bytes, key: str,
          run: Callable[[List[str], bytes], Tuple[int, bytes, bytes]]) -> bytes:
    if not os.path.isfile(key):
        raise AdminError("key %s: is not a file: make one with ssh-keygen -t ed25519"
                           % safe(key))
    argv = [signature.SSH_KEYGEN, "-Y", "sign", "-q", "-n", signature.NAMESPACE, "-f", key]
    try:
        status, made, said = run(argv, data)
    except OSError as error:
        raise AdminError("%s: cannot be started (%s): install OpenSSH 8.2 or newer"
                           % (signature.SSH_KEYGEN, (error.strerror or "").lower())) from None
    if status != 0:
        lines = [line.strip() for line in said.decode("utf-8", "replace").split("\n")]
        told = [safe(line, 160) for line in lines if line]
        raise AdminError("key %s: does not sign (%s): see whether it is a private key with "
                           "mode 0600, or in the agent" % (safe(key), "; ".join(told[-2:])))
    try:
        signature.check_form(made)
    except signature.SignatureError as error:
        raise AdminError("key %s: %s: use an ed25519 key" % (safe(key), error)) from None
    return made


def publish(path: str, before: bytes, signed: Signed) -> None:
    """Write a manifest that is `before` so far and its signature; raises AdminError."""
    def is_unchanged() -> None:
        if files.read_bounded(target, source.MAX_MANIFEST_BYTES) != before:
            raise files.FileError("%s: was changed meanwhile: sign again" % target)

    target = os.path.realpath(path)
    if signed.data != before:
        try:
            info = os.stat(target)
            files.write_atomic(target, signed.data, stat.S_IMODE(info.st_mode),
                               owner=(info.st_uid, info.st_gid), before_rename=is_unchanged)
        except OSError as error:
            raise AdminError(str(error)) from None
        except files.FileError as error:
            raise AdminError(turns.told(error)) from None
    store(path, signed)


def store(path: str, signed: Signed) -> None:
    """Write signature and record beside the manifest, readable as it is; raises AdminError.

    Beside the name that is published, should that be a link to the file. Called
    after the manifest itself was written: a host that fetches in between finds a
    signature that does not fit, and asks again a minute later.
    """
    record = "serial %d\nsha256 %s\n" % (signed.serial, _sha256(signed.data))
    try:
        info = os.stat(path)
        mode, owner = stat.S_IMODE(info.st_mode) & 0o666, (info.st_uid, info.st_gid)
        files.write_atomic(path + SIGNATURE_SUFFIX, signed.signature, mode, owner=owner)
        files.write_atomic(path + RECORD_SUFFIX, record.encode("ascii"), mode, owner=owner)
    except (OSError, files.FileError) as error:
        raise AdminError("%s: is published without its signature (%s): correct this and run "
                           "qualvosec-admin sign" % (path, error)) from None


def read_record(path: str) -> Optional[LastSigned]:
    """Return what was signed last of the manifest `path`, None if nothing; raises AdminError."""
    name = path + RECORD_SUFFIX
    try:
        text = files.read_bounded(name, _MAX_RECORD).decode("ascii", "replace")
    except files.FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise AdminError(str(error)) from None
    found = _RECORD.fullmatch(text)
    if not found:
        raise AdminError("%s: is not what qualvosec-admin sign writes: delete it and sign again"
                           % name)
    return LastSigned(int(found.group(1)), found.group(2))


def complaint(path: str, data: bytes, serial: Optional[int]) -> Tuple[str, str]:
    """Say what is wrong with the signature of a manifest file and what to do; ("", "") if nothing.

    Nothing is expected of a manifest that was never signed.
    """
    try:
        last = read_record(path)
    except AdminError as error:
        return str(error), "sign it again"
    if last is None:
        return "", ""
    remedy = "run qualvosec-admin sign"
    if last.sha256 != _sha256(data):
        if serial is None or serial <= last.serial:
            return ("serial: is %s although the content changed since %d was signed: hosts refuse "
                    "it" % ("missing" if serial is None else serial, last.serial), remedy)
        return "the content changed since it was signed: hosts refuse it", remedy
    if not os.path.exists(path + SIGNATURE_SUFFIX):
        return "%s: is missing: hosts refuse the manifest" % (path + SIGNATURE_SUFFIX), remedy
    return "", ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
