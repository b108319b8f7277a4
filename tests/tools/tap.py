# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the test_* functions of a module and print TAP.

A test fails by raising, skips by raising Skip(why). @each(...) runs it once
for every value. Names given on the command line select tests.
"""
import os
import sys
import time
import traceback


class Skip(Exception):
    """The test cannot be run here; the text says why."""


def each(*values):
    """Run the test once for each value, given as its argument."""
    def mark(f):
        f.values = values
        return f
    return mark


def need_accel(accel):
    """Skip where an accelerator does not work on this host."""
    if accel != 'kvm':
        return
    if not os.path.exists('/dev/kvm'):
        raise Skip('there is no /dev/kvm')
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        raise Skip('/dev/kvm may not be opened')


def main(module):
    tests = []
    for name, f in list(module.items()):
        if name.startswith('test_') and callable(f):
            for v in getattr(f, 'values', (None,)):
                title = name[5:].replace('_', ' ')
                if v is not None:
                    title += f' ({v})'
                tests.append((name, title, f, () if v is None else (v,)))
    chosen = sys.argv[1:]
    if chosen:
        tests = [t for t in tests if any(c in t[0] or c in t[1]
                                         for c in chosen)]
    print(f'1..{len(tests)}', flush=True)
    failed = 0
    for n, (_, title, f, args) in enumerate(tests, 1):
        begin = time.monotonic()
        try:
            f(*args)
            print(f'ok {n} - {title} # {time.monotonic() - begin:.1f} s',
                  flush=True)
        except Skip as e:
            print(f'ok {n} - {title} # SKIP {e}', flush=True)
        except Exception as e:          # pylint: disable=broad-except
            failed += 1
            print(f'not ok {n} - {title}')
            text = str(e) if isinstance(e, AssertionError) and str(e) else ''
            text = text or traceback.format_exc()
            where = traceback.extract_tb(e.__traceback__)
            lines = [f'{os.path.basename(w.filename)}:{w.lineno}'
                     for w in where if w.filename == f.__code__.co_filename]
            print('# at ' + ', '.join(lines))
            for line in text.splitlines():
                print('# ' + line)
            sys.stdout.flush()
    sys.exit(1 if failed else 0)
