# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the monitor as a person has it, at a terminal of 80x24,
# key by key
# - help and info fit the screen; longer answers page; filters
# - a word when a command went well; none for a script on a socket
# - Tab: names, arguments, what fits; history, also of the run before
# - character devices added, changed, removed; what is not here says why
import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time

import common                                           # noqa: F401
from tap import Skip, main
from vmlab import ANSI, IS_PEER, ORRERY, SLOW, VM, Fail, die_with_parent

PROMPT = re.compile(r'\(qemu\) $')


class Typist:
    """Somebody at a terminal with -monitor stdio."""

    def __init__(self, home, *args):
        if IS_PEER:
            raise Skip('our own comfort')
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack('HHHH', 24, 80, 0, 0))
        env = dict(os.environ, HOME=home, XDG_STATE_HOME=home, TERM='xterm')
        self.p = subprocess.Popen(
            [ORRERY, '-S', '-m', '16', '-smp', '2', '-display', 'none',
             '-accel', 'soft', *args, '-monitor', 'stdio'], stdin=slave,
            stdout=slave, stderr=subprocess.DEVNULL, env=env,
            preexec_fn=die_with_parent)
        os.close(slave)
        self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.p.kill()
        self.p.wait()
        os.close(self.fd)

    def wait(self, pattern=PROMPT, limit=30):
        """What comes up to the pattern at the end, as a terminal shows it."""
        out, end = b'', time.monotonic() + limit * SLOW
        while True:
            text = ANSI.sub('', out.decode(errors='replace'))
            if re.search(pattern, text):
                return text.replace('\r', '')
            left = end - time.monotonic()
            if left < 0 or not select.select([self.fd], [], [], left)[0]:
                raise Fail(f'no {pattern!r} in {text!r}')
            out += os.read(self.fd, 65536)

    def keys(self, text):
        """One at a time: each is seen before the next is pressed."""
        for key in text:
            os.write(self.fd, key.encode())
            time.sleep(0.005)

    def __call__(self, line):
        """The answer to a line."""
        self.keys(line + '\r')
        text = self.wait(r'\n(.*\n)*\(qemu\) $')
        return text.split('\n', 1)[1].rsplit('(qemu) ', 1)[0].rstrip('\n')

    def tab(self, text, pattern):
        """What there is to see after Tab; the line is thrown away."""
        self.keys(text + '\t')
        out = self.wait(pattern)
        self.keys('\x15')                       # Ctrl-U
        return out


def equal(got, want):
    if got != want:
        raise Fail(f'wanted {want!r}, got {got!r}')


def test_lists_fit_the_screen():
    with tempfile.TemporaryDirectory() as d, Typist(d) as t:
        for line in ('help', 'info'):
            lines = t(line).split('\n')
            if len(lines) > 22 or max(map(len, lines)) > 79:
                raise Fail(f'{line}: {len(lines)} lines: {lines}')
        for name in ('stop', 'savevm', 'trace-event', 'xp'):
            if name not in t('help').split():
                raise Fail(f'{name} is missing')
        equal(t('help stop'), 'stop|s  -- pause the machine')
        equal(t('help info pic'), 'info pic  -- show the interrupt '
                                  'controllers')


def test_long_answers_page_and_filters_choose():
    with tempfile.TemporaryDirectory() as d, Typist(d) as t:
        t.keys('help all\r')
        page = t.wait(r'--More--')
        if page.count('\n') > 24:
            raise Fail(f'a page of {page.count(chr(10))} lines')
        t.keys(' ')
        t.wait(r'--More--')
        t.keys('q')
        t.wait()
        equal(t('info registers -a | grep ^CPU'), 'CPU#0\nCPU#1')
        equal(t('info registers -a | grep -c ^CPU#'), '2')
        equal(t('info roms | head 1').count('\n'), 0)
        if 'CR0' in t('info registers | grep -v CR0 | head 15'):
            raise Fail('grep -v')


def test_it_says_that_it_worked():
    with tempfile.TemporaryDirectory() as d, Typist(d) as t:
        equal(t('cont'), 'the machine runs')
        equal(t('info status'), 'VM status: running')
        equal(t('stop'), 'the machine is paused')
        equal(t('cpu 7'), 'invalid CPU index')
        equal(t('nosuch'), "unknown command: 'nosuch'")
        equal(t('netdev_add user,id=n'),
              'netdev_add: there are no network devices in this version')
        if t('help netdev_add') != t('netdev_add'):
            raise Fail('help of what is not here')
    if IS_PEER:
        return
    with VM('-S', '-m', '16') as vm:            # a script sees QEMU's silence
        equal(vm.hmp('cont'), '')
        equal(vm.hmp('stop'), '')


def test_tab_shows_arguments_and_what_fits():
    with tempfile.TemporaryDirectory() as d, Typist(d) as t:
        t.tab('info stat', 'info status $')
        out = t.tab('eject ', r'\neject \[-f\] device .*\n(.*\n)*.*eject $')
        for name in ('floppy0', 'ide1-cd0'):
            if name not in out:
                raise Fail(f'{name}: {out!r}')
        t.tab('sendkey ctrl-alt-delet', 'delete $')
        t.tab('log int,cpu_r', 'log int,cpu_reset $')
        t.tab('trace-event pic_', 'trace-event pic_set_irq $')
        t.tab('trace-event pic_set_irq o', r'\bo(ff|n)')
        t.tab('p $cs.b', r'p \$cs.base $')
        t.tab('chardev-remove par', 'chardev-remove parallel0 $')
        with open(os.path.join(d, 'some file.iso'), 'w'):
            pass
        t.tab(f'change ide1-cd0 {d}/so', 'some file.iso')


def test_history_outlives_the_program():
    with tempfile.TemporaryDirectory() as d:
        with Typist(d) as t:
            t('info name')
            t('p 40+2')
            t('change vnc password secret')
            t.keys('\x1b[A\x1b[A')              # up, up
            t.wait(r'p 40\+2$')
            t.keys('\r')
            t.wait()
        with Typist(d) as t:
            t.keys('\x1b[A')
            t.wait(r'p 40\+2$')
            t.keys('\x15')
            text = t('info history | grep p')
            if 'secret' in text or 'p 40+2' not in text:
                raise Fail(text)
        path = os.path.join(d, 'orrery', 'monitor_history')
        if os.stat(path).st_mode & 0o777 != 0o600:
            raise Fail('others may read the history')


def test_character_devices_come_and_go():
    if IS_PEER:
        raise Skip('our own rules')
    d = tempfile.mkdtemp()
    try:
        with VM('-S', '-m', '16') as vm:
            door = os.path.join(d, 'door')
            equal(vm.hmp(f'chardev-add socket,id=c,path={door}'), '')
            if os.stat(door).st_mode & 0o777 != 0o600:
                raise Fail('others may connect')
            equal(vm.hmp('gdbserver chardev:c'),
                  "Waiting for gdb connection on device 'chardev:c'")
            equal(vm.hmp('chardev-remove c'), "Error: Chardev 'c' is busy")
            vm.hmp('gdbserver none')
            equal(vm.hmp('chardev-remove c'), '')
            if os.path.exists(door):
                raise Fail('the socket is still there')
            # The serial port's other end changes while the guest writes.
            for n, args in enumerate(('file', 'file', 'null')):
                path = os.path.join(d, f'serial{n}')
                equal(vm.hmp(f'chardev-change serial0 {args}' +
                             (f',path={path}' if args == 'file' else '')), '')
                vm.hmp('o /b 0x3f8 0x41')
                if args == 'file':
                    vm.hmp('cont')
                    vm.until('an A', lambda: os.path.exists(path) and
                             b'A' in open(path, 'rb').read(), 20)
                    vm.hmp('stop')
            for line, want in (
                    ('chardev-change serial0 file,path=/no/such/x',
                     '/no/such/x'),
                    ('chardev-change serial0 ringbuf', 'stays'),
                    ('chardev-change nosuch null', "Chardev 'nosuch' not"),
                    ('chardev-add socket,id=s', 'no path given'),
                    ('chardev-add socket,id=s,path=/x,wait=on', 'wait=on'),
                    ('chardev-add null,id=serial0', 'already exists')):
                if want not in vm.hmp(line):
                    raise Fail(f'{line}: {vm.hmp(line)}')
            if 'serial0: filename=null' not in vm.hmp('info chardev'):
                raise Fail(vm.hmp('info chardev'))
    finally:
        shutil.rmtree(d)


if __name__ == '__main__':
    main(globals())
