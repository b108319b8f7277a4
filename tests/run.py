#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run test programs and add up their results.

usage: tests/run.py B=DIR [GUESTS=DIR] [-j N] ITEM...

An ITEM is a program, a command line ("tests/nolibc.sh build") or a directory
whose test_*.py and test_*.sh are run.  Every one of them prints TAP: "ok N -
name", "not ok N - name", "ok N # SKIP why".  One that ends badly without a
"not ok", or prints no result, counts as one failure.  What a failed one printed
is shown and kept in DIR/test-logs.  The last line is "N passed, N failed"; the
exit status is 0 when nothing failed and something passed.
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


def items(args):
    for a in args:
        if os.path.isdir(a):
            for f in sorted(os.listdir(a)):
                path = os.path.join(a, f)
                if re.fullmatch(r'test_.*\.py', f):
                    yield [sys.executable, path]
                elif re.fullmatch(r'test_.*\.sh', f):
                    yield ['sh', path]
        else:
            words = shlex.split(a)
            yield (['sh'] if words[0].endswith('.sh') else []) + words


def title(cmd):
    words = cmd[1:] if cmd[0] in (sys.executable, 'sh') else cmd
    return os.path.splitext(os.path.basename(words[0]))[0]


class Run:
    def __init__(self, builddir, guests):
        self.logs = os.path.join(builddir, 'test-logs')
        os.makedirs(self.logs, exist_ok=True)
        self.env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT='TAP', B=builddir)
        self.env.setdefault('ORRERY', os.path.abspath(
            os.path.join(builddir, 'orrery')))
        self.env['GUESTS'] = os.path.abspath(guests)
        self.limit = float(os.environ.get('TEST_LIMIT', 900))
        self.lock = threading.Lock()
        self.running = set()            # process groups of running tests
        self.passed = self.failed = self.skipped = 0

    def stop(self, signum, _):
        """End what runs, then ourselves: nothing outlives a stopped check."""
        for group in list(self.running):
            try:
                os.killpg(group, signal.SIGKILL)
            except OSError:
                pass
        os._exit(128 + signum)

    def one(self, cmd):
        name = title(cmd)
        log = os.path.join(self.logs, name + '.log')
        begin = time.monotonic()
        why = ''
        with open(log, 'w') as out:
            try:
                p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=subprocess.STDOUT, env=self.env,
                                     start_new_session=True)
                self.running.add(p.pid)
                try:
                    status = p.wait(self.limit)
                except subprocess.TimeoutExpired:
                    os.killpg(p.pid, 9)
                    status = p.wait()
                    why = f'still running after {self.limit:.0f} s'
                self.running.discard(p.pid)
            except OSError as e:
                status, why = 127, str(e)
        with open(log, errors='replace') as f:
            text = f.read()
        ok, bad, skips = self.count(text)
        if not bad and (status or not ok and not skips):
            bad = ['ended with status %d' % status if status else
                   'printed no result']
        self.report(name, ok, bad, skips, time.monotonic() - begin, why, text)

    @staticmethod
    def count(text):
        ok, bad, skips = 0, [], []
        for line in text.splitlines():
            m = RESULT.match(line)
            if not m:
                continue
            skip = SKIP.search(line)
            if skip:
                skips.append(line[skip.start():])
            elif m[1]:
                bad.append(m[2])
            else:
                ok += 1
        return ok, bad, skips

    def report(self, name, ok, bad, skips, seconds, why, text):
        with self.lock:
            self.passed += ok
            self.failed += len(bad)
            self.skipped += len(skips)
            note = f', {len(skips)} skipped' if skips else ''
            print(f'  {"FAIL" if bad else "ok":4}  {name}: {ok} passed, '
                  f'{len(bad)} failed{note} ({seconds:.1f} s) {why}'.rstrip())
            for s in skips:
                print('        ' + s)
            if bad:
                print('\n'.join('      | ' + x for x in text.splitlines()))
                for b in bad:
                    print(f'      failed: {b}')
            sys.stdout.flush()

    def all(self, todo, jobs):
        todo = list(todo)

        def work():
            while True:
                with self.lock:
                    if not todo:
                        return
                    cmd = todo.pop(0)
                self.one(cmd)
        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


def main(argv):
    builddir, guests, rest = 'build', '', []
    jobs = min(2, os.cpu_count() or 1)
    it = iter(argv)
    for a in it:
        if a.startswith('B='):
            builddir = a[2:]
        elif a.startswith('GUESTS='):
            guests = a[7:]
        elif a == '-j':
            jobs = int(next(it))
        else:
            rest.append(a)
    run = Run(builddir, guests or os.path.join(builddir, 'guests'))
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, run.stop)
    run.all(items(rest), jobs)
    if run.skipped:
        print(f'{run.skipped} skipped')
    print(f'{run.passed} passed, {run.failed} failed')
    return 1 if run.failed or not run.passed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
