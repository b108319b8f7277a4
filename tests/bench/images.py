#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images: this program's image tool beside Debian's qemu-img, in turn.

usage: tests/bench/images.py ORRERY [RESULTS.md]

Prints a table (median of five, both programs alternating) and, with a second
argument, puts it into that file between the lines <!-- images --> and
<!-- figures -->.  Wall time of the whole command, page cache warm, files in
TMPDIR.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 5


def run(*cmd):
    begin = time.monotonic()
    p = subprocess.run(cmd, capture_output=True, text=True, check=False)
    if p.returncode:
        raise SystemExit(f'{" ".join(cmd)}: {p.stdout}{p.stderr}')
    return time.monotonic() - begin


def data_file(path, mib):
    """Half text that compresses, a quarter noise, a quarter hole."""
    words = (b'The quick brown fox jumps over the lazy dog, and then %08d\n')
    with open(path, 'wb') as f:
        n = 0
        for _ in range(mib // 4):
            text = bytearray()
            while len(text) < 2 << 20:
                text += words % n
                n += 7919
            f.write(text[:2 << 20])
            f.write(os.urandom(1 << 20))
            f.seek(1 << 20, 1)
        f.truncate(mib << 20)


class Bench:
    def __init__(self, orrery):
        self.tools = {'orrery': [orrery, 'img'], 'qemu': ['qemu-img']}
        self.dir = tempfile.mkdtemp(prefix='bench.')
        self.rows = []

    def path(self, name):
        return os.path.join(self.dir, name)

    def compare(self, what, args, before=None):
        """args and before: functions of the tool's name."""
        times = {t: [] for t in self.tools}
        for _ in range(RUNS):
            for tool, words in self.tools.items():
                if before:
                    before(tool)
                times[tool].append(run(*words, *args(tool)))
        ours, theirs = (statistics.median(times[t]) for t in ('orrery',
                                                              'qemu'))
        self.rows.append(f'| {what} | {ours:.3f} | {theirs:.3f} | '
                         f'{theirs / ours:.2f} |')
        print(self.rows[-1], flush=True)

    def convert(self):
        raw, q = self.path('raw'), self.path('q')
        data_file(raw, 512)
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, q)

        def gone(tool):
            if os.path.exists(self.path(tool)):
                os.unlink(self.path(tool))
        self.compare('convert raw to qcow2, 512 MiB', lambda t: [
            'convert', '-f', 'raw', '-O', 'qcow2', raw, self.path(t)], gone)
        self.compare('convert qcow2 to raw', lambda t: [
            'convert', '-f', 'qcow2', '-O', 'raw', q, self.path(t)], gone)
        self.compare('convert to compressed qcow2', lambda t: [
            'convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, self.path(t)],
                     gone)
        self.compare('the same with zstd', lambda t: [
            'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o',
            'compression_type=zstd', raw, self.path(t)], gone)
        run('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', raw,
            self.path('packed'))
        self.compare('convert compressed qcow2 to raw', lambda t: [
            'convert', '-f', 'qcow2', '-O', 'raw', self.path('packed'),
            self.path(t)], gone)

    def transfers(self):
        size = {'4k': 4096, '64k': 65536, '1M': 1 << 20}
        for kind in ('growing', 'preallocated'):
            for block, count in (('4k', 20000), ('64k', 8000), ('1M', 800)):
                for depth in (1, 32):
                    for write in (True, False):
                        if kind == 'growing' and not write:
                            continue
                        for order in ('sequential', 'strided'):
                            self.transfer(kind, block, size[block], count,
                                          depth, write, order)

    def transfer(self, kind, block, octets, count, depth, write, order):
        image = self.path('t')
        # A stride that is no multiple of anything visits all of the disk.
        step = octets if order == 'sequential' else octets * 1021

        def make(_):
            if os.path.exists(image):
                os.unlink(image)
            run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                'preallocation=' + ('falloc' if kind == 'preallocated'
                                    else 'off'), image, '1G')
        self.compare(f'{order} {block} {"write" if write else "read"}, '
                     f'{kind}, depth {depth}',
                     lambda t: ['bench', '-f', 'qcow2', '-c', str(count),
                                '-d', str(depth), '-s', str(octets), '-S',
                                str(step), '-t', 'writeback',
                                *(['-w'] if write else []), image], make)

    def whole(self):
        image = self.path('ten')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
            'preallocation=metadata', image, '10G')
        run('qemu-img', 'snapshot', '-c', 'first', image)

        def drop(_):
            subprocess.run(['qemu-img', 'snapshot', '-d', 'a', image],
                           capture_output=True, check=False)

        def take(_):
            drop(_)
            run('qemu-img', 'snapshot', '-c', 'a', image)
        self.compare('snapshot create, 10 GiB', lambda t: [
            'snapshot', '-c', 'a', image], drop)
        self.compare('snapshot delete, 10 GiB', lambda t: [
            'snapshot', '-d', 'a', image], take)
        big = self.path('big')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
            'preallocation=metadata', big, '100G')
        self.compare('check, 100 GiB sparse', lambda t: [
            'check', '-q', '-f', 'qcow2', big])


def main():
    if not shutil.which('qemu-img'):
        raise SystemExit('qemu-img is missing: nothing to compare with')
    b = Bench(os.path.abspath(sys.argv[1]))
    try:
        b.convert()
        b.whole()
        b.transfers()
    finally:
        shutil.rmtree(b.dir, ignore_errors=True)
    if len(sys.argv) > 2:
        write(sys.argv[2], b.rows)


def write(path, rows):
    with open(path) as f:
        text = f.read()
    first = text.index('<!-- images -->') + len('<!-- images -->')
    last = text.index('<!-- figures -->')
    load = os.getloadavg()[0]
    table = '\n'.join(['| seconds, median of %d | orrery | qemu-img | times '
                       'faster |' % RUNS, '|---|---|---|---|', *rows])
    with open(path, 'w') as f:
        f.write(f'{text[:first]}\n\nRun of {time.strftime("%Y-%m-%d")}, '
                f'load {load:.2f}.\n\n{table}\n\n{text[last:]}')


if __name__ == '__main__':
    main()
