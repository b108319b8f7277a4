#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images: this program's image tool beside Debian's qemu-img, in turn.

usage: tests/bench/images.py ORRERY [RESULTS.md [RUNS [WORD]]]

Prints a table (best of RUNS, 5 if not given, both programs alternating) and,
with a second argument that is not "-", puts it into that file between the
lines <!-- images --> and <!-- figures -->.  WORD: only rows that contain it.

Seconds are wall time of the whole command, processor time beside it.  The
page cache is warm, files are in TMPDIR, and nothing waits for the disk, which
is the same for both: transfers are made with cache=unsafe, as convert is by
default.  Snapshots and check wait for it as they always do.
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time


def run(*cmd):
    """Wall and processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    p = subprocess.run(cmd, capture_output=True, text=True, check=False)
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if p.returncode:
        raise SystemExit(f'{" ".join(cmd)}: {p.stdout}{p.stderr}')
    return (wall, after.ru_utime - before.ru_utime +
            after.ru_stime - before.ru_stime)


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
    def __init__(self, orrery, runs, word):
        self.tools = {'orrery': [orrery, 'img'], 'qemu': ['qemu-img']}
        self.runs, self.word = runs, word
        self.dir = tempfile.mkdtemp(prefix='bench.')
        self.rows = []

    def path(self, name):
        return os.path.join(self.dir, name)

    def compare(self, what, args, before=None):
        """args and before: functions of the tool's name."""
        if self.word not in what:
            return
        times = {t: [] for t in self.tools}
        for _ in range(self.runs):
            for tool, words in self.tools.items():
                if before:
                    before(tool)
                times[tool].append(run(*words, *args(tool)))
        ours, theirs = ([min(t[i] for t in times[tool]) for i in (0, 1)]
                        for tool in ('orrery', 'qemu'))
        self.rows.append(
            f'| {what} | {ours[0]:.3f} | {theirs[0]:.3f} | '
            f'{theirs[0] / ours[0]:.2f} | {ours[1]:.3f} | {theirs[1]:.3f} |')
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
                                str(step), '-t', 'unsafe',
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
    out = sys.argv[2] if len(sys.argv) > 2 else '-'
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    word = sys.argv[4] if len(sys.argv) > 4 else ''
    b = Bench(os.path.abspath(sys.argv[1]), runs, word)
    try:
        b.convert()
        b.whole()
        b.transfers()
    finally:
        shutil.rmtree(b.dir, ignore_errors=True)
    if out != '-':
        write(out, runs, b.rows)


def write(path, runs, rows):
    with open(path) as f:
        text = f.read()
    first = text.index('<!-- images -->') + len('<!-- images -->')
    last = text.index('<!-- figures -->')
    load = os.getloadavg()[0]
    table = '\n'.join([
        f'| seconds, best of {runs} | orrery | qemu-img | times faster | '
        'orrery, cpu | qemu-img, cpu |', '|---|---|---|---|---|---|', *rows])
    with open(path, 'w') as f:
        f.write(f'{text[:first]}\n\nRun of {time.strftime("%Y-%m-%d")}, '
                f'load {load:.2f}.\n\n{table}\n\n{text[last:]}')


if __name__ == '__main__':
    main()
