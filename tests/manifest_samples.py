# SPDX-License-Identifier: BSD-2-Clause
"""Large manifests for benchmarks and fuzzing: like a real fleet's, the same for the same seed.

Comments, three styles of lists, quoted keys and values, reserved names, one wildcard pattern;
7 to 8 lines and about 130 bytes for each host.
"""

import random
from typing import List

PACKAGES = ["vim", "nginx", "linux-image-amd64", "postgresql-15", "libc6:amd64", "openssh-server",
            "docker-ce", "kernel", "curl", "base"]  # fmt: skip
HEAD = """\
# patch windows of the fleet; changes by the platform team only
.manifest:
  serial: 2026112301
  expires: "2027-12-23"
.defaults:
  duration: 60
  freeze: ["2026-12-20/2027-01-05"]
.groups:
  prod:
    reboot_grace: 30
  patch_cycle_monday:
    packages_blacklist: [vim]

"""


def host_name(number: int) -> str:
    return "web%06d.example.org" % number


def entry(number: int, rng: random.Random) -> List[str]:
    """The lines of one host."""
    name = host_name(number)
    style = rng.randrange(12)
    key = {0: '"%s":', 1: "'%s':", 2: "%s:\t\t# rack " + str(rng.randrange(40))}.get(style, "%s:")
    lines = [key % name] if "%s" in key else [key]
    if rng.random() < 0.1:
        lines.insert(0, "# %s is the owner's pride, don't touch" % name)
    lines += ["  patch: %s" % rng.choice(["true", "true", "true", "false"]),
              "  reboot: %s" % rng.choice(["true", "false", "required"]),
              "  weekday: %d" % rng.randrange(7), "  hour: %d" % rng.randrange(24)]  # fmt: skip
    if rng.random() < 0.8:
        lines.append("  minute: %d" % rng.randrange(0, 60, 5))
    if rng.random() < 0.3:
        chosen = rng.sample(PACKAGES, rng.randrange(1, 4))
        key = rng.choice(["  packages_whitelist:", "  packages_blacklist:"])
        style = rng.randrange(4)
        if style == 0:
            lines.append("%s [%s]" % (key, ", ".join(chosen)))
        elif style == 1:
            lines.append("%s ['%s']" % (key, "', '".join(chosen)))
        else:
            lines += [key] + ["%s- %s" % ("    " if style == 2 else "  ", item) for item in chosen]
    if rng.random() < 0.4:
        lines.append("  group_membership: [prod, patch_cycle_monday]")
    if rng.random() < 0.5:
        lines.append("")
    return lines


def manifest(hosts: int, seed: int = 1) -> bytes:
    """The text of a manifest with that many hosts."""
    rng = random.Random(seed)
    lines: List[str] = []
    for number in range(hosts):
        lines += entry(number, rng)
    return (HEAD + "\n".join(lines) + "\n").encode("utf-8")
