# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the CPU test guests under qemu-system-x86_64 with TCG. What
# it is known to do otherwise is listed here with the section of the manual;
# anything else is a mistake of the test.
import re
import shutil

import common                                           # noqa: F401
from cputest import IMAGES, failures, run
from tap import Skip, main
from vmlab import Fail

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
    # 2A JMP, CALL; 2B RET: the branch faults, before anything has changed
    r'(jump|call|return) away: ', 'near branch: ',
    # 2A IRET, LTR; 2B MOV
    'segment load: null with RPL 3', 'LTR and LLDT: LTR null',
    'IRET: null SS with RPL 3', 'IRET: IRET to ring 3 makes null',
    # 2B SYSCALL: R11 and RFLAGS keep the arithmetic flags
    'SYSCALL: and leaves ZF',
    # 3A 10.5.3, 10.5.4, 10.12.1
    'APIC: vectors below 16', r'APIC timer: ', 'x2APIC: ',
    # 3B 17.3.1, 17.2.3
    'single step: INT1', 'data breakpoint: two at once',
    'debug register: GD', 'debug register: with BD',
    # 3B 17.3.1.1: RF during REP
    'single step: with RF set', 'instruction breakpoint: before REP',
    'instruction breakpoint: at the first',
    # 1 8.1.8, 8.7, 11.5, 13.8; 2B CLFLUSH
    'x87: FIP', 'x87: FDP', 'x87: FOP', 'x87: FNSTENV',
    'x87: the same ', 'x87: FLD waits', 'SSE: ', 'XSAVE: a header', 'XSAVE: so is',
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


def test_the_peer_differs_where_it_is_known_to():
    if not shutil.which(PEER):
        raise Skip(f'{PEER} is not installed')
    for image, least in IMAGES:
        lines, said, _ = run(PEER, 'tcg', image, '-append',
                             'no-control-bits no-x87-interrupt')
        if 'cputest: done' not in lines:
            raise Fail(f'last lines {lines[-3:]}; {said}')
        bad = [x for x in failures(lines)
               if not any(re.match(k, x) for k in TCG_DIFFERS)]
        if bad:
            raise Fail('\n'.join(bad))
        good = sum(x.startswith('ok ') for x in lines)
        if good < 0.7 * least:
            raise Fail(f'{good} cases were run')


if __name__ == '__main__':
    main(globals())
