# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: snapshots of a running machine
# - a Linux guest that keeps a chain of checksums and writes files to ext4 on a
#   qcow2 disk is saved 5 times while it runs (20 with LONG=1); every snapshot
#   is loaded into a fresh process, where chain and files go on without a gap
# - e2fsck finds every snapshot's file system whole, qemu-img the image; it
#   lists, applies and deletes the disks' part
# - the picture after loadvm is the one of savevm
# - what cannot be done is refused in one line and changes nothing; a damaged
#   state, a full disk, kill -9 while one is written leave the others intact
import glob
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from tap import Skip, each, main
from vmlab import SLOW, VM, Fail, accel_args, guest, ORRERY, run_tool

COUNT = 20 if os.environ.get('LONG') else 5
MEMORY = '128'
SHELL = '~ # '

# One line a round: number, link of the chain. The files of the last 40 rounds
# are on the disk with their checksums.
LOOP = ('n=0; s=start; while :; do n=$((n+1)); '
        's=$(echo $s $n | sha256sum | cut -c1-16); '
        'head -c $((n%7*9000+1)) /dev/urandom >/mnt/f$((n%40)); '
        'sha256sum /mnt/f$((n%40)) >/mnt/s$((n%40)); '
        'echo LINK $n $s; done\n')
VERIFY = ('sync; echo 3 >/proc/sys/vm/drop_caches; cat /mnt/s* | '
          'sha256sum -c | grep -c OK; echo "END $((1+1))"\n')


def run(*command, good=(0,)):
    p = run_tool(command)
    if p.returncode not in good:
        raise Fail(f'{" ".join(command)}: exit status {p.returncode}\n'
                   f'{p.stdout}{p.stderr}')
    return p.stdout


def need(*tools):
    for t in tools:
        if not shutil.which(t, path=os.environ['PATH'] + ':/sbin:/usr/sbin'):
            raise Skip(f'{t} is missing')


class Disk:
    """A qcow2 image with an ext4 file system in a folder of its own."""

    def __init__(self, mib=64):
        need('qemu-img', 'mke2fs', 'e2fsck')
        self.dir = tempfile.mkdtemp(prefix='snapshots.')
        self.path = os.path.join(self.dir, 'disk.qcow2')
        raw = os.path.join(self.dir, 'raw')
        with open(raw, 'wb') as f:
            f.truncate(mib << 20)
        run('/sbin/mke2fs', '-q', '-F', '-t', 'ext4', raw)
        run('qemu-img', 'convert', '-O', 'qcow2', raw, self.path)
        os.unlink(raw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def args(self, *more, memory=MEMORY):
        return ['-m', memory, '-drive', f'file={self.path},format=qcow2', *more]

    def linux(self, *more, append=''):
        return self.args('-kernel', guest('amd64/vmlinuz'), '-initrd',
                         guest('amd64/initrd.gz'), '-append',
                         'console=tty0 console=ttyS0 nomodeset nocd ' + append,
                         *more)

    def check(self, leaks_allowed=False):
        """What qemu-img and our own check say of the image."""
        fine = (0, 3) if leaks_allowed else (0,)
        run('qemu-img', 'check', self.path, good=fine)
        run(ORRERY, 'img', 'check', self.path, good=fine)

    def tags(self):
        """Names in the list of qemu-img."""
        out = run('qemu-img', 'snapshot', '-l', self.path)
        return [x.split()[1] for x in out.splitlines()[2:]]

    def check_files(self, tag=None):
        """e2fsck, after it played the journal back, finds nothing at all."""
        raw = os.path.join(self.dir, 'raw')
        run('qemu-img', 'convert', '-O', 'raw', *(['-l', tag] if tag else []),
            self.path, raw)
        # 1: the journal was played back
        run('/sbin/e2fsck', '-p', raw, good=(0, 1))
        run('/sbin/e2fsck', '-f', '-n', raw)
        os.unlink(raw)


def chain(count):
    """The links the guest has to print."""
    links, s = {}, 'start'
    for n in range(1, count + 1):
        s = hashlib.sha256(f'{s} {n}\n'.encode()).hexdigest()[:16]
        links[n] = s
    return links


LINKS = chain(20000)


def told(vm, after=0):
    """Numbers of the rounds a machine told of, in whole lines, all right."""
    # The terminal echoes Ctrl-C wherever it comes upon a line.
    links = [re.fullmatch(r'LINK (\d+) (\w+)', x.replace('^C', ''))
             for x in vm.serial_lines(after)]
    for m in filter(None, links):
        if LINKS[int(m[1])] != m[2]:
            raise Fail(f'round {m[1]} came to {m[2]}, not {LINKS[int(m[1])]}')
    return [int(m[1]) for m in links if m]


def rounds(vm):
    """The same; and none is missing."""
    numbers = told(vm)
    for a, b in zip(numbers, numbers[1:]):
        if b != a + 1:
            text = vm.serial_text()
            at = text.find(f'LINK {a} ')
            raise Fail(f'after round {a} came {b}: {text[at:at + 200]!r}')
    return numbers


def last_round(vm):
    return (rounds(vm) or [0])[-1]


def wait_rounds(vm, more):
    """Wait until that many rounds more were told of."""
    begin = last_round(vm)
    return vm.until(f'{more} more rounds',
                    lambda: last_round(vm) >= begin + more, 120)


def wait_more(vm):
    """Wait until the guest goes on telling, whichever round."""
    at = len(vm.serial_text())
    vm.wait_serial('^LINK .*\\nLINK .*\\n', 60, at)


def boot(disk, *more, append=''):
    """A Linux with the disk on /mnt, running LOOP."""
    vm = VM(*disk.linux(*more, append=append), serial='socket')
    try:
        vm.wait_prompt('^guest login: ', 180)
        vm.serial_write('root\n')
        vm.wait_prompt(SHELL, 30)
        vm.serial_write('modprobe ext4; modprobe crc32c_generic; '
                        'mount /dev/sda /mnt && echo MOUNTED $((1+1))\n')
        vm.wait_serial('^MOUNTED 2$', 30)
        vm.serial_write(LOOP)
        vm.until('the first rounds', lambda: last_round(vm) > 3, 60)
    except BaseException as e:
        vm.__exit__(type(e), e, None)
        raise
    return vm


def says(vm, line, pattern):
    """A command's whole answer is one line that matches."""
    out = vm.hmp(line).strip()
    if not re.fullmatch(pattern, out):
        raise Fail(f'{line}: {out!r} is not {pattern!r}')
    return out


def save(vm, tag, *options):
    says(vm, ' '.join(['savevm', *options, tag]),
         rf"Snapshot '{tag}' taken, the machine stood still for [\d.]+ ms; it "
         'is being written in the background')


def saved(vm):
    """Wait until it is written."""
    vm.until('the snapshot is written',
             lambda: 'Saving' not in vm.hmp('info snapshots'), 120)


def listed(vm):
    """Tags in `info snapshots`."""
    return [x.split()[1] for x in vm.hmp('info snapshots').splitlines()[2:]]


def status(vm, what):
    says(vm, 'info status', f'VM status: {what}')


def interrupt(vm):
    """Ctrl-C until the shell hears it: it may be between two programs. Linux
    drops what is on its way out then, its echo of Ctrl-C and lines alike."""
    at = len(vm.serial_text())
    vm.until('Ctrl-C ends the loop', lambda: vm.serial_text()[at:].endswith(
        SHELL) or vm.serial_write('\x03'), 60, every=1)


def leave(vm):
    """The command quit, and what comes of it."""
    vm.monitor.sendall(b'quit\n')
    if vm.wait_exit(120) != 0:
        raise Fail(f'quit ended with {vm.process.returncode}')


def goes_on(disk, tag, first, last):
    """A fresh process takes up a snapshot made when the latest round that had
    been told of in whole was one from `first` to `last`."""
    with VM(*disk.linux('-S'), serial='socket') as vm:
        status(vm, r'paused \(prelaunch\)')
        says(vm, f'loadvm {tag}', f"Back at snapshot '{tag}'")
        vm.hmp('cont')
        wait_rounds(vm, 5)
        # The line that was half out at the snapshot is not whole here.
        begin = rounds(vm)[0]
        if not first < begin <= last + 2:
            raise Fail(f'{tag} went on with round {begin}; it was taken '
                       f'between {first} and {last}')
        # From here on a line may be cut short, or be missing.
        end = last_round(vm)
        interrupt(vm)
        at = len(vm.serial_text())
        vm.serial_write(VERIFY)
        vm.wait_serial('^END 2$', 60, at)
        good = [int(x) for x in vm.serial_lines(at) if x.isdecimal()]
        # The one Ctrl-C came upon may be cut off.
        if len(good) != 1 or good[0] < min(40, end) - 1:
            raise Fail(f'of {min(40, end)} files {good} are right\n'
                       + vm.serial_text()[at:])
        vm.serial_write('umount /mnt; echo "OUT $((1+1))"\n')
        vm.wait_serial('^OUT 2$', 30, at)
        leave(vm)
    disk.check()
    disk.check_files()


def test_a_busy_linux_goes_on_from_each_of_its_snapshots():
    with Disk() as disk:
        taken = []
        with boot(disk) as vm:
            for i in range(COUNT):
                wait_rounds(vm, 3)
                first = last_round(vm)
                save(vm, f'snap{i}')
                if i % 2:
                    saved(vm)       # the others wait for it themselves
                wait_rounds(vm, 3)
                taken.append((f'snap{i}', first, last_round(vm)))
            leave(vm)
        disk.check()
        if disk.tags() != [t for t, _, _ in taken]:
            raise Fail(f'qemu-img lists {disk.tags()}')
        for tag, _, _ in taken:
            disk.check_files(tag)
        for tag, first, last in reversed(taken):
            goes_on(disk, tag, first, last)
        run('qemu-img', 'snapshot', '-a', 'snap1', disk.path)
        disk.check_files()
        run('qemu-img', 'snapshot', '-d', 'snap1', disk.path)
        disk.check()
        goes_on(disk, *taken[0])


@each('text', 'graphics')
def test_saving_and_loading_while_paused_keeps_the_picture(mode):
    append = 'vga=791' if mode == 'graphics' else ''
    with Disk() as disk, boot(disk, append=append) as vm:
        vm.hmp('stop')
        save(vm, 'still')
        status(vm, 'paused')
        at = last_round(vm)
        picture = vm.picture()
        if (picture[0] == 1024) != (mode == 'graphics'):
            raise Fail(f'the screen is {picture[0]} wide')
        vm.hmp('cont')
        wait_rounds(vm, 5)
        vm.hmp('sendkey ret')       # the login prompt moves
        vm.until('the picture changes', lambda: vm.picture() != picture, 60)
        # A running machine runs on from there.
        begin, far = len(vm.serial_text()), last_round(vm)
        says(vm, 'loadvm still', "Back at snapshot 'still'")
        status(vm, 'running')
        vm.until('the chain is told from there again', lambda: any(
            at < n < far for n in told(vm, begin)), 60)
        vm.hmp('stop')
        says(vm, 'loadvm still', "Back at snapshot 'still'")
        status(vm, 'paused')
        if vm.picture() != picture:
            raise Fail('the picture is not the one that was saved')
        leave(vm)
        disk.check()
        with VM(*disk.linux('-S', append=append)) as fresh:
            says(fresh, 'loadvm still', "Back at snapshot 'still'")
            status(fresh, 'paused')
            if fresh.picture() != picture:
                raise Fail('a fresh process shows another picture')


def test_two_saves_in_a_row_and_replacing_one():
    with Disk() as disk, boot(disk) as vm:
        save(vm, 'one')
        save(vm, 'two')
        says(vm, 'savevm one', "Error: there is a snapshot 'one' already; "
             r'delete it \(delvm\), or replace it with savevm -f')
        save(vm, 'one', '-f')
        wait_rounds(vm, 3)
        save(vm, 'two', '-f')
        says(vm, 'loadvm one', "Back at snapshot 'one'")
        says(vm, 'loadvm two', "Back at snapshot 'two'")
        wait_more(vm)
        at = max(told(vm))
        leave(vm)
        if sorted(disk.tags()) != ['one', 'two']:
            raise Fail(f'qemu-img lists {disk.tags()}')
        disk.check()
        goes_on(disk, 'one', 1, at)
        goes_on(disk, 'two', 1, at)


def ticks(vm):
    """The firmware's count of timer interrupts, BIOS data area 40:6C."""
    return int(vm.hmp('xp /1wd 0x46c').split(':')[1])


def runs(vm):
    begin = ticks(vm)
    vm.until('the timer ticks', lambda: ticks(vm) > begin, 30)


def bare(*args, memory='32'):
    """A machine whose firmware finds nothing to boot."""
    return VM('-m', memory, '-boot', 'n', *args)


NO_DISK = ('Error: No block device can accept snapshots; give the machine a '
           'disk in qcow2 format')


def test_commands_from_a_pipe_wait_for_the_one_before():
    # The second savevm waits until the first is written; by then the pipe's
    # end was read long ago.
    with tempfile.TemporaryDirectory() as d:
        disk = f'{d}/a.qcow2'
        need('qemu-img')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', disk, '16M')
        for stdin in ('pipe', 'file'):
            lines = f'savevm {stdin}1\nsavevm {stdin}2\ninfo status\nquit\n'
            with open(f'{d}/lines', 'w+', encoding='ascii') as f:
                f.write(lines)
                f.seek(0)
                source = {'stdin': f} if stdin == 'file' else {'input': lines}
                p = subprocess.run(
                    [ORRERY, *accel_args('soft'), '-m', '16', '-display',
                     'none', '-S', '-monitor', 'stdio', '-hda', disk],
                    capture_output=True, text=True, check=False,
                    timeout=60 * SLOW, **source)
            if p.returncode != 0 or 'VM status: paused' not in p.stdout:
                raise Fail(f'{stdin}: status {p.returncode}, {p.stdout}')
        names = re.findall(r'^\d+ +(\w+)',
                           run('qemu-img', 'snapshot', '-l', disk), re.M)
        if names != ['pipe1', 'pipe2', 'file1', 'file2']:
            raise Fail(f'snapshots: {names}')
        run('qemu-img', 'check', disk)


def test_bitmaps_stay_beside_snapshots():
    # As the peer: a snapshot is not loaded over bitmaps, which would no
    # longer tell what has changed; taken and deleted it is.
    with tempfile.TemporaryDirectory() as d:
        disk = f'{d}/a.qcow2'
        need('qemu-img', 'qemu-io')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', disk, '16M')
        run('qemu-img', 'bitmap', '--add', disk, 'bits')
        run('qemu-io', '-c', 'write 1M 128k', disk)
        with VM('-S', '-m', '16', '-hda', disk) as vm:
            for name in ('one', 'two'):
                vm.hmp(f'savevm {name}')
            said = vm.hmp('loadvm one')
            if 'active dirty bitmaps' not in said:
                raise Fail(f'loadvm: {said!r}')
            vm.hmp('delvm one')
        text = run('qemu-img', 'info', disk)
        if 'two' not in text or 'one' in text or 'name: bits' not in text or \
                'in-use' in text:
            raise Fail(text)
        run('qemu-img', 'check', disk)
        run('qemu-img', 'bitmap', '--remove', disk, 'bits')
        with VM('-S', '-m', '16', '-hda', disk) as vm:
            said = vm.hmp('loadvm two')
            if 'Error' in said:
                raise Fail(said)
        run('qemu-img', 'check', disk)


def test_without_a_disk_that_can_nothing_is_done():
    with bare() as vm:
        runs(vm)
        for line in ('savevm x', 'loadvm x', 'delvm x'):
            says(vm, line, NO_DISK)
        status(vm, 'running')
        runs(vm)
    with Disk() as disk:
        raw = os.path.join(disk.dir, 'raw')
        run('qemu-img', 'create', '-f', 'raw', raw, '16M')
        # The qcow2 disk beside it can; all have to.
        with VM(*disk.args('-drive', f'file={raw},format=raw')) as vm:
            runs(vm)
            for line in ('savevm x', 'loadvm x'):
                says(vm, line, r"Error: Device 'ide0-hd1' is writable but does "
                     r'not support snapshots \(format raw; .*\)')
            status(vm, 'running')
            runs(vm)
        if disk.tags():
            raise Fail('a refused snapshot left something on the other disk')


def test_wrong_names_change_nothing():
    with Disk() as disk:
        with VM(*disk.args('-boot', 'n')) as vm:
            runs(vm)
            save(vm, 'a')
            saved(vm)
            for line in ('loadvm b', 'delvm b'):
                says(vm, line, "Error: Device 'ide0-hd0' does not have the "
                     "requested snapshot 'b'")
            says(vm, 'savevm ' + 'x' * 300,
                 "Error: a snapshot's name has 1 to 255 characters")
            for line in ('loadvm', 'delvm', 'loadvm a b', 'savevm -q a',
                         'delvm a b'):
                says(vm, line, r'[^\n]+(\nTry [^\n]+)?')
            status(vm, 'running')
            runs(vm)
            if listed(vm) != ['a']:
                raise Fail(f'snapshots: {listed(vm)}')
            says(vm, 'delvm a', "Snapshot 'a' deleted")
            says(vm, 'info snapshots', 'There is no snapshot available.')
            leave(vm)
        disk.check()


@each('memory', 'CPUs')
def test_a_machine_of_another_build_is_refused(what):
    here = {'memory': ('-m', '48'), 'CPUs': ('-smp', '2')}[what]
    why = {'memory': '33554432 octets of memory, this one 50331648',
           'CPUs': '1 CPUs, this one 2'}[what]
    with Disk() as disk:
        with VM(*disk.args('-boot', 'n', memory='32')) as vm:
            runs(vm)
            save(vm, 'a')
            leave(vm)
        with VM(*disk.args('-boot', 'n', *here, memory='32')) as vm:
            runs(vm)
            says(vm, 'loadvm a', f'Error: the saved machine has {why}; start '
                 'it as it was when it was saved')
            status(vm, 'running')
            runs(vm)


def in_image(path, what):
    """Where octets are in a file."""
    with open(path, 'rb') as f:
        data = f.read()
    return [m.start() for m in re.finditer(re.escape(what), data)]


def flip(path, at):
    with open(path, 'r+b') as f:
        f.seek(at)
        octet = f.read(1)[0]
        f.seek(at)
        f.write(bytes([octet ^ 0x55]))


def test_a_damaged_state_is_refused_and_nothing_changes():
    with Disk() as disk, boot(disk) as vm:
        wait_rounds(vm, 3)
        save(vm, 'a')
        saved(vm)
        start = in_image(disk.path, b'ORRERYVM')[-1]
        with open(disk.path, 'rb') as f:
            f.seek(start)
            state = f.read(1 << 20)
        places = [3, 9, state.index(b'machine='), state.index(b'CPU ') + 40,
                  state.index(b'DEVZ') + 6, state.index(b'DEVZ') + 200,
                  # of memory: beginning, middle
                  *in_image(disk.path, b'\x28\xb5\x2f\xfd')[-3:]]
        for at in places:
            at = at if at > start else start + at
            flip(disk.path, at)
            vm.hmp('stop')
            before = vm.hmp('info registers')
            says(vm, 'loadvm a', r'Error: (?!.*\bstopped\b)[^\n]*(damaged|not a '
                 r'machine\'s state|another version|cannot be read)[^\n]*')
            status(vm, 'paused')
            if before != vm.hmp('info registers'):
                raise Fail('the refused state changed the machine')
            vm.hmp('cont')
            says(vm, 'loadvm a', 'Error: [^\n]*')
            status(vm, 'running')
            wait_rounds(vm, 2)
            flip(disk.path, at)
        says(vm, 'loadvm a', "Back at snapshot 'a'")
        leave(vm)
        disk.check()


# Fills 20 MiB of the guest's memory with what does not compress.
FILL = ('dd if=/dev/urandom of=/tmp/fill bs=1M count=20; '
        'echo FILLED $((1+1))\n')


def filled(vm):
    """Memory that takes a while to write, between two loops."""
    interrupt(vm)
    at = len(vm.serial_text())
    vm.serial_write(FILL)
    vm.wait_serial('^FILLED 2$', 120, at)
    vm.serial_write('while :; do n=$((n+1)); '
                    's=$(echo $s $n | sha256sum | cut -c1-16); '
                    'echo LINK $n $s; done\n')


def process_state(pid):
    """The letter ps shows; '' when there is no such process."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0]
    except OSError:
        return ''


def hold(vm):
    """Stop the process that writes the state: what is being saved stays so.
    Its number; None if it was done already."""
    children = []
    for path in glob.glob(f'/proc/{vm.process.pid}/task/*/children'):
        with open(path) as f:
            children += [int(x) for x in f.read().split()]
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
        vm.until('the writer stops', lambda p=pid: process_state(p) in 'TZX',
                 30, every=0.01)
        if process_state(pid) == 'T':
            return pid
    return None


def go_on(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass                    # it had ended with the machine


def half_saved(vm, tag):
    """A snapshot that is being written until somebody ends it; the writer."""
    for _ in range(20):
        save(vm, tag, '-f')
        pid = hold(vm)
        if pid:
            return pid
    raise Fail('it was written each time before it could be stopped')


def test_a_full_disk_costs_the_snapshot_alone():
    with Disk() as disk, boot(disk) as vm:
        save(vm, 'good')
        saved(vm)
        first = last_round(vm)
        filled(vm)
        limit = os.stat(disk.path).st_size + (8 << 20)
        resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                         (limit, resource.RLIM_INFINITY))
        save(vm, 'bad')
        out = vm.hmp('savevm_wait').strip()
        if not re.fullmatch('Error: [^\n]*(File too large|No space)[^\n]*', out):
            raise Fail(f'savevm_wait: {out!r}')
        status(vm, 'running')
        resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_more(vm)
        if listed(vm) != ['good']:
            raise Fail(f'snapshots: {listed(vm)}')
        save(vm, 'bad')
        leave(vm)
        disk.check(leaks_allowed=True)
        if disk.tags() != ['good', 'bad']:
            raise Fail(f'qemu-img lists {disk.tags()}')
        run('qemu-img', 'check', '-r', 'leaks', disk.path)
        goes_on(disk, 'good', 1, first)


def test_killed_while_it_writes_older_snapshots_are_intact():
    with Disk() as disk:
        with boot(disk) as vm:
            save(vm, 'good')
            saved(vm)
            first = last_round(vm)
            filled(vm)
            writer = half_saved(vm, 'bad')
            if "Saving 'bad'" not in vm.hmp('info snapshots'):
                raise Fail('it is not being saved')
            vm.process.kill()
            vm.process.wait()
            go_on(writer)       # into a pipe that nobody reads
            end = time.monotonic() + 60
            while process_state(writer) not in ('', 'Z', 'X'):
                if time.monotonic() > end:
                    raise Fail('the process that writes outlives the machine')
                time.sleep(0.01)
        disk.check(leaks_allowed=True)
        run('qemu-img', 'check', '-r', 'leaks', disk.path, good=(0,))
        disk.check()
        with VM(*disk.linux('-S')) as vm:
            if 'bad' in listed(vm):
                says(vm, 'loadvm bad', "Error: snapshot 'bad' holds disks but "
                     'no machine [^\n]*')
                says(vm, 'delvm bad', "Snapshot 'bad' deleted")
            leave(vm)
        disk.check()
        goes_on(disk, 'good', 1, first)


def test_every_one_that_is_written_loads():
    with Disk() as disk:
        with VM(*disk.args('-boot', 'n', memory='32')) as vm:
            runs(vm)
            for i in range(25):
                save(vm, f't{i}')
                saved(vm)
            for i in range(25):
                says(vm, f'loadvm t{i}', f"Back at snapshot 't{i}'")
            leave(vm)
        disk.check()


def test_to_cancel_what_is_not_there_changes_nothing():
    none = 'Error: no snapshot is being saved'
    with Disk() as disk:
        with VM(*disk.args('-boot', 'n', memory='32')) as vm:
            runs(vm)
            says(vm, 'savevm_cancel', none)
            says(vm, 'savevm_wait', '')
            save(vm, 'a')
            saved(vm)
            says(vm, 'savevm_cancel', none)
            says(vm, 'loadvm a', "Back at snapshot 'a'")
            says(vm, 'savevm_cancel', none)
            says(vm, 'loadvm b', "Error: [^\n]*'b'")
            says(vm, 'savevm_cancel', none)
            vm.hmp('stop')
            says(vm, 'savevm_cancel', none)
            leave(vm)
        if disk.tags() != ['a']:
            raise Fail(f'tags {disk.tags()}')
        disk.check()


def test_cancelled_it_is_gone():
    with Disk() as disk:
        with boot(disk) as vm:
            filled(vm)
            half_saved(vm, 'a')
            says(vm, 'savevm_cancel', '')
            says(vm, 'savevm_cancel', 'Error: no snapshot is being saved')
            status(vm, 'running')
            says(vm, 'info snapshots', 'There is no snapshot available.')
            leave(vm)
        disk.check()
        if disk.tags():
            raise Fail(f'qemu-img lists {disk.tags()}')


if __name__ == '__main__':
    main(globals())
