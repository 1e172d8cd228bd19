# SPDX-License-Identifier: BSD-2-Clause
"""Trials of trust: client certificates, the authority of the server, signed manifests.

The administrator signs in the host's own tree, with the real ssh-keygen and
qualvosec-admin, and publishes what that wrote. Whatever is refused must be refused
with its own reason, by the real nginx or by the host, while the last good policy
stays in force and nothing is started.
"""

import json
import os
import re
import time
from typing import Dict

from tests.e2e import system
from tests.e2e import webserver
from tests.e2e.cases_faults import UNHEALTHY
from tests.e2e.cases_faults import unhealthy_because
from tests.e2e.cases_runs import outcome
from tests.e2e.container import Result
from tests.e2e.container import wait_for
from tests.e2e.trial import FQDN
from tests.e2e.trial import OTHER
from tests.e2e.trial import SERVICE
from tests.e2e.trial import Case
from tests.e2e.trial import Trial
from tests.e2e.trial import check
from tests.e2e.trial import check_equal
from tests.e2e.trial import opening

ADMIN = "/srv/admin"
INTERVAL_S = 60


def _certificate(trial: Trial, name: str) -> str:
    return os.path.join(trial.base.checkout, "tests/data/tls", name)


def _serve(trial: Trial, name: str) -> None:
    """Let nginx show this certificate and ask every client for one of the test authority."""
    trial.web.tls = {
        "ssl_certificate": _certificate(trial, name + ".pem"),
        "ssl_certificate_key": _certificate(trial, name + ".key"),
        "ssl_client_certificate": _certificate(trial, "ca.pem"),
        "ssl_verify_client": "on",
    }


def _own(trial: Trial, name: str) -> None:
    """Give the host this client certificate, its key readable by its user alone."""
    for kind in ("pem", "key"):
        with open(_certificate(trial, "%s.%s" % (name, kind)), encoding="ascii") as file:
            trial.box.write("%s/client.%s.new" % (trial.paths.config, kind), file.read(), 0o640)
    done = trial.box.run(["sh", "-c", "cd %s && chgrp %s client.*.new && mv client.pem.new "
                          "client.pem && mv client.key.new client.key" % (
                              trial.paths.config, system.USER)])
    check(done.returncode == 0, "client certificate: " + done.text)


def _refused(trial: Trial, reason: str, window: object) -> None:
    """One more fetch: refused with this reason; the last policy is in force, nothing ran."""
    done = trial.qualvosec("once")
    check(re.search("fetch failed reason=.*" + reason, done.err),
          "no %r in: %s" % (reason, done.text))
    _in_force(trial, window)


def _in_force(trial: Trial, window: object) -> None:
    shown = trial.qualvosec("policy")
    check(shown.returncode == 0 and "patch: true" in shown.out, "policy: " + shown.text)
    check_equal(trial.record()["window"], window, "window of the last run")


def mutual_tls(trial: Trial) -> None:
    """Patched over mutual TLS; other certificates, either side's, are refused with the reason."""
    tls = {"server": "https://localhost:%d" % webserver.MANIFEST_PORT,
           "ca_file": trial.paths.config + "/ca.pem", "fetch_interval": "%ds" % INTERVAL_S}
    ours = {"client_cert": trial.paths.config + "/client.pem",
            "client_key": trial.paths.config + "/client.key"}
    trial.configure(dict(tls, **ours))
    with open(_certificate(trial, "ca.pem"), encoding="ascii") as file:
        trial.box.write(trial.paths.config + "/ca.pem", file.read())
    _serve(trial, "good")
    trial.boot("e2e-victim")
    _own(trial, "client")
    trial.publish_open()
    trial.start_service()
    window = outcome(trial, "ok")["window"]
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    check(all(" 200 " in line or " 304 " in line for line in trial.fetches()), trial.fetches())

    _own(trial, "selfsigned")
    unhealthy_because(trial, "answered 400", 2 * INTERVAL_S)
    check("client_cert" in trial.health().out, trial.health().text)
    check_equal(trial.status()["entry"], "policy", "entry")
    check(any(" 400 " in line for line in trial.fetches()), trial.fetches())
    # Two intervals without an answer: critical, not only a warning.
    wait_for("critical", lambda: trial.health().returncode == UNHEALTHY, 4 * INTERVAL_S)
    _in_force(trial, window)
    check(trial.active(), "the service has ended")

    trial.box.run(["systemctl", "stop", SERVICE])
    _refused(trial, "the server answered 400: .*client_cert", window)
    trial.configure(tls)
    _refused(trial, "the server answered 400: .*client_cert", window)
    trial.configure(dict(tls, **ours))
    _own(trial, "client")
    trial.box.run(["chmod", "0644", trial.paths.config + "/client.key"])
    _refused(trial, "client_key .* is open to others", window)
    trial.box.run(["chmod", "0640", trial.paths.config + "/client.key"])
    for name, why in (("selfsigned", "self.signed certificate"), ("wrongname", "mismatch"),
                      ("expired", "expired")):
        trial.web.stop()
        _serve(trial, name)
        trial.web.start()
        before = len(trial.fetches())
        _refused(trial, "the server's certificate is refused .*" + why, window)
        check_equal(len(trial.fetches()), before, "requests to a server of another authority")
    trial.web.stop()
    _serve(trial, "good")
    trial.web.start()
    done = trial.qualvosec("once")
    check(done.returncode == 0 and not done.err.count("fetch failed"), "in the end: " + done.text)


# --- signed manifests ---------------------------------------------------------------------------

KEYS = """
mkdir -p %(admin)s && cd %(admin)s &&
for name in admin other; do ssh-keygen -q -t ed25519 -N "" -C "$name" -f "$name"; done &&
{ printf 'manifest@qualvosec namespaces="qualvosec-manifest" '; cat admin.pub; } >%(signers)s
"""


def _administer(trial: Trial, *words: str) -> Result:
    """qualvosec-admin with the key, on the administrator's copy."""
    program = os.path.join(trial.paths.programs, "qualvosec-admin")
    done = trial.box.run([program, "-c", ADMIN + "/qualvosec_admin.conf"] + list(words))
    check(done.returncode == 0, "qualvosec-admin %s: %s" % (" ".join(words), done.text))
    return done


def _files(trial: Trial) -> Dict[str, str]:
    return {name: trial.box.read("%s/%s" % (ADMIN, name)) for name in
            ("patch.yaml", "patch.yaml.sig")}


def _publish(trial: Trial, files: Dict[str, str]) -> None:
    for name, text in files.items():
        check(text, "%s is empty" % name)
        trial.web.put(name, text)


def _edit(trial: Trial, old: str, new: str) -> None:
    text = trial.box.read(ADMIN + "/patch.yaml")
    check(old in text, "%r is not in %s" % (old, text))
    trial.box.write(ADMIN + "/patch.yaml", text.replace(old, new))
    _administer(trial, "sign")


def _by_hand(trial: Trial, key: str, text: str) -> Dict[str, str]:
    """The manifest as it is, signed by ssh-keygen alone."""
    path = "%s/by-hand-%s" % (ADMIN, key)
    trial.box.write(path, text)
    done = trial.box.run(["ssh-keygen", "-Y", "sign", "-n", "qualvosec-manifest", "-f",
                          "%s/%s" % (ADMIN, key), path])
    check(done.returncode == 0, "ssh-keygen: " + done.text)
    return {"patch.yaml": text, "patch.yaml.sig": trial.box.read(path + ".sig")}


def _day(days: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86400))


def _packages(trial: Trial) -> Dict[str, object]:
    """What /packages tells."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8037/packages').read(" \
          ").decode('ascii'))"
    return dict(json.loads(trial.box.run(["python3", "-c", ask]).out))


def _prepare_signed(trial: Trial) -> None:
    """The administrator's key, manifest and signature; published."""
    signers = trial.paths.config + "/allowed_signers"
    trial.configure({"allowed_signers": signers, "audience": "plant-a",
                     "monitoring_packages": "enable"})
    trial.boot("e2e-victim")
    done = trial.box.run(["sh", "-c", KEYS % {"admin": ADMIN, "signers": signers}])
    check(done.returncode == 0, "ssh-keygen: " + done.text)
    when = opening(60)
    trial.box.write(ADMIN + "/patch.yaml", (
        ".manifest:\n  serial: 1\n  expires: \"%s\"\n  audience: plant-a\n%s:\n  patch: true\n"
        "  weekday: %d\n  hour: %d\n  minute: %d\n" % (
            _day(30), FQDN, when["weekday"], when["hour"], when["minute"])))
    trial.box.write(ADMIN + "/qualvosec_admin.conf", (
        "[general]\nmanifest: %s/patch.yaml\nkey: %s/admin\n" % (ADMIN, ADMIN)))
    _administer(trial, "sign")
    _publish(trial, _files(trial))


def signed(trial: Trial) -> None:
    """Patched by a signed manifest; unsigned, changed, old, foreign, expired are refused."""
    _prepare_signed(trial)
    first = _files(trial)
    trial.start_service()
    window = outcome(trial, "ok")["window"]
    check_equal(trial.version("e2e-victim"), "1.1", "e2e-victim")
    wait_for("the run at /packages", lambda: _packages(trial)["window"] == window, 60)
    check_equal(_packages(trial)["upgraded"],
                [{"name": "e2e-victim", "old": "1.0", "new": "1.1"}], "upgraded at /packages")
    trial.box.run(["systemctl", "stop", SERVICE])

    # An edit signs by itself; its serial is above the last one.
    _administer(trial, "add", OTHER, "--no-patch", "--weekday", "6", "--time", "03:00")
    second = _files(trial)
    check(second["patch.yaml.sig"] != first["patch.yaml.sig"], "add did not sign")
    _publish(trial, second)
    done = trial.qualvosec("once")
    check(done.returncode == 0 and "fetch failed" not in done.err, "signed by add: " + done.text)

    os.unlink(os.path.join(trial.web.www, "patch.yaml.sig"))
    _refused(trial, r"patch\.yaml\.sig: the server answered 404", window)
    changed = second["patch.yaml"].replace("patch: true", "patch: true ")
    check(changed != second["patch.yaml"], "nothing to change")
    _publish(trial, dict(second, **{"patch.yaml": changed}))
    _refused(trial, "the signature does not verify", window)
    trial.web.put("patch.yaml.sig", "<html>not found</html>\n")
    _refused(trial, "the signature is not one SSH signature", window)
    _publish(trial, first)
    _refused(trial, "serial: [0-9]+ is lower than [0-9]+", window)
    _publish(trial, _by_hand(trial, "other", second["patch.yaml"]))
    _refused(trial, "the signature does not verify", window)
    shown = trial.qualvosec("once", "--dry-run")
    check(shown.returncode == 1 and "does not verify" in shown.err, "dry run: " + shown.text)
    _edit(trial, "audience: plant-a", "audience: plant-b")
    _publish(trial, _files(trial))
    _refused(trial, "audience: plant-b is not plant-a", window)

    # Signed, newer, ours, and past its last day: it counts, so nothing starts from it.
    # qualvosec-admin does not sign one that has expired.
    _edit(trial, "audience: plant-b", "audience: plant-a")
    late = _files(trial)["patch.yaml"].replace(_day(30), _day(-2))
    _publish(trial, _by_hand(trial, "admin", late))
    done = trial.qualvosec("once")
    check(done.returncode == 1 and "the manifest expired on " + _day(-2) in done.err,
          "expired: " + done.text)
    check_equal(trial.record()["window"], window, "window of the last run")
    _administer(trial, "set", OTHER, "hour=4")
    _publish(trial, _files(trial))
    done = trial.qualvosec("once")
    check(done.returncode == 0, "in the end: " + done.text)
    _in_force(trial, window)


CASES = [
    Case("mutual-tls", "client and server certificates: good ones patch, others are refused",
         mutual_tls, True),
    Case("signed", "a signed manifest patches; unsigned, changed, old, foreign are refused",
         signed),
]
