# SPDX-License-Identifier: BSD-2-Clause
"""Whether a manifest was signed by somebody whom this host trusts (ssh-keygen(1), -Y verify).

The bytes that are verified are the bytes that are parsed: they go to ssh-keygen
on its standard input. The signature is capped first, for the parser of
ssh-keygen takes quadratic time, and must be one armoured block and nothing
else. The list of signers must belong to root or to this user and be closed to
others. check-novalidate, which calls any key good, is never used.
"""

import os
import re
import tempfile
from typing import Callable
from typing import FrozenSet

from qualvosec import command
from qualvosec import files
from qualvosec.safetext import safe

NAMESPACE = "qualvosec-manifest"
PRINCIPAL = "manifest@qualvosec"
MAX_SIGNATURE_BYTES = 8 * 1024
MAX_SIGNERS_BYTES = 64 * 1024
TIMEOUT_S = 10.0
SSH_KEYGEN = "/usr/bin/ssh-keygen"
_FORM = re.compile(rb"-----BEGIN SSH SIGNATURE-----\r?\n(?:[A-Za-z0-9+/=]{1,100}\r?\n)+"
                   rb"-----END SSH SIGNATURE-----[\r\n]*")


class SignatureError(Exception):
    """The signature does not hold; the text is one line: what is wrong, what to do."""


def verify(data: bytes, signature: bytes, signers: str,
           owners: FrozenSet[int] = frozenset((0, os.geteuid())),
           run: Callable[..., command.Result] = command.run) -> None:
    """Return when `signature` is good for `data` and a signer of the file `signers`.

    `owners` are the users whose file of signers is believed. Raises SignatureError.
    """
    check_form(signature)
    check_signers(signers, owners)
    try:
        with tempfile.TemporaryDirectory(prefix="qualvosec-") as folder:
            path = os.path.join(folder, "manifest.sig")
            with open(path, "wb") as stream:
                stream.write(signature)
            argv = [SSH_KEYGEN, "-Y", "verify", "-f", signers, "-I", PRINCIPAL, "-n", NAMESPACE,
                    "-s", path]
            ended = run(argv, {"PATH": command.FIXED_PATH, "LC_ALL": "C"}, data, TIMEOUT_S, 4096)
    except (OSError, command.CommandError) as error:
        raise SignatureError("the signature cannot be verified (%s): install ssh-keygen 8.2 or "
                             "newer and leave room for temporary files" % safe(str(error)))
    if ended.timed_out:
        raise SignatureError("ssh-keygen did not end within %d s: the signature is refused"
                             % TIMEOUT_S)
    if ended.returncode != 0:
        said = ended.stderr.decode("utf-8", "replace").strip().split("\n")[0].strip()
        # A key that it does not find there is the one thing that ssh-keygen says nothing about.
        raise SignatureError("the signature does not verify (%s): sign this very manifest with a "
                             "key of allowed_signers" % (safe(said, 120) or "its key is not there, "
                                                         "or not for " + PRINCIPAL))


def check_signers(path: str, owners: FrozenSet[int] = frozenset((0, os.geteuid()))) -> None:
    """Raise SignatureError for a file of signers that is missing or that others may change."""
    try:
        files.read_bounded(path, MAX_SIGNERS_BYTES, owners)
    except files.FileError as error:
        raise SignatureError("allowed_signers %s: correct the file" % safe(str(error)))


def obstacle(run: Callable[..., command.Result] = command.run) -> str:
    """Say why this system cannot verify signatures, "" when it can; for configtest."""
    argv = [SSH_KEYGEN, "-Y", "verify", "-f", "/dev/null", "-I", PRINCIPAL, "-n", NAMESPACE,
            "-s", "/dev/null"]
    try:
        ended = run(argv, {"PATH": command.FIXED_PATH, "LC_ALL": "C"}, b"", TIMEOUT_S, 4096)
    except command.CommandError as error:
        return "%s: install OpenSSH 8.2 or newer" % safe(str(error))
    said = ended.stderr.lower()
    # One that can verify complains about the signature, an older one about the option -Y.
    if ended.timed_out or b"option" in said or b"usage" in said:
        return "%s: knows no -Y verify: install OpenSSH 8.2 or newer" % SSH_KEYGEN
    return ""


def check_form(signature: bytes) -> None:
    """Raise SignatureError for anything but one signature in armour, whosever it is."""
    if not signature:
        raise SignatureError("the signature is empty: publish what qualvosec-admin sign writes")
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise SignatureError("the signature is larger than %d bytes: refused"
                             % MAX_SIGNATURE_BYTES)
    # ssh-keygen itself would pass over anything after the end, and odd white space within.
    if not _FORM.fullmatch(signature):
        raise SignatureError("the signature is not one SSH signature and nothing else: publish "
                             "what qualvosec-admin sign writes")
