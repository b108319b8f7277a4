#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Start-up times and memory, this program beside QEMU's TCG, in one run.

usage: tests/bench/start.py [RUNS]      (B=build directory, default build)

Rows: start of the process to the first text of SeaBIOS on the VGA screen; to
the login prompt of a busybox system on a Debian cloud kernel (serial console);
resident memory of the process above the guest's touched RAM at that prompt.
Prints a Markdown table of medians; the two programs take turns.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
B = os.environ.get('B', 'build')
GUESTS = os.environ.get('GUESTS', os.path.join(B, 'guests'))
OURS = [os.environ.get('ORRERY', os.path.join(B, 'orrery')), '-accel', 'soft']
PEER = ['qemu-system-x86_64', '-accel', 'tcg']
LIMIT = 120


def wait(check, process):
    """Seconds until check() is true; polls the file system, not the guest."""
    begin = time.monotonic()
    while not check():
        if process.poll() is not None:
            sys.exit(f'{process.args[0]} ended with status {process.returncode}')
        if time.monotonic() - begin > LIMIT:
            process.kill()
            sys.exit(f'{process.args[0]}: nothing after {LIMIT} s')
        time.sleep(0.001)


def run(program, args, serial, pattern, measure=None):
    """Seconds from start until pattern is in the serial file."""
    open(serial, 'w').close()
    begin = time.monotonic()
    p = subprocess.Popen([*program, *args, '-display', 'none', '-monitor',
                          'none'], stdin=subprocess.DEVNULL)

    def found():
        with open(serial, 'rb') as f:
            return re.search(pattern, f.read())

    try:
        wait(found, p)
        seconds = time.monotonic() - begin
        return seconds, measure(p.pid) if measure else None
    finally:
        p.kill()
        p.wait()


def rss_above_ram_kib(pid):
    """Resident KiB outside the biggest mapping (the guest's RAM)."""
    size = total = biggest = biggest_rss = 0
    with open(f'/proc/{pid}/smaps') as f:
        for line in f:
            if line.startswith('Size:'):
                size = int(line.split()[1])
            elif line.startswith('Rss:'):
                rss = int(line.split()[1])
                total += rss
                if size > biggest:
                    biggest, biggest_rss = size, rss
    return total - biggest_rss


def main():
    work = tempfile.mkdtemp()
    serial, bios = os.path.join(work, 'serial'), os.path.join(work, 'bios')
    cloud = os.path.join(GUESTS, 'cloud')
    rows = {}
    for _ in range(RUNS):
        for name, program in (('orrery', OURS), ('tcg', PEER)):
            # SeaBIOS copies its screen to the debug console as well.
            t, _ = run(program, ['-m', '256', '-chardev',
                                 f'file,id=bios,path={bios}', '-device',
                                 'isa-debugcon,iobase=0x402,chardev=bios'],
                       bios, rb'SeaBIOS \(version')
            rows.setdefault(('first SeaBIOS text, s', 3), {}) \
                .setdefault(name, []).append(t)
            t, kib = run(program, [
                '-m', '1024', '-kernel', f'{cloud}/vmlinuz', '-initrd',
                f'{cloud}/initrd.gz', '-append', 'console=ttyS0 nocd',
                '-serial', f'file:{serial}'], serial, rb'login:',
                rss_above_ram_kib)
            rows.setdefault(('start to shell, s', 2), {}) \
                .setdefault(name, []).append(t)
            rows.setdefault(('resident above guest RAM, MiB', 0), {}) \
                .setdefault(name, []).append(kib / 1024)
    print('| measure (median of %d) | orrery soft | qemu tcg | ratio |' % RUNS)
    print('|---|---|---|---|')
    for (title, digits), v in rows.items():
        a, b = (statistics.median(v[k]) for k in ('orrery', 'tcg'))
        print(f'| {title} | {a:.{digits}f} | {b:.{digits}f} | {a / b:.2f} |')


if __name__ == '__main__':
    main()
