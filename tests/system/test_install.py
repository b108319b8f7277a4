# SPDX-License-Identifier: GPL-2.0-or-later
# An operating system installed from a CD, as users do it:
# - boot with once=d from the CD, choose in the menu, answer the dialogs;
#   partition, ext4, files, GRUB on a growing image; the guest reboots
# - it comes up from the disk, is rebooted from inside, comes up again
# - qemu-img finds the image clean; e2fsck the file system in it
# - (the same on a raw image: tests/long)
# - the program killed in the middle: the image is consistent, another
#   installation over it succeeds
import os
import shutil
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import Skip, each, main
from vmlab import VM, Fail, guest, ORRERY

DISK_MIB = 256


class Disk:
    """A growing image in a folder of its own."""

    def __init__(self, form):
        self.form = form
        self.dir = tempfile.mkdtemp(prefix='install.')
        self.path = os.path.join(self.dir, 'disk.' + form)
        run(ORRERY, 'img', 'create', '-q', '-f', form, self.path,
            f'{DISK_MIB}M')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def args(self):
        return ['-m', '256', '-boot', 'once=d', '-cdrom',
                guest('install.iso'), '-drive',
                f'file={self.path},format={self.form}']

    def check(self, leaks_allowed=False):
        """What qemu-img and our own check say of the image."""
        if self.form == 'raw':
            return
        if not shutil.which('qemu-img'):
            raise Skip('qemu-img is missing')
        fine = (0, 3) if leaks_allowed else (0,)
        for tool in (['qemu-img'], [ORRERY, 'img']):
            p = subprocess.run([*tool, 'check', '-f', self.form, self.path],
                               capture_output=True, text=True, check=False)
            if p.returncode not in fine:
                raise Fail(f'{tool[0]} check: {p.stdout}{p.stderr}')

    def check_files(self):
        """e2fsck on the partition, which begins at sector 2048."""
        raw = os.path.join(self.dir, 'raw')
        part = os.path.join(self.dir, 'part')
        run(ORRERY, 'img', 'convert', '-O', 'raw', self.path, raw)
        run('dd', f'if={raw}', f'of={part}', 'bs=1M', 'skip=1',
            'conv=sparse', 'status=none')
        run('/sbin/e2fsck', '-f', '-n', part)


def run(*command):
    p = subprocess.run(command, capture_output=True, text=True, check=False)
    if p.returncode != 0:
        raise Fail(f'{" ".join(command)}: exit status {p.returncode}\n'
                   f'{p.stdout}{p.stderr}')


def choose(vm, entry):
    """The nth entry of the CD's menu."""
    vm.wait_text('Installation CD', 60)
    for _ in range(entry):
        vm.key('down')
    vm.key('ret')


def comes_up(vm, boot):
    vm.wait_serial(f'INSTALLED SYSTEM UP: boot {boot}', 120)
    vm.wait_text('guest login:|disk login:', 60)


def test_install_by_dialogs_and_reboot_from_the_disk(form='qcow2'):
    with Disk(form) as disk, VM(*disk.args()) as vm:
        choose(vm, 0)
        vm.wait_text('Welcome', 120)
        vm.key('ret')
        vm.wait_text('Everything on it will be erased', 60)
        vm.key('ret')
        vm.wait_text('Name of the new machine', 60)
        for _ in 'guest':
            vm.key('backspace')
        vm.type('disk')
        vm.key('ret')
        vm.wait_text('Password for root', 60)
        vm.type('secret')
        vm.key('ret')
        vm.wait_text('Erase /dev/sda and install', 60)
        vm.key('ret')
        vm.wait_serial('INSTALL COMPLETE', 180)
        vm.wait_text('Enter reboots', 60)
        vm.key('ret')
        comes_up(vm, 1)
        vm.type_line('root')
        vm.wait_text('Password:', 30)
        vm.type('secret')
        vm.key('ret')
        vm.wait_text(r'~ #|disk:~', 60)
        vm.type_line('reboot')
        comes_up(vm, 2)
        vm.type_line('root')
        vm.wait_text('Password:', 30)
        vm.type('secret')
        vm.key('ret')
        vm.wait_text(r'~ #|disk:~', 60)
        vm.type_line('poweroff')
        if vm.wait_exit(60) != 0:
            raise Fail('poweroff did not end the program with status 0')
        disk.check()
        disk.check_files()


@each('Unpacking the system', 'Installing GRUB')
def test_killed_in_the_middle_it_can_be_installed_again(moment):
    with Disk('qcow2') as disk:
        with VM(*disk.args()) as vm:
            choose(vm, 1)
            vm.wait_serial(moment, 180)
            vm.process.kill()
            vm.process.wait()
        disk.check(leaks_allowed=True)
        with VM(*disk.args()) as vm:
            choose(vm, 1)
            vm.wait_serial('INSTALL COMPLETE', 180)
            comes_up(vm, 1)
            vm.process.terminate()
            vm.wait_exit(30)
        disk.check(leaks_allowed=True)
        disk.check_files()


if __name__ == '__main__':
    main(globals())
