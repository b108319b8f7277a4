# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: formats of the monitor that scripts read, on a machine with
# a disk, a CD-ROM and an empty floppy drive. They hold for the peer too.
# - info block: which image, which device, tray, cache mode
# - change: what cannot be opened is named once, and the medium stays
# - a key sent right after cont arrives
# - rubbish and long lines on the monitor's socket
# - two monitors at once, telnet, the console of a display
import os
import re
import socket
import tempfile

import common                                           # noqa: F401
from rfb import Viewer
from tap import Skip, each, main, need_accel
from vmlab import IS_PEER, SLOW, VM, Fail, guest

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


@each('soft', 'kvm')
def test_step_executes_one_instruction(accel):
    if IS_PEER:
        raise Skip('the peer has no such command')
    need_accel(accel)
    with VM('-S', '-m', '64', '-smp', '2', accel=accel) as vm:
        def pc():
            return int(vm.hmp('print/x $pc'), 16)
        expect(vm.hmp('info status'), 'prelaunch')
        if pc() != 0xfffffff0:
            raise Fail(f'starts at {pc():#x}')
        expect(vm.hmp('step'), '^$')        # the far jump at the reset vector
        vm.until('the end of the step', lambda: 'paused (debug)' in
                 vm.hmp('info status'), 30)
        if pc() != 0xfe05b:
            raise Fail(f'{pc():#x}, not 0xfe05b')
        length = [len(x.split(':')[1].split('  ')[1].split()) for x in
                  vm.hmp(f'x/1i 0x{pc():x}').splitlines()][0]
        before = pc()
        expect(vm.hmp('step'), '^$')
        vm.until('the end of the step', lambda: 'paused (debug)' in
                 vm.hmp('info status'), 30)
        if pc() != before + length:
            raise Fail(f'{before:#x} + {length} is not {pc():#x}')
        expect(vm.hmp('info cpus'), r'\* CPU #0')
        vm.hmp('cont')
        expect(vm.hmp('info status'), '^VM status: running')
        expect(vm.hmp('step'), 'the machine runs: stop it first')
        vm.wait_text('SeaBIOS', 60)


def converse(sock, line):
    """What a second monitor prints for a line."""
    sock.sendall(line.encode() + b'\n')
    data = b''
    while not data.endswith(b'(qemu) '):
        more = sock.recv(65536)
        if not more:
            raise Fail('the monitor hung up')
        data += more
    return data.decode().replace('\r', '').split('\n', 1)[1]


def connect(address):
    s = socket.socket(socket.AF_UNIX if isinstance(address, str)
                      else socket.AF_INET)
    s.settimeout(60 * SLOW)
    s.connect(address)
    data = b''
    while not data.endswith(b'(qemu) '):
        data += s.recv(4096)
    return s, data


def test_two_monitors_at_once_do_not_disturb_each_other():
    if IS_PEER:
        raise Skip('the peer edits lines with other sequences')
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'second')
        with VM('-S', '-m', '64', '-smp', '2', '-monitor',
                f'unix:{path},server=on,wait=off') as vm:
            s, _ = connect(path)
            s.sendall(b'info st')           # half a line stays half a line
            expect(vm.hmp('cpu 1'), '^$')
            expect(vm.hmp('p /d 5'), '^5$')
            expect(vm.hmp('info cpus'), r'^\* CPU #1')
            expect(converse(s, 'atus'), '^VM status: paused')
            expect(converse(s, 'info cpus'), r'^\* CPU #0')
            expect(converse(s, 'p 0x10'), '^0x10$')     # not the other's /d
            expect(vm.hmp('p 0x10'), '^16$')
            expect(converse(s, 'info history'), "^0: 'info status'$")
            big = b'xp /2000xb 0\n' * 200   # answers it never reads
            s.setblocking(False)
            try:
                while big:
                    big = big[s.send(big):]
            except BlockingIOError:
                pass
            expect(vm.hmp('cont'), '^$')
            expect(vm.hmp('info status'), '^VM status: running')
            s.close()


def test_the_second_console_of_a_vnc_display_is_a_monitor():
    if IS_PEER:
        raise Skip("the peer's consoles have another size")
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'monitor')
        with VM('-m', '64', '-vnc', f'127.0.0.1:{port - 5900}', '-monitor',
                'vc', '-monitor', f'unix:{path},server=on,wait=off') as vm:
            v = Viewer(port)
            ctrl, alt = 0xffe3, 0xffe9

            def console(digit):
                for sym, down in ((ctrl, 1), (alt, 1), (ord(digit), 1),
                                  (ord(digit), 0), (alt, 0), (ctrl, 0)):
                    v.key(sym, down)

            def colour_of_text():
                width, height, rgb = v.update()
                return (width, height,
                        len(set(rgb[i:i + 3] for i in range(0, len(rgb), 3))))
            vm.until('a picture', lambda: v.update()[0] == 720, 60)
            console('2')
            vm.until('a text console',
                     lambda: colour_of_text() == (640, 400, 2), 20)
            v.type('stop\n')
            vm.until('a machine that stopped', lambda: 'paused' in
                     vm.hmp('info status'), 20)
            v.type('c\n')
            vm.until('a machine that runs', lambda: 'running' in
                     vm.hmp('info status'), 20)
            console('1')
            vm.until("the guest's picture", lambda: v.update()[0] == 720, 20)
            v.close()


def test_a_telnet_client_gets_a_monitor():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with VM('-S', '-monitor',
            f'telnet:127.0.0.1:{port},server=on,wait=off') as vm:
        s, hello = connect(('127.0.0.1', port))
        # RFC 857, 858: will echo, will suppress go-ahead
        if b'\xff\xfb\x01' not in hello or b'\xff\xfb\x03' not in hello:
            raise Fail(f'no telnet negotiation: {hello}')
        s.sendall(b'\xff\xfd\x01\xff\xfd\x03')
        s.sendall(b'info status\r\0')
        data = b''
        while data.count(b'(qemu) ') < 1 or b'paused' not in data:
            data += s.recv(4096)
        s.close()
        expect(vm.hmp('info status'), '^VM status: paused')


main(globals())
