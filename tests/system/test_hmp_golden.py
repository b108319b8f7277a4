# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the layout of the monitor's answers. golden/hmp.expected
# was printed by QEMU 7.2 (Debian 12) for the lines of golden/hmp.commands, on a
# machine that has not started. What cannot be the same (node numbers, threads,
# names of devices, CPU model) is blanked on both sides; the lines of
# golden/hmp.ours are better here on purpose, each with its reason.
#
#     ORRERY=qemu-system-x86_64 python3 tests/system/test_hmp_golden.py record
import os
import re
import shutil
import sys
import tempfile

import common                                           # noqa: F401
import vmlab
from tap import Skip, main
from vmlab import IS_PEER, VM, Fail

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden')
PEER = 'qemu-system-x86_64'
BLANK = (
    (r' \(#block\d+\)', ''),                            # node names
    (r'^#[\w-]+: ', 'NODE: '),
    (r'(Attached to: +)\S+', r'\1DEVICE'),
    (r'thread_id=\d+', 'thread_id=N'),
    (r'(E?[A-D]X|EDX|EAX)=[0-9a-f]{8}', r'\1=N'),       # CPUID at reset
    (r'(filename=)(unix|file|disconnected:unix):\S+', r'\1PATH'),
    (r'/\S*/(disk\.img|cd\.iso)', r'\1'),
    (r'^(compat_monitor0|serial0|parallel0): .*', r'\1: PLACE'),
    (r'^(DR6|CR4|EFER)=.*', r'\1'),
    (r'(FCW=\w+ FSW=\w+ \[ST=\d\] FTW=)..', r'\1N'),    # x87 tags at reset
    (r'^FCW=\w+', 'FCW=N'),                             # 0040 at reset (SDM)
    (r'\n\nsd0: \[not inserted\]\n.*', ''),            # the peer's alone
    (r'^\s+$', ''),
)


def commands():
    with open(os.path.join(HERE, 'hmp.commands')) as f:
        return f.read().splitlines()


def session():
    """What every command prints, blanked: {line: answer}."""
    with tempfile.TemporaryDirectory() as d:
        disk, cd = os.path.join(d, 'disk.img'), os.path.join(d, 'cd.iso')
        for path in (disk, cd):
            with open(path, 'wb') as f:
                f.truncate(1 << 20)
        with VM('-S', '-name', 'golden', '-m', '64', '-drive',
                f'file={disk},format=raw', '-cdrom', cd) as vm:
            answers = {}
            for line in commands():
                text = vm.hmp(line)
                for pattern, new in BLANK:
                    text = re.sub(pattern, new, text, flags=re.M)
                if line == 'info chardev':              # any order
                    text = '\n'.join(sorted(text.splitlines()))
                answers[line] = text.strip('\n')
            return answers


def read(name):
    """Sections of a file: "> LINE", then its answer."""
    answers, line = {}, None
    with open(os.path.join(HERE, name)) as f:
        for text in f.read().splitlines():
            if text.startswith('# '):                   # a reason
                line = None
            elif text.startswith('> '):
                line = text[2:]
                answers[line] = []
            elif line is not None:
                answers[line].append(text)
    return {k: '\n'.join(v).strip('\n') for k, v in answers.items()}


def compare(got, want):
    bad = [f'> {line}\n-- wanted\n{want[line]}\n-- got\n{got[line]}'
           for line in commands() if got[line] != want[line]]
    if bad:
        raise Fail('\n'.join(bad))


def test_answers_are_laid_out_as_recorded():
    want = read('hmp.expected')
    if not IS_PEER:
        want.update(read('hmp.ours'))
    compare(session(), want)


def test_the_peer_here_prints_what_was_recorded():
    if IS_PEER:
        raise Skip('the program under test is the peer')
    if shutil.which(PEER) is None:
        raise Skip(f'{PEER} is not installed')
    ours, vmlab.ORRERY, vmlab.IS_PEER = vmlab.ORRERY, PEER, True
    try:
        compare(session(), read('hmp.expected'))
    finally:
        vmlab.ORRERY, vmlab.IS_PEER = ours, False


def record():
    with open(os.path.join(HERE, 'hmp.expected'), 'w') as f:
        for line, text in session().items():
            f.write(f'> {line}\n{text}\n' if text else f'> {line}\n')


if sys.argv[1:] == ['record']:
    record()
else:
    main(globals())
