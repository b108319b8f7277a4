# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: a snapshot of a machine in one file
# - a busy Linux guest is exported while it works; tar lists what is in it,
#   qemu-img finds its disk whole; imported, the guest goes on from the
#   snapshot, its chain of checksums without a gap, the file system clean
# - the script beside it starts it as it was started, on its own disks
# - cancelled, or with a full disk, nothing stays; names that are taken
# - archives cut short, damaged, or made to write elsewhere are refused
import io
import os
import re
import resource
import subprocess
import tarfile

import common                                           # noqa: F401
from tap import main
from test_migrate import Folder, bare
from test_snapshots import (Disk, boot, filled, last_round, leave, rounds, run,
                            save, says, status, wait_rounds)
from vmlab import VM, Fail, ORRERY, SLOW


def told(vm):
    """What became of an export that runs in the background."""
    vm.until('the export is over',
             lambda: 'Exporting' not in vm.hmp('info export'), 120)
    return vm.hmp('info export').strip()


def take_in(file, directory, env=None):
    return subprocess.run([ORRERY, 'import', file, directory], env=env,
                          capture_output=True, text=True, timeout=120 * SLOW,
                          check=False)


def test_a_busy_linux_goes_on_from_what_was_exported():
    with Disk() as disk, Folder() as at:
        with boot(disk) as vm:
            wait_rounds(vm, 3)
            first = last_round(vm)
            save(vm, 'a')
            last = last_round(vm)
            vm.hmp('savevm_wait')
            begin = last_round(vm)
            says(vm, f'snapshot_export -d a {at("m.tar")}', 'Exporting .*')
            out = vm.hmp('delvm a').strip()
            if 'exported' not in out and 'Exporting' in vm.hmp('info export'):
                raise Fail(f'delvm while it is exported: {out!r}')
            out = told(vm)
            if out != f"Snapshot 'a' exported to {at('m.tar')}":
                raise Fail(out)
            wait_rounds(vm, 2)
            if last_round(vm) <= begin:
                raise Fail('the guest stood still')
            if os.listdir(at.path) != ['m.tar']:
                raise Fail(f'{os.listdir(at.path)}')
            says(vm, f'snapshot_export a {at("m.tar")}', 'Error: .*m.tar '
                 'exists; replace it with snapshot_export -f')
            says(vm, f'snapshot_export -f a {at("m.tar")}',
                 "Snapshot 'a' exported to .*")
            leave(vm)
        names = run('tar', 'tf', at('m.tar')).split()
        if names != ['machine', 'ide0-hd0.qcow2', 'state']:
            raise Fail(f'{names}')
        p = take_in(at('m.tar'), at('here'))
        if p.returncode or p.stdout != f'{at("here")}/start goes on with it\n':
            raise Fail(f'{p.returncode} {p.stdout} {p.stderr}')
        run('qemu-img', 'check', at('here/ide0-hd0.qcow2'))
        disk.path = at('here/ide0-hd0.qcow2')
        with VM(*disk.linux('-incoming', f'file:{at("here/state")}'),
                serial='socket') as vm:
            vm.until('it is here', lambda: 'running' in
                     vm.hmp('info status'), 60)
            wait_rounds(vm, 5)
            begin = rounds(vm)[0]
            if not first <= begin <= last + 2:
                raise Fail(f'it went on with round {begin}; it was taken '
                           f'between {first} and {last}')
            leave(vm)
        disk.check(leaks_allowed=True)
        disk.check_files()


def test_the_script_starts_it_as_it_was_started():
    with Disk(4) as disk, Folder() as at:
        odd = at("it's a disk, here.qcow2")
        os.rename(disk.path, odd)
        drive = f'file={odd.replace(",", ",,")},format=qcow2,cache=unsafe'
        with bare('-drive', drive, '-name', "it's $HOME `id`", '-S',
                  '-pidfile', at('pid')) as vm:
            save(vm, 'a')
            vm.hmp('savevm_wait')
            says(vm, f'snapshot_export a {at("m.tar")}', 'Snapshot .*')
            leave(vm)
        p = take_in(at('m.tar'), at('in here'))
        if p.returncode:
            raise Fail(p.stderr)
        # A program that says what it was called with.
        with open(at('say'), 'w', encoding='ascii') as f:
            f.write('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        os.chmod(at('say'), 0o755)
        here = at('in here')
        for arrives in (True, False):
            lines = run('env', f'ORRERY={at("say")}', f'{here}/start',
                        '-more').splitlines()
            for want in (f'file={here}/ide0-hd0.qcow2,format=qcow2,'
                         'cache=unsafe', "it's $HOME `id`", '-S', '-more'):
                if want not in lines:
                    raise Fail(f'{want!r} is not in {lines}')
            if '-pidfile' in lines or at('pid') in lines:
                raise Fail(f'{lines}')
            # The state fits the disks once.
            if (f'file:{here}/state.used' in lines) != arrives:
                raise Fail(f'{lines}')
        if not os.path.exists(at('in here/state.used')):
            raise Fail('the first start did not use the state')


def test_cancelled_or_failed_nothing_stays():
    with Disk() as disk, Folder() as at, boot(disk) as vm:
        filled(vm)
        save(vm, 'a')
        vm.hmp('savevm_wait')
        for line, why in (
                (f'snapshot_export b {at("m")}', "ide0-hd0: there is no "
                 "snapshot 'b' in it"),
                (f'snapshot_export a {at("no/m")}', '.*No such file or '
                 'directory'),
                ('snapshot_export_cancel', 'no snapshot is being exported')):
            says(vm, line, f'Error: {why}')
        says(vm, 'info export', '.*')
        says(vm, f'snapshot_export -d a {at("m")}', 'Exporting .*')
        out = vm.hmp('snapshot_export_cancel').strip()
        if out or told(vm) != "The export of 'a' was cancelled":
            raise Fail(f'it was written before it could be cancelled: {out} '
                       f'{told(vm)}')
        if os.listdir(at.path):
            raise Fail(f'left over: {os.listdir(at.path)}')
        resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                         (1 << 20, resource.RLIM_INFINITY))
        says(vm, f'snapshot_export a {at("m")}', "Error: 'a' was not exported: "
             '[^\n]*(File too large|No space left on device)')
        resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if os.listdir(at.path):
            raise Fail(f'left over: {os.listdir(at.path)}')
        status(vm, 'running')
        says(vm, f'snapshot_export -d a {at("m")}', 'Exporting .*')
        leave(vm)
        if os.listdir(at.path) not in ([], ['m']):
            raise Fail(f'left over: {os.listdir(at.path)}')
        disk.check()


def archive(*members):
    """Octets of an archive of (name, octets[, type])."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as t:
        for name, data, *kind in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind:
                info.type = kind[0]
                info.linkname = '/etc/passwd'
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_archives_from_elsewhere_are_refused():
    machine = ('machine', b'export=1\ntag=a\ndisk=d d.qcow2 /d\narg=-m\n'
               b'arg=16\n')
    state = ('state', b'ORRERYVM')
    good = archive(machine, ('d.qcow2', b'x' * 1000), state)
    bad = {
        '': 'the archive is cut short',
        'x' * 600: 'this is no machine as orrery exports it, or damaged',
        archive(('machine', b'export=2\n'), state): 'it was exported by '
        'another version',
        archive(state, machine): 'it does not begin with a description',
        archive(machine): "there is no machine's state in it",
        archive(machine, machine, state): 'its description is too long, or '
        'twice',
        archive(machine, state, state): '.*File exists',
    }
    for name in ('../d.qcow2', '/tmp/d.qcow2', 'a/d.qcow2', '.d.qcow2',
                 'start', 'd.qcow2\n', '..', '$(id).qcow2'):
        bad[archive(machine, (name, b'x'), state)] = (
            'there is something else in it')
    bad[archive(machine, ('d.qcow2', b'', tarfile.SYMTYPE), state)] = (
        'this is no machine as orrery exports it, or damaged')
    for cut in (100, 512, 600, 1024, 1500, len(good) - 10000):
        bad[good[:cut]] = 'the archive is cut short'
    with Folder() as at:
        for data, why in bad.items():
            with open(at('f'), 'wb') as f:
                f.write(data.encode() if isinstance(data, str) else data)
            p = take_in(at('f'), at('d'))
            if p.returncode != 1 or p.stdout or not re.fullmatch(
                    f'orrery: import: .*: {why}\n', p.stderr):
                raise Fail(f'{data[:60]!r}: {p.returncode} {p.stderr!r} is not '
                           f'{why!r}')
            if os.listdir(at.path) != ['f']:
                raise Fail(f'left over: {os.listdir(at.path)}')
        with open(at('f'), 'wb') as f:
            f.write(good)
        p = take_in(at('f'), at('d'))
        if p.returncode or sorted(os.listdir(at('d'))) != ['d.qcow2', 'start',
                                                           'state']:
            raise Fail(f'{p.stderr} {os.listdir(at.path)}')
        p = take_in(at('f'), at('d'))
        if p.returncode != 1 or 'File exists' not in p.stderr:
            raise Fail(f'{p.returncode} {p.stderr}')


if __name__ == '__main__':
    main(globals())
