# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the machine manager in an 80x24 terminal (tmux)
# - a machine is made in the form, with the ISO picked in the file browser; a
#   bad value is marked while it is typed; Esc asks before typed text is lost
# - it starts, its console shows the guest, keys reach it, Ctrl-A d leaves
# - the manager is left and started again: the machine still runs, is shown
#   with its screen, is paused, goes on, is stopped after a question
# - it is deleted after a question and comes back by undo
# - folders that hold no usable machine.conf stop nothing; a value the form
#   cannot show (too long) is kept when the form is saved
# - a new size of the terminal closes no form and no dialog, loses nothing that
#   was typed; 40x10 shows the form in pages, a smaller terminal is waited out
# - a machine that does not start leaves its reason alone on the screen
# - without a terminal the manager says so in one line, exit status 1
import os
import re
import shutil
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, SLOW, Fail, guest

PROGRAM = os.path.abspath(ORRERY)


class Manager:
    """The manager in a tmux window of its own server."""

    def __init__(self, home, cwd):
        self.sock = os.path.join(home, 'tmux')
        self.env = dict(os.environ, XDG_DATA_HOME=home, XDG_RUNTIME_DIR=home,
                        LC_ALL='C.UTF-8', TERM='xterm-256color')
        self.env.pop('TMUX', None)
        self.cwd = cwd

    def tmux(self, *args):
        return subprocess.run(['tmux', '-S', self.sock, '-f', '/dev/null',
                               *args], env=self.env, check=False,
                              capture_output=True, text=True).stdout

    def start(self):
        self.tmux('new-session', '-d', '-x', '80', '-y', '24', '-c', self.cwd,
                  PROGRAM)
        self.wait(r'^ Orrery ')

    def screen(self):
        return self.tmux('capture-pane', '-p')

    def keys(self, *names):
        for n in names:
            self.tmux('send-keys', n)

    def type(self, text):
        self.tmux('send-keys', '-l', text)

    def wait(self, pattern, limit=20):
        end = time.monotonic() + limit * SLOW
        while True:
            text = self.screen()
            if re.search(pattern, text, re.M):
                return text
            if time.monotonic() > end:
                raise Fail(f'not within {limit * SLOW:.0f} s: {pattern!r}\n'
                           f'{text}')
            time.sleep(0.05)

    def wait_not(self, pattern, limit=20):
        end = time.monotonic() + limit * SLOW
        while re.search(pattern, self.screen(), re.M):
            if time.monotonic() > end:
                raise Fail(f'{pattern!r} does not go\n{self.screen()}')
            time.sleep(0.05)

    def resize(self, cols, rows):
        self.tmux('resize-window', '-x', str(cols), '-y', str(rows))

    def wait_end(self, limit=20):
        end = time.monotonic() + limit * SLOW
        while 'no server' not in subprocess.run(
                ['tmux', '-S', self.sock, 'ls'], env=self.env, check=False,
                capture_output=True, text=True).stderr + 'no server' * (
                    not os.path.exists(self.sock)):
            if time.monotonic() > end:
                raise Fail(f'the manager does not end\n{self.screen()}')
            time.sleep(0.05)


def need_tmux():
    if IS_PEER:
        raise Skip('the peer has no machine manager')
    if not shutil.which('tmux'):
        raise Skip('tmux is not installed')


def test_a_machine_lives_longer_than_the_manager():
    need_tmux()
    home = tempfile.mkdtemp(prefix='orrery-')
    iso = os.path.join(home, 'a grub, rescue.iso')
    os.symlink(os.path.abspath(guest('grub-rescue-cdrom.iso')), iso)
    m = Manager(home, home)
    try:
        drive(m)
    finally:
        subprocess.run([PROGRAM], env=m.env, check=False, capture_output=True,
                       stdin=subprocess.DEVNULL)
        stop_machines(home)
        m.tmux('kill-server')
        shutil.rmtree(home, ignore_errors=True)


def stop_machines(home):
    """Whatever the test left running (a failed one)."""
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                args = f.read().split(b'\0')
        except OSError:
            continue
        if b'-control' in args and any(a.startswith(home.encode())
                                       for a in args):
            os.kill(int(pid), 9)


def drive(m):
    m.start()
    m.wait('No machine yet')
    make(m)
    use_console(m)
    m.keys('q')
    m.wait_end()
    m.start()
    find_again(m)
    delete_and_undo(m)
    m.keys('q')
    m.wait_end()


def make(m):
    m.keys('n')
    m.wait('New machine')
    m.type('my grub')
    m.wait('letters, digits, - _ and . only')
    m.keys('Escape')
    m.wait('will be lost')
    m.keys('Enter')                     # the safe button
    m.keys('C-u')
    m.type('grub')
    m.keys('Down', 'F3')
    m.wait('CD-ROM: ')
    m.type('rescue')
    m.wait('narrow: rescue')
    m.wait('"ISOIMAGE"|a grub, rescue.iso')
    m.keys('Enter')
    m.wait('CD-ROM .*a grub, rescue.iso')
    m.keys('Down', 'Down', 'C-u')
    m.type('12Q')
    m.wait('memory 12Q: from 1M to 1024G')
    m.keys('C-u')
    m.type('128M')
    m.keys('Down', 'Down', 'Down', 'C-u')
    m.type('soft')
    m.keys('F5')                        # create and start


def use_console(m):
    m.wait('GNU GRUB  version', 60)
    m.wait('running . soft . 80x25 text')
    m.keys('c')
    m.wait('^grub>', 30)
    m.type('echo "12 mice" $root')
    m.keys('Enter')
    m.wait('^12 mice ', 30)
    m.keys('C-a', '?')
    m.wait('Ctrl-Alt-Delete')
    m.keys('Escape')
    m.keys('C-a', 'd')
    m.wait('grub - ● running')


def find_again(m):
    text = m.wait('1 machine, 1 running')
    m.wait('● grub')
    m.wait('grub>')                     # the live picture
    m.keys('F6')
    m.wait('‖ paused')
    text = m.screen()
    stood = re.search(r'paused (\d\d:\d\d:\d\d)', text).group(1)
    m.keys('Enter')
    m.wait('paused .* 80x25 text')
    m.keys('C-a', 'p')
    m.wait(r'running .* 80x25 text')
    m.keys('C-a', 'd')
    m.wait('● running (?!' + stood + ')')
    m.keys('F4')
    m.type('info status')
    m.keys('Enter')
    m.wait('VM status: running')
    m.keys('Escape')
    m.keys('Delete')
    m.wait('Delete the machine: the machine is running')
    m.keys('F5')
    m.wait('switched off at once')
    m.keys('Escape')
    m.wait('● running')
    m.keys('F5')
    m.wait('switched off at once')
    m.keys('Tab', 'Enter')
    m.wait('grub - ○ off')


def delete_and_undo(m):
    m.keys('Delete')
    m.wait('moves to the trash')
    m.keys('Tab', 'Enter')
    m.wait('0 machines')
    m.keys('u')
    m.wait('1 machine, 0 running')
    m.wait('○ grub')


def hostile_machine(home, name, conf):
    path = os.path.join(home, 'orrery', name)
    os.makedirs(path, mode=0o700)
    path = os.path.join(path, 'machine.conf')
    if callable(conf):
        conf(path)
    else:
        with open(path, 'wb') as f:
            f.write(conf)
    return path


def test_odd_configuration_files_stop_nothing_and_lose_nothing():
    need_tmux()
    home = tempfile.mkdtemp(prefix='orrery-')
    m = Manager(home, home)
    notes = b'x' * 5000
    try:
        path = hostile_machine(home, 'a', b'memory = 64M\nnotes = ' + notes)
        hostile_machine(home, 'fifo', os.mkfifo)
        hostile_machine(home, 'folder', os.mkdir)
        hostile_machine(home, 'loop', lambda p: os.symlink('machine.conf', p))
        hostile_machine(home, 'zero', lambda p: os.symlink('/dev/zero', p))
        hostile_machine(home, 'noise', bytes(range(256)) * 40)
        m.start()
        text = m.wait('5 machines, 0 running')
        for name in ('fifo', 'folder', 'zero', 'noise'):
            if not re.search(f'! {name}', text):
                raise Fail(f'{name} is not marked\n{text}')
        m.keys('F2')
        m.wait('Ctrl-S save')
        m.keys('BTab')
        m.wait('stays as it is: too long or odd')
        m.type('y')
        m.keys('Down', 'Down', 'Down', 'C-u')
        m.type('96M')
        m.keys('C-s')
        m.wait('pc, 1 CPU, 96M')
        with open(path, 'rb') as f:
            saved = f.read().split(b'\n')
        for line in (b'memory = 96M', b'notes = ' + notes):
            if line not in saved:
                raise Fail(f'{line[:40]} is lost: {saved}')
        m.keys('F2')
        m.wait('Ctrl-S save')
        m.keys('BTab', 'C-u')           # what is kept can be replaced
        m.type('short')
        m.keys('C-s')
        m.wait('notes short')
    finally:
        m.tmux('kill-server')
        shutil.rmtree(home, ignore_errors=True)


def test_a_new_terminal_size_loses_nothing():
    need_tmux()
    home = tempfile.mkdtemp(prefix='orrery-')
    m = Manager(home, home)
    try:
        hostile_machine(home, 'a', b'memory = 64M\n')
        m.start()
        m.wait('1 machine, 0 running')
        m.keys('n')
        m.wait('New machine')
        m.type('one')
        m.keys('Down', 'Down', 'Down', 'C-u')
        m.type('77M')
        m.resize(40, 10)
        m.wait('New machine, page 1 of 4')
        text = m.wait('Memory  +77M')
        if not re.search('Name  +one', text) or 'Boot order' in text:
            raise Fail(f'not the first page\n{text}')
        m.keys('Down', 'Down')
        m.wait('page 2 of 4')
        m.wait('CPU model')
        m.type('pentium9')
        m.wait('pentium9.*not|not .*pentium9|unknown.*pentium9')
        m.resize(30, 8)
        m.wait('40x10 needed, is 30x8')
        m.resize(132, 43)
        text = m.wait('Notes')
        for part in ('Name  +one', 'Memory  +77M', '!CPU model  +pentium9'):
            if not re.search(part, text):
                raise Fail(f'{part} is lost\n{text}')
        m.keys('C-u', 'F3')             # the models to pick from
        m.wait('qemu64')
        m.type('coreduo')
        m.wait('narrow: coreduo')
        m.resize(80, 24)
        m.wait('narrow: coreduo')       # stays open
        m.keys('Enter')
        m.wait(' CPU model  +coreduo')
        m.keys('Escape')
        m.wait('will be lost')
        m.resize(100, 30)
        m.wait('will be lost')
        m.keys('Tab', 'Enter')
        m.wait_not('New machine')
        m.wait('F2 Settings .* Del Delete')  # the bar is as wide as before
        m.resize(40, 10)
        m.wait('q Leave')
        m.keys('?')
        m.wait('Enter +Console')
        m.resize(80, 24)
        m.wait('Ctrl-A d leaves')
        m.keys('Escape')
        m.wait('a - ○ off')
    finally:
        m.tmux('kill-server')
        shutil.rmtree(home, ignore_errors=True)


def test_a_machine_that_does_not_start_says_why_and_no_more():
    need_tmux()
    home = tempfile.mkdtemp(prefix='orrery-')
    m = Manager(home, home)
    try:
        hostile_machine(home, 'a', b'memory = 64M\ncdrom = /nowhere.iso\n')
        m.start()
        m.wait('1 machine, 0 running')
        m.keys('F5')
        text = m.wait('Not started')
        if '/nowhere.iso' not in text or 'Starting a' in text:
            raise Fail(f'not the reason alone\n{text}')
        m.keys('Enter')
        m.wait_not('Not started')
        if 'Starting a' in m.screen():
            raise Fail(f'a left-over\n{m.screen()}')
    finally:
        m.tmux('kill-server')
        shutil.rmtree(home, ignore_errors=True)


def test_without_a_terminal_it_says_so():
    if IS_PEER:
        raise Skip('the peer has no machine manager')
    p = subprocess.run([PROGRAM], stdin=subprocess.DEVNULL, check=False,
                       capture_output=True, text=True)
    if p.returncode != 1 or p.stderr.count('\n') != 1 or \
            'needs a terminal' not in p.stderr or p.stdout:
        raise Fail(f'status {p.returncode}: {p.stdout!r} {p.stderr!r}')


if __name__ == '__main__':
    main(globals())
