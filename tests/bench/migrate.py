#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of a 1 GiB guest by unix socket, beside QEMU's TCG.

usage: tests/bench/migrate.py [RUNS]   (B=build directory, default build)

The guest is a busybox Linux with 400 MiB that do not compress in a tmpfs and
a qcow2 disk; it writes to its serial line all the time. Rows: from `migrate`
to "completed"; the silence between the last octet there and the first octet
here, by the host's clock; the downtime the program reports. Without a limit
of bandwidth, downtime-limit 300 ms. Prints a Markdown table of medians.
"""
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time

from snapshot import Machine, OURS, PEER, RUNS


def fill(m):
    m.until(rb'guest login: ')
    m.type('root')
    m.until(rb'~ # ')
    m.type('dd if=/dev/urandom of=/tmp/r bs=1M count=8; i=0; '
           'while [ $i -lt 50 ]; do cat /tmp/r; i=$((i+1)); done >/tmp/f; '
           'wc -c </tmp/f')
    m.until(rb'\n419430400\r')
    m.type('while :; do echo -n .; done')
    m.until(rb'\.\.\.\.')


def silence(old, new):
    """From the last octet there to the first octet here."""
    last = time.monotonic()
    while True:
        ready = select.select([old.serial, new.serial], [], [], 60)[0]
        if new.serial in ready:
            return time.monotonic() - last
        if not ready:
            sys.exit('nobody talks')
        old.serial.recv(65536)
        last = time.monotonic()


def one(program, work):
    disk = os.path.join(work, 'disk.qcow2')
    other = os.path.join(work, 'other')
    os.mkdir(other)
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '1G'],
                   check=True)
    os.symlink(disk, os.path.join(other, 'disk.qcow2'))
    old = Machine(program, work)
    fill(old)
    new = Machine(program, other, '-incoming', f'unix:{other}/migrate')
    old.command('migrate_set_parameter max-bandwidth 100G')
    begin = time.monotonic()
    old.command(f'migrate -d unix:{other}/migrate')
    pause = silence(old, new)
    while True:
        text = old.command('info migrate')[1]
        if 'status: completed' in text:
            break
        if 'failed' in text or time.monotonic() > begin + 120:
            sys.exit(f'{program[0]}: {text}')
    total, reported = (int(re.search(rf'{k}: (\d+) ms', text)[1])
                       for k in ('total time', r'\ndowntime'))
    old.end()
    new.end()
    return {'total time, s': total / 1e3,
            'silence of the guest, ms': pause * 1e3,
            'downtime as reported, ms': reported}


def main():
    rows = {}
    for _ in range(RUNS):
        for name, program in (('orrery', OURS), ('tcg', PEER)):
            with tempfile.TemporaryDirectory() as work:
                for k, v in one(program, work).items():
                    rows.setdefault(k, {}).setdefault(name, []).append(v)
    print(f'| 1 GiB guest, 400 MiB of it in use (median of {RUNS}) | orrery '
          'soft | qemu tcg |')
    print('|---|---|---|')
    for title, v in rows.items():
        a, b = (statistics.median(v[k]) for k in ('orrery', 'tcg'))
        print(f'| {title} | {a:.2f} | {b:.2f} |')


if __name__ == '__main__':
    main()
