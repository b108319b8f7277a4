# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: -accel soft,verify=on, which compares each block with the
# emulator, on more than the CPU test guests
# - Linux comes to its shell, with one CPU and with two
# - the benchmark's integer, floating point and memory work: hot code and
#   loops are among what is compared
# - code that is hot at once
import os
import re
import sys
import tempfile

import common                                           # noqa: F401
from tap import each, main
from vmlab import VM, Fail, guest

sys.path.append(os.path.join(common.TESTS, 'bench'))
import workload                                         # noqa: E402


def compared(vm, what):
    """Runs of that kind that were compared, on all CPUs."""
    text = vm.hmp('info jit')
    n = sum(int(x) for x in re.findall(rf'verified:.*?(\d+) {what}', text))
    if re.search(r'[1-9]\d* doubtful', text):
        raise Fail(text)
    return n


def linux(accel, cpus, initrd=None):
    return VM('-kernel', guest('cloud/vmlinuz'), '-initrd',
              initrd or guest('cloud/initrd.gz'), '-m', '512', '-smp',
              str(cpus), '-append', 'console=ttyS0 nocd', serial='socket',
              accel=accel)


def log_in(vm):
    vm.wait_serial('^guest login:', 600)
    vm.serial_write('root\n')
    vm.wait_prompt('~ # ', 120)


@each('soft,verify=on', 'soft,verify=on,hot=all')
def test_linux_comes_to_its_shell(accel):
    with linux(accel, 1) as vm:
        log_in(vm)
        for what, least in (('blocks', 10000), ('superblocks', 500),
                            ('loops', 50)):
            if compared(vm, what) < least:
                raise Fail(vm.hmp('info jit'))


def test_linux_with_two_cpus_comes_to_its_shell():
    with linux('soft,verify=on', 2) as vm:
        log_in(vm)
        if compared(vm, 'blocks') < 10000:
            raise Fail(vm.hmp('info jit'))


@each('int', 'fp', 'mem')
def test_hot_code_of_the_workload_is_as_the_emulator_does_it(group):
    with tempfile.TemporaryDirectory() as work:
        _, initrd = workload.build(work)
        with linux('soft,verify=on', 1, initrd) as vm:
            log_in(vm)
            before = compared(vm, 'of superblocks'), compared(vm, 'of loops')
            at = len(vm.serial_text())
            vm.serial_write(f'/bench dur=0.4 {group}; echo E$((1+1))\n')
            vm.wait_serial('^E2', 1800, after=at)
            said = vm.serial_text()[at:]
            after = compared(vm, 'of superblocks'), compared(vm, 'of loops')
    if not re.search(rf'^R {group}\.', said, re.M):
        raise Fail(said)
    if after[0] < before[0] + 1000 or after[1] < before[1] + 100:
        raise Fail(f'superblocks, loops: {before}, then {after}')


if __name__ == '__main__':
    main(globals())
