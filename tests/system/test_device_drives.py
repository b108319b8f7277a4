# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: -device ide-hd, ide-cd and floppy on drives and nodes
# - what a Linux guest sees of serial=, model=, ver=, wwn=, rotation_rate=, and
#   that it does not complain of the disks
# - bootindex=: the order firmware tries, as on the peer; -boot strict
# - `info block` and trays of such drives; a CD-ROM's file can be shared
# - refusals, one line each
import os
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import main
from vmlab import IS_PEER, ORRERY, SLOW, VM, Fail, accel_args, guest, \
    die_with_parent

DEBUG_EXIT = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=4']


def disk(path, letter=None, size=1 << 20):
    """Boots, and ends the program with status 2 * letter + 1."""
    code = bytes([0xb0, letter, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd]) if letter \
        else b''
    with open(path, 'wb') as f:
        if letter:
            f.write(code.ljust(510, b'\0') + b'\x55\xaa')
        f.truncate(size)
    return path


def run(*args, stdin=''):
    p = subprocess.run(
        [ORRERY, *accel_args('soft'), '-m', '32', '-display', 'none',
         '-serial', 'none', '-monitor', 'stdio', *args], input=stdin,
        capture_output=True, text=True, check=False, timeout=60 * SLOW,
        preexec_fn=die_with_parent)
    return p.returncode, p.stdout, p.stderr


def raw(path, name):
    return ['-drive', f'if=none,id={name},format=raw,file={path}']


def test_linux_sees_what_the_user_said_of_a_disk():
    with tempfile.TemporaryDirectory() as d:
        with VM('-kernel', guest('amd64/vmlinuz'), '-m', '256',
                '-initrd', guest('amd64/initrd.gz'),
                '-append', 'console=ttyS0 nomodeset',
                *raw(disk(f'{d}/a', size=3 << 20), 'a'),
                *raw(disk(f'{d}/c', size=1 << 20), 'c'),
                '-blockdev', f'file,filename={disk(f"{d}/b")},node-name=f',
                '-blockdev', 'raw,file=f,node-name=n',
                '-device', 'ide-hd,drive=a,bus=ide.0,unit=1,serial=SER123,'
                'model=MODEL Y,ver=v9,wwn=0x5000c50012345678,rotation_rate=1',
                '-device', 'ide-hd,drive=n,bus=ide.0,unit=0,bootindex=-1,'
                'rotation_rate=7200,write-cache=off,werror=report',
                '-device', 'ide-cd,drive=c,id=mycd,bus=ide.1,unit=1',
                serial='socket') as vm:
            vm.wait_prompt('^guest login: ', 180)
            vm.serial_write('root\n')
            vm.wait_prompt('~ # ', 30)
            at = len(vm.serial_text())
            vm.serial_write(
                "for i in a b; do cd /sys/block/sd$i; echo sd$i $(cat size "
                "queue/rotational device/model device/rev); done; "
                "grep . /sys/class/scsi_disk/*/cache_type; "
                "echo $(cat /sys/class/ata_device/dev1.1/id | tr -d '\\n ')=; "
                "dmesg | grep -E '^.{15}ata[12].*([Ff]ail|error|xception)'; "
                "cat /sys/block/sr0/size; echo END-OF-$((1+1))\n")
            vm.wait_serial('^END-OF-2$', 60, at)
            said = vm.serial_text()[at:].replace('\r', '').split('\n')
            block = vm.hmp('info block')
    for line in ('sda 2048 1 ORRERY HARDDISK 1.0', 'sdb 6144 0 MODEL Y v9',
                 '2048'):
        if line not in [' '.join(x.split()) for x in said] and not IS_PEER:
            raise Fail(f'no "{line}" in {said}')
    caches = [x.split(':')[-1] for x in said if 'cache_type:' in x]
    if caches != ['write through', 'write back']:
        raise Fail(f'write caches: {caches} in {said}')
    words = next(x for x in said if x.endswith('=') and len(x) == 1025)
    if bytes.fromhex(words[40:80]) != b'SER123'.ljust(20) or \
            words[108 * 4:112 * 4] != '5000c50012345678' or \
            words[217 * 4:218 * 4] != '0001':
        raise Fail(f'IDENTIFY: {words}')
    bad = [x for x in said if 'ata' in x and ('fail' in x or 'error' in x) and
           'dmesg' not in x and 'grep' not in x]
    if bad:
        raise Fail('\n'.join(bad))
    if 'Attached to:      mycd' not in block.replace('/machine/', ''):
        raise Fail(block)


def boots(*args):
    return run(*DEBUG_EXIT, *args)[0]


def test_bootindex_is_the_order_of_booting():
    with tempfile.TemporaryDirectory() as d:
        a, b = disk(f'{d}/a', 0x21), disk(f'{d}/b', 0x22)
        none = disk(f'{d}/none', size=1440 << 10)
        two = [*raw(a, 'a'), *raw(b, 'b')]
        on = 'ide-hd,drive={},bus=ide.0,unit={}{}'.format
        cases = [
            # No index: the first disk.
            (0x21, two, on('a', 0, ''), on('b', 1, '')),
            (0x22, two, on('a', 0, ',bootindex=2'),
             on('b', 1, ',bootindex=1')),
            (0x21, two, on('a', 0, ',bootindex=0'),
             on('b', 1, ',bootindex=9')),
            (0x22, two, on('a', 0, ''), on('b', 1, ',bootindex=5')),
            # A floppy that does not boot gives way to the disk.
            (0x21, [*raw(a, 'a'), '-drive', f'if=floppy,format=raw,file={none}',
                    '-boot', 'order=a'], on('a', 0, ',bootindex=2')),
        ]
        for want, drives, *devices in cases:
            for more in ([], ['-boot', 'strict=on']):
                args = [*drives, *more]
                for x in devices:
                    args += ['-device', x]
                got = boots(*args)
                if got != 2 * want + 1:
                    raise Fail(f'{args}: status {got}')


def test_monitor_shows_such_drives():
    with tempfile.TemporaryDirectory() as d:
        iso = disk(f'{d}/iso')
        os.chmod(iso, 0o444)
        with VM('-S', *raw(iso, 'cd0'), '-device', 'ide-cd,drive=cd0,id=x',
                '-device', 'ide-cd,id=y', '-device', 'floppy,id=z') as vm, \
                VM('-S', *raw(iso, 'cd0'), '-device', 'ide-cd,drive=cd0'):
            text = vm.hmp('info block')
            for line in (f'cd0: {iso} (raw, read-only)', 'y: [not inserted]',
                         'z: [not inserted]', 'Attached to:      x',
                         'Removable device: not locked, tray closed'):
                if line not in text and not IS_PEER:
                    raise Fail(f'no "{line}" in\n{text}')
            for word in ('floppy0', 'ide1-cd0'):
                if word in text:
                    raise Fail(f'an empty {word} besides the one asked for')
            if IS_PEER:                 # takes no device's id for a drive's
                return
            vm.hmp('eject cd0')
            vm.hmp(f'change y {iso}')
            text = vm.hmp('info block')
            if 'cd0: [not inserted]' not in text or f'y: {iso}' not in text:
                raise Fail(text)


def test_mistakes_are_refused_in_one_line():
    with tempfile.TemporaryDirectory() as d:
        a, b = disk(f'{d}/a'), disk(f'{d}/b')
        ro = ['-blockdev', f'file,node-name=n,filename={b},read-only=on']
        two = ['-device', 'ide-cd,bus=ide.1'] * 2
        cases = [
            ('zz', '-device', 'ide-hd,drive=zz'),
            ('drive', '-device', 'ide-hd'),
            ('in use', '-hda', a, '-device', 'ide-hd,drive=ide0-hd0'),
            ('in use', *raw(a, 'a'), '-device', 'ide-hd,drive=a',
             '-device', 'ide-hd,drive=a'),
            ('2', '-device', 'ide-cd,unit=2'),
            ('ide.7', '-device', 'ide-cd,bus=ide.7'),
            ('empty', '-drive', 'if=none,id=a', '-device', 'ide-hd,drive=a'),
            ('', *ro, '-device', 'ide-hd,drive=n'),
            ('unit 0', '-device', 'ide-cd,unit=0,bus=ide.0',
             '-device', 'ide-cd,unit=0,bus=ide.0'),
            ('full' if not IS_PEER else 'ide.1', *two, '-device',
             'ide-cd,bus=ide.1'),
            ('bootindex', '-device', 'ide-cd,bootindex=1', '-device',
             'ide-cd,bootindex=1'),
            ('foo', '-device', 'ide-cd,foo=1'),
            ('write-cache', *raw(a, 'a'), '-device',
             'ide-hd,drive=a,write-cache=maybe'),
            ('werror', *raw(a, 'a'), '-device',
             'ide-hd,drive=a,werror=maybe'),
            ('rerror', '-device', 'ide-cd,rerror=maybe'),
            ('bootindex', '-device', 'ide-cd,bootindex=-1.5'),
            ('unit', '-device', 'floppy,unit=7'),
            ('drive-type', '-device', 'floppy,drive-type=99'),
            ('heads', *raw(a, 'a'), '-device', 'ide-hd,drive=a,cyls=1'),
        ]
        for word, *args in cases:
            rc, out, text = run('-S', *args, stdin='quit\n')
            if rc == 1 and word in text and text.count('\n') <= 1:
                continue
            if IS_PEER and rc == 1:
                continue
            raise Fail(f'{args}: status {rc}\n{out}{text}')


if __name__ == '__main__':
    main(globals())
