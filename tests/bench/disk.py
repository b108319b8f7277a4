#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's disk under this program and under QEMU's TCG, in turn.

usage: tests/bench/disk.py [RUNS [KIND...]]
       KIND: ide (default) virtio; B, GUESTS, ORRERY, PEER as for the tests

A growing qcow2 of 256 MiB in the host's page cache, read and written with
O_DIRECT by one thread of a Linux guest, one request at a time. Prints a
Markdown table, best of RUNS [3].
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'tools'))
import vmlab                                            # noqa: E402
import workload                                         # noqa: E402

DEVICES = {'ide': '/dev/sda', 'virtio': '/dev/vda'}


def measure(program, accel, work, kind):
    vmlab.ORRERY = program
    image = os.path.join(work, 'disk.qcow2')
    if os.path.exists(image):
        os.unlink(image)
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', image, '256M'],
                   check=True)
    with vmlab.Console(
            '-nographic', '-m', '512', '-kernel', vmlab.guest('cloud/vmlinuz'),
            '-initrd', os.path.join(work, 'initrd.gz'), '-append',
            'console=ttyS0 nocd quiet', '-drive',
            f'file={image},format=qcow2,if={kind},cache=unsafe',
            accel=accel) as c:
        c.wait('guest login: ', 180)
        c.send('root\n')
        c.wait('~ # $', 30)
        c.send(f'/bench disk {kind} {DEVICES[kind]}; echo DONE-$((1+1))\n')
        c.wait('^DONE-2', 300)
        text = c.text()
    found = workload.parse(text)
    if not found:
        raise SystemExit(f'{kind} under {program}: no figures in {text[-500:]}')
    return found


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    programs = {'soft': vmlab.ORRERY, 'tcg': workload.PEER}
    best = {'soft': {}, 'tcg': {}}
    units = {}
    with tempfile.TemporaryDirectory() as work:
        workload.build(work)
        for kind in sys.argv[2:] or ['ide']:
            for _ in range(runs):
                for accel, program in programs.items():
                    found = measure(program, accel, work, kind)
                    for name, (value, unit) in found.items():
                        units[name] = unit
                        best[accel][name] = max(
                            value, best[accel].get(name, 0))
    print(f'| disk of a guest, best of {runs} | orrery soft | qemu tcg | '
          'times tcg |\n|---|---|---|---|')
    for name, unit in units.items():
        ours, peer = best['soft'][name], best['tcg'][name]
        print(f'| {name.removeprefix("disk.")} {unit} | {ours:.4g} | '
              f'{peer:.4g} | {ours / peer:.2f} |')


if __name__ == '__main__':
    main()
