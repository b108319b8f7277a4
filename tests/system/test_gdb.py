# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: Debian's gdb against guests through -gdb and gdbserver
# - a bare 32-bit guest with DWARF, under both accelerators, from -S on: break,
#   hbreak, backtrace, step, next, finish, watch, set var, Ctrl-C, monitor,
#   detach; the guest goes on
# - Linux with the symbols of its kallsyms: break at a kernel function,
#   backtrace, stepi, watch a variable, threads, detach; its shell goes on
# - real mode: a breakpoint at the boot sector, again after a reset
# - code a guest writes anew is met each time
# - a second gdb waits for the first; one comes twice
# - gdb that starts the machine (-gdb stdio), or finds it at a terminal
# - the server: gdbserver, gdbserver none, a lost connection, what is refused
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from tap import Skip, each, main, need_accel
from vmlab import IS_PEER, ORRERY, SLOW, VM, Fail, accel_args, guest

BARE = r'''
volatile unsigned ticks, answer;
asm(".section .multiboot,\"ax\"\n"
    ".long 0x1badb002, 0, -0x1badb002\n"
    ".globl _start\n"
    "_start: mov $stack + 4096, %esp\n"
    "call run\n"
    ".text\n");
char stack[4096];
static int __attribute__((noinline)) inner(int n)
{
    answer = n * 2;
    return answer + 1;
}
static int __attribute__((noinline)) outer(int n)
{
    int r = inner(n + 1);
    return r * 3;
}
void run(void)
{
    for (;;) {
        outer(ticks);
        ticks++;
    }
}
'''


class Gdb:
    """gdb, one command after the other."""

    def __init__(self, *files):
        if shutil.which('gdb') is None:
            raise Skip('gdb is not installed')
        self.log = b''
        env = dict(os.environ, TERM='dumb', DEBUGINFOD_URLS='')
        self.p = subprocess.Popen(
            ['gdb', '-q', '-nx', *files], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        self.wait()
        for line in ('set pagination off', 'set confirm off',
                     'set width 0', 'set tcp auto-retry off'):
            self(line)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.p.kill()
        self.p.wait()
        if isinstance(value, Fail):
            value.args = (f'{value}\ngdb: '
                          + self.log.decode(errors='replace')[-3000:],)

    def wait(self, limit=60):
        """Everything up to the next prompt."""
        out, end = b'', time.monotonic() + limit * SLOW
        while not out.endswith(b'(gdb) '):
            left = end - time.monotonic()
            if left < 0 or not select.select([self.p.stdout], [], [], left)[0]:
                raise Fail(f'gdb is silent for {limit * SLOW:.0f} s')
            more = os.read(self.p.stdout.fileno(), 65536)
            if not more:
                raise Fail('gdb has ended')
            out += more
            self.log += more
        return out[:-6].decode(errors='replace')

    def start(self, line):
        self.log += line.encode() + b'\n'
        self.p.stdin.write(line.encode() + b'\n')
        self.p.stdin.flush()

    def __call__(self, line, want=None, limit=60):
        """Run a command; fail unless its answer matches."""
        self.start(line)
        out = self.wait(limit)
        if want is not None and not re.search(want, out):
            raise Fail(f'{line}: no {want!r} in\n{out}')
        return out

    def go(self, vm):
        """continue, without waiting for the next stop."""
        out, end = b'', time.monotonic() + 20 * SLOW
        self.start('continue')
        while b'Continuing.\n' not in out:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.p.stdout], [], [], left)[0]:
                raise Fail('gdb does not continue')
            out += os.read(self.p.stdout.fileno(), 65536)
        self.log += out
        if out.endswith(b'(gdb) '):
            raise Fail('gdb has stopped again')
        vm.until('the machine runs', lambda: 'running' in
                 vm.hmp('info status'), 20)

    def interrupt(self):
        """Ctrl-C to a gdb that waits for the target."""
        self.p.send_signal(signal.SIGINT)
        return self.wait()

    def number(self, what):
        return int(self(f'output/x {what}'), 16)


def gdb_device(path, arch=None):
    return f'unix:{path},server=on,wait=off' + (f',arch={arch}' if arch
                                                else '')


def compile_quietly(command):
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode != 0:
        raise Fail(f'{" ".join(command)}:\n{p.stderr}')


def build_bare(directory, text=BARE):
    cc = os.environ.get('CC', 'gcc')
    source = os.path.join(directory, 'bare.c')
    elf = os.path.join(directory, 'bare.elf')
    with open(source, 'w') as f:
        f.write(text)
    compile_quietly(
        [cc, '-m32', '-g', '-O0', '-ffreestanding', '-fno-pic', '-no-pie',
         '-fno-stack-protector', '-fcf-protection=none',
         '-fno-omit-frame-pointer',
         '-fno-asynchronous-unwind-tables', '-nostdlib', '-nostdinc',
         '-static',
         '-Wl,-N,--build-id=none,-Ttext=0x100100,'
         '--section-start=.multiboot=0x100000', '-o', elf, source])
    return elf


def is_fast_kvm():
    """Some /dev/kvm emulate: without data breakpoints."""
    with VM('-S', accel='auto') as vm:
        return 'kvm' in vm.hmp('info status') or \
            'enabled' in vm.hmp('info kvm')


@each('soft', 'kvm')
def test_a_bare_guest_is_debugged_from_its_first_instruction(accel):
    need_accel(accel)
    if IS_PEER:
        raise Skip('needs arch=i386')
    with tempfile.TemporaryDirectory() as d:
        elf = build_bare(d)
        path = os.path.join(d, 'gdb')
        with VM('-S', '-m', '16', '-kernel', elf, '-gdb',
                gdb_device(path, 'i386'), accel=accel) as vm, Gdb(elf) as gdb:
            gdb(f'target remote {path}', '0x0*fff0 in')
            # As the firmware copies the guest over it, a hardware breakpoint.
            gdb('hbreak run', 'Hardware assisted breakpoint 1')
            gdb('continue', 'Breakpoint 1, run', 120)
            gdb('delete 1')
            gdb('break outer', 'Breakpoint 2')
            gdb('continue', r'Breakpoint 2, outer \(n=0\)')
            gdb('step', r'inner \(n=1\)')
            gdb('backtrace', r'#0 +inner \(n=1\)[^#]*#1 .* outer \(n=0\)'
                             r'[^#]*#2 .* run \(\)')
            gdb('next', 'return answer')
            gdb('print answer', '= 2')
            gdb('finish', 'Value returned is .* 3')
            gdb('continue', r'Breakpoint 2, outer \(n=1\)')
            gdb('set var ticks = 1000')
            gdb('continue', r'Breakpoint 2, outer \(n=1001\)')
            gdb('delete 2')
            has_watch = accel == 'soft' or is_fast_kvm()
            if not has_watch:
                print('# no watchpoints: this /dev/kvm emulates, and its '
                      'emulator has none')
            if has_watch:
                gdb('watch answer', 'Hardware watchpoint 3')
                gdb('continue', r'Old value = \d+\s+New value = \d+')
                gdb('backtrace 1', '#0 +inner')
                gdb('delete 3')
                gdb('rwatch ticks', 'watchpoint 4')
                gdb('continue', r'Value = \d+')
                gdb('delete 4')
            # Seven at once: more than there are debug registers.
            if accel == 'soft':
                for n in range(6):
                    gdb(f'break *{0x200000 + n}')
                gdb('tbreak inner')
                gdb('continue', 'Temporary breakpoint .* inner')
                gdb('delete')
            gdb.go(vm)
            out = gdb.interrupt()
            if 'SIGINT' not in out:
                raise Fail(f'Ctrl-C: {out}')
            before = gdb.number('ticks')
            where = gdb.number('&ticks')
            gdb('monitor info status', r'paused')
            gdb('monitor nonsense', 'unknown command')
            gdb('info registers eip cs cr0', 'eip +0x10')
            gdb('p $eflags', r'\[')
            gdb('p $cr0', r'\[ PE ')
            gdb('p $mxcsr', r'\[.* IM .*\]')
            gdb('p/x $eax = 0x12345678', '0x12345678')
            gdb('p/x $eax', '0x12345678')
            gdb('x/4xb 0x100000', '0x02\\s+0xb0\\s+0xad\\s+0x1b')
            gdb('detach', 'detached')

            def goes_on():
                line = vm.hmp(f'xp /1wx 0x{where:x}')
                return int(line.split()[-1], 16) > before + 100
            vm.until('the guest goes on', goes_on, 30)


def gdb_batch(*lines):
    """What gdb prints for these lines."""
    cmd = ['gdb', '-q', '-nx', '-batch']
    for line in lines:
        cmd += ['-ex', line]
    return subprocess.run(cmd, stdin=subprocess.DEVNULL, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60 * SLOW).stdout


def test_gdb_starts_the_machine_or_finds_it_at_a_terminal():
    if shutil.which('gdb') is None:
        raise Skip('gdb is not installed')
    look = ('x/i $cs*16+$rip', 'stepi', 'p/x $rip', 'detach')
    rest = ['-S', '-m', '16', '-display', 'none', '-serial', 'none']
    program = shlex.join([ORRERY, *accel_args('soft'), *rest])
    out = gdb_batch(f'target remote | exec {program} -monitor none -gdb stdio',
                    *look[:-1], 'kill')
    if '= 0xe05b' not in out:
        raise Fail(out)
    p = subprocess.run([ORRERY, *rest, '-gdb', 'stdio', '-monitor', 'stdio'],
                       capture_output=True, text=True, timeout=60 * SLOW,
                       stdin=subprocess.DEVNULL, check=False)
    if p.returncode != 1 or 'stdio: used by more than one' not in p.stderr:
        raise Fail(f'{p.returncode}: {p.stderr}')
    with VM(*rest, '-chardev', 'stdio,id=terminal') as vm:
        answer = vm.hmp('gdbserver stdio')
        if 'stdio: used by another' not in answer:
            raise Fail(answer)
    with VM(*rest, '-gdb', 'pty') as vm:
        place = re.search(r'/dev/pts/\d+', vm.output())[0]
        for stopped in (r'= 0xe05b\n', r'detached'):  # and once more
            out = gdb_batch(f'target remote {place}', *look)
            if not re.search(stopped, out):
                raise Fail(out)
            vm.until('it goes on', lambda: vm.hmp('info status') ==
                     'VM status: running', 20)


def kallsyms(vm, names):
    """Addresses of kernel symbols, asked of the guest's shell."""
    at = len(vm.serial_text())
    vm.serial_write('grep -E " (' + '|'.join(names) + ')$" /proc/kallsyms; '
                    'echo END-$((1+1))\n')
    vm.wait_serial('^END-2', 60, at)
    found = {}
    for line in vm.serial_text()[at:].splitlines():
        m = re.match(r'([0-9a-f]{16}) (\w) (\w+)$', line)
        if m:
            found.setdefault(m[3], (int(m[1], 16), m[2]))
    missing = set(names) - set(found)
    if missing:
        raise Fail(f'no {missing} in /proc/kallsyms')
    return found


def build_symbols(directory, symbols):
    """An ELF file of names: functions in .text, variables in .data. Without
    sizes, so that all of a function is found by its start."""
    cc = os.environ.get('CC', 'gcc')
    source = os.path.join(directory, 'symbols.s')
    elf = os.path.join(directory, 'symbols.elf')
    text = {n: a for n, (a, k) in symbols.items() if k in 'tT'}
    data = {n: a for n, (a, k) in symbols.items() if k not in 'tT'}
    starts = [min(text.values()), min(data.values())]
    with open(source, 'w') as f:
        for section, flags, kind, names, start in (
                ('.text', 'ax', 'function', text, starts[0]),
                ('.data', 'aw', 'object', data, starts[1])):
            f.write(f'.section {section},"{flags}",@progbits\n')
            for n, a in sorted(names.items(), key=lambda x: x[1]):
                f.write(f'.org {a - start}\n.globl {n}\n.type {n},@{kind}\n'
                        f'{n}: .skip 8\n')
            f.write('.skip 4096\n')
    compile_quietly(
        [cc, '-nostdlib', '-static', '-no-pie', '-Wl,--build-id=none,-e0,'
         f'-Ttext={starts[0]:#x},-Tdata={starts[1]:#x}', '-mcmodel=kernel',
         '-o', elf, source])
    return elf


def test_linux_is_debugged_by_the_names_of_its_functions():
    names = ['__x64_sys_getppid', 'do_syscall_64', 'jiffies_64',
             'init_uts_ns', 'entry_SYSCALL_64_after_hwframe',
             'update_process_times', '__schedule']
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'gdb')
        with VM('-m', '256', '-smp', '2', '-kernel', guest('cloud/vmlinuz'),
                '-initrd', guest('cloud/initrd.gz'), '-append',
                'console=ttyS0 nokaslr nocd', '-gdb', gdb_device(path),
                serial='socket') as vm:
            vm.wait_prompt('^guest login: ', 180)
            vm.serial_write('root\n')
            vm.wait_prompt('~ # ', 30)
            vm.serial_write('echo 0 > /proc/sys/kernel/kptr_restrict\n')
            symbols = kallsyms(vm, names)
            elf = build_symbols(d, symbols)
            with Gdb(elf) as gdb:
                debug_linux(vm, gdb, path)


def both_cpus_meet_breakpoints(vm, gdb):
    """Two busy CPUs run into the same breakpoints, often at once; steps of
    one go past those of the other."""
    vm.serial_write('while :; do :; done & while :; do :; done &\n')
    gdb.interrupt()
    gdb('break update_process_times')
    gdb('break __schedule')
    seen = set()
    for _ in range(200):
        out = gdb('continue', r'Thread \d hit Breakpoint')
        seen.add(re.search(r'Thread (\d) hit', out)[1])
        if len(seen) == 2:
            break
    if len(seen) != 2:
        raise Fail(f'200 stops, all on CPU {seen}')
    for _ in range(40):
        gdb('stepi', '0x')
    gdb('delete')
    gdb.go(vm)
    vm.serial_write('kill %1 %2\n')
    gdb.interrupt()


def debug_linux(vm, gdb, path):
    gdb(f'target remote {path}', '0x[0-9a-f]+ in')
    threads = gdb('info threads')
    if len(re.findall(r'CPU ?#\d', threads)) != 2:
        raise Fail(f'not two threads:\n{threads}')
    gdb('thread 2', r'Switching to thread 2')
    gdb('thread 1', r'Switching to thread 1')
    gdb('break __x64_sys_getppid', 'Breakpoint 1 at')
    gdb.go(vm)
    # A shell looks for its parent when it starts.
    vm.serial_write("sh -c 'echo parent is $PPID-$((1+1))'\n")
    out = gdb.wait(60)
    if not re.search(r'Breakpoint 1, 0x[0-9a-f]+ in __x64_sys_getppid', out):
        raise Fail(f'no stop in __x64_sys_getppid:\n{out}')
    gdb('backtrace 2', r'#0 .*__x64_sys_getppid[^#]*#1 .*do_syscall_64')
    here = gdb.number('$pc')
    gdb('stepi')
    if not here < gdb.number('$pc') < here + 16:
        raise Fail(f'stepi went from {here:#x} to {gdb.number("$pc"):#x}')
    gdb('x/s (char *)&init_uts_ns + 4', 'Linux|"')
    gdb('delete 1')
    gdb('watch *(unsigned long *)&jiffies_64', 'Hardware watchpoint 2')
    out = gdb('continue', r'Old value = \d+\s+New value = \d+')
    old, new = (int(x) for x in re.findall(r'value = (\d+)', out))
    if not 0 < new - old < 1000:
        raise Fail(f'jiffies went from {old} to {new}')
    gdb('delete 2')
    gdb.go(vm)      # a Ctrl-C before that reached gdb's prompt
    vm.wait_serial('^parent is [0-9]+-2', 60)
    if not IS_PEER:     # QEMU 7.2 reports steps of the wrong CPU here
        both_cpus_meet_breakpoints(vm, gdb)
        gdb.go(vm)
    out = gdb.interrupt()
    if 'SIGINT' not in out:
        raise Fail(f'Ctrl-C: {out}')
    gdb('detach', 'detached')
    at = len(vm.serial_text())
    vm.serial_write('echo alive $((6*7))\n')
    vm.wait_serial('^alive 42', 30, at)


def test_the_boot_sector_is_met_in_real_mode():
    if IS_PEER:
        raise Skip('needs arch=i8086')
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'gdb')
        with VM('-S', '-m', '32', '-boot', 'a', '-fda',
                guest('grub-rescue-floppy.img'), '-gdb',
                gdb_device(path, 'i8086'), '-snapshot') as vm, Gdb() as gdb:
            gdb(f'target remote {path}')
            if gdb.number('$eip') != 0xfffffff0:
                raise Fail(f'the reset vector is {gdb.number("$eip"):#x}')
            gdb('break *0x7c00')
            gdb('continue', 'Breakpoint 1, 0x0*7c00 in', 60)
            gdb('x/i $pc', 'jmp')
            gdb('x/1xh 0x7dfe', '0xaa55')
            gdb('delete')
            gdb('detach', 'detached')
            vm.wait_screen('GNU GRUB', 90)


def test_breakpoints_outlive_a_reset():
    if IS_PEER:
        raise Skip('needs arch=i8086')
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'gdb')
        with VM('-S', '-m', '32', '-boot', 'a', '-fda',
                guest('grub-rescue-floppy.img'), '-gdb',
                gdb_device(path, 'i8086'), '-snapshot') as vm, Gdb() as gdb:
            gdb(f'target remote {path}')
            gdb('break *0x7c00')
            for _ in range(3):
                gdb('continue', 'Breakpoint 1, 0x0*7c00 in', 60)
                gdb('monitor system_reset')
                vm.until('a CPU at its start', lambda: int(
                    vm.hmp('p/x $pc'), 16) == 0xfffffff0, 20)
                gdb('maintenance flush register-cache')
                if gdb.number('$eip') != 0xfffffff0:
                    raise Fail(f'eip {gdb.number("$eip"):#x}')
            gdb('delete')
            gdb('detach', 'detached')
            vm.wait_screen('GNU GRUB', 90)


# Code that writes a function and calls it, again and again: what it returns
# is a constant in the code.
WRITER = r'''
asm(".section .multiboot,\"ax\"\n"
    ".long 0x1badb002, 0, -0x1badb002\n"
    ".globl _start\n"
    "_start: mov $stack + 4096, %esp\n"
    "call run\n"
    ".text\n");
char stack[4096];
unsigned char made[4096] __attribute__((aligned(4096)));
volatile unsigned got;
void run(void)
{
    for (unsigned n = 0x1000;; n++) {
        volatile unsigned char *p = made;

        p[0] = 0xb8; /* mov $n, %eax; ret */
        *(volatile unsigned *)(p + 1) = n;
        p[5] = 0xc3;
        got = ((unsigned (*)(void))made)();
    }
}
'''


@each('soft', 'kvm')
def test_code_written_anew_is_met_each_time(accel):
    need_accel(accel)
    if IS_PEER:
        raise Skip('needs arch=i386')
    with tempfile.TemporaryDirectory() as d:
        elf = build_bare(d, WRITER)
        path = os.path.join(d, 'gdb')
        with VM('-S', '-m', '16', '-kernel', elf, '-gdb',
                gdb_device(path, 'i386'), accel=accel) as vm, Gdb(elf) as gdb:
            gdb(f'target remote {path}', '0x0*fff0 in')
            gdb('hbreak run')
            gdb('continue', 'Breakpoint 1, run', 120)
            # A software breakpoint of KVM is in the code, and written over.
            kind = 'hbreak' if accel == 'kvm' else 'break'
            gdb(f'{kind} *(char *)&made + 0')
            gdb(f'{kind} *((char *)&made + 5)')
            for n in range(0x1000, 0x1008):
                gdb('continue', r'Breakpoint 2, ')
                gdb('x/i $pc', rf'mov +\$0x{n:x},%eax')
                gdb('continue', r'Breakpoint 3, ')
                if gdb.number('$eax') != n:
                    raise Fail(f'eax is {gdb.number("$eax"):#x}, not {n:#x}')
            gdb('delete')
            # The debugger writes code, too, and it is what runs then.
            gdb('set var made[5] = 0xc3')
            gdb('tbreak 1')
            gdb('delete')
            gdb.go(vm)
            gdb.interrupt()
            before = gdb.number('got')
            gdb('detach', 'detached')
            where = re.search(r'0x([0-9a-f]+)', gdb('p &got'))[1]
            vm.until('the guest goes on', lambda: int(vm.hmp(
                f'xp /1wx 0x{where}').split()[-1], 16) > before + 100, 30)


def packet(s, text):
    """Send one packet of the protocol, return the answer's text."""
    s.sendall(b'$%s#%02x' % (text, sum(text) & 255))
    data = b''
    while not re.search(rb'\$[^#]*#..$', data):
        more = s.recv(65536)
        if not more:
            raise Fail(f'{text!r}: the connection was closed')
        data += more
    return re.search(rb'\$([^#]*)#..$', data)[1]


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20 * SLOW)
    end = time.monotonic() + 20 * SLOW
    while True:
        try:
            s.connect(path)
            return s
        except BlockingIOError:     # those that came before wait, too
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def test_gdbserver_opens_and_closes_the_door():
    if IS_PEER:
        raise Skip('ours says what it did')
    with tempfile.TemporaryDirectory() as d, VM('-m', '16') as vm:
        path = os.path.join(d, 'gdb')
        out = vm.hmp(f'gdbserver unix:{path}')
        if out != f"Waiting for gdb connection on device 'unix:{path}'":
            raise Fail(f'gdbserver printed {out!r}')
        if os.stat(path).st_mode & 0o777 != 0o600:
            raise Fail(f'others may connect: {os.stat(path).st_mode:o}')
        with connect(path) as s:
            vm.until('the machine stops', lambda: vm.hmp('info status') ==
                     'VM status: paused (debug)', 10)
            answer = packet(s, b'?')
            if answer != b'T05thread:1;':
                raise Fail(f'? was answered by {answer}')
            answer = packet(s, b'Z0,7c00,1')
            if answer != b'OK':
                raise Fail(f'Z0 was answered by {answer}')
        # The peer is gone without a word: the machine goes on.
        vm.until('the machine runs', lambda: vm.hmp('info status') ==
                 'VM status: running', 10)
        # What is misspelt leaves it as it is.
        out = vm.hmp('gdbserver tcp:example.org:1')
        if 'loopback' not in out:
            raise Fail(f'another host: {out}')
        connect(path).close()
        if vm.hmp('gdbserver none') != 'Disabled gdbserver':
            raise Fail('gdbserver none')
        try:
            connect(path).close()
        except OSError:
            return
        raise Fail('the server still listens')


def test_a_second_gdb_waits_for_the_first():
    if IS_PEER:
        raise Skip('our own rules')
    with tempfile.TemporaryDirectory() as d, VM('-m', '16') as vm:
        path = os.path.join(d, 'gdb')
        vm.hmp(f'gdbserver unix:{path}')
        first = connect(path)
        if packet(first, b'Z0,7c00,1') != b'OK':
            raise Fail('Z0')
        second = connect(path)
        second.sendall(b'$qC#b4')
        if packet(first, b'qC') != b'QC1':
            raise Fail('the first is not served')
        if select.select([second], [], [], 0)[0]:
            raise Fail('the second is served as well')
        first.close()
        second.settimeout(20 * SLOW)
        data = b''
        while b'$QC1#' not in data:
            more = second.recv(4096)
            if not more:
                raise Fail('the second was turned away')
            data += more
        second.close()
        vm.until('the machine runs', lambda: vm.hmp('info status') ==
                 'VM status: running', 10)
        with connect(path) as third:        # and one more comes
            if packet(third, b'?') != b'T05thread:1;':
                raise Fail('the third')


def test_hostile_packets_harm_nobody():
    with tempfile.TemporaryDirectory() as d, VM('-m', '16') as vm:
        path = os.path.join(d, 'gdb')
        vm.hmp(f'gdbserver unix:{path},server=on,wait=off')
        rng = random.Random(11)
        for n in range(60):
            with connect(path) as s:
                try:
                    if n % 3 == 0:
                        s.sendall(rng.randbytes(3000))
                    elif n % 3 == 1:
                        s.sendall(b'$' + b'm' * 100000)
                    else:
                        for _ in range(50):
                            text = bytes([rng.choice(b'gGpPmMXZzHTvqQc?s')]) + bytes(
                                rng.choice(b'0123456789abcdef,:;=-')
                                for _ in range(rng.randrange(40)))
                            s.sendall(b'$%s#%02x' % (text, sum(text) & 255))
                except OSError:
                    pass                # it may hang up
        with connect(path) as s:
            if packet(s, b'qC') not in (b'QC1', b'QCp01.01'):
                raise Fail('qC')
        vm.until('the machine runs', lambda: 'running' in
                 vm.hmp('info status'), 20)


def test_a_chardev_may_be_named():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'gdb')
        with VM('-S', '-m', '16', '-chardev',
                f'socket,path={path},server=on,wait=off,id=door',
                '-gdb', 'chardev:door') as vm, connect(path) as s:
            if packet(s, b'qC') not in (b'QC1', b'QCp01.01'):
                raise Fail('qC')
            if 'paused' not in vm.hmp('info status'):
                raise Fail('it runs')


@each('tcp:0.0.0.0:12345', 'tcp::', 'tcp:example.org:1', 'unix:', 'vc',
      'tcp::12345,arch=vax', 'tcp::12345,colour=red', 'tcp::12345,wait=on', 'chardev:')
def test_a_bad_device_is_refused(device):
    if IS_PEER:
        raise Skip('our own rules')
    p = subprocess.run([ORRERY, '-display', 'none', '-gdb', device],
                       capture_output=True, text=True, timeout=60 * SLOW,
                       stdin=subprocess.DEVNULL)
    lines = p.stderr.splitlines()
    if p.returncode != 1 or len(lines) != 1 or device not in lines[0]:
        raise Fail(f'{p.returncode}: {p.stderr}')


if __name__ == '__main__':
    main(globals())
