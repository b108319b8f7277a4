# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that writes a number to its disk, flushes, and tells the number on
# the serial line; at random moments:
# - the program is killed (-9): every number told is on the disk
# - the host's disk is full (file size limit): the machine pauses with a line
#   that says why, and cont tries again; nothing told before is lost
# - writes and flushes of the host fail (a library in front of libc): the guest
#   is told of an error or the machine pauses, nothing told before is lost
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'tools'))
from tap import Skip, each, main                              # noqa: E402
from vmlab import ORRERY, VM, Fail, guest               # noqa: E402

SECTORS = 65536
KILLS = int(os.environ.get('KILLS', '30'))
HERE = os.path.dirname(os.path.abspath(__file__))


class Disk:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='crash.')
        self.path = os.path.join(self.dir, 'disk.qcow2')
        self.run(ORRERY, 'img', 'create', '-q', '-f', 'qcow2', self.path,
                 '64M')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    @staticmethod
    def run(*command, fine=(0,)):
        p = subprocess.run(command, capture_output=True, text=True,
                           check=False)
        if p.returncode not in fine:
            raise Fail(f'{" ".join(command)}: exit status {p.returncode}\n'
                       f'{p.stdout}{p.stderr}')

    def args(self, threads=False):
        aio = ',aio=threads' if threads else ''
        return ['-m', '16', '-boot', 'a', '-drive',
                f'file={guest("flushdisk.img")},if=floppy,format=raw,'
                'snapshot=on', '-drive',
                f'file={self.path},format=qcow2{aio}']

    def verify(self, told):
        """Numbers 1..told are safe: a sector holds its last one or a later."""
        if not shutil.which('qemu-img'):
            raise Skip('qemu-img is missing')
        self.run('qemu-img', 'check', '-q', '-f', 'qcow2', self.path,
                 fine=(0, 3))
        self.run(ORRERY, 'img', 'check', '-q', '-f', 'qcow2', self.path,
                 fine=(0, 3))
        raw = os.path.join(self.dir, 'raw')
        self.run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', self.path,
                 raw)
        last = {n * 7919 % SECTORS: n for n in range(1, told + 1)}
        with open(raw, 'rb') as f:
            for sector, n in last.items():
                f.seek(sector * 512)
                words = set(struct.unpack('<128I', f.read(512)))
                if len(words) != 1 or min(words) < n:
                    raise Fail(f'sector {sector} holds {words}, not {n}')


def told(vm):
    """The last number on the serial line, 0 if there is none."""
    lines = re.findall(r'^([0-9a-f]{8})\n', vm.serial_text(), re.M)
    return int(lines[-1], 16) if lines else 0


def test_what_a_guest_flushed_survives_kill_9():
    most = 0
    seed = int(os.environ.get('ORRERY_TEST_SEED', str(time.time_ns())))
    print(f'# seed {seed}')
    rng = random.Random(seed)
    for kill in range(KILLS):
        translate = 'off' if kill % 5 == 4 else 'on'
        with Disk() as disk:
            with VM(*disk.args(), accel=f'soft,translate={translate}') as vm:
                vm.wait_serial(r'[0-9a-f]{8}\n', 120)
                time.sleep(rng.uniform(0.02, 0.6))
                vm.process.kill()
                vm.process.wait()
                n = told(vm)
            disk.verify(n)
        most = max(most, n)
    if most < 20:
        raise Fail(f'no guest got further than {most}: the test says nothing')


def test_a_full_disk_pauses_the_machine_and_cont_goes_on():
    with Disk() as disk:
        limit = 3 << 20
        with VM(*disk.args()) as vm:
            vm.wait_serial(r'[0-9a-f]{8}\n', 120)
            resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                             (limit, resource.RLIM_INFINITY))
            vm.until('the machine pauses', lambda: 'io-error' in
                     vm.hmp('info status'), 120, every=0.5)
            before = told(vm)
            with open(vm.log_path) as log:
                if 'paused' not in log.read():
                    raise Fail('nothing was said about the full disk')
            vm.hmp('cont')
            vm.until('it pauses again', lambda: 'io-error' in
                     vm.hmp('info status'), 60, every=0.5)
            resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                             (resource.RLIM_INFINITY,
                              resource.RLIM_INFINITY))
            vm.hmp('cont')
            vm.until('the guest goes on', lambda: told(vm) > before + 5, 60)
            if 'E\n' in vm.serial_text():
                raise Fail('the guest was told of an error')
            n = told(vm)
            vm.process.terminate()
            vm.wait_exit(30)
        disk.verify(n)


def shim(folder):
    """The library that fails calls, built from shim.c."""
    path = os.path.join(folder, 'shim.so')
    p = subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', path,
                        os.path.join(HERE, 'shim.c'), '-ldl'],
                       capture_output=True, text=True, check=False)
    if p.returncode:
        raise Skip(f'no library to fail calls: {p.stderr.strip()}')
    return path


@each('pwritev', 'fdatasync', 'preadv')
def test_a_guest_is_told_when_calls_of_the_host_fail(call):
    # The first reads are those of opening, where the program says no.
    for nth in (30, 60) if call == 'preadv' else (3, 17, 40):
        with Disk() as disk:
            env = {'LD_PRELOAD': shim(disk.dir),
                   'SHIM': f'{call}:{nth}:{os.path.realpath(disk.path)}'}
            os.environ.update(env)
            try:
                vm = VM(*disk.args(threads=True))
            finally:
                for name in env:
                    del os.environ[name]
            with vm:
                # Reads are rare: the driver remembers its tables.
                if call != 'preadv':
                    vm.until('an error is seen', lambda: 'E\n' in
                             vm.serial_text() or 'io-error' in
                             vm.hmp('info status'), 120, every=0.3)
                else:
                    vm.wait_serial(r'000000[2-9a-f].\n|E\n', 120)
                n = told(vm)
                if vm.process.poll() is not None:
                    raise Fail('the program ended')
                vm.process.terminate()
                vm.wait_exit(30)
            disk.verify(n)


if __name__ == '__main__':
    main(globals())
