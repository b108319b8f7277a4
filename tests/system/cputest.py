# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the CPU test guests; shared by the tests of system and long."""
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from vmlab import SLOW, Fail, die_with_parent, guest

IMAGES = [('cputest64.elf', 410), ('cputest32.elf', 60)]


def run(program, accel, image, *args, model='max', cpus=2, limit=300):
    """Lines the guest wrote; what the program said goes into a failure.
    A program that can go no further says so and keeps its machine."""
    with tempfile.NamedTemporaryFile() as serial, \
            tempfile.NamedTemporaryFile() as log:
        cmd = [program, '-accel', accel, '-m', '256', '-smp', str(cpus),
               '-cpu', model, '-kernel', guest(image), '-display', 'none',
               '-monitor', 'none', '-serial', f'file:{serial.name}', '-device',
               'isa-debug-exit,iobase=0xf4,iosize=4', *args]
        p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=log,
                             stderr=subprocess.STDOUT,
                             preexec_fn=die_with_parent)
        end = time.monotonic() + limit * SLOW
        while p.poll() is None and time.monotonic() < end:
            if b'internal error' in contents(log.name):
                break
            time.sleep(0.05)
        status = p.poll()
        p.kill()
        p.wait()
        said = contents(log.name).decode(errors='replace')
        if status is None:
            said += ' (still running)'
        lines = contents(serial.name).decode(errors='replace').splitlines()
    return lines, said, status


def contents(path):
    with open(path, 'rb') as f:
        return f.read()


def failures(lines):
    return [x[len('not ok '):] for x in lines if x.startswith('not ok ')]


def expect_all(lines, said, status, least):
    bad = failures(lines)
    if bad:
        raise Fail('\n'.join(bad))
    if status != 0x21 or 'cputest: done' not in lines:
        raise Fail(f'status {status}; last lines {lines[-3:]}; {said}')
    good = sum(x.startswith('ok ') for x in lines)
    if good < least:
        raise Fail(f'{good} cases were run, fewer than {least}')
