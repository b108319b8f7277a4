# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: every command of help without arguments, every page of
# info, and the lines below with good arguments, in a machine that
# - was not started, runs, is paused, was shut down, met an error of its disk
# - waits for a migration, migrates away, writes a snapshot
# Each answers; an error is one line and leaves the machine's state alone.
import os
import re
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import Skip, each, main
from vmlab import IS_PEER, ORRERY, VM, Fail

LINES = '''
savevm a;savevm a;savevm -f a;savevm_wait;savevm_cancel;savevm b;loadvm a
snapshot_note a words;info snapshots -t;delvm a;delvm a;snapshot_export b @/e
snapshot_blkdev hd @/no/such.qcow2;migrate -d file:@/m;migrate_cancel
migrate_incoming file:@/none;migrate_set_capability events on
stop;cont;step;system_reset;system_powerdown;system_wakeup;nmi;cpu 0
boot_set c;p $rip;x/4i $pc;x/10gx 0;xp/10gx 0x100000;i/b 0x64;o/b 0x80 0
sum 0 4096;memsave 0 4096 @/x;pmemsave 0 4096 @/x;dump-guest-memory @/core
screendump @/s.ppm;sendkey a;mouse_move 1 1;mouse_button 1;mouse_set 0
device_add ide-hd;device_del nosuch;drive_add 0 if=none,id=d,file=@/r.img
drive_del d;drive_backup hd @/b.qcow2 qcow2;drive_mirror hd @/b2.qcow2 qcow2
block_stream hd;commit hd;commit all;block_job_pause hd;block_job_resume hd
block_job_set_speed hd 1;block_job_complete hd;block_job_cancel hd
block_resize hd 32M;block_set_io_throttle hd 0 0 0 0 0 0;info block -v
eject ide1-cd0;change ide1-cd0 @/r.img;change ide1-cd0 @/none;eject ide1-cd0
nbd_server_start unix:@/n;nbd_server_add hd;nbd_server_remove hd
nbd_server_stop;chardev-add null,id=c;chardev-change c ringbuf
chardev-send-break c;chardev-remove c;gdbserver unix:@/g,server=on,wait=off
gdbserver none;log int;log none;logfile @/log;trace-event * on
trace-event * off;singlestep on;singlestep off;set_password vnc x
expire_password vnc now;gva2gpa 0;gpa2hva 0;gpa2hpa 0;qom-list /machine
qom-get /machine type
'''.replace('\n', ';').strip(';').split(';')


class Machine(VM):
    """A small one with a disk, whose files are in .files."""

    def __init__(self, *args, disk='format=qcow2,file=@/q.qcow2'):
        self.tmp = tempfile.TemporaryDirectory()
        self.files = self.tmp.name
        with open(os.path.join(self.files, 'r.img'), 'wb') as f:
            f.truncate(16 << 20)
        subprocess.run([ORRERY, 'img', 'create', '-q', '-f', 'qcow2',
                        os.path.join(self.files, 'q.qcow2'), '16M'],
                       check=True)
        args += '-drive', 'if=ide,id=hd,' + disk
        super().__init__('-m', '32', *[a.replace('@', self.files)
                                       for a in args])

    def close(self):
        super().close()
        self.tmp.cleanup()

    def status(self):
        return self.hmp('info status').replace(' (single step mode)', '')


# What brings a machine into a state, before each line.
def go(vm):
    vm.hmp('cont')


def pause(vm):
    vm.hmp('stop')


def shut(vm):
    if '(shutdown)' not in vm.status():
        vm.hmp('cont')
        vm.hmp('system_reset')          # -no-reboot
        vm.until('shutdown', lambda: '(shutdown)' in vm.status(), 20)


def fail(vm):
    if '(io-error)' not in vm.status():
        vm.hmp('stop')
        vm.hmp('system_reset')
        vm.until('a reset', lambda: '(prelaunch)' in vm.status(), 20)
        vm.hmp('cont')
        vm.until('io-error', lambda: '(io-error)' in vm.status(), 20)


def save(vm):
    vm.hmp('cont')
    vm.hmp('savevm_cancel')
    vm.hmp('savevm_wait')
    vm.hmp('savevm -f during')


def migrate(vm):
    def is_active():
        if 'status: active' in vm.hmp('info migrate'):
            return True
        vm.hmp('migrate -d "exec:exec sleep 600"')  # which reads nothing
        return False
    vm.hmp('cont')
    vm.until('a migration', is_active, 20, 0.01)


def stay(_):
    pass


# Every read fails but the controller's, for the geometry.
FAULTY = ('driver=raw,rerror=stop,file.driver=faulty,file.faults='
          'read:2:EIO:sticky,file.file.driver=file,'
          'file.file.filename=@/r.img')
# Arguments, way into the state, the word of info status, lines that leave it
# for good.
STATES = {
    'prelaunch': (['-S'], stay, '(prelaunch)',
                  {'cont', 'stop', 'step', 'loadvm a', 'loadvm b',
                   'migrate -d file:@/m'}),
    'running': ([], go, 'running', ()),
    'paused': ([], pause, 'paused', ()),
    'shutdown': (['-no-reboot', '-no-shutdown'], shut, '(shutdown)', ()),
    'io-error': (['-boot', 'c'], fail, '(io-error)',
                 {'block_job_complete hd'}),  # and the disk is a sound one
    'incoming': (['-incoming', 'defer'], stay, '(inmigrate)',
                 {'migrate_incoming file:@/none'}),
    'saving': ([], save, 'running', ()),
    # More pages, of zeros even, than fit into a pipe.
    'migrating': (['-m', '512'], migrate, 'running', ()),
}


def every_line(vm):
    yield from LINES
    for page in ('', 'info '):
        text = vm.hmp('help' if not page else 'info')
        found = re.findall('^' + page + r'([\w-]+)', text, re.M)
        if len(found) < 40:
            raise Fail(f'{len(found)} names in: {text}')
        for name in found:
            if name != 'quit':
                yield page + name


def is_refusal(line, answer):
    return answer.startswith(('Error', line.split()[0] + ': ', 'unknown'))


@each(*STATES)
def test_every_command_answers_in_every_state(name):
    if IS_PEER:
        raise Skip('our commands')
    args, enter, word, leaving = STATES[name]
    more = {'disk': FAULTY} if name == 'io-error' else {}
    refused, previous = 0, None
    with Machine(*args, **more) as vm:
        for line in every_line(vm):
            if line in leaving:
                continue
            try:
                if line == 'migrate_cancel' and name != 'migrating':
                    vm.until('the end of the migration', lambda: not re.search(
                        'status: (setup|active)', vm.hmp('info migrate')), 20)
                enter(vm)
            except Fail as reason:
                raise Fail(f'{reason}, before {line}, after {previous}')
            previous = line
            before = vm.status()
            if word not in before:
                raise Fail(f'before {line}: {before}')
            answer = vm.hmp(line.replace('@', vm.files)).strip()
            if line == 'system_reset' and name in ('paused', 'io-error'):
                vm.until('a reset', lambda: '(prelaunch)' in vm.status(), 20)
            if not is_refusal(line, answer):
                continue
            refused += 1
            first, _, rest = answer.partition('\n')
            if rest and not re.fullmatch('Try "help [^\n]*', rest):
                raise Fail(f'{line}: {answer}')
            if len(first) > 400 or vm.status() != before:
                raise Fail(f'{line}: {answer}: {before}, {vm.status()}')
        if refused < 30:
            raise Fail(f'{refused} lines were refused')
        vm.monitor.sendall(b'quit\n')
        if vm.wait_exit() != 0:
            raise Fail(f'exit status {vm.process.returncode}')


if __name__ == '__main__':
    main(globals())
