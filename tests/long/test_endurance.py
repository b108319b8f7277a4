# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised
# - Linux reboots ten times in one process, with one and two CPUs; each time it
#   comes up, and the process does not grow
# - Linux boots with every instruction emulated, none rewritten: timer
#   interrupts must leave a slow CPU time for its work
# - memtest86+ on a 64 MB machine, tests 0 to 9
import re

import common                                           # noqa: F401
from tap import Skip, each, main
from vmlab import IS_PEER, VM, Fail, guest

REBOOTS = 10
GROWTH_MIB = 48


def linux(arch, *args):
    return ['-kernel', guest(f'{arch}/vmlinuz'),
            '-initrd', guest(f'{arch}/initrd.gz'), '-m', '256',
            '-append', 'console=ttyS0 nocd', *args]


@each(1, 2)
def test_linux_reboots_ten_times(cpus):
    with VM(*linux('amd64', '-smp', str(cpus)), serial='socket') as vm:
        at = 0
        rss = []
        for _ in range(REBOOTS + 1):
            vm.wait_prompt('^guest login: ', 240, at)
            rss.append(vm.rss_kib() >> 10)
            at = len(vm.serial_text())
            vm.serial_write('root\n')
            vm.wait_prompt('~ # ', 60, at)
            at = len(vm.serial_text())
            last = len(rss) > REBOOTS
            vm.serial_write('poweroff\n' if last else 'reboot\n')
        status = vm.wait_exit(60)
    if status != 0:
        raise Fail(f'after poweroff the exit status is {status}')
    # The first boots touch memory that the later ones use again.
    if rss[-1] > rss[3] + GROWTH_MIB:
        raise Fail(f'resident MiB at each login: {rss}')


def test_linux_boots_with_every_instruction_emulated():
    if IS_PEER:
        raise Skip('translate=off is an option of this program alone')
    with VM(*linux('cloud'), accel='soft,translate=off') as vm:
        vm.wait_serial('^guest login:', 1800)
        if 'translation is off' not in vm.hmp('info jit'):
            raise Fail('info jit does not say that translation is off')


def test_memtest_finds_64_MB_and_no_error_in_tests_0_to_9():
    with VM('-m', '64', '-cdrom', guest('memtest.iso'), '-boot', 'd') as vm:
        vm.wait_screen(r'Memtest86\+ v', 60)
        vm.wait_screen(r'Memory *: *6[34]MB', 60)
        vm.wait_screen(r'Test #10 ', 2400)
        errors = re.search(r'Errors: *(\S+)', '\n'.join(vm.screen()))
        if not errors or errors[1] != '0':
            raise Fail('memtest86+ counts errors')


main(globals())
