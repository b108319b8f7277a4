# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised, under the software CPU, and from hard disk under KVM (the
# others there are in tests/long: a KVM that emulates real mode is slow):
# - SeaBIOS boots GRUB from CD (El Torito), floppy and hard disk
# - the menu is drawn in text mode, arrow keys move the selection
# - `c` opens the command line, `ls` lists the drives the firmware knows
# - a file that is no ISO ends in the firmware's own message
import contextlib
import re
import shutil
import tempfile

import common                                           # noqa: F401
from tap import each, main, need_accel
from vmlab import VM, guest

# First and second entry of the menu in Debian's GRUB rescue images.
FIRST, SECOND = 'GNU/Linux', 'GNU (aka GNU/Hurd)'


def selected(vm, entry):
    vm.until(f'{entry!r} is the highlighted entry',
             lambda: [x.lstrip('*') for x in vm.highlighted()] == [entry], 60)


def grub(accel, drives, *args):
    need_accel(accel)
    with VM('-m', '256', *args, accel=accel) as vm:
        vm.wait_screen('GNU GRUB +version 2', 180)
        vm.wait_screen('Use the .* keys to select', 60)
        vm.wait_screen('executed automatically in', 60)
        selected(vm, FIRST)
        vm.key('down')
        selected(vm, SECOND)
        vm.key('up')
        selected(vm, FIRST)
        vm.key('c')
        vm.wait_screen('^grub> *$', 60)
        vm.type_line('ls')
        vm.wait_screen(f'^{re.escape(drives)}$', 60)


def test_grub_boots_from_cd(accel='soft'):
    grub(accel, '(cd) (cd,msdos1) (fd0)',
         '-cdrom', guest('grub-rescue-cdrom.iso'), '-boot', 'd')


def test_grub_boots_from_floppy(accel='soft'):
    with copy(guest('grub-rescue-floppy.img')) as floppy:
        grub(accel, '(fd0) (fd0,msdos1)', '-fda', floppy, '-boot', 'a')


@each('soft', 'kvm')
def test_grub_boots_from_hard_disk(accel):
    with copy(guest('grub-rescue-usb.img')) as disk:
        grub(accel, '(hd0) (hd0,msdos1) (fd0)', '-hda', disk)


@contextlib.contextmanager
def copy(path):
    """A copy to write to; the guest itself stays as it was built."""
    with tempfile.TemporaryDirectory() as d:
        yield shutil.copy(path, d)


def test_a_file_that_is_no_iso_ends_in_the_firmware_s_message():
    with tempfile.NamedTemporaryFile(suffix='.iso') as f:
        f.write(b'not an ISO image\n' * 10000)
        f.flush()
        with VM('-m', '64', '-cdrom', f.name, '-boot', 'd') as vm:
            vm.wait_screen('Boot failed: Could not read from CDROM', 60)
            vm.wait_screen('No bootable device', 60)


if __name__ == '__main__':
    main(globals())
