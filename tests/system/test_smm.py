# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: system management mode
# - a bare guest (tests/guests/smmtest) with a handler of its own: entry state,
#   save area, RSM, relocation, NMI, INIT, interrupts, HLT, two processors,
#   SMRAM open, closed and locked, what enables SMIs; expectations from the
#   manuals; translated and one instruction at a time
# - the same guest under a peer, which differs only where it is known to
# - SeaBIOS sets SMM up where there is one, and does not with smm=off
# - smm=on where the accelerator has none is refused in a line
# - info registers and x in SMM; snapshots taken there, loaded outside
import re
import shutil
import subprocess
import tempfile

import common                                           # noqa: F401
from cputest import expect_all, failures, run
from tap import Skip, each, main, need_accel
from vmlab import ORRERY, VM, Fail, guest

IMAGE, LEAST = 'smmtest.elf', 175
PEER = 'qemu-system-x86_64'

# Where QEMU 7.2's TCG differs from the manuals: it saves the lower halves of
# some registers and nothing for restarts (APM 2, table 10-1), has a TR that is
# not busy (SDM 3A 7.2.2), goes on behind HLT (3C 31.10), lets INIT into SMM (3C
# 31.3) and takes an SMI some instructions late; its chip set has neither
# GLBCTL.SMI_EN nor D_LCK.
TCG_DIFFERS = [
    'save area: (RFLAGS|CR0|CR4|DR6|DR7): got a5a5a5a5',
    'save area: its attributes: got 89, expected 8b',
    'save area: no I/O restart', 'save area: no HLT', 'save area: I/O: ',
    'events: and before the instruction after OUT',
    'PIIX4: without SMI_EN', 'second processor: INIT waits in SMM',
    'HLT: RSM returns to it', 'HLT: the save area says so',
    'SMRAM: D_LCK clears', 'SMRAM: nothing opens', 'SMRAM: the screen is there',
]


@each('soft', 'soft,translate=off')
def test_smm_is_what_the_manuals_say(accel):
    expect_all(*run(ORRERY, accel, IMAGE), LEAST)


def test_the_peer_differs_where_it_is_known_to():
    if not shutil.which(PEER):
        raise Skip(f'{PEER} is not installed')
    lines, said, _ = run(PEER, 'tcg', IMAGE, '-append', 'no-shutdown')
    if 'cputest: done' not in lines:
        raise Fail(f'last lines {lines[-3:]}; {said}')
    bad = [x for x in failures(lines)
           if not any(re.match(k, x) for k in TCG_DIFFERS)]
    if bad:
        raise Fail('\n'.join(bad))
    good = sum(x.startswith('ok ') for x in lines)
    if good < LEAST - 20:
        raise Fail(f'{good} cases were run')


def smis_of_firmware(*args):
    """How often the CPU entered and left SMM until SeaBIOS gave up booting."""
    with tempfile.NamedTemporaryFile() as log:
        with VM('-m', '64', '-d', 'int', '-D', log.name, *args) as vm:
            vm.wait_screen('No bootable device', 60)
        text = log.read().decode(errors='replace')
    return text.count('SMM: enter'), text.count('SMM: leave')


def test_seabios_sets_smm_up():
    enters, leaves = smis_of_firmware()
    if not enters or enters != leaves:
        raise Fail(f'{enters} SMIs, {leaves} times back')


def test_seabios_leaves_smm_alone_where_it_is_off():
    for off in ['-M', 'pc,smm=off'], ['-machine', 'smm=off']:
        smis = smis_of_firmware(*off)
        if smis != (0, 0):
            raise Fail(f'{off}: {smis}')


def test_smm_that_an_accelerator_lacks_is_refused():
    need_accel('kvm')
    said = subprocess.run(
        [ORRERY, '-accel', 'kvm', '-M', 'pc,smm=on', '-display', 'none'],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    lines = said.stderr.splitlines()
    if said.returncode == 0 or len(lines) != 1 or 'smm=on' not in lines[0]:
        raise Fail(f'{said.returncode}: {said.stderr}')


SCREEN, SMRAM = '07410742', '600df00d'      # at b8000, from each side


def expect_in_smm(vm):
    """The monitor sees what the CPU sees, and devices what they see."""
    registers = vm.hmp('info registers')
    if 'SMM=1' not in registers:
        raise Fail(registers)
    for command, want in ('x', SMRAM), ('xp', SCREEN):
        said = vm.hmp(f'{command} /1wx 0xb8000')
        if want not in said:
            raise Fail(f'{command}: {said}')


def leave_smm(vm):
    at = len(vm.serial_text())
    vm.serial_write('x')
    vm.wait_serial('^ok .*no longer than asked', 60, after=at)
    vm.wait_serial('^cputest: done', 60, after=at)


def machine(folder, model='max'):
    return ['-m', '64', '-cpu', model, '-kernel', guest(IMAGE), '-append', 'stay', '-smp',
            '2', '-drive', f'file={folder}/disk.qcow2,format=qcow2']


def save_in_smm(folder, then, model='max'):
    """Make the disk, and on it the snapshot 'smm' of a machine in SMM."""
    subprocess.run([ORRERY, 'img', 'create', '-q', '-f', 'qcow2',
                    f'{folder}/disk.qcow2', '16M'], check=True)
    with VM(*machine(folder, model), serial='socket') as vm:
        vm.wait_serial('^in SMM', 60)
        expect_in_smm(vm)
        said = vm.hmp('savevm smm')
        if 'rror' in said:
            raise Fail(said)
        vm.hmp('savevm_wait')
        then(vm)


def go_back(vm):
    leave_smm(vm)
    vm.hmp('stop')
    said = vm.hmp('loadvm smm') + vm.hmp('cont')
    if 'rror' in said:
        raise Fail(said)
    expect_in_smm(vm)
    leave_smm(vm)


def test_a_machine_in_smm_is_saved_and_loaded():
    with tempfile.TemporaryDirectory() as folder:
        save_in_smm(folder, go_back)
        with VM(*machine(folder), '-loadvm', 'smm', serial='socket') as vm:
            expect_in_smm(vm)
            leave_smm(vm)


PLAIN = 'qemu64,-pni,-cx16,-spec-ctrl,kvm=off'   # any KVM can give that


def test_it_is_not_loaded_where_there_is_no_smm():
    need_accel('kvm')
    with tempfile.TemporaryDirectory() as folder:
        save_in_smm(folder, leave_smm, PLAIN)
        said = subprocess.run(
            [ORRERY, '-accel', 'kvm', *machine(folder, PLAIN), '-loadvm', 'smm',
             '-display', 'none'], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240)
        if said.returncode == 0 or 'management mode' not in said.stderr:
            raise Fail(f'{said.returncode}: {said.stderr}')


if __name__ == '__main__':
    main(globals())
