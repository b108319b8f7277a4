#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The workload natively, under this program and under QEMU's TCG, in turn.

usage: tests/bench/workload.py [dur=SECONDS] [GROUP...]
       GROUP: int fp mem os smp (default all); B, GUESTS, ORRERY, PEER as for
       the tests; PEER= (empty) leaves the peer out

Prints Markdown tables: value of each, slowdown against native, and how many
times faster than the peer; geometric means per group. The same static program
runs everywhere; in the guests on Debian's cloud kernel with 1 GiB (2 vCPUs for
smp, else 1).
"""
import math
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'tools'))
import vmlab                                            # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PEER = os.environ.get('PEER', 'qemu-system-x86_64')
# Figures where less is better, by unit.
TIMES = ('us', 'ns', 'ms', 's')


def build(work):
    exe = os.path.join(work, 'bench')
    subprocess.run(['gcc', '-O2', '-w', '-static', '-o', exe,
                    os.path.join(HERE, 'workload.c'), '-lz', '-lm',
                    '-pthread'], check=True)
    extra = subprocess.run('echo bench | cpio -o -H newc -R 0:0 --quiet | '
                           'gzip -1', shell=True, cwd=work, check=True,
                           capture_output=True).stdout
    initrd = os.path.join(work, 'initrd.gz')
    with open(vmlab.guest('cloud/initrd.gz'), 'rb') as a, \
            open(initrd, 'wb') as b:
        b.write(a.read() + extra)
    return exe, initrd


def parse(text):
    return {m[1]: (float(m[2]), m[3]) for m in re.finditer(
        r'^R (\S+) (\S+) (\S+)', text, re.M)}


def in_guest(program, accel, initrd, groups, duration):
    vmlab.ORRERY = program
    cpus = '2' if 'smp' in groups else '1'
    with vmlab.Console('-nographic', '-m', '1024', '-smp', cpus, '-kernel',
                       vmlab.guest('cloud/vmlinuz'), '-initrd', initrd,
                       '-append', 'console=ttyS0 nocd quiet',
                       accel=accel) as c:
        c.wait('guest login: ', 180)
        c.send('root\n')
        c.wait('~ # $', 30)
        c.send(f'/bench {duration} {" ".join(groups)}; echo DONE-$((1+1))\n')
        c.wait('^DONE-2', 1200)
        return parse(c.text())


def row(name, native, ours, peer):
    n, unit = native[name]
    cells = [f'{n:.4g}']
    ratio = [None, None]
    for i, v in enumerate((ours, peer)):
        x = v.get(name, (None,))[0]
        if x is None:
            cells += ['-', '-']
            continue
        ratio[i] = x / n if unit in TIMES else n / x
        cells += [f'{x:.4g}', f'{ratio[i]:.2f}']
    gain = ratio[1] / ratio[0] if None not in ratio else None
    cells.append(f'{gain:.2f}' if gain else '-')
    print(f'| {name} {unit} | ' + ' | '.join(cells) + ' |')
    return ratio[0], ratio[1], gain


def table(group, native, ours, peer):
    names = [n for n in native if n.startswith(group + '.')]
    print(f'\n| {group} | native | orrery | slowdown | tcg | slowdown | '
          'times tcg |\n|---|---|---|---|---|---|---|')
    rows = [row(n, native, ours, peer) for n in names]
    means = []
    for i in range(3):
        v = [r[i] for r in rows if r[i]]
        means.append(math.exp(sum(map(math.log, v)) / len(v)) if v else 0)
    print(f'| **geometric mean** | | | **{means[0]:.2f}** | | '
          f'**{means[1]:.2f}** | **{means[2]:.2f}** |')


def main():
    args = sys.argv[1:]
    duration = next((a for a in args if a.startswith('dur=')), 'dur=0.4')
    groups = [a for a in args if not a.startswith('dur=')] or \
        ['int', 'fp', 'mem', 'os', 'smp']
    ours_program = vmlab.ORRERY
    with tempfile.TemporaryDirectory() as work:
        exe, initrd = build(work)
        native = parse(subprocess.run(
            [exe, duration, *groups], check=True, capture_output=True,
            text=True).stdout)
        ours = in_guest(ours_program, 'soft', initrd, groups, duration)
        peer = in_guest(PEER, 'tcg', initrd, groups, duration) if PEER else {}
    for g in groups:
        table(g, native, ours, peer)


if __name__ == '__main__':
    main()
