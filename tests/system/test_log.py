# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: log, logfile, trace-event, singlestep, nmi and the options
# behind them have the effect they are named for
# - int, exec, cpu, in_asm, cpu_reset, unimp, guest_errors: lines that only the
#   guest's doing explains; none: no more of them
# - trace events by name and pattern, from the monitor and -trace
# - -d and -D; what is misspelt
# - singlestep: shown, and the guest goes on
# - nmi is delivered; info cpus tells a halted CPU from a busy one
# - KVM says what it cannot show
import os
import re
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import Skip, each, main, need_accel
from vmlab import IS_PEER, ORRERY, SLOW, VM, Fail, guest

CD = 'grub-rescue-cdrom.iso'


def expect(text, pattern):
    if not re.search(pattern, text, re.M):
        raise Fail(f'no {pattern!r} in:\n{text[:2000]}')


def read(path):
    with open(path, errors='replace') as f:
        return f.read()


class Logged(VM):
    """A machine that waits in GRUB's menu or for media, and a log file."""

    def __init__(self, *args, has_cd=True, **more):
        self.folder = tempfile.TemporaryDirectory()
        self.log = os.path.join(self.folder.name, 'log')
        cd = ['-cdrom', guest(CD), '-boot', 'd'] if has_cd else []
        super().__init__('-m', '64', *cd, *args, **more)
        expect(self.hmp(f'logfile {self.log}'), '^$')

    def close(self):
        super().close()
        self.folder.cleanup()

    def until_logged(self, pattern):
        self.until(f'{pattern!r} in the log',
                   lambda: re.search(pattern, read(self.log), re.M), 60)


SHOWN = {
    'int': r'^CPU 0: v=08 interrupt cpl=0 IP=',         # the timer's
    'exec': r'^Trace 0: [0-9a-f]{4}:[0-9a-f]{8,16} [0-9a-f]{16}$',
    'cpu': r'^EIP=[0-9a-f]{8} EFL=[0-9a-f]{8} \[',
}


@each(*SHOWN)
def test_an_item_shows_what_the_guest_does(item):
    if IS_PEER:
        raise Skip('our own layout')
    pattern = SHOWN[item]
    with Logged() as vm:
        vm.wait_screen('GNU GRUB', 60)
        expect(vm.hmp(f'log {item}'), '^$')
        vm.until_logged(pattern)
        expect(vm.hmp('log none'), '^$')
        vm.hmp('stop')
        size = os.path.getsize(vm.log)
        vm.hmp('cont')
        vm.key('c')
        vm.wait_text('grub> *$', 60)        # much was done, nothing was logged
        if os.path.getsize(vm.log) != size:
            raise Fail(f'{os.path.getsize(vm.log) - size} more bytes')


def test_resets_and_new_code_are_shown():
    if IS_PEER:
        raise Skip('our own layout')
    with Logged('-S', '-smp', '2') as vm:
        expect(vm.hmp('log cpu_reset,in_asm'), '^$')
        vm.hmp('system_reset')
        vm.until_logged(r'^CPU Reset \(CPU 1\): system reset\n'
                        r'EAX=0{8} EBX=0{8}')
        vm.hmp('cont')
        # The first instruction of every PC.
        vm.until_logged(r'^IN: CPU 0\n0xfffffff0:  ea 5b e0 00 f0 +ljmp ')
        vm.until_logged(r'^CPU Reset \(CPU 1\): INIT$')


def test_ports_and_memory_that_are_not_there_are_told():
    if IS_PEER:
        raise Skip('our own layout')
    with Logged() as vm:
        vm.wait_screen('GNU GRUB', 60)
        vm.hmp('log unimp,guest_errors')
        vm.hmp('i /b 0x1234')
        vm.hmp('o /b 0x1235 7')
        vm.key('c')
        vm.wait_text('grub> *$', 60)
        vm.type('read_byte 0x80000000\n')
        vm.until_logged(
            r'^guest: memory: read at 0x80000000, where nothing is$')
        text = read(vm.log)
        expect(text, r'^port 0x1234: nothing is there to be read$')
        expect(text, r'^port 0x1235: nothing is there to take 0x7$')
        vm.hmp('log none')
        vm.hmp('i /b 0x1234')
        if read(vm.log) != text:
            raise Fail('none logs on')


def test_events_are_traced_by_name():
    if IS_PEER:
        raise Skip('our own events')
    with Logged('-S') as vm:
        expect(vm.hmp('info trace-events cpu_*'),
               r'^cpu_in : state 0\ncpu_out : state 0$')
        expect(vm.hmp('trace-event cpu_in on'), '^$')
        expect(vm.hmp('info trace-events cpu_*'),
               r'^cpu_in : state 1\ncpu_out : state 0$')
        vm.hmp('i /b 0x71')
        vm.hmp('o /b 0x70 0x0f')
        text = read(vm.log)
        expect(text, r'^cpu_in addr 0x71\(b\) value 0x')
        if 'cpu_out' in text:
            raise Fail(f'not asked for:\n{text}')
        vm.hmp('trace-event * off')
        vm.hmp('trace-event runstate_set on')
        vm.hmp('trace-event handle_hmp_command on')
        vm.hmp('cont')
        vm.hmp('stop')
        vm.hmp('trace-event * off')
        lines = read(vm.log)[len(text):].splitlines()
        want = ['handle_hmp_command cmd "cont"', 'runstate_set running',
                'handle_hmp_command cmd "stop"', 'runstate_set paused',
                'handle_hmp_command cmd "trace-event * off"']
        if lines != want:
            raise Fail(f'{lines}')
        vm.hmp('log trace:input_event_*')
        vm.hmp('cont')
        vm.hmp('sendkey a')
        vm.until_logged(r'^input_event_key code 30 down 1\n'
                        r'input_event_key code 30 down 0$')
        vm.hmp('log none')
        vm.hmp('trace-event ide_* on')
        vm.hmp('trace-event blk_request on')
        vm.hmp('system_reset')
        vm.until_logged(r'^ide_exec_cmd \S+ cmd 0xa1$')     # IDENTIFY PACKET
        vm.until_logged(r'^ide_atapi_cmd \S+ cmd 0x28$')    # READ (10)
        vm.until_logged(r'^blk_request \S+ op 0 offset \d+ bytes \d+$')


def test_the_command_line_asks_for_the_same():
    if IS_PEER:
        raise Skip('our own layout')
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'log')
        with VM('-m', '32', '-d', 'int,trace:pic_set_irq', '-trace',
                'enable=runstate_*', '-D', path) as vm:
            for pattern in (r'^runstate_set running$', r'^CPU 0: v=',
                            r'^pic_set_irq irq 0 level 1$'):
                vm.until(f'{pattern} in the log',
                         lambda: re.search(pattern, read(path), re.M), 60)
            expect(vm.hmp('info trace-events runstate_set'), 'state 1')
    for args, want in ((('-d', 'nosuch'), "no log item 'nosuch'"),
                       (('-d', 'int,trace:x'), "no trace event 'x'"),
                       (('-trace', 'nosuch'), "no trace event 'nosuch'"),
                       (('-D', '/no/such/log'), '/no/such/log')):
        p = subprocess.run([ORRERY, '-display', 'none', *args],
                           capture_output=True, text=True, timeout=60 * SLOW,
                           stdin=subprocess.DEVNULL)
        if p.returncode != 1 or len(p.stderr.splitlines()) != 1 or \
                want not in p.stderr:
            raise Fail(f'{args}: {p.returncode}: {p.stderr}')


def test_single_steps_are_slow_and_right():
    with Logged() if not IS_PEER else VM('-m', '64', '-cdrom', guest(CD),
                                         '-boot', 'd') as vm:
        vm.wait_screen('GNU GRUB', 60)
        expect(vm.hmp('singlestep'), '^$')
        expect(vm.hmp('info status'), r'^VM status: running \(single step '
                                      r'mode\)$')
        vm.key('c')
        vm.wait_text('grub> *$', 60)
        expect(vm.hmp('singlestep off'), '^$')
        expect(vm.hmp('info status'), '^VM status: running$')
        vm.key('a')
        vm.wait_text('grub> a *$', 60)


def test_single_steps_from_the_start():
    with VM('-m', '64', '-S', '-singlestep') as vm:
        expect(vm.hmp('info status'), r'^VM status: paused \(single step '
                                      r'mode\) \(prelaunch\)$')
        vm.hmp('cont')
        expect(vm.hmp('info status'), r'^VM status: running \(single step '
                                      r'mode\)$')
        vm.wait_screen('SeaBIOS', 60)


def test_an_nmi_arrives_and_cpus_are_watched():
    if IS_PEER:
        raise Skip('our own layout')
    # The firmware waits in real mode: the first CPU has a handler for it.
    with Logged('-smp', '2', '-nic', 'none', has_cd=False) as vm:
        vm.wait_screen('No bootable device', 60)
        expect(vm.hmp('info cpus'), r'^\* CPU #0: thread_id=\d+')
        # Where the firmware has left it.
        vm.until('the second CPU rests', lambda: re.search(
            r'^  CPU #1: thread_id=\d+ \(halted\)$', vm.hmp('info cpus'),
            re.M), 20)
        vm.hmp('log int,cpu_reset')
        expect(vm.hmp('nmi'), '^$')
        # Every CPU gets one; there is no handler for it on the second.
        vm.until_logged(r'^CPU 1: v=02 interrupt')
        vm.until_logged(r'^Triple fault \(CPU 1\)$')


def test_kvm_says_what_it_cannot_show():
    if IS_PEER:
        raise Skip('our own words')
    need_accel('kvm')
    with Logged('-S', accel='kvm') as vm:
        expect(vm.hmp('log int'), 'the software CPU .* this is KVM')
        expect(vm.hmp('singlestep'), '^Error: only the software CPU')
        expect(vm.hmp('log cpu_reset'), '^$')
        vm.hmp('system_reset')
        vm.until_logged(r'^CPU Reset \(CPU 0\): system reset$')


if __name__ == '__main__':
    main(globals())
