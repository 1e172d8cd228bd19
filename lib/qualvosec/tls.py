# SPDX-License-Identifier: BSD-2-Clause
"""TLS settings of a client that trusts no environment.

The server's certificate and name are always verified, TLS 1.2 is the least.
Authorities come from the file that is given or from the places compiled into
OpenSSL, never from SSL_CERT_FILE and SSL_CERT_DIR. A client key must be closed
to others and carry no pass phrase, for nobody is there to type it.
"""

import os
import ssl
import stat
import sys


class TlsError(Exception):
    """TLS cannot be set up; the text is one printable line: file, what is wrong, what to do."""


def context(ca_file: str = "", client_cert: str = "", client_key: str = "") -> ssl.SSLContext:
    """Return a context for one server; paths that are empty are not used. Raises TlsError."""
    cafile = ca_file or None
    capath = None
    if cafile is None:
        # create_default_context() alone would obey SSL_CERT_FILE and SSL_CERT_DIR.
        usual = ssl.get_default_verify_paths()
        cafile = usual.openssl_cafile if os.path.isfile(usual.openssl_cafile) else None
        capath = usual.openssl_capath if os.path.isdir(usual.openssl_capath) else None
        if cafile is None and capath is None:
            raise TlsError("this system has no certificate authorities: install them "
                           "(package ca-certificates) or set ca_file")
    try:
        settings = ssl.create_default_context(cafile=cafile, capath=capath)
    except (OSError, ValueError) as error:
        raise TlsError("ca_file %s: cannot be used (%s): give a file of PEM certificates"
                       % (ascii(cafile), _short(error)))
    if sys.version_info >= (3, 7):
        settings.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        settings.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    # One strictness on every Python: from 3.13 on these two are set, and a private authority
    # without key usage, which all the others take, is refused.
    strict = ssl.VERIFY_X509_STRICT | getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    settings.verify_flags &= ~strict
    if getattr(ssl, "HAS_NEVER_CHECK_COMMON_NAME", False):
        settings.hostname_checks_common_name = False    # 3.7 and later; for 3.6: download.py
    if client_cert:
        _load_client(settings, client_cert, client_key or client_cert)
    return settings


def _load_client(settings: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        mode = os.stat(key).st_mode
        if not stat.S_ISREG(mode) or mode & 0o027:
            raise TlsError("client_key %s: is open to others (mode %04o): use mode 0600 or 0640"
                           % (ascii(key), stat.S_IMODE(mode)))
        # An answer to the question for a pass phrase: OpenSSL would ask on the terminal.
        settings.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise TlsError("client_cert %s with client_key %s: cannot be used (%s): give PEM files "
                       "that belong together, the key without a pass phrase"
                       % (ascii(cert), ascii(key), _short(error)))


def _short(error: Exception) -> str:
    reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
    return ascii(str(reason))[1:-1][:120].lower()
