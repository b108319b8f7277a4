#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the seeds of fuzz_image and of tests/unit/test_formats.c.

usage: tests/fuzz/make_image_seeds.py DIRECTORY

Needs qemu-img: it makes one small image of each format and kind, and this keeps
what is not zero of them (tests/unit/support/sparse_image.h describes how).
"""
import os
import subprocess
import sys
import tempfile

FORMATS = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'qcow', 'luks']
DISK = 1 << 20
RUNS = [0, 66048, 307200, DISK - 256]
KINDS = {
    'qcow2': ['qcow2'],
    'qcow2-v2': ['qcow2', '-o', 'compat=0.10,cluster_size=4k'],
    'qcow2-l2': ['qcow2', '-o', 'extended_l2=on,cluster_size=16k'],
    'qcow2-packed': ['qcow2', '-c', '-o', 'cluster_size=4k'],
    'qcow2-zstd': ['qcow2', '-c', '-o',
                   'compression_type=zstd,cluster_size=4k'],
    'vmdk': ['vmdk'],
    'vmdk-stream': ['vmdk', '-o', 'subformat=streamOptimized'],
    'vmdk-zero': ['vmdk', '-o', 'zeroed_grain=on,compat6=on'],
    'vdi': ['vdi'],
    'vdi-static': ['vdi', '-o', 'static=on'],
    'vhdx': ['vhdx', '-o', 'block_size=1M'],
    'vhdx-fixed': ['vhdx', '-o', 'subformat=fixed,block_size=1M'],
    'vpc': ['vpc', '-o', 'force_size=on'],
    'vpc-fixed': ['vpc', '-o', 'subformat=fixed,force_size=on'],
    'qcow': ['qcow'],
    'qcow-packed': ['qcow', '-c'],
    'raw': ['raw'],
}
# Empty; of the key slots only the headers are kept (nobody has the passphrase).
SECRET = ['--object', 'secret,id=s,data=seed']
ENCRYPTED = {
    'luks': ['luks', '-o', 'key-secret=s,iter-time=200'],
    'qcow2-luks': ['qcow2', '-o', 'encrypt.format=luks,encrypt.key-secret=s,'
                   'encrypt.iter-time=200'],
}
LUKS_HEADER_BYTES = 592


def octet(at):
    return (at * 7 ^ at >> 9) & 0xff | 1


def pieces(data):
    """Runs that are not zero; short gaps belong to them."""
    at = 0
    while at < len(data):
        if data[at] == 0:
            skip = len(data) - at - len(data[at:].lstrip(b'\0'))
            at += skip
            continue
        end = data.find(b'\0' * 8, at, at + 60000)
        if end < 0:
            end = min(len(data), at + 60000)
        yield at, data[at:end]
        at = end


def encode(name, data):
    data += b'\0' * (-len(data) % 512)
    out = bytes([FORMATS.index(name)]) + (len(data) // 512).to_bytes(3, 'little')
    for at, part in pieces(data):
        out += at.to_bytes(4, 'little') + len(part).to_bytes(2, 'little') + part
    return out


def main(folder):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as d:
        raw, image = os.path.join(d, 'raw'), os.path.join(d, 'image')
        disk = bytearray(DISK)
        for at in RUNS:
            disk[at:at + 256] = bytes(octet(at + i) for i in range(256))
        with open(raw, 'wb') as f:
            f.write(disk)
        for kind, args in KINDS.items():
            subprocess.run(['qemu-img', 'convert', '-f', 'raw', '-O', *args,
                            raw, image], check='-c' not in args)
            # (qemu-img 7.2 ends a compressed qcow with status 1, but whole)
            subprocess.run(['qemu-img', 'compare', '-q', '-f', 'raw', '-F',
                            args[0], raw, image], check=True)
            with open(image, 'rb') as f:
                data = encode(args[0], f.read())
            with open(os.path.join(folder, kind), 'wb') as f:
                f.write(data)
            print(kind, len(data))
            os.unlink(image)
        for kind, args in ENCRYPTED.items():
            subprocess.run(['qemu-img', 'create', '-q', *SECRET, '-f', *args,
                            image, str(DISK)], check=True)
            with open(image, 'rb') as f:
                data = bytearray(f.read())
            at = data.index(b'LUKS\xba\xbe') + LUKS_HEADER_BYTES
            keys = min(2 << 20, len(data) - at)
            data[at:at + keys] = bytes(keys)
            data = encode(args[0], bytes(data))
            with open(os.path.join(folder, kind), 'wb') as f:
                f.write(data)
            print(kind, len(data))
            os.unlink(image)


main(*sys.argv[1:])
