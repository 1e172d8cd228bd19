# SPDX-License-Identifier: BSD-2-Clause
#
# For GNU make and BSD make alike: no conditionals, no functions, no patterns.
# `make help` says what there is; every variable below can be given on the command
# line: make install PREFIX=/usr SYSCONFDIR=/etc PYTHON=/usr/bin/python3 DESTDIR=/tmp/stage

.POSIX:

PYTHON = python3
SCALE = full

DESTDIR =
PREFIX = /usr/local
SYSCONFDIR = /etc
SBINDIR = $(PREFIX)/sbin
LIBEXECDIR = $(PREFIX)/libexec/qualvosec
DATADIR = $(PREFIX)/share/qualvosec
DOCDIR = $(PREFIX)/share/doc/qualvosec
MANDIR = $(PREFIX)/share/man
CONFDIR = $(SYSCONFDIR)/qualvosec
SAMPLEDIR = $(CONFDIR)
# auto: below /var/lib on Linux, below /var/db elsewhere
STATEDIR = auto
HELPERSTATEDIR = auto
HELPERLOGDIR = /var/log/qualvosec-helper
# Of the helper's socket and of what lives no longer than one call.
RUNDIR = /run
# Empty: no sudo rule is installed, as where doas is used.
SUDOERSDIR = $(SYSCONFDIR)/sudoers.d
# auto: $(PREFIX)/lib/systemd/system on Linux, nothing elsewhere; empty: nothing.
UNITDIR = auto
BASHCOMPDIR = $(PREFIX)/share/bash-completion/completions
# Scripts for service managers other than systemd: freebsd, openbsd, netbsd or openrc,
# and their directory. Empty: none. The presets below know both.
RCSYSTEM =
RCDIR =
# auto: $(PREFIX)/lib/sysusers.d where units are installed; empty: nothing.
SYSUSERSDIR = auto
# auto: below $(SYSCONFDIR) on Linux; empty: nothing.
NEEDRESTARTDIR = auto
LOGROTATEDIR = auto
NEWSYSLOGDIR =
# auto: qualvosec; _qualvosec on OpenBSD
SERVICEUSER = auto
# The embedded server's; never the one above, who may start root's helper.
SERVERUSER = auto
# no: where a package's own scripts compile the modules.
BYTECODE = yes
# common, client, admin or server: for install-part, of which packages are made.
PART =
# yes: install even where others than root could change the interpreter, or where
# the service user cannot reach it.
TRUST_PYTHON = no

INSTALL = DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SBINDIR='$(SBINDIR)' \
	LIBEXECDIR='$(LIBEXECDIR)' DATADIR='$(DATADIR)' DOCDIR='$(DOCDIR)' \
	MANDIR='$(MANDIR)' CONFDIR='$(CONFDIR)' STATEDIR='$(STATEDIR)' HELPERSTATEDIR='$(HELPERSTATEDIR)' \
	HELPERLOGDIR='$(HELPERLOGDIR)' RUNDIR='$(RUNDIR)' SUDOERSDIR='$(SUDOERSDIR)' UNITDIR='$(UNITDIR)' \
	SERVICEUSER='$(SERVICEUSER)' SERVERUSER='$(SERVERUSER)' SYSCONFDIR='$(SYSCONFDIR)' \
	BASHCOMPDIR='$(BASHCOMPDIR)' RCSYSTEM='$(RCSYSTEM)' RCDIR='$(RCDIR)' \
	SYSUSERSDIR='$(SYSUSERSDIR)' NEEDRESTARTDIR='$(NEEDRESTARTDIR)' \
	LOGROTATEDIR='$(LOGROTATEDIR)' NEWSYSLOGDIR='$(NEWSYSLOGDIR)' \
	SAMPLEDIR='$(SAMPLEDIR)' BYTECODE='$(BYTECODE)' \
	PYTHON='$(PYTHON)' TRUST_PYTHON='$(TRUST_PYTHON)' \
	sh tools/install.sh

help:
	@echo 'make demo            show the main job; changes nothing on this machine; PAGE=FILE: where'
	@echo '                     the page that it leaves goes, else into a new file in /tmp'
	@echo 'make test            run the tests: no network, no root, about a minute; one process'
	@echo '                     per processor (python3 -m tests -j N WORD: some of them)'
	@echo 'make long            the trials that take an hour or more, in parts: see .ci/long'
	@echo 'make e2e             patch and reboot a Debian in a container (root, Debian mirror)'
	@echo 'make bench-idle      memory and wake-ups of the daemon (SCALE=small: under a minute);'
	@echo '                     bench-admin (needs mawk): a million lines of access log;'
	@echo '                     bench-health: the health check under a flood; bench-trust:'
	@echo '                     hostile servers and signatures;'
	@echo '                     also bench-time, bench-fleet (a fleet and nginx), and bench-manifest,'
	@echo '                     which needs PyYAML; bench-run (root, Debian mirror): a whole run'
	@echo '                     against apt-get and unattended-upgrade'
	@echo 'make install         client, admin tool and server'
	@echo 'make install-client  client and root helper alone; also install-admin, install-server'
	@echo 'make install-freebsd the same with the paths of that system; also install-openbsd,'
	@echo '                     install-netbsd, install-linux (systemd), install-openrc'
	@echo 'make dist            the release tarball; make packages: .deb and .rpm, checked, in'
	@echo '                     build/packages; make freebsd-package: in build/freebsd'
	@echo 'make install-users   create the system users (root)'
	@echo 'make uninstall       remove what was installed; configuration and state stay;'
	@echo '                     after install-freebsd: uninstall-freebsd, and so on'
	@echo
	@echo 'Variables: PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) PYTHON=$(PYTHON) DESTDIR=$(DESTDIR)'
	@echo 'and more, explained at the top of the Makefile.'

# The fleet as a page: here, else in a new file in the directory for temporary files.
PAGE =

demo:
	@PYTHONDONTWRITEBYTECODE=1 MAKE='$(MAKE)' $(PYTHON) -m demo.demo $(PAGE)

test:
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m tests

# In named parts; one alone: .ci/long PART.
long:
	@PYTHON='$(PYTHON)' sh .ci/long ALL

e2e:
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/e2e/run.py --jobs 2

# SCALE=small: under a minute, the same figures and bounds.
bench-idle:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_idle.py

bench-admin:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_admin.py

bench-health:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_health.py

bench-trust:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_trust.py

bench-time:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_time.py

bench-fleet:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_fleet.py

# Root; builds its tree of Debian once. SCALE=small: three rounds, under 90 seconds.
bench-run:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_run.py

# Compares with PyYAML: PYTHON has to be an interpreter that has it.
bench-manifest:
	@PYTHONDONTWRITEBYTECODE=1 SCALE='$(SCALE)' $(PYTHON) tests/bench_manifest.py

# The release tarball, equal for equal commits.
DIST =

dist:
	@sh tools/dist.sh '$(DIST)'

packages:
	@sh tests/packages.sh --keep build/packages

# Stage, packing list and manifest in build/; the package itself where pkg(8) is.
freebsd-package:
	@rm -rf build/freebsd
	@$(MAKE) install-freebsd DESTDIR="$$PWD/build/freebsd/stage" BYTECODE=no
	@$(PYTHON) -IBS tools/freebsd_package.py build/freebsd/stage build/freebsd/package

install:
	@$(INSTALL) install

install-client:
	@$(INSTALL) install client

install-admin:
	@$(INSTALL) install admin

install-server:
	@$(INSTALL) install server

install-part:
	@$(INSTALL) part $(PART)

# Every part, with the paths and habits of one system.
LINUX = UNITDIR='$(PREFIX)/lib/systemd/system' STATEDIR=/var/lib/qualvosec
OPENRC = UNITDIR= RCSYSTEM=openrc RCDIR=/etc/init.d
FREEBSD = PREFIX=/usr/local SYSCONFDIR=/usr/local/etc RCSYSTEM=freebsd \
	RCDIR=/usr/local/etc/rc.d NEWSYSLOGDIR=/usr/local/etc/newsyslog.conf.d
OPENBSD = PREFIX=/usr/local SYSCONFDIR=/etc MANDIR=/usr/local/man RCSYSTEM=openbsd \
	RCDIR=/etc/rc.d SUDOERSDIR=
NETBSD = PREFIX=/usr/pkg SYSCONFDIR=/usr/pkg/etc MANDIR=/usr/pkg/man RCSYSTEM=netbsd \
	RCDIR=/etc/rc.d

install-linux:
	@$(MAKE) install $(LINUX)

install-openrc:
	@$(MAKE) install $(OPENRC)

install-freebsd:
	@$(MAKE) install $(FREEBSD)

install-openbsd:
	@$(MAKE) install $(OPENBSD)

install-netbsd:
	@$(MAKE) install $(NETBSD)

uninstall-linux:
	@$(MAKE) uninstall $(LINUX)

uninstall-openrc:
	@$(MAKE) uninstall $(OPENRC)

uninstall-freebsd:
	@$(MAKE) uninstall $(FREEBSD)

uninstall-openbsd:
	@$(MAKE) uninstall $(OPENBSD)

uninstall-netbsd:
	@$(MAKE) uninstall $(NETBSD)

install-users:
	@$(INSTALL) users

uninstall:
	@$(INSTALL) uninstall

.PHONY: help dist packages freebsd-package demo test long e2e bench-idle \
	bench-admin bench-health bench-trust bench-time bench-fleet bench-manifest bench-run \
	install install-client install-admin install-server \
	install-part install-linux install-openrc install-freebsd install-openbsd install-netbsd \
	install-users uninstall \
	uninstall-linux uninstall-openrc uninstall-freebsd uninstall-openbsd uninstall-netbsd
