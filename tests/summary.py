#!/usr/bin/env python3
"""Adds up the logs of several runs of `meson test` (testlog.json files) and closes with one line of counts.

What counts as one test: a CMocka case or a case of Node's test runner, where a program has such cases; otherwise the
whole program (a fuzz target, a stress run). A program that fails without naming a failed case counts as one failure
more. Skipped: what a program says it skipped, with the reason from its last line `skip: REASON` before that.
Exits with 1 when anything failed, or when nothing was run.
"""
import collections
import json
import os
import re
import sys

CMOCKA = re.compile(r'^\[ +(OK|FAILED|SKIPPED) +\] (\S+)$')
TAP = re.compile(r'^ *(ok|not ok) \d+ - (.*?)(?: # (SKIP|TODO|time=\S*)(.*))?$')
TAP_OUTCOMES = {'ok': 'OK', 'not ok': 'FAILED'}
REASON = re.compile(r'^ *(?:# )?skip: (.*)$')


def cases_of(output):
    """Yields (outcome, name, reason) for each case that a program's output tells of."""
    reason = 'no reason given'
    for line in output.splitlines():
        if match := REASON.match(line):
            reason = match[1]
        elif match := CMOCKA.match(line):
            yield match[1], match[2], reason
        elif match := TAP.match(line):
            if match[3] == 'SKIP':
                yield 'SKIPPED', match[2], match[4].strip() or reason
            else:
                yield TAP_OUTCOMES[match[1]], match[2], reason


def cases_of_program(entry):
    """The same for one entry of a log, with the exit code's word on top."""
    cases = list(cases_of(entry.get('stdout', '')))
    failed = entry['result'] in ('FAIL', 'TIMEOUT', 'ERROR', 'INTERRUPT', 'UNEXPECTEDPASS')
    if failed and not any(outcome == 'FAILED' for outcome, _, _ in cases):
        cases.append(('FAILED', entry['result'], ''))
    if not cases:
        reasons = REASON.findall(entry.get('stdout', ''))
        skipped = entry['result'] == 'SKIP'
        cases.append(('SKIPPED' if skipped else 'OK', '', reasons[-1] if reasons else 'no reason given'))
    return cases


def main(paths):
    counts = collections.Counter()
    failed = []
    skipped = collections.defaultdict(list)
    print()
    for path in paths:
        with open(path, encoding='utf-8') as log:
            entries = [json.loads(line) for line in log]
        here = collections.Counter()
        build = path.split(os.sep)[1]
        for entry in entries:
            for outcome, case, reason in cases_of_program(entry):
                here[outcome] += 1
                name = f"{build}: {entry['name']}" + (f': {case}' if case else '')
                if outcome == 'FAILED':
                    failed.append(name)
                if outcome == 'SKIPPED':
                    skipped[reason].append(name)
        seconds = sum(entry['duration'] for entry in entries)
        log_name = os.path.basename(path).removesuffix('.json')
        print(f'{build}, {log_name}: {sum(here.values())} cases in {len(entries)} programs, {seconds:.0f} s of running')
        counts += here
    for name in failed:
        print(f'failed: {name}')
    for reason, names in sorted(skipped.items()):
        print(f'skipped {len(names)}: {reason} ({", ".join(names)})')
    print(f"{counts['OK']} passed, {counts['FAILED']} failed, {counts['SKIPPED']} skipped")
    return 1 if counts['FAILED'] or not counts['OK'] else 0


sys.exit(main(sys.argv[1:]))
