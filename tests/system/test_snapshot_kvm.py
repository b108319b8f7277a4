# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: snapshots under KVM and between the accelerators
# - a boot sector that writes numbers to the disk, flushes and tells them on
#   the serial line goes on where it was, in the same process and in a fresh
#   one, under the accelerator that saved it and under the other; what it told
#   of is on the disk
# - two CPUs, one of which still waits for its start
# - a guest that uses KVM's clock, and CPU features the other side lacks, are
#   refused in one line that names them; nothing changes
# Skipped where /dev/kvm is missing; it may be one that emulates.
import os
import re
import shutil

import common                                           # noqa: F401
from tap import each, main, need_accel
from test_snapshots import (Disk, leave, run, runs, save, saved, says, status,
                            ticks)
from vmlab import VM, Fail, guest

SECTORS, STEP = 65536, 7919
# What both accelerators can be on any host, without KVM's own clock.
PLAIN = ('-cpu', 'pentium3,kvm=off')


def numbers(vm, after=0):
    return [int(x, 16) for x in vm.serial_lines(after)
            if re.fullmatch('[0-9a-f]{8}', x)]


def consecutive(seen):
    for a, b in zip(seen, seen[1:]):
        if b != a + 1:
            raise Fail(f'after {a} came {b}')
    return seen


def wait_numbers(vm, count, after=0):
    vm.until(f'{count} numbers', lambda: len(numbers(vm, after)) >= count, 120)
    return consecutive(numbers(vm, after))


class Writer(Disk):
    """A disk whose boot sector writes numbers to it."""

    def __init__(self):
        super().__init__()
        raw = os.path.join(self.dir, 'raw')
        shutil.copyfile(guest('flushdisk.img'), raw)
        os.truncate(raw, 64 << 20)
        os.unlink(self.path)
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, self.path)

    def boot(self, *more, accel):
        return VM('-m', '16', *PLAIN, '-boot', 'c', '-drive',
                  f'file={self.path},format=qcow2', *more, accel=accel)


def on_disk(disk, last, count):
    """The last `count` numbers are in their sectors, whole."""
    raw = os.path.join(disk.dir, 'raw')
    run('qemu-img', 'convert', '-O', 'raw', disk.path, raw)
    with open(raw, 'rb') as f:
        for n in range(last - count + 1, last + 1):
            f.seek(n * STEP % SECTORS * 512)
            if f.read(512) != n.to_bytes(4, 'little') * 128:
                raise Fail(f'number {n} is not on the disk')
    os.unlink(raw)


@each('kvm to kvm', 'kvm to soft', 'soft to kvm')
def test_a_guest_goes_on_where_it_was(way):
    need_accel('kvm')
    first, second = way.split(' to ')
    with Writer() as disk:
        with disk.boot(accel=first) as vm:
            wait_numbers(vm, 20)
            begin = numbers(vm)[-1]
            save(vm, 'a')
            wait_numbers(vm, len(numbers(vm)) + 20)
            end = numbers(vm)[-1]
            saved(vm)
            at = len(vm.serial_text())
            says(vm, 'loadvm a', "Back at snapshot 'a'")
            status(vm, 'running')

            def is_back():
                return any(begin <= n <= end - 10 for n in numbers(vm, at))
            vm.until('numbers from there on', is_back, 60)
            leave(vm)
        disk.check()
        with disk.boot('-loadvm', 'a', accel=second) as vm:
            seen = wait_numbers(vm, 30)
            if not begin < seen[0] <= end:
                raise Fail(f'went on with {seen[0]}, saved between {begin} '
                           f'and {end}')
            # And back again.
            save(vm, 'b')
            saved(vm)
            last = numbers(vm)[-1]
            leave(vm)
        with disk.boot('-loadvm', 'b', accel=first) as vm:
            seen = wait_numbers(vm, 20)
            if seen[0] > last + 1000:
                raise Fail(f'{seen[0]} after {last}')
            vm.hmp('stop')
            last = numbers(vm)[-1]
            leave(vm)
        disk.check()
        on_disk(disk, last, 15)


def test_two_cpus_and_a_paused_machine():
    need_accel('kvm')
    with Disk() as disk:
        args = disk.args('-boot', 'n', '-smp', '2', *PLAIN, memory='32')
        with VM(*args, accel='kvm') as vm:
            runs(vm)
            vm.hmp('stop')
            before = vm.hmp('info registers -a')
            at = ticks(vm)
            save(vm, 'a')
            saved(vm)
            vm.hmp('cont')
            runs(vm)
            vm.hmp('stop')
            says(vm, 'loadvm a', "Back at snapshot 'a'")
            status(vm, 'paused')
            if ticks(vm) != at or vm.hmp('info registers -a') != before:
                raise Fail(f'{before}\nbecame\n{vm.hmp("info registers -a")}')
            vm.hmp('cont')
            runs(vm)
            leave(vm)
        for accel in ('kvm', 'soft'):
            with VM(*args, '-S', '-loadvm', 'a', accel=accel) as vm:
                if ticks(vm) != at:
                    raise Fail(f'{accel}: {ticks(vm)} ticks, not {at}')
                if accel == 'kvm' and vm.hmp('info registers -a') != before:
                    raise Fail('a fresh process has other registers')
                vm.hmp('cont')
                runs(vm)
                leave(vm)
        disk.check()


def test_what_cannot_go_on_elsewhere_is_named():
    need_accel('kvm')
    with Disk() as disk:
        with VM(*disk.args('-boot', 'n', '-cpu', 'pentium3', memory='32'),
                accel='kvm') as vm:
            runs(vm)        # SeaBIOS asks KVM's clock how fast the TSC is
            save(vm, 'clock')
            leave(vm)
        with VM(*disk.args('-boot', 'n', '-cpu', 'max', memory='32'),
                accel='soft') as vm:
            runs(vm)
            says(vm, 'loadvm clock', 'Error: the saved guest uses [^\n]*, which '
                 'accelerator soft does not have; start this machine with '
                 '-accel kvm')
            status(vm, 'running')
            runs(vm)
            save(vm, 'max')
            leave(vm)
        with VM(*disk.args('-boot', 'n', '-cpu', 'pentium', memory='32'),
                accel='kvm') as vm:
            runs(vm)
            says(vm, 'loadvm max', "Error: the saved machine's CPUs have [^\n]+,"
                 ' those of this one under accelerator kvm do not; give both '
                 'the same -cpu')
            status(vm, 'running')
            runs(vm)
            leave(vm)
        disk.check()


if __name__ == '__main__':
    main(globals())
