# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the CPU test guests (tests/guests/cputest), some 400 cases
# whose expectations come from the Intel SDM
# - under the software CPU, translated and one instruction at a time
# - under KVM, where it is the processor that runs the guest
# - (what a peer makes of them is looked at in tests/long)
# - PIT, PM timer, HPET, APIC timer and TSC agree within 0.1 % under load and
#   across a pause
# - a peer agrees about system instructions, string I/O and code in ROM and in
#   a device's memory
import re
import shutil
import time

import common                                           # noqa: F401
from cputest import IMAGES, expect_all, failures, run
from tap import Skip, each, main, need_accel
from vmlab import ORRERY, VM, Fail, guest

PEER = 'qemu-system-x86_64'


@each('soft', 'soft,translate=off', 'soft,tb-size=4')
def test_the_cpu_is_what_the_manuals_say(accel):
    for image, least in IMAGES:
        expect_all(*run(ORRERY, accel, image), least)


@each('qemu64', 'x86-64-v2', 'x86-64-v3')
def test_smaller_models_are_as_announced(model):
    expect_all(*run(ORRERY, 'soft', 'cputest64.elf', '-append', 'one-cpu',
                    model=model, cpus=1), 340)


@each('486', 'pentium', 'pentium3', 'qemu32')
def test_old_models_are_as_announced(model):
    expect_all(*run(ORRERY, 'soft', 'cputest32.elf', model=model, cpus=1), 105)


def test_a_peer_agrees_about_system_instructions_and_code_in_devices():
    expect_all(*run(ORRERY, 'soft', 'cputest64.elf', '-append', 'system',
                    cpus=1), 40)
    if not shutil.which(PEER):
        raise Skip(f'{PEER} is missing')
    expect_all(*run(PEER, 'tcg', 'cputest64.elf', '-append', 'system',
                    cpus=1), 40)


def test_kvm_is_what_the_manuals_say():
    need_accel('kvm')
    for image, least in IMAGES:
        lines, said, status = run(ORRERY, 'kvm', image, model='host')
        if 'internal error' in said:
            raise Skip('this KVM does not run the guest on the processor: '
                       + ' '.join(said.split()))
        expect_all(lines, said, status, least)


def clocks(tens, pause_s=0):
    """Ten times tens seconds of guest time; seconds of the host's clock."""
    with VM('-m', '256', '-kernel', guest('cputest64.elf'), '-append',
            f'clocks={tens}') as vm:
        vm.wait_serial('^begun', 120)
        begin = time.monotonic()
        if pause_s:
            vm.hmp('stop')
            time.sleep(pause_s)         # the time the guest must not see
            vm.hmp('cont')
        vm.wait_serial('^cputest: done', 30 * tens + 120)
        took = time.monotonic() - begin
        lines = vm.serial_text().splitlines()
    bad = failures(lines)
    if bad or sum(x.startswith('ok clocks') for x in lines) != 4:
        raise Fail('\n'.join(x for x in lines if 'clocks' in x or 'apart' in x))
    return took


def test_the_five_clocks_agree_while_the_cpu_computes():
    clocks(1)


def test_a_pause_is_seen_by_no_clock():
    took = clocks(1, pause_s=3)
    if took < 12.5:
        raise Fail(f'10 s and a pause of 3 s took {took:.1f} s')


def test_linux_keeps_tsc_as_its_clocksource():
    """Its watchdog checks TSC for some seconds before it is chosen."""
    with VM('-kernel', guest('cloud/vmlinuz'), '-initrd',
            guest('cloud/initrd.gz'), '-m', '256', '-append',
            'console=ttyS0 nocd', serial='socket') as vm:
        vm.wait_serial('^guest login:', 240)
        vm.serial_write('root\n')
        vm.wait_prompt('~ # ', 60)
        for _ in range(2):
            at = len(vm.serial_text())
            vm.serial_write('sleep 3; cat /sys/devices/system/clocksource/'
                            'clocksource0/current_clocksource; echo E$((1+1))\n')
            vm.wait_serial('^E2', 120, after=at)
            said = vm.serial_text()[at:]
            if not re.search('^tsc\\r?$', said, re.M):
                vm.serial_write('dmesg | grep -i -e tsc -e clocksource; '
                                'echo E$((1+2))\n')
                vm.wait_serial('^E3', 120, after=at)
                raise Fail(vm.serial_text()[at:])


if __name__ == '__main__':
    main(globals())
