# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: formats of the monitor that scripts read, on a machine with
# a disk, a CD-ROM and an empty floppy drive. They hold for the peer too.
# - info block: which image, which device, tray, cache mode
# - change: what cannot be opened is named once, and the medium stays
# - a key sent right after cont arrives
# - rubbish and long lines on the monitor's socket
import os
import re
import socket
import tempfile

import common                                           # noqa: F401
from tap import main
from vmlab import VM, Fail, guest

CD = 'grub-rescue-cdrom.iso'


def expect(text, pattern):
    if not re.search(pattern, text, re.M):
        raise Fail(f'no {pattern!r} in:\n{text}')


def test_info_block_tells_image_device_tray_and_cache():
    with tempfile.TemporaryDirectory() as d:
        disk = os.path.join(d, 'disk.img')
        with open(disk, 'wb') as f:
            f.truncate(1 << 20)
        with VM('-S', '-drive', f'file={disk},format=raw,cache=unsafe',
                '-cdrom', guest(CD)) as vm:
            text = vm.hmp('info block')
    expect(text, r'^ide0-hd0( \(#\w+\))?: \S+/disk\.img \(raw\)\n'
                 r'    Attached to:      \S+\n'
                 r'    Cache mode:       writeback, ignore flushes$')
    expect(text, r'^ide1-cd0( \(#\w+\))?: \S+ \(raw, read-only\)\n'
                 r'    Attached to:      \S+\n'
                 r'    Removable device: not locked, tray closed\n'
                 r'    Cache mode:       writeback$')
    expect(text, r'^floppy0: \[not inserted\]\n'
                 r'    Attached to:      \S+\n'
                 r'    Removable device: not locked, tray closed$')


def test_change_names_once_what_cannot_be_opened():
    with VM('-S', '-cdrom', guest(CD)) as vm:
        text = vm.hmp('change ide1-cd0 /no/such.iso')
        expect(text, r"^Error: Could not open '/no/such\.iso': No such file")
        expect(vm.hmp('info block ide1-cd0'), re.escape(CD))


def test_keys_sent_right_after_cont_arrive():
    with VM('-m', '64', '-cdrom', guest(CD), '-boot', 'd') as vm:
        vm.wait_screen('GNU GRUB', 60)
        vm.key('c')
        vm.wait_text('grub> *$', 20)
        for c in 'abcdefgh':
            vm.hmp('stop')
            vm.hmp('cont')
            vm.key(c)
            vm.wait_text(f'grub> [a-h]*{c} *$', 20)
        vm.wait_text('grub> abcdefgh *$', 20)


def test_the_monitor_outlives_rubbish():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'second')
        with VM('-S', '-monitor', f'unix:{path},server=on,wait=off') as vm:
            for rubbish in (bytes(range(256)) * 400, b'x' * 100000 + b'\n',
                            b'\n' * 1000):
                s = socket.socket(socket.AF_UNIX)
                s.settimeout(20)
                s.connect(path)
                try:
                    s.sendall(rubbish)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except ConnectionError:
                    pass        # it may hang up at any point
                s.close()
            expect(vm.hmp('info status'), '^VM status: paused')
            expect(vm.hmp('y' * 3000), 'unknown command')
            expect(vm.hmp('info status'), '^VM status: paused')


main(globals())
