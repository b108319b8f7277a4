#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run test programs and add up their results.

usage: tests/run.py B=DIR [GUESTS=DIR] [-j N] ITEM... [B=DIR ITEM...]

An ITEM is a program, a command line ("tests/nolibc.sh build") or a directory
whose test_*.py and test_*.sh are run; it belongs to the build directory before
it.  Those that tests/heavy names begin first, in its order.  Every one prints
TAP: "ok N - name", "not ok N - name", "ok N # SKIP why".  One that ends badly
without a "not ok", or prints no result, counts as one failure.  What a failed
one printed is shown (of much, the failures and the end) and kept whole in
DIR/test-logs.  Then come the slowest and the names of all failed cases; the
last line is "N passed, N failed".  The exit status is 0 when nothing failed and
something passed.
"""
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

RESULT = re.compile(r'^(not )?ok\b *\d* *(?:- *)?(.*)$')
SKIP = re.compile(r'# *SKIP *(.*)', re.I)
SHOWN = 60                      # lines of a failed test
SLOWEST = 10
HEAVY = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'heavy')


def items(arg):
    """The command lines one argument stands for."""
    if os.path.isdir(arg):
        for f in sorted(os.listdir(arg)):
            path = os.path.join(arg, f)
            if re.fullmatch(r'test_.*\.py', f):
                yield [sys.executable, path]
            elif re.fullmatch(r'test_.*\.sh', f):
                yield ['sh', path]
    else:
        words = shlex.split(arg)
        yield (['sh'] if words[0].endswith('.sh') else []) + words


def title(cmd):
    words = cmd[1:] if cmd[0] in (sys.executable, 'sh') else cmd
    return os.path.splitext(os.path.basename(words[0]))[0]


def heavy_first(todo):
    """In the order of tests/heavy, then the others as they were given."""
    with open(HEAVY) as f:
        names = [x.strip() for x in f if x.strip() and x[0] != '#']
    rank = {name: i for i, name in enumerate(names)}
    return sorted(todo, key=lambda t: rank.get(t.name, len(rank)))


def excerpt(lines):
    """At most SHOWN lines: every failure with what it says, and the end."""
    if len(lines) <= SHOWN:
        return lines
    end = len(lines) - SHOWN // 3
    starts = [i for i, x in enumerate(lines[:end]) if x.startswith('not ok')]
    each = max(1, (SHOWN - SHOWN // 3 - 2) // max(1, len(starts)))
    keep = set()
    for i in starts:
        keep.update(range(i, min(i + each, end)))
    out, last = [], -1
    for i in sorted(keep)[:SHOWN - SHOWN // 3 - 2] + list(
            range(end, len(lines))):
        if i != last + 1 and (not out or out[-1] != '...'):
            out.append('...')
        out.append(lines[i])
        last = i
    return out[:SHOWN // 3 * 2] + out[len(out) - SHOWN // 3:] if len(
        out) > SHOWN else out


class Test:
    """One command and the build directory it belongs to."""

    def __init__(self, cmd, builddir, first):
        self.cmd = cmd
        self.builddir = builddir
        self.name = title(cmd)
        self.label = self.name if first else f'{self.name} in {builddir}'
        self.seconds = self.cpu_seconds = 0


class Run:
    def __init__(self, guests):
        self.env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT='TAP',
                        GUESTS=os.path.abspath(guests))
        self.limit = float(os.environ.get('TEST_LIMIT', 1800))
        self.lock = threading.Lock()
        self.running = set()            # process groups of running tests
        self.passed = self.skipped = 0
        self.failed = []                # "test: case"
        self.done = []

    def stop(self, signum, _):
        """End what runs, then ourselves: nothing outlives a stopped check."""
        for group in list(self.running):
            try:
                os.killpg(group, signal.SIGKILL)
            except OSError:
                pass
        os._exit(128 + signum)

    def environment(self, builddir):
        env = dict(self.env, B=builddir)
        env.setdefault('ORRERY',
                       os.path.abspath(os.path.join(builddir, 'orrery')))
        return env

    def wait(self, p, test):
        """Status of the process, '' or why it was ended, processor time."""
        why = []

        def end():
            why.append(f'still running after {self.limit:.0f} s')
            os.killpg(p.pid, signal.SIGKILL)
        timer = threading.Timer(self.limit, end)
        timer.start()
        _, status, usage = os.wait4(p.pid, 0)
        timer.cancel()
        test.cpu_seconds = usage.ru_utime + usage.ru_stime
        p.returncode = os.waitstatus_to_exitcode(status)
        return p.returncode, ''.join(why)

    def one(self, test):
        logs = os.path.join(test.builddir, 'test-logs')
        os.makedirs(logs, exist_ok=True)
        log = os.path.join(logs, test.name + '.log')
        begin = time.monotonic()
        with open(log, 'w') as out:
            try:
                p = subprocess.Popen(test.cmd, stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT,
                                     env=self.environment(test.builddir),
                                     start_new_session=True)
                self.running.add(p.pid)
                status, why = self.wait(p, test)
                self.running.discard(p.pid)
            except OSError as e:
                status, why = 127, str(e)
        with open(log, errors='replace') as f:
            text = f.read()
        test.seconds = time.monotonic() - begin
        ok, bad, skips = self.count(text)
        if not bad and (status or not ok and not skips):
            bad = ['ended with status %d' % status if status else
                   'printed no result']
        self.report(test, ok, bad, skips, why, text)

    @staticmethod
    def count(text):
        ok, bad, skips, said = 0, [], [], ''
        for line in text.splitlines():
            m = RESULT.match(line)
            if not m:
                said = line.lstrip('# ') or said
                continue
            skip = SKIP.search(line)
            if skip:            # cmocka names the test alone
                skips.append(line[skip.start():] +
                             (f': {said}' if said else ''))
            elif m[1]:
                bad.append(m[2])
            else:
                ok += 1
            said = ''
        return ok, bad, skips

    def report(self, test, ok, bad, skips, why, text):
        with self.lock:
            self.passed += ok
            self.failed += [f'{test.label}: {b}' for b in bad]
            self.skipped += len(skips)
            self.done.append(test)
            note = f', {len(skips)} skipped' if skips else ''
            print(f'  {"FAIL" if bad else "ok":4}  {test.label}: {ok} passed, '
                  f'{len(bad)} failed{note} ({test.seconds:.1f} s) '
                  f'{why}'.rstrip())
            for s in skips:
                print('        ' + s)
            if bad:
                for x in excerpt(text.splitlines()):
                    print('      | ' + x[:300])
            sys.stdout.flush()

    def all(self, todo, jobs):
        todo = heavy_first(todo)

        def work():
            while True:
                with self.lock:
                    if not todo:
                        return
                    test = todo.pop(0)
                self.one(test)
        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def summary(self):
        """The slowest, then what failed, then the numbers."""
        slow = sorted(self.done, key=lambda t: -t.seconds)[:SLOWEST]
        print('the slowest (seconds; of the processor):')
        for t in slow:
            print(f'  {t.seconds:6.1f} {t.cpu_seconds:6.1f}  {t.label}')
        if self.skipped:
            print(f'{self.skipped} skipped')
        for f in self.failed:
            print(f'failed: {f}')
        print(f'{self.passed} passed, {len(self.failed)} failed')
        return 1 if self.failed or not self.passed else 0


def main(argv):
    guests, first, builddir, todo = '', None, 'build', []
    # Guests wait for disks, timers and keys: one more keeps all CPUs at work.
    jobs = (os.cpu_count() or 1) + 1
    it = iter(argv)
    for a in it:
        if a.startswith('B='):
            builddir = a[2:]
        elif a.startswith('GUESTS='):
            guests = a[7:]
        elif a == '-j':
            jobs = int(next(it))
        else:
            first = first or builddir
            todo += [Test(cmd, builddir, builddir == first)
                     for cmd in items(a)]
    run = Run(guests or os.path.join(first or builddir, 'guests'))
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, run.stop)
    run.all(todo, jobs)
    return run.summary()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
