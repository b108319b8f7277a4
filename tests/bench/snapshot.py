#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a running 1 GiB guest, this program beside QEMU's TCG.

usage: tests/bench/snapshot.py [RUNS]   (B=build directory, default build)

The guest is a busybox Linux with 400 MiB that do not compress in a tmpfs
and a qcow2 disk. Rows: how long the guest stands still for savevm; until the
snapshot is written; loadvm in a fresh process until the guest runs. The pause
is the longest silence of a guest that writes to its serial line all the time,
from the command on until the snapshot is written. Prints a Markdown table of
medians.
"""
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
B = os.environ.get('B', 'build')
GUESTS = os.environ.get('GUESTS', os.path.join(B, 'guests'))
OURS = [os.environ.get('ORRERY', os.path.join(B, 'orrery')), '-accel', 'soft']
PEER = ['qemu-system-x86_64', '-accel', 'tcg']
PROMPT = re.compile(rb'\((qemu|orrery)\) (\x1b\[K)?$')


class Machine:
    def __init__(self, program, work, *more):
        self.serial_path = os.path.join(work, 's')
        monitor = os.path.join(work, 'm')
        for path in (self.serial_path, monitor):
            if os.path.exists(path):
                os.unlink(path)
        self.p = subprocess.Popen(
            [*program, '-m', '1024', '-display', 'none', '-drive',
             f'file={work}/disk.qcow2,format=qcow2', '-kernel',
             f'{GUESTS}/amd64/vmlinuz', '-initrd', f'{GUESTS}/amd64/initrd.gz',
             '-append', 'console=ttyS0 nomodeset nocd', '-serial',
             f'unix:{self.serial_path},server=on,wait=off', '-monitor',
             f'unix:{monitor},server=on,wait=off', *more],
            stdin=subprocess.DEVNULL)
        self.monitor = self.connect(monitor)
        self.serial = self.connect(self.serial_path)
        self.answer()

    def connect(self, path):
        for _ in range(2000):
            try:
                s = socket.socket(socket.AF_UNIX)
                s.connect(path)
                s.settimeout(300)
                return s
            except OSError:
                time.sleep(0.005)
        sys.exit(f'{self.p.args[0]}: no socket {path}')

    def answer(self):
        data = b''
        while not PROMPT.search(data):
            more = self.monitor.recv(65536)
            if not more:
                sys.exit(f'{self.p.args[0]}: {data!r}')
            data += more
        return data.decode(errors='replace')

    def command(self, line):
        """Seconds until the prompt is back, and the answer."""
        begin = time.monotonic()
        self.monitor.sendall(line.encode() + b'\n')
        text = self.answer()
        return time.monotonic() - begin, text

    def until(self, pattern):
        data = b''
        while not re.search(pattern, data):
            data += self.serial.recv(65536)
        return data

    def type(self, text):
        self.serial.sendall(text.encode() + b'\n')

    def longest_gap(self, seconds):
        """Longest silence of a guest that talks all the time, by the host's
        clock, within that many seconds from now."""
        last = time.monotonic()
        end, worst = last + seconds, 0
        while last < end:
            self.serial.recv(65536)
            now = time.monotonic()
            worst, last = max(worst, now - last), now
        return worst

    def save(self):
        """Longest silence of the guest from savevm on until all is written,
        and how long that takes."""
        begin = last = time.monotonic()
        worst, answer = 0, b''
        self.monitor.sendall(b'savevm a\n')
        while True:
            for s in select.select([self.serial, self.monitor], [], [], 60)[0]:
                data = s.recv(65536)
                now = time.monotonic()
                if s is self.serial:
                    worst, last = max(worst, now - last), now
                    continue
                answer += data
                if not PROMPT.search(answer):
                    continue
                if b'rror' in answer:
                    sys.exit(f'{self.p.args[0]}: {answer!r}')
                if b'being written' not in answer:
                    return max(worst, now - last), now - begin
                answer = b''
                self.monitor.sendall(b'savevm_wait\n')

    def end(self):
        self.monitor.sendall(b'quit\n')
        self.p.wait()


def one(program, work):
    disk = os.path.join(work, 'disk.qcow2')
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '1G'],
                   check=True)
    m = Machine(program, work)
    m.until(rb'guest login: ')
    m.type('root')
    m.until(rb'~ # ')
    m.type('dd if=/dev/urandom of=/tmp/r bs=1M count=8; i=0; '
           'while [ $i -lt 50 ]; do cat /tmp/r; i=$((i+1)); done >/tmp/f; '
           'wc -c </tmp/f')
    m.until(rb'\n419430400\r')
    m.type('while :; do echo -n .; done')
    m.until(rb'\.\.\.\.')
    usual = m.longest_gap(2)
    pause, written = m.save()
    m.end()
    m = Machine(program, work, '-S')
    load, text = m.command('loadvm a')
    if 'rror' in text:
        sys.exit(f'{program[0]}: {text}')
    m.command('cont')
    m.until(rb'\.\.\.')
    m.end()
    return {'usual silence of the guest, ms': usual * 1e3,
            'savevm: longest silence of the guest, ms': pause * 1e3,
            'savevm until written, s': written, 'loadvm, s': load}


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
