# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the CPU test guests (tests/guests/cputest), some 400 cases
# whose expectations come from the Intel SDM
# - under the software CPU, translated and one instruction at a time
# - under KVM, where it is the processor that runs the guest
# - under qemu-system-x86_64 with TCG: what it is known to do otherwise is
#   listed here with the section of the manual; anything else is a mistake of
#   the test
# - PIT, PM timer, HPET, APIC timer and TSC agree within 0.1 % under load and
#   across a pause
import re
import shutil
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from tap import Skip, each, main, need_accel
from vmlab import ORRERY, SLOW, VM, Fail, guest

PEER = 'qemu-system-x86_64'

# Cases (regular expressions) in which QEMU 7.2's TCG differs from the manual.
TCG_DIFFERS = [
    # 3B 17.3.1.1: faults push RF set
    'fault: a fault pushes RF set',
    # 3A 6.15 #SS; 3A 3.3.7.1: the last byte counts, and MSRs
    'canonical: one through RBP', 'canonical: a load that runs over',
    'canonical: WRMSR to LSTAR', 'FSGSBASE: no canonical', 'FSGSBASE: reads',
    # 3A table 6-2
    'privilege: MOV from CR9', 'priority: MMX with EM', 'priority: SSE with EM',
    # 2B WRMSR, RDMSR; 3A 2.5, 11.12.4, 10.8.6
    'privilege: an MSR that', 'privilege: a reserved type in PAT',
    'privilege: reserved bits of CR8', 'other: a reserved memory type',
    'TSC: upper bits of TSC_AUX', 'other: CR4',
    # 3A 6.13: the index counts gates of 8 bytes in 64-bit mode, too
    'gate: INT n below', 'gate: a gate that is not present',
    'gate: no gate at all', 'gate: the same by an exception',
    # 3A 6.15 #AC
    'alignment: a load in ring 3', 'alignment: a push',
    # 3A 4.7: RSVD comes with P; 4.5 table 4-15; 4.6 implicit accesses
    'NX: with NXE clear', 'reserved bit: ', '1 GiB page: that is not aligned',
    'SMAP: AC does not help',
    # 2A IRET, LTR; 2B MOV
    'segment load: null with RPL 3', 'LTR and LLDT: LTR null',
    'IRET: null SS with RPL 3',
    # 2B SYSCALL: R11 and RFLAGS keep the arithmetic flags
    'SYSCALL: and leaves ZF',
    # 3A 10.5.3, 10.5.4, 10.12.1
    'APIC: vectors below 16', r'APIC timer: ', 'x2APIC: ',
    # 3B 17.3.1, 17.2.3
    'single step: INT1', 'data breakpoint: two at once',
    'debug register: GD', 'debug register: with BD',
    # 1 8.1.8, 8.7, 11.5, 13.8; 2B CLFLUSH
    'x87: FIP', 'x87: FLD waits', 'SSE: ', 'XSAVE: a header', 'XSAVE: so is',
    'other: CLFLUSH',
    # 3A 8.1.3
    'second processor: code changed', 'second processor: after a serial',
    # 3A 5.3 to 5.5: TCG checks neither limits nor types when a segment is used
    'segment: one byte', 'segment: so is a wrap', 'segment: a write to a read',
    'segment: expand down', 'segment: with B', 'segment: and their last',
    'segment: a null segment',
    # 3A 7.3 step 15, 20.3, 4.4.1
    'task: the T flag', 'task: with BT', 'task: before its first', 'VM86: ',
    '32-bit paging: bit 21', 'PAE: bit 62', 'PAE: a reserved bit',
]


def run(program, accel, image, *args, model='max', cpus=2, limit=900):
    """Lines the guest wrote; what the program said goes into a failure."""
    with tempfile.NamedTemporaryFile() as serial:
        cmd = [program, '-accel', accel, '-m', '256', '-smp', str(cpus),
               '-cpu', model, '-kernel', guest(image), '-display', 'none',
               '-monitor', 'none', '-serial', f'file:{serial.name}', '-device',
               'isa-debug-exit,iobase=0xf4,iosize=4', *args]
        try:
            p = subprocess.run(cmd, stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=limit * SLOW,
                               check=False)
            said, status = p.stdout, p.returncode
        except subprocess.TimeoutExpired as e:
            said, status = f'{e.stdout} (still running)', None
        with open(serial.name, errors='replace') as f:
            lines = f.read().splitlines()
    return lines, said, status


def failures(lines):
    return [x[len('not ok '):] for x in lines if x.startswith('not ok ')]


def expect_all(lines, said, status, least):
    bad = failures(lines)
    if bad:
        raise Fail('\n'.join(bad))
    if status != 0x21 or 'cputest: done' not in lines:
        raise Fail(f'status {status}; last lines {lines[-3:]}; {said}')
    good = sum(x.startswith('ok ') for x in lines)
    if good < least:
        raise Fail(f'{good} cases were run, fewer than {least}')


IMAGES = [('cputest64.elf', 410), ('cputest32.elf', 60)]


@each('soft', 'soft,translate=off', 'soft,tb-size=4')
def test_the_cpu_is_what_the_manuals_say(accel):
    for image, least in IMAGES:
        expect_all(*run(ORRERY, accel, image), least)


@each('qemu64', 'x86-64-v2', 'x86-64-v3')
def test_smaller_models_are_as_announced(model):
    expect_all(*run(ORRERY, 'soft', 'cputest64.elf', '-append', 'one-cpu',
                    model=model, cpus=1), 340)


def test_kvm_is_what_the_manuals_say():
    need_accel('kvm')
    for image, least in IMAGES:
        lines, said, status = run(ORRERY, 'kvm', image, model='host',
                                  limit=120)
        if status is None or 'internal error' in said:
            raise Skip('this KVM does not run the guest on the processor: '
                       + ' '.join(said.split()))
        expect_all(lines, said, status, least)


def test_the_peer_differs_where_it_is_known_to():
    if not shutil.which(PEER):
        raise Skip(f'{PEER} is not installed')
    for image, least in IMAGES:
        lines, said, _ = run(PEER, 'tcg', image, '-append', 'no-control-bits no-x87-interrupt')
        if 'cputest: done' not in lines:
            raise Fail(f'last lines {lines[-3:]}; {said}')
        bad = [x for x in failures(lines)
               if not any(re.match(k, x) for k in TCG_DIFFERS)]
        if bad:
            raise Fail('\n'.join(bad))
        good = sum(x.startswith('ok ') for x in lines)
        if good < 0.7 * least:
            raise Fail(f'{good} cases were run')


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
