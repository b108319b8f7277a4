# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised with a live CD of Debian's 686 kernel (32 bits, no PAE):
# - menu, kernel messages on VGA, login, typing, commands, reboot, poweroff
# - two vCPUs
import common                                           # noqa: F401
import live
from tap import main
from vmlab import VM, guest


def cd(*args):
    return ['-m', '128', '-cdrom', guest('live-i386.iso'), '-boot', 'd', *args]


def test_i386_live_cd_boots_logs_in_reboots_and_powers_off():
    with VM(*cd()) as vm:
        live.reboots_and_powers_off(vm, 'i686', 1)


def test_i386_live_cd_on_two_cpus():
    with VM(*cd('-smp', '2')) as vm:
        live.boot(vm)
        live.login(vm)
        live.check_machine(vm, 'i686', 2)
        vm.type_line('poweroff')
        vm.wait_exit(60)


main(globals())
