# SPDX-License-Identifier: GPL-2.0-or-later
"""vmlab: drive a virtual machine through its command line and HMP monitor.

The program under test is $ORRERY. Any program with QEMU's command line and
monitor will do, so the tests themselves are tried against a peer:

    ORRERY=qemu-system-x86_64 GUESTS=build/guests python3 tests/system/X.py

Everything waits for a condition.  The limits in the tests are what a quiet
machine keeps with ease; all of them are taken TEST_SLOW times, 4 by default, so
that a slow and loaded machine passes.
"""
import ctypes
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

ORRERY = os.environ.get('ORRERY', 'build/orrery')
GUESTS = os.environ.get('GUESTS', 'build/guests')
SLOW = float(os.environ.get('TEST_SLOW', 4))
IS_PEER = 'qemu' in os.path.basename(ORRERY)

# QEMU key names of what a US keyboard types.
KEY = {' ': 'spc', '\n': 'ret', '\t': 'tab', '-': 'minus', '=': 'equal',
       '/': 'slash', '.': 'dot', ',': 'comma', ';': 'semicolon',
       "'": 'apostrophe', '[': 'bracket_left', ']': 'bracket_right',
       '\\': 'backslash', '`': 'grave_accent'}
SHIFTED = {'_': '-', '+': '=', ':': ';', '"': "'", '?': '/', '|': '\\',
           '<': ',', '>': '.', '~': '`', '{': '[', '}': ']', '!': '1',
           '@': '2', '#': '3', '$': '4', '%': '5', '^': '6', '&': '7',
           '*': '8', '(': '9', ')': '0'}
# The last alternative: a sequence whose end is still to come.
ANSI = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78cDM]'
                  r'|\x1b(\[[0-9;?]*|[()])?\Z')


class Fail(AssertionError):
    """A test's expectation did not hold; the text says which."""


def key_name(c):
    if c in SHIFTED:
        return 'shift-' + key_name(SHIFTED[c])
    if c in KEY:
        return KEY[c]
    return 'shift-' + c.lower() if c.isupper() else c


def guest(name):
    """Path of a built test guest."""
    path = os.path.join(GUESTS, name)
    if not os.path.exists(path):
        raise Fail(f'{path} is missing: run make guests')
    return path


def accel_args(accel):
    """-accel for the program under test, or what comes nearest in a peer."""
    if accel is None:
        return []
    if IS_PEER and accel == 'soft':
        return ['-accel', 'tcg']
    if IS_PEER and accel == 'kvm':
        # With its whole irqchip in the kernel a KVM that emulates loses keys.
        return ['-accel', 'kvm', '-machine', 'kernel_irqchip=split']
    return ['-accel', accel]


def die_with_parent():
    """prctl(PR_SET_PDEATHSIG, SIGKILL): no machine outlives its test."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class VM:
    """One running machine with a monitor, without a window.

    serial: 'file' is recorded; 'socket' is recorded and can be written to;
    None gives the machine no -serial option of ours.
    """

    def __init__(self, *args, accel='soft', serial='file', display='none'):
        self.dir = tempfile.mkdtemp(prefix='vmlab.')
        self.monitor_path = os.path.join(self.dir, 'monitor')
        self.serial_path = os.path.join(self.dir, 'serial')
        self.log_path = os.path.join(self.dir, 'log')
        self.serial_socket = None
        self.monitor = None
        cmd = [ORRERY, *accel_args(accel), *args, '-monitor',
               f'unix:{self.monitor_path},server=on,wait=off']
        if display:
            cmd += ['-display', display]
        if serial == 'file':
            cmd += ['-serial', f'file:{self.serial_path}']
        elif serial == 'socket':
            cmd += ['-serial', f'unix:{self.serial_path}.s,server=on,wait=off']
        self.cmd = cmd
        self.start = time.monotonic()
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                cmd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent)
        try:
            self.monitor = self._connect(self.monitor_path)
            if serial == 'socket':
                self.serial_socket = self._connect(self.serial_path + '.s')
                threading.Thread(target=self._record, daemon=True).start()
            self._until_prompt()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if isinstance(value, Fail):
            value.args = (f'{value}\n{self.describe()}',)
        self.close()

    def close(self):
        """End the machine whatever it does, and remove its files."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for s in (self.monitor, self.serial_socket):
            if s:
                s.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---------------------------------------------------------- plumbing

    def _connect(self, path):
        end = time.monotonic() + 60 * SLOW
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Fail(f'ended at once with status '
                           f'{self.process.returncode}: {self.output()}')
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                s.settimeout(60 * SLOW)
                return s
            except OSError:
                s.close()
                time.sleep(0.02)
        raise Fail(f'no socket {path} after {60 * SLOW:.0f} s: '
                   f'{" ".join(self.cmd)}\n{self.output()}')

    def _record(self):
        with open(self.serial_path, 'wb', buffering=0) as f:
            while True:
                try:
                    data = self.serial_socket.recv(65536)
                except socket.timeout:
                    continue
                except OSError:
                    return
                if not data:
                    return
                f.write(data)

    def _until_prompt(self):
        data = b''
        while not re.search(rb'\((orrery|qemu)\) (\x1b\[K)?$', data):
            try:
                more = self.monitor.recv(65536)
            except socket.timeout:
                raise Fail('the monitor does not answer') from None
            if not more:
                raise Fail('the monitor closed its connection')
            data += more
        return data.decode(errors='replace')

    def output(self):
        with open(self.log_path, errors='replace') as f:
            return f.read()

    def describe(self):
        """What a reader of a failed test wants to see."""
        lines = ['command: ' + ' '.join(self.cmd)]
        if self.process.poll() is not None:
            lines.append(f'ended with status {self.process.returncode}')
        lines += ['printed: ' + x for x in self.output().splitlines()[-10:]]
        try:
            lines += ['screen: ' + x for x in self.text() if x][-60:]
            regs = self.hmp('info registers').splitlines()
            lines += ['cpu: ' + x for x in regs[:12]]
        except (OSError, Fail) as e:
            lines.append(f'screen: not available ({e})')
        tail = self.serial_text()[-2000:].splitlines()[-15:]
        return '\n'.join(lines + ['serial: ' + x[:200] for x in tail])

    # ----------------------------------------------------------- monitor

    def hmp(self, line):
        """Run one monitor command, return what it printed."""
        try:
            self.monitor.sendall(line.encode() + b'\n')
        except OSError as e:
            raise Fail(f'the monitor takes no command: {e}') from None
        out = ANSI.sub('', self._until_prompt()).replace('\r', '')
        lines = out.split('\n')[:-1]
        if lines and lines[0].endswith(line):   # the echo
            lines = lines[1:]
        return '\n'.join(lines)

    def cells(self, rows=25, cols=80, base=0xb8000):
        """Character and attribute bytes of the text screen's memory."""
        count = rows * cols * 2 // 8
        data = b''
        for line in self.hmp(f'xp /{count}xg 0x{base:x}').splitlines():
            for word in line.partition(':')[2].split():
                data += int(word, 16).to_bytes(8, 'little')
        if len(data) != rows * cols * 2:
            raise Fail(f'xp printed {len(data)} of {rows * cols * 2} bytes')
        return data

    def text(self, rows=204, cols=80):
        """Lines of text memory; all of it, as Linux scrolls by moving the
        screen's start through it."""
        data = self.cells(rows, cols)
        step = cols * 2
        return [data[i:i + step:2].decode('cp437').replace('\0', ' ').rstrip()
                for i in range(0, len(data), step)]

    def screen(self):
        """The 25 lines at the start of text memory (boot loaders, firmware)."""
        return self.text(rows=25)

    def highlighted(self):
        """The lines of screen() that hold reverse video, without frames."""
        data = self.cells()
        lines = []
        for row in range(25):
            cells = data[row * 160:(row + 1) * 160]
            text = bytes(c for c, a in zip(cells[::2], cells[1::2])
                         if a >> 4 & 7 > a & 7).decode('cp437')
            text = text.strip(' \0│║*┌─┐├┤└┘')
            if text:
                lines.append(text)
        return lines

    def serial_text(self):
        """What came over the serial line so far; its last line may be half."""
        try:
            with open(self.serial_path, 'rb') as f:
                return ANSI.sub('', f.read().decode(errors='replace')
                                ).replace('\r', '')
        except OSError:
            return ''

    def serial_lines(self, after=0):
        """The lines that are whole, past `after` of serial_text()."""
        return self.serial_text()[after:].split('\n')[:-1]

    def serial_write(self, text):
        self.serial_socket.sendall(text.encode())

    # ----------------------------------------------------------- waiting

    def until(self, what, check, limit, every=0.1):
        """Wait until check() is true; its value. Fail names `what`."""
        end = time.monotonic() + limit * SLOW
        while True:
            alive = self.process.poll() is None
            try:
                value = check()
            except Fail:
                if self.process.poll() is None:
                    raise
                value = None
            if value:
                return value
            if not alive:
                raise Fail(f'the machine ended before: {what}')
            if time.monotonic() > end:
                raise Fail(f'not within {limit * SLOW:.0f} s: {what}')
            time.sleep(every)

    def wait_text(self, pattern, limit=60):
        """Wait for a regular expression in text memory; the match."""
        r = re.compile(pattern, re.M)
        return self.until(f'text {pattern!r} on the screen',
                          lambda: r.search('\n'.join(self.text())), limit)

    def wait_screen(self, pattern, limit=60):
        """The same in the first 25 lines alone."""
        r = re.compile(pattern, re.M)
        return self.until(f'text {pattern!r} on the screen',
                          lambda: r.search('\n'.join(self.screen())), limit)

    def wait_serial(self, pattern, limit=60, after=0):
        """Wait for a regular expression in the serial output past `after`.
        What reaches the end of a line that is still coming may be half of it
        and does not count yet: see wait_prompt()."""
        r = re.compile(pattern, re.M)

        def whole():
            text = self.serial_text()[after:]
            return next((m for m in r.finditer(text)
                         if m.end() < len(text) or text[-1:] == '\n'), None)
        return self.until(f'text {pattern!r} on the serial line', whole, limit)

    def wait_prompt(self, pattern, limit=60, after=0):
        """Wait until the serial output past `after` ends in a prompt."""
        r = re.compile(f'(?:{pattern})\\Z', re.M)
        return self.until(f'prompt {pattern!r} on the serial line',
                          lambda: r.search(self.serial_text()[after:]), limit)

    def wait_exit(self, limit=60):
        """Wait for the process to end; its exit status."""
        try:
            return self.process.wait(limit * SLOW)
        except subprocess.TimeoutExpired:
            raise Fail(f'still running after {limit * SLOW:.0f} s') from None

    # ------------------------------------------------------------- input

    def key(self, *names):
        for name in names:
            out = self.hmp(f'sendkey {name}')
            if out.strip():
                raise Fail(f'sendkey {name} printed: {out}')

    def type(self, text):
        """Type at a pace a keyboard controller's 16-byte buffer can take."""
        for c in text:
            self.key(key_name(c))
            time.sleep(0.05)

    def type_line(self, text, limit=30):
        """Type text, wait until the guest shows it, press Enter."""
        self.type(text)
        self.wait_text(re.escape(text) + r'_?$', limit)
        self.key('ret')

    # ----------------------------------------------------------- picture

    def picture(self):
        """What the screen shows: width, height, RGB bytes."""
        path = os.path.join(self.dir, 'dump.ppm')
        if os.path.exists(path):
            os.unlink(path)
        out = self.hmp(f'screendump {path}')
        if out.strip():
            raise Fail(f'screendump printed: {out}')
        return self.until('a whole screendump', lambda: read_ppm(path), 10)

    def wait_picture(self, what, check, limit=60):
        """Wait until check(width, height, rgb) is true."""
        return self.until(what, lambda: check(*self.picture()), limit, 0.5)

    def rss_kib(self):
        with open(f'/proc/{self.process.pid}/status') as f:
            return int(re.search(r'VmRSS:\s*(\d+)', f.read())[1])


class Console:
    """The program on a terminal of its own, as a user runs it."""

    def __init__(self, *args, accel='soft', rows=25, cols=80):
        self.cmd = [ORRERY, *accel_args(accel), *args]
        self.data = b''
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ['TERM'] = 'xterm-256color'
            try:
                os.execvp(self.cmd[0], self.cmd)
            finally:
                os._exit(127)
        self.pid = pid
        self.status = None
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
                    struct.pack('HHHH', rows, cols, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if isinstance(value, Fail):
            tail = self.text()[-3000:]
            value.args = (f'{value}\ncommand: {" ".join(self.cmd)}\n'
                          f'terminal: {tail}',)
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def text(self):
        """Everything printed so far, without escape sequences."""
        return ANSI.sub('', self.data.decode(errors='replace')
                        ).replace('\r', '')

    def _poll(self, seconds):
        """Read what there is; False when the program has ended."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            more = os.read(self.fd, 65536)
        except OSError:
            more = b''
        self.data += more
        return bool(more)

    def wait(self, pattern, limit=60, after=0):
        """Wait for a regular expression in text() past `after`."""
        r = re.compile(pattern, re.M)
        end = time.monotonic() + limit * SLOW
        alive = True
        while True:
            m = r.search(self.text()[after:])
            if m:
                return m
            if not alive:
                raise Fail(f'ended before {pattern!r} was printed')
            if time.monotonic() > end:
                raise Fail(f'not within {limit * SLOW:.0f} s: {pattern!r}')
            alive = self._poll(0.2)

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait_exit(self, limit=60):
        """Wait for the program to end; its exit status (-signal if killed)."""
        end = time.monotonic() + limit * SLOW
        while self._poll(0.1):
            if time.monotonic() > end:
                raise Fail(f'still running after {limit * SLOW:.0f} s')
        status = os.waitpid(self.pid, 0)[1]
        self.status = os.waitstatus_to_exitcode(status)
        return self.status


def run_tool(cmd, folder=None):
    """An image tool's run; again where the peer's found no time to measure
    its key derivation."""
    for _ in range(20):
        p = subprocess.run(cmd, cwd=folder, capture_output=True, text=True,
                           check=False, stdin=subprocess.DEVNULL,
                           timeout=120 * SLOW)
        if 'accurate CPU usage' not in p.stderr:
            break
    return p


def read_ppm(path):
    """Width, height, RGB bytes of a binary PPM; None while it is not whole."""
    try:
        with open(path, 'rb') as f:
            data = f.read()
    except OSError:
        return None
    m = re.match(rb'P6\s+(\d+)\s+(\d+)\s+255\s', data)
    if not m:
        return None
    width, height = int(m[1]), int(m[2])
    rgb = data[m.end():]
    return (width, height, rgb) if len(rgb) == width * height * 3 else None


def colours(width, height, rgb):
    """How many pixels have which colour: {(r, g, b): count}."""
    count = {}
    for i in range(0, len(rgb), 3):
        c = rgb[i:i + 3]
        count[c] = count.get(c, 0) + 1
    return {tuple(c): n for c, n in count.items()}
