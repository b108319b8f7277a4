# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised with a live CD of Debian's amd64 kernel and busybox:
# - menu, kernel messages on VGA, login, typing, commands, reboot, poweroff
# - two vCPUs: the second one starts under Linux
# - the power button (system_powerdown) reaches the guest through ACPI
# - stop freezes the guest, cont lets it go on
# - typing through VNC; its picture is that of screendump
import socket
import time

import common                                           # noqa: F401
import live
from rfb import Viewer
from tap import main
from vmlab import VM, Fail, guest


def cd(*args):
    return ['-m', '256', '-cdrom', guest('live.iso'), '-boot', 'd', *args]


def test_live_cd_boots_logs_in_reboots_and_powers_off():
    with VM(*cd()) as vm:
        live.reboots_and_powers_off(vm, 'x86_64', 1)


def test_live_cd_on_two_cpus_stops_goes_on_and_hears_the_power_button():
    with VM(*cd('-smp', '2')) as vm:
        live.boot(vm)
        live.login(vm)
        live.check_machine(vm, 'x86_64', 2)
        live.command(vm, 'grep -c ^processor /proc/cpuinfo', '^2$')

        vm.type_line('while usleep 50000; do cat /proc/uptime; done')
        vm.wait_text(r'^\d+\.\d\d \d+\.\d\d$', 30)
        vm.hmp('stop')
        if 'paused' not in vm.hmp('info status'):
            raise Fail('stop did not pause the machine')
        before = vm.cells(204)
        time.sleep(1)               # a time in which nothing may happen
        if vm.cells(204) != before:
            raise Fail('the screen of a stopped machine changed')
        vm.hmp('cont')
        vm.until('the screen changes again',
                 lambda: vm.cells(204) != before, 30)
        # The shell may be between two programs when the first one comes.
        vm.until('Ctrl-C ends the loop', lambda: vm.key('ctrl-c') or
                 '~ #' in vm.text(), 30, every=1)

        vm.hmp('system_powerdown')
        status = vm.wait_exit(60)
        if status != 0:
            raise Fail(f'after system_powerdown the exit status is {status}')


def free_display():
    """A VNC display number whose port is free."""
    for n in range(100, 1000):
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', 5900 + n))
                return n
            except OSError:
                continue
    raise Fail('no free port for VNC')


def test_keys_and_picture_go_through_vnc():
    n = free_display()
    with VM(*cd('-vnc', f'127.0.0.1:{n}')) as vm:
        live.boot(vm)
        viewer = Viewer(5900 + n)
        viewer.type('root\n')
        vm.wait_text('^~ #$', 30)
        viewer.type('echo VNC $((40+2)) | tr 0-9 A-J\n')
        vm.wait_text('^VNC EC$', 30)
        # The cursor blinks: an equal pair comes within a few tries.
        vm.type_line('echo -e "\\\\033[?25l"')
        vm.until('the VNC picture equals the screendump',
                 lambda: viewer.update() == vm.picture(), 30)
        viewer.close()
        vm.hmp('system_reset')
        vm.wait_screen('Live Linux CD', 60)


main(globals())
