# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the control socket between a machine and the manager
# - it speaks QMP, and after x-orrery-view the manager's own messages
# - Ctrl-Alt-2 and so on show the consoles, which say whose they are
# - it is private (mode 0600) and goes away with the machine
# - the text screen arrives; a command is answered; keys reach the guest
# - rubbish, cut messages and clients that never read disturb nobody
# - a client that goes away while its picture is made holds nothing up
# - a second machine on the same socket is refused, a stale file is replaced
import json
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import tempfile

import common                                           # noqa: F401
from qmp import QMP
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, SLOW, VM, Fail, guest

WATCH, ACK, KEYS, RUN, STATUS = 1, 2, 3, 5, 6           # ui/control/control.h
STATE, TEXT, FRAME, REPLY = 64, 67, 68, 69
KEY_LEFTCTRL, KEY_LEFTALT, KEY_2 = 29, 56, 3
KEY_C = 46                                  # linux/input-event-codes.h


class Client:
    """Asks for the view in one go with the negotiation, as the manager."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)                # waits while the queue is full
        self.s.settimeout(20 * SLOW)
        self.s.sendall(b'{"execute": "qmp_capabilities"}'
                       b'{"execute": "x-orrery-view"}')
        if 'QMP' not in self.line():
            raise Fail('no greeting')
        for _ in range(2):
            if self.line() != {'return': {}}:
                raise Fail('no view')

    def line(self):
        data = b''
        while not data.endswith(b'\n'):
            data += self.exactly(1)
        return json.loads(data)

    def send(self, kind, data=b''):
        self.s.sendall(struct.pack('<II', kind, len(data)) + data)

    def exactly(self, n):
        data = b''
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise Fail('the machine closed the connection')
            data += more
        return data

    def until(self, kind):
        """Payload of the next message of that kind; frames are confirmed."""
        while True:
            got, n = struct.unpack('<II', self.exactly(8))
            data = self.exactly(n)
            if got == FRAME:
                self.send(ACK)
            if got == kind:
                return data

    def run(self, line):
        self.send(RUN, line.encode())
        return self.until(REPLY).decode()

    def wait_text(self, wanted):
        for _ in range(2000):
            data = self.until(TEXT)
            is_text, cols, rows = struct.unpack_from('<3i', data)
            cells = data[24 + 64:24 + 64 + cols * rows]
            lines = [cells[r * cols:(r + 1) * cols].decode('cp437')
                     for r in range(rows)] if is_text else []
            if any(wanted in x for x in lines):
                return
        raise Fail(f'{wanted!r} never came')


def machine(path, *args):
    if IS_PEER:
        raise Skip('the peer has no control socket')
    return VM('-control', path, '-m', '64', *args)


def test_screen_keys_and_commands_pass_through():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        with machine(path, '-cdrom', guest('grub-rescue-cdrom.iso'), '-boot',
                     'd'):
            mode = stat.S_IMODE(os.stat(path).st_mode)
            if mode != 0o600:
                raise Fail(f'the socket has mode {mode:o}')
            c = Client(path)
            c.send(WATCH, struct.pack('<I', 1))
            c.wait_text('GNU GRUB')
            c.send(KEYS, struct.pack('<5I', 1, KEY_C, 0, 0, 0))
            c.wait_text('grub>')
            if 'running' not in c.run('info status'):
                raise Fail('info status was not answered')
            c.send(STATUS)
            if struct.unpack_from('<II', c.until(STATE)) != (1, 1):
                raise Fail('not running on one CPU')


def test_consoles_say_whose_they_are():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        # vmlab takes the monitor elsewhere: the first console is the serial
        # port's.
        with machine(path, '-S', '-serial', 'vc', '-parallel', 'vc'):
            c = Client(path)
            c.send(WATCH, struct.pack('<I', 1))
            for digit, title in ((KEY_2, 'serial0'), (KEY_2 + 1, 'parallel0')):
                c.send(KEYS, struct.pack('<5I', 3, KEY_LEFTCTRL, KEY_LEFTALT,
                                         digit, 0))
                c.wait_text(f'{title} console')


def test_any_program_may_speak_qmp_there():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        with machine(path):
            with QMP(path) as a, QMP(path) as b:
                a('stop')
                a.wait_event('STOP')
                b.wait_event('STOP')
                if b('query-status')['status'] != 'paused':
                    raise Fail('not paused')
                if 'CPU #0' not in b('human-monitor-command', {
                        'command-line': 'info cpus'}):
                    raise Fail('no answer to a line')
                a('cont')
                b.wait_event('RESUME')


def test_rubbish_disturbs_nobody():
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        with machine(path) as vm:
            deaf = Client(path)             # watches and never reads
            deaf.send(WATCH, struct.pack('<I', 1))
            for n in range(200):
                if n % 4 == 0:              # in place of JSON
                    s = socket.socket(socket.AF_UNIX)
                    s.connect(path)
                    try:
                        s.sendall(rng.randbytes(rng.choice([1, 100, 5000])))
                    except OSError:
                        pass
                    s.close()
                c = Client(path)
                kind = rng.choice([0, WATCH, ACK, KEYS, 4, RUN, STATUS, 99])
                size = rng.choice([0, 4, 8, 20, 4095, 4096, 2 ** 32 - 1])
                body = rng.randbytes(rng.choice([0, 3, 20, 4095]))
                try:
                    c.s.sendall(struct.pack('<II', kind, size) + body)
                except OSError:
                    pass                    # refused half-way: as it should
                c.s.close()
            if 'running' not in Client(path).run('info status'):
                raise Fail('a good client is not served any more')
            if 'running' not in vm.hmp('info status'):
                raise Fail('the monitor does not answer')


def test_a_watcher_may_be_gone_before_its_first_picture():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        with machine(path) as vm:
            c = Client(path)
            os.kill(vm.process.pid, signal.SIGSTOP)
            c.send(WATCH, struct.pack('<I', 1))
            c.s.close()                     # both arrive at once
            os.kill(vm.process.pid, signal.SIGCONT)
            if 'running' not in Client(path).run('info status'):
                raise Fail('a good client is not served any more')
            if 'running' not in vm.hmp('info status'):
                raise Fail('the monitor does not answer')


def test_a_second_machine_is_refused_and_a_stale_socket_replaced():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        with machine(path):
            p = subprocess.run(
                [ORRERY, '-display', 'none', '-m', '16', '-control', path],
                capture_output=True, text=True, check=False,
                timeout=30 * SLOW, stdin=subprocess.DEVNULL)
            if p.returncode != 1 or 'runs already' not in p.stderr:
                raise Fail(f'status {p.returncode}: {p.stderr}')
        # The lab kills its machine, which leaves the socket behind.
        with machine(path) as vm:
            if 'running' not in Client(path).run('info status'):
                raise Fail('not served on the replaced socket')
            vm.monitor.sendall(b'quit\n')
            vm.wait_exit()
        if os.path.exists(path):
            raise Fail('the socket is left behind')


if __name__ == '__main__':
    main(globals())
