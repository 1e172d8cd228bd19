#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Switch each defence of docs/security.md off, one at a time: its own tests have to notice.

A defence is switched off by one replacement in a copy of the project, where the
text to replace must occur exactly once. Its tests pass in the untouched copy and
have to fail, or to hang, in the changed one. Prints a line for each; the last line is
the verdict; exit 1 when one survives.

Usage: defences.py [T4 ...]
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import List
from typing import NamedTuple
from typing import Sequence
from typing import Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMIT_S = 60


class Defence(NamedTuple):
    """What is switched off by replacing `old` by `new` in `path`, and the tests that notice."""

    threat: str
    what: str
    path: str
    old: str
    new: str
    tests: Tuple[str, ...]


HELPER = "lib/qualvosec/helper/"
CLIENT = "lib/qualvosec/client/"
ADMIN = "lib/qualvosec/admin/"
LIB = "lib/qualvosec/"

DEFENCES = (
    Defence("T1", "root checks the form of names", HELPER + "request.py",
            "if type(item) is not str or not names.is_pattern(item):",
            "if type(item) is not str:",
            ("test_request.Refused.test_a_pattern_that_is_none_is_refused_with_its_place",)),
    Defence("T1", "names are matched against what is installed", HELPER + "managers/names.py",
            "        found |= hits\n", "        found |= hits or {pattern}\n",
            ("test_apt.Injection.test_no_row_reaches_a_command_or_a_preferences_file",)),
    Defence("T1", "the client checks the form of names", LIB + "manifest/fields.py",
            "elif not names.is_pattern(item):", "elif False:",
            ("test_schema.FieldTest.test_wrong_values_are_refused_with_field_and_remedy",)),
    Defence("T2", "the size of an announced body is capped", LIB + "download.py",
            "if not transfer and int(length) > request.limit:", "if False:",
            ("test_download.UnderHostileServers.test_every_hostile_answer_is_one_clear_line",)),
    Defence("T2", "what is read is counted", LIB + "download.py",
            "if self.budget <= 0:", "if False:",
            ("test_download.UnderHostileServers.test_budget_is_kept_to_the_byte",)),
    Defence("T2", "nesting is bounded", LIB + "yamlsubset.py",
            "if len(self.outer) + 2 > MAX_DEPTH:", "if False:",
            ("test_yamlsubset.Structure.test_blocks_nest_sixteen_deep_and_no_deeper",)),
    Defence("T3", "one deadline for the whole fetch", LIB + "download.py",
            "sock.settimeout(min(self.timeout_s, left))", "sock.settimeout(self.timeout_s)",
            ("test_download.UnderHostileServers."
             "test_silence_ends_at_the_total_deadline_when_that_is_nearer",)),
    Defence("T3", "a wish to be left alone is granted within bounds", CLIENT + "fetch/pace.py",
            "retry_after=max(0, min(retry_after, LONGEST_BACKOFF))", "retry_after=retry_after",
            ("test_pacing.Due."
             "test_the_servers_wish_to_wait_is_followed_within_an_hour",)),
    Defence("T4", "the server's certificate is verified", LIB + "tls.py",
            "    if client_cert:\n",
            "    settings.check_hostname = False\n    settings.verify_mode = ssl.CERT_NONE\n"
            "    if client_cert:\n",
            ("test_download.OverTls.test_wrong_name_expired_and_self_signed_are_refused",)),
    Defence("T4", "another fleet's manifest is refused", CLIENT + "fetch/child.py",
            "if request.audience and header.audience != request.audience:", "if False:",
            ("test_fetch.Signed.test_rollback_replay_and_wrong_fleet_have_their_own_reasons",)),
    Defence("T4", "one serial has one content", CLIENT + "fetch/child.py",
            "if header.serial == request.serial and request.sha256", "if False and request.sha256",
            ("test_fetch.Signed.test_rollback_replay_and_wrong_fleet_have_their_own_reasons",)),
    Defence("T4", "two changes within a second are two", CLIENT + "fetch/child.py",
            "response.date <= changed + 1:", "False:",
            ("test_fetch.WholeFile.test_validators_of_the_second_of_the_change_are_not_kept",)),
    Defence("T4", "the word of ssh-keygen counts", LIB + "manifest/signature.py",
            "if ended.returncode != 0:", "if False:",
            ("test_signature.BeforeSshKeygen."
             "test_tool_that_hangs_dies_or_is_missing_is_a_refusal",)),
    Defence("T4", "a lower serial is refused", CLIENT + "fetch/child.py",
            "if header.serial < request.serial:", "if False:",
            ("test_fetch.Signed.test_rollback_replay_and_wrong_fleet_have_their_own_reasons",)),
    Defence("T4", "an expired manifest starts nothing", CLIENT + "fetch/inforce.py",
            "if reply.expires and window", "if False and window",
            ("test_loop.Cache.test_a_manifests_own_expiry_counts_in_local_days",)),
    Defence("T5", "with a key configured a signature is needed", CLIENT + "fetch/child.py",
            "    if not request.allowed_signers:\n        return _Pair(manifest, None)",
            "    if True:\n        return _Pair(manifest, None)",
            ("test_fetch.Signed.test_nothing_is_parsed_when_the_signature_is_bad_or_missing",)),
    Defence("T5", "a signature that was taken away is a bad one", CLIENT + "fetch/child.py",
            "if 0 < error.status < 500 and", "if False and",
            ("test_fetch.Signed."
             "test_signature_that_is_taken_away_is_a_bad_one_and_a_silent_server_is_not",)),
    Defence("T5", "a dry run asks for a signature, too", CLIENT + "once.py",
            "        allowed_signers=config.allowed_signers, audience=config.audience,\n", "",
            ("test_daemon.Once.test_a_dry_run_asks_for_what_the_daemon_would_accept",)),
    Defence("T5", "who cannot verify is told so", CLIENT + "commands.py",
            "if config.allowed_signers and signature.obstacle():", "if False:",
            ("test_daemon.Commands."
             "test_configtest_tells_of_a_system_that_cannot_verify_signatures",)),
    Defence("T6", "no redirect is followed", LIB + "download.py",
            "        raise _refusal(answer, date)",
            "        if 300 <= answer.status < 400:\n"
            "            return fetch(request._replace(url=_field(answer, \"Location\")))\n"
            "        raise _refusal(answer, date)",
            ("test_download.UnderHostileServers.test_redirects_lead_to_no_second_request",)),
    Defence("T7", "the client's certificate goes to no other host", LIB + "download.py",
            "    if answer.status not in (200, 304):\n",
            "    if answer.status == 302:\n"
            "        return fetch(request._replace(url=_field(answer, \"Location\")))\n"
            "    if answer.status not in (200, 304):\n",
            ("test_download.UnderHostileServers.test_redirects_lead_to_no_second_request",)),
    Defence("T8", "the rule of sudo allows no argument", "etc/sudoers.d/qualvosec",
            'qualvosec-helper ""\n', "qualvosec-helper\n",
            ("test_samples.Rules.test_sudo_may_start_one_program_without_arguments",)),
    Defence("T8", "the rule of doas allows no argument", "etc/doas.conf.sample",
            "qualvosec-helper args", "qualvosec-helper",
            ("test_samples.Rules.test_doas_rule_forbids_arguments_and_ends_its_line",)),
    Defence("T8", "operations are a closed set of exact keys", HELPER + "request.py",
            "if set(fields) != set(KEYS[op]):", "if set(KEYS[op]) - set(fields):",
            ("test_request.Refused.test_a_missing_or_additional_key_is_refused",)),
    Defence("T9", "reboots keep a distance", HELPER + "rules.py",
            "if state.last_reboot and left > 0:", "if False:",
            ("test_front.Reboots.test_reboots_keep_their_distance_whatever_the_window",)),
    Defence("T9", "root may forbid reboots", HELPER + "rules.py",
            "if not config.allow_reboot:", "if False:",
            ("test_front.Reboots.test_the_administrator_may_forbid_reboots",)),
    Defence("T10", "a silent caller is not waited for", HELPER + "request.py",
            "if left <= 0 or not select.select([fd], [], [], left)[0]:",
            "if not select.select([fd], [], [])[0]:",
            ("test_request.Reading.test_a_caller_that_never_ends_is_refused_at_the_deadline",)),
    Defence("T11", "root's state is root's alone", HELPER + "record.py",
            "if info.st_uid != os.geteuid() or info.st_mode & 0o077:", "if False:",
            ("test_front.Rules.test_a_state_directory_that_others_may_enter_is_refused",)),
    Defence("T11", "the socket is for one user", "systemd/qualvosec-helper.socket",
            "SocketMode=0600", "SocketMode=0666",
            ("test_samples.Units.test_socket_of_the_helper_is_for_the_daemons_user_alone",)),
    Defence("T11", "the helper asks who has connected", HELPER + "process.py",
            "if place and uid not in (0, os.stat(place).st_uid):", "if False:",
            ("test_relay.Stranger."
             "test_a_connection_of_somebody_else_is_refused_though_the_mode_lets_him_in",)),
    Defence("T11", "root runs no code that others could change", HELPER + "process.py",
            "if info.st_mode & 0o022 and not sticky:", "if False:",
            ("test_process.Trust.test_a_file_or_folder_that_others_may_write_is_not",)),
    Defence("T12", "connections are capped", CLIENT + "tell/health.py",
            "if len(self._peers) >= MAX_CONNECTIONS:", "if False:",
            ("test_health.HostileNeighbours.test_a_thousand_idle_connections_keep_nobody_out",)),
    Defence("T12", "a port that is taken stops no patching", CLIENT + "daemon.py",
            "            self._listen_again = time.monotonic() + LONGEST_WAIT_S\n",
            "            raise\n",
            ("test_daemon.Lifetime."
             "test_a_port_that_somebody_took_first_keeps_no_host_from_its_manifest",)),
    Defence("T13", "foreign host names are refused", CLIENT + "tell/health.py",
            "if ask.host is not None and not host_allowed(ask.host, names):", "if False:",
            ("test_health.Answers.test_only_names_of_this_machine_are_served",)),
    Defence("T13", "packages are told only where that is enabled", CLIENT + "tell/health.py",
            "            packages and ask.path == \"/packages\"):", "            True):",
            ("test_health.Answers.test_packages_are_told_only_where_that_is_enabled",)),
    Defence("T13", "packages are kept only where that is enabled", CLIENT + "engine.py",
            "if self.config.monitoring_packages and reply.told is not None:",
            "if reply.told is not None:",
            ("test_daemon.Packages."
             "test_packages_of_the_last_run_are_told_where_that_is_enabled",)),
    Defence("T14", "links are not followed", LIB + "files.py",
            "flags = os.O_RDONLY | os.O_NOFOLLOW |", "flags = os.O_RDONLY |",
            ("test_files.Reading.test_a_symbolic_link_is_refused",
             "test_record.Disk.test_planted_objects_are_refused_at_once")),
    Defence("T14", "devices and pipes are not read", LIB + "files.py",
            "if not stat.S_ISREG(info.st_mode):", "if False:",
            ("test_files.Reading.test_a_fifo_is_refused_and_does_not_block",)),
    Defence("T15", "a state that is not saved starts nothing", CLIENT + "engine.py",
            '            self._write_fault = "%s" % error\n            return False\n',
            "            self._state = state\n            return True\n",
            ("test_loop.Runs.test_a_full_disk_starts_nothing",)),
    Defence("T15", "data is on disk before it has its name", LIB + "files.py",
            "            write_all(fd, data)\n            os.fsync(fd)\n",
            "            write_all(fd, data)\n",
            ("test_files.Writing.test_data_is_on_disk_before_the_name_changes",)),
    Defence("T15", "the commit is recorded before it begins", HELPER + "transaction.py",
            'self._phase("commit", committed=True, ', 'self._phase("commit", ',
            ("test_transaction.Upgrades."
             "test_commit_is_durable_before_the_package_manager_starts",)),
    Defence("T16", "a run has a unit of its own", HELPER + "managers/system.py",
            "        argv = systemd_argv(answer.stdout)\n", "        argv = TRANSACTION\n",
            ("test_reboot.Launching.test_what_fails_is_told_and_there_is_no_other_way",)),
    Defence("T16", "stopping the daemon ends the daemon alone", "systemd/qualvosec.service",
            "KillMode=process\n", "",
            ("test_samples.Units."
             "test_client_unit_ends_only_the_daemon_and_retries_no_wrong_configuration",)),
    Defence("T16", "a phase that is not understood is no state", CLIENT + "decide/state.py",
            '    State, ("phase", "window", "op", "consumed"), VERSION,\n',
            "    State, (), VERSION,\n",
            ("test_state.CodecTest."
             "test_a_phase_or_a_used_window_that_cannot_be_understood_is_no_state",)),
    Defence("T16", "a record without its windows is none", HELPER + "record.py",
            '"committed", "outcome", "history"), VERSION,', '"outcome"), VERSION,',
            ("test_record.Disk.test_damage_of_any_kind_is_refused",)),
    Defence("T16", "what was judged before an upgrade is not judged again",
            CLIENT + "decide/outcome.py",
            '(key(record)[0] + " ").startswith(state.known[0] + " ")', "key(record) == state.known",
            ("test_durable.Read."
             "test_a_record_that_was_judged_before_the_upgrade_is_not_judged_again",)),
    Defence("T16", "what a later version kept starts nothing", CLIENT + "fetch/inforce.py",
            "    if found.newer:\n        # It may", "    if False:\n        # It may",
            ("test_durable.Read."
             "test_a_policy_with_more_than_this_version_knows_waits_for_the_server",)),
    Defence("T17", "what was lost half-way is unpacked again", HELPER + "managers/apt.py",
            "            if lost:\n                self._rein",
            "            if False:\n                self._rein",
            ("test_apt.Steps.test_recovery_configures_reinstalls_what_was_lost_and_fixes",)),
    Defence("T18", "nothing unprintable is shown", LIB + "safetext.py",
            "elif char.isprintable():", "elif True:",
            ("test_safetext.Safe."
             "test_controls_separators_and_invisible_format_characters_become_escapes",
             "test_log.Lines.test_a_line_end_or_escape_in_a_message_forges_nothing")),
    Defence("T19", "no formula in CSV", ADMIN + "show/formats.py",
            "text[:1] in tuple(", "False and text[:1] in tuple(",
            ("test_report.FormatsTest."
             "test_a_spreadsheet_sees_no_formula_and_a_terminal_no_control_characters",)),
    Defence("T19", "texts of the page are escaped", ADMIN + "show/report.py",
            "return html.escape(safe(str(value), 300), quote=True)",
            "return safe(str(value), 300)",
            ("test_report.PageTest.test_hostile_texts_make_no_elements_attributes_or_rows",)),
    Defence("T21", "a line of the log is bounded", ADMIN + "fleet/accesslog.py",
            "        if logcolumns.is_longer(head, tail, MAX_LINE):\n", "        if False:\n",
            ("test_accesslog.ReadTest.test_a_line_over_the_limit_is_skipped_whole",)),
    Defence("T22", "what changed meanwhile is not overwritten", ADMIN + "edit/signing.py",
            "before_rename=is_unchanged)", "before_rename=None)",
            ("test_signing.RecordTest."
             "test_a_manifest_that_changes_while_it_is_signed_is_left_alone",)),
    Defence("T22", "editors take turns", ADMIN + "edit/lock.py",
            "    held = files.lock_file(lock, SHORT_WAIT_S, mode)\n",
            "    held = os.open(lock, os.O_RDWR | os.O_CREAT, mode)\n",
            ("test_editing_commands.FileTest."
             "test_a_lock_that_stays_held_ends_in_an_error",)),
    Defence("T22", "an edit looks again before it writes", ADMIN + "edit/commands.py",
            "before_rename=check)", "before_rename=None)",
            ("test_editing_commands.FileTest."
             "test_a_change_by_somebody_else_meanwhile_is_not_overwritten",)),
    Defence("T23", "a window is used once", CLIENT + "decide/ahead.py",
            "    length = opening.closes - opening.opens\n", "    return False\n",
            ("test_outlook.OutlookTest.test_the_next_start_is_one_that_was_not_used",
             "test_loop.Runs."
             "test_an_open_window_is_used_once_and_the_helper_gets_exactly_the_policy")),
    Defence("T23", "root runs a window once", HELPER + "rules.py",
            'if request.op == "upgrade" and records.was_committed(record, window):', "if False:",
            ("test_front.Rules.test_a_window_is_patched_once",)),
    Defence("T24", "root's environment is its own", HELPER + "process.py",
            "    os.environ.clear()\n", "",
            ("test_process.Clean.test_nothing_of_the_caller_is_left",)),
    Defence("T25", "one daemon at a time", CLIENT + "decide/statedir.py",
            "    if lock is None:\n", "    if False:\n",
            ("test_daemon.Lifetime.test_a_second_instance_is_refused_with_one_line",)),
    Defence("T25", "one run at a time", HELPER + "rules.py",
            "    if alive:\n", "    if False:\n",
            ("test_front.Rules.test_nothing_starts_while_a_run_is_alive",)),
    Defence("T26", "a large signature reaches no parser", LIB + "manifest/signature.py",
            "if len(signature) > MAX_SIGNATURE_BYTES:", "if False:",
            ("test_signature.BeforeSshKeygen.test_signatures_that_are_none_start_nothing",)),
    Defence("T29", "the log's directory is root's alone", HELPER + "runlog.py",
            "if info.st_uid != os.geteuid() or info.st_mode & 0o022:", "if False:",
            ("test_process.Log."
             "test_a_directory_that_others_can_change_or_that_is_a_link_is_refused",)),
    Defence("T29", "the log's directory is no link", HELPER + "runlog.py",
            "os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW |", "os.O_RDONLY | os.O_DIRECTORY |",
            ("test_process.Log."
             "test_a_directory_that_others_can_change_or_that_is_a_link_is_refused",)),
    Defence("T30", "a terminal does not stop root", HELPER + "process.py",
            "signal.signal(number, signal.SIG_IGN)", "signal.signal(number, signal.SIG_DFL)",
            ("test_process.Clean."
             "test_limits_and_signals_of_the_caller_do_not_reach_what_is_started",)),
    Defence("T30", "limits are widened", HELPER + "process.py",
            "    if number is None:\n", "    if number is not None:\n",
            ("test_process.Clean."
             "test_limits_and_signals_of_the_caller_do_not_reach_what_is_started",)),
    Defence("T32", "another signature fetches the manifest whole", CLIENT + "fetch/child.py",
            "if manifest.status == 304 and (hashlib", "if manifest.status == 9 and (hashlib",
            ("test_fetch.Signed."
             "test_another_signature_has_the_manifest_fetched_whole_whatever_its_validators",)),
    Defence("T33", "over http no Date outweighs what was seen", CLIENT + "decide/ahead.py",
            "(dated is True and (secure or now >= seen))", "(dated is True)",
            ("test_outlook.OutlookTest.test_when_a_clock_is_plausible",)),
    Defence("T33", "only an accepted answer has a Date", CLIENT + "fetch/inforce.py",
            'if reply.date and reply.result != "failed":', "if reply.date:",
            ("test_loop.Clock.test_the_date_of_an_answer_that_was_refused_does_not_count",)),
    Defence("T34", "the last chunk is whole", LIB + "download.py",
            'if transfer and raw.tail != b"\\r\\n\\r\\n":', "if False:",
            ("test_download.UnderHostileServers."
             "test_every_hostile_answer_is_one_clear_line",)),
    Defence("T34", "a common name is no name", LIB + "tls.py",
            'if getattr(ssl, "HAS_NEVER_CHECK_COMMON_NAME", False):', "if False:",
            ("test_download.OverTls."
             "test_name_in_the_subject_alone_is_refused_by_every_python",)),
    Defence("T31", "no run before a reboot that is coming", HELPER + "rules.py",
            "if (record.reboot_requested and state.boot_id == boot_id", "if (False",
            ("test_front.Rules."
             "test_no_run_starts_while_a_reboot_that_was_asked_for_is_coming",)),
    Defence("T28", "a derived name is remembered", CLIENT + "fetch/inforce.py",
            "or found.fqdn in (\"\", fqdn)):", "or found):",
            ("test_loop.Naming."
             "test_a_derived_name_that_changes_starts_nothing_until_a_person_has_said_so",)),
    Defence("T28", "a serial counts under every name", CLIENT + "fetch/inforce.py",
            "kept.bound() if kept and kept.url", "found.bound() if found and found.url",
            ("test_loop.Signed."
             "test_the_serial_of_a_signed_manifest_counts_under_another_name",)),
    Defence("T27", "the server's user owns no directory of root's", "rc.d/qualvosec_server.freebsd",
            'install -d -o root -g "${qualvosec_server_runas}"',
            'install -d -o "${qualvosec_server_runas}" -g "${qualvosec_server_runas}"',
            ("test_rcd.LogDirectory."
             "test_rotation_by_root_gives_no_file_away_and_the_server_goes_on_writing",)),
)


def read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as stream:
        return stream.read()


def misplaced(defence: Defence, tree: str) -> str:
    """Say why the replacement cannot be made, empty if it can."""
    count = read(os.path.join(tree, defence.path)).count(defence.old)
    return "" if count == 1 else "%s: %s: the text to replace is there %d times" % (
        defence.threat, defence.path, count)


def run_tests(tree: str, tests: Sequence[str], limit_s: int = LIMIT_S) -> Tuple[str, str]:
    """Return (passed, skipped, failed or hangs; the output) of tests in a tree."""
    argv = [sys.executable, "-B", "-m", "unittest", "-v"] + ["tests." + name for name in tests]
    process = subprocess.Popen(argv, cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        text = process.communicate(timeout=limit_s)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return "hangs", ""
    if process.returncode:
        return "failed", text
    return ("skipped" if " ... skipped" in text or "skipped=" in text else "passed"), text


def switched_off(defence: Defence, tree: str) -> str:
    """Return how the defence's tests end without it."""
    path = os.path.join(tree, defence.path)
    text = read(path)
    try:
        with open(path, "w", encoding="utf-8", newline="") as stream:
            stream.write(text.replace(defence.old, defence.new))
        return run_tests(tree, defence.tests)[0]
    finally:
        with open(path, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)


def main(threats: Sequence[str]) -> int:
    """Try the defences against the given threats, or all."""
    chosen = [defence for defence in DEFENCES if not threats or defence.threat in threats]
    begin = time.monotonic()
    survivors: List[str] = []
    with tempfile.TemporaryDirectory(prefix="qualvosec-") as folder:
        tree = os.path.join(folder, "tree")
        shutil.copytree(ROOT, tree, symlinks=True,
                        ignore=shutil.ignore_patterns(".git", "__pycache__", "*.pyc"))
        faults = [fault for fault in (misplaced(defence, tree) for defence in chosen) if fault]
        tests = sorted({name for each in chosen for name in each.tests})
        state, text = run_tests(tree, tests, 4 * LIMIT_S)
        if faults or state not in ("passed", "skipped"):
            print("\n".join(faults) or text)
            print("FAIL: the tests %s with every defence on"
                  % ("could not be tried" if faults else state))
            return 1
        for defence in chosen:
            how = switched_off(defence, tree)
            if how not in ("failed", "hangs"):
                survivors.append(defence.threat)
            print("%-4s %-8s %s" % (defence.threat, "caught" if how in ("failed", "hangs")
                                    else how.upper(), defence.what), flush=True)
    print("%s: %d of %d switched-off defences were noticed, in %d s" % (
        "FAIL" if survivors else "PASS", len(chosen) - len(survivors), len(chosen),
        time.monotonic() - begin))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
