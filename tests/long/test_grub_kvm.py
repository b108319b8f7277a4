# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: under KVM, GRUB from CD and from floppy; minutes where KVM
# emulates what the processor has no mode for
import common                                           # noqa: F401
import test_grub
from tap import main


def test_grub_boots_from_cd_under_kvm():
    test_grub.test_grub_boots_from_cd('kvm')


def test_grub_boots_from_floppy_under_kvm():
    test_grub.test_grub_boots_from_floppy('kvm')


if __name__ == '__main__':
    main(globals())
