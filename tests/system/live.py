# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps the live CD tests share."""
import common                                           # noqa: F401
from vmlab import Fail

LOGIN = r'^guest login:'


def boot(vm, limit=240):
    """From power on to the login prompt on tty1, through the menu."""
    vm.wait_screen('Live Linux CD', 60)
    vm.until('the first menu entry is highlighted',
             lambda: 'Live Linux, text console' in vm.highlighted(), 30)
    before = len(vm.serial_text())
    vm.key('ret')
    vm.wait_text(r'Linux version 6\.', 120)
    vm.wait_serial(LOGIN, limit, before)
    vm.wait_text(LOGIN, 30)


def login(vm):
    vm.type_line('root')
    vm.wait_text('^~ #$', 30)


def command(vm, line, pattern, limit=60):
    """Type a command at the shell on tty1, wait for what it prints."""
    vm.type_line(line)
    return vm.wait_text(pattern, limit)


def check_machine(vm, machine, cpus):
    out = command(vm, 'echo $((6*7))x $(nproc) $(uname -m)', '^42x .*$')[0]
    if out != f'42x {cpus} {machine}':
        raise Fail(f'the guest says {out!r}, not 42x {cpus} {machine}')
    command(vm, 'cat /cd/GUESTCD', '^live CD of the .* test guest$')
    # Half a megabyte read from the CD, and arithmetic in user mode.
    command(vm, 'dd if=/cd/live/vmlinuz bs=64k count=8 | wc -c', '^524288$')


def reboots_and_powers_off(vm, machine, cpus):
    """The whole life of a live CD session."""
    boot(vm)
    login(vm)
    check_machine(vm, machine, cpus)
    vm.type_line('reboot')
    boot(vm)
    login(vm)
    vm.type_line('poweroff')
    status = vm.wait_exit(60)
    if status != 0:
        raise Fail(f'after poweroff the exit status is {status}')
