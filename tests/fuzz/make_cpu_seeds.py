#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the seeds of fuzz_cpu.c: usage: make_cpu_seeds.py DIRECTORY

Octet 0 mode (0 real, 1 and 2 protected, 3 VM86, 4 compatibility, 5 long),
octet 1 what is broken, then code.  One seed for each opcode map, with operands
in memory and registers, and the shapes that are special: code that writes
itself, strings, stacks, far transfers, control registers, x87, vectors.
"""
import os
import sys

PIECES = {
    'alu': bytes(b for op in range(0, 0x40, 8) for b in (op + 1, 0x03,
                                                         op + 3, 0xc1)),
    'stack': bytes.fromhex('50 51 8f 00 9c 9d c8 10 00 02 c9 ff 33 6a 05 58'),
    'strings': bytes.fromhex('b9 40 00 00 00 f3 a4 b9 10 00 00 00 f3 ab f2 ae'
                             'f3 a6 ac a5 6c 6e'),
    'self': bytes.fromhex('c6 05 01 00 00 00 90 90 eb fe c6 00 cc ff e0'),
    'far': bytes.fromhex('cb cf ea 00 00 02 00 08 00 9a 00 00 02 00 08 00'
                         'cd 80 ff 2b ff 1b'),
    'control': bytes.fromhex('0f 20 c0 0f 22 c0 0f 20 e0 0f 22 e0 0f 22 d8'
                             '0f 01 10 0f 01 18 0f 00 d8 0f 30 0f 32'),
    'debug': bytes.fromhex('0f 21 f8 0f 23 f8 0f 23 c0 cc f1 cd 03'),
    'x87': bytes.fromhex('d9 e8 d9 ee de f9 9b dd 30 dd 20 d9 30 df e0'
                         '0f ae 00 0f ae 08'),
    'sse': bytes.fromhex('0f 28 c1 0f 10 00 0f 11 08 66 0f 6f 00 f2 0f 5e c1'
                         '0f c2 c1 05 66 0f 38 00 c1 f3 0f b8 c1'),
    'avx': bytes.fromhex('c5 fc 28 c1 c5 fd 6f 00 c4 e2 7d 18 00 c4 e2 f5 98'
                         'c2 c5 f8 77'),
    'lock': bytes.fromhex('f0 0f b1 08 f0 ff 00 87 08 f0 0f c1 08 f0 0f c7 08'
                          'f0 48 0f c7 08'),
    'loops': bytes.fromhex('b9 ff ff 00 00 03 04 8b 89 04 8b e2 f8 eb f0'),
    'calls': bytes.fromhex('e8 05 00 00 00 ff d0 ff e0 c3 c2 08 00 eb f0'),
}


def main():
    where = sys.argv[1]
    os.makedirs(where, exist_ok=True)
    for mode in range(6):
        for n, (name, code) in enumerate(PIECES.items()):
            with open(os.path.join(where, f'{name}-{mode}'), 'wb') as f:
                f.write(bytes((mode, 1 << (n + mode) % 5)) + code)


if __name__ == '__main__':
    main()
