# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: machines that move between programs
# - a Linux guest that keeps a chain of checksums and writes files to ext4 moves
#   by unix socket, file, command (gzip) and TCP from one program to the next;
#   chain and files go on without a gap, the images change hands, e2fsck finds
#   the file system whole
# - cancelled half-way, or with the other side killed or failing, it goes on
#   where it was; a file appears when it is whole, or not at all
# - what cannot be taken in is refused with one line and status 1: another
#   build of the machine, a stream cut short or damaged anywhere
# - a machine that was paused arrives paused; -S, stop and cont before it is
#   there; strangers at the socket; two migrations at once
# - JSON: states, events and shapes as the peer has them
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from qmp import QMP, QMPError
from tap import Skip, each, main, need_accel
from test_snapshots import (Disk, VERIFY, boot, filled, interrupt, last_round,
                            leave, rounds, run, save, says, status, ticks,
                            wait_rounds)
from vmlab import VM, Fail, ORRERY, SLOW

ARRIVES = r'paused \(inmigrate\)'
GONE = r'paused \(postmigrate\)'


class Folder:
    """A folder of our own."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix='migrate.')
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def __call__(self, name):
        return os.path.join(self.path, name)


def bare(*args, memory='16', **more):
    """A machine whose firmware finds nothing to boot, and keeps ticking."""
    return VM('-m', memory, '-boot', 'n', *args, **more)


def migration(vm):
    """What `info migrate` says of it."""
    m = re.search(r'Migration status: (.*)', vm.hmp('info migrate'))
    return m[1] if m else 'none'


def wait_state(vm, pattern):
    return vm.until(f'the migration is {pattern}',
                    lambda: re.fullmatch(pattern, migration(vm)), 60)


def moves(vm, uri):
    """migrate, to its end; the whole answer is nothing."""
    says(vm, f'migrate "{uri}"', '')
    if migration(vm) != 'completed':
        raise Fail(f'the migration is {migration(vm)}')
    status(vm, GONE)


def is_running(vm):
    begin = ticks(vm)
    vm.until('the timer ticks', lambda: ticks(vm) > begin, 30)
    status(vm, 'running')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


# Whether the receiver reads, or answers, first is up to the scheduler.
SENDER_GONE = '(the stream ends too early|the sender has gone away: .*)'


def ends(vm, pattern):
    """The program ends by itself, status 1, with one line."""
    if vm.wait_exit(60) != 1:
        raise Fail(f'it ended with status {vm.process.returncode}')
    out = vm.output().strip()
    if '\n' in out or not re.fullmatch(f'orrery: -incoming {pattern}', out):
        raise Fail(f'it said {out!r}, not {pattern!r}')


# ------------------------------------------------------- a guest that works

def goes_on_there(old, new):
    """The chain on the new machine takes up where the old one left off."""
    last = last_round(old)
    wait_rounds(new, 3)
    first = rounds(new)[0]
    # The line that was half out when it moved is whole on neither side.
    if not last < first <= last + 2:
        raise Fail(f'{last} was the last round there, {first} the first here')
    if last_round(old) != last:
        raise Fail('the guest runs on both sides')


def test_a_busy_linux_moves_from_program_to_program():
    port = free_port()
    with Disk() as disk, Folder() as at:
        ways = [(f'unix:{at("socket")}',) * 2,
                (f'file:{at("file")}',) * 2,
                (f'exec:gzip -1 >{at("gz")}', f'exec:gzip -dc {at("gz")}'),
                (f'tcp:127.0.0.1:{port}', f'tcp::{port}')]
        vm = boot(disk)
        try:
            for out, into in ways:
                new = None
                if out.startswith(('unix', 'tcp')):     # somebody listens
                    new = VM(*disk.linux('-incoming', into), serial='socket')
                    status(new, ARRIVES)
                wait_rounds(vm, 2)
                moves(vm, out)
                if new is None:
                    new = VM(*disk.linux('-incoming', into), serial='socket')
                    new.until('it is here', lambda n=new:
                              'running' in n.hmp('info status'), 60)
                status(new, 'running')
                goes_on_there(vm, new)
                says(vm, 'cont', 'Error: ide0-hd0: [^\n]*in use by another '
                     'process[^\n]*')
                status(vm, GONE)
                leave(vm)
                vm = new
            interrupt(vm)
            begin = len(vm.serial_text())
            vm.serial_write(VERIFY)
            vm.wait_serial('^END 2$', 60, begin)
            m = re.search(r'^(\d+)$', vm.serial_text()[begin:], re.M)
            # The one Ctrl-C came upon may be cut off.
            if not m or int(m[1]) < min(40, last_round(vm)) - 1:
                raise Fail(f'{m and m[1]} files are right')
            vm.serial_write('umount /mnt; echo "OUT $((1+1))"\n')
            vm.wait_serial('^OUT 2$', 30, begin)
            leave(vm)
        except Fail as e:
            e.args = (f'{e}\n{vm.describe()}',)
            raise
        finally:
            vm.close()
        disk.check()
        disk.check_files()


def slow(vm):
    """So slow that there is time to do something about it."""
    vm.hmp('migrate_set_parameter max-bandwidth 2M')


def test_cancelled_or_left_alone_the_guest_goes_on():
    with Disk() as disk, Folder() as at, boot(disk) as vm:
        uri = f'unix:{at("s")}'
        for how in ('cancel', 'kill', 'refuse'):
            more = ('-smp', '2') if how == 'refuse' else ()
            with VM(*disk.linux('-incoming', uri, *more)) as new:
                slow(vm)
                says(vm, f'migrate -d {uri}', '')
                if how != 'refuse':
                    wait_state(vm, 'active')
                    wait_rounds(vm, 2)
                    vm.until('memory has moved', lambda: int(re.search(
                        r'transferred ram: (\d+)',
                        vm.hmp('info migrate'))[1]) > 1000, 60)
                if how == 'cancel':
                    says(vm, 'migrate_cancel', '')
                    wait_state(vm, 'cancelled')
                    ends(new, f'{re.escape(uri)}: {SENDER_GONE}')
                elif how == 'kill':
                    new.process.kill()
                    wait_state(vm, r'failed \(the other side has gone away.*\)')
                else:
                    wait_state(vm, r'failed \(the other side refuses: .*CPUs.*')
                    ends(new, f'{re.escape(uri)}: the machine that arrives has '
                         'CPUs: 1, this one 2; start this one with -smp 1')
                status(vm, 'running')
                wait_rounds(vm, 2)
        vm.hmp('migrate_set_parameter max-bandwidth 0')
        with VM(*disk.linux('-incoming', uri), serial='socket') as new:
            moves(vm, uri)
            goes_on_there(vm, new)
            # The new one is gone: the old one may have its disks back.
            new.process.kill()
            new.process.wait()
        says(vm, 'cont', '')
        status(vm, 'running')
        vm.process.kill()
        vm.process.wait()
        disk.check(leaks_allowed=True)


HOPS = 20


def given_up(vm, disk, uri, kib):
    """Begin to move, and change one's mind once so much is sent.  The guest
    goes on here, whatever phase that was in; False: it was gone already."""
    def so_far():
        text = vm.hmp('info migrate')
        m = re.search(r'transferred ram: (\d+)', text)
        return (m and int(m[1]) >= kib) or 'status: active' not in text and \
            'status: setup' not in text

    with VM(*disk.linux('-incoming', uri)) as new:
        says(vm, f'migrate -d {uri}', '')
        vm.until('so much is sent', so_far, 60)
        vm.hmp('migrate_cancel')
        vm.until('it is over', lambda: migration(vm) in (
            'cancelled', 'completed'), 60)
        if migration(vm) == 'completed':
            new.process.kill()          # and the machine may come back
            new.process.wait()
            says(vm, 'cont', '')
        else:
            ends(new, f'{re.escape(uri)}: .*')
        status(vm, 'running')
        wait_rounds(vm, 1)


def test_back_and_forth_many_times_and_changing_ones_mind():
    with Disk() as disk, Folder() as at:
        uri = f'unix:{at("socket")}'
        vm = boot(disk)
        try:
            for hop in range(HOPS):
                vm.hmp('migrate_set_parameter max-bandwidth '
                       f'{(0, 24, 150)[hop % 3]}M')
                if hop % 2 == 1:        # from the start to the very end
                    given_up(vm, disk, uri, hop * 4096)
                new = VM(*disk.linux('-incoming', uri), serial='socket')
                status(new, ARRIVES)
                wait_rounds(vm, 1)
                moves(vm, uri)
                status(new, 'running')
                goes_on_there(vm, new)
                leave(vm)
                vm = new
            interrupt(vm)
            begin = len(vm.serial_text())
            vm.serial_write(VERIFY)
            vm.wait_serial('^END 2$', 60, begin)
            vm.serial_write('umount /mnt; echo "OUT $((1+1))"\n')
            vm.wait_serial('^OUT 2$', 30, begin)
            leave(vm)
        except Fail as e:
            e.args = (f'{e}\n{vm.describe()}',)
            raise
        finally:
            vm.close()
        disk.check()
        disk.check_files()


def test_the_image_changes_hands_at_the_end_and_not_before():
    with Disk() as disk, Folder() as at:
        uri = f'unix:{at("s")}'

        def writer():
            """Who would have to be asked before somebody else may write."""
            p = subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'quit',
                                disk.path], capture_output=True, check=False)
            return p.returncode != 0

        run('qemu-io', '--version')
        with VM(*disk.args('-boot', 'n', '-incoming', uri)) as new:
            if writer():
                raise Fail('it locks an image that is not its own yet')
            with VM(*disk.args('-boot', 'n')) as vm:
                if not writer():
                    raise Fail('nobody has the image')
                moves(vm, uri)
                status(new, 'running')
                leave(vm)
            if not writer():
                raise Fail('it does not lock the image it writes')
            leave(new)
        disk.check()


def test_a_snapshot_that_is_being_written_comes_first():
    with Disk() as disk, Folder() as at, boot(disk) as vm:
        uri = f'file:{at("f")}'
        filled(vm)
        save(vm, 'a')
        out = vm.hmp(f'migrate {uri}').strip()
        if out:
            if out != ('Error: a snapshot is being written; savevm_wait waits '
                       'for it'):
                raise Fail(out)
            says(vm, 'savevm_wait', '')
            moves(vm, uri)
        for line in ('savevm b', 'loadvm a'):
            says(vm, line, 'Error: the machine has gone elsewhere; [^\n]*')
        says(vm, 'cont', '')
        says(vm, 'loadvm a', "Back at snapshot 'a'")
        status(vm, 'running')
        leave(vm)
        disk.check()


# ------------------------------------------------------------ files, commands

def test_a_file_appears_when_it_is_whole():
    with Folder() as at, bare(memory='64') as vm:
        uri = f'file:{at("f")}'
        vm.hmp('migrate_set_parameter max-bandwidth 1k')
        says(vm, f'migrate -d {uri}', '')
        wait_state(vm, 'active')
        for line in (f'migrate {uri}', f'migrate -d unix:{at("x")}', 'savevm a',
                     'loadvm a'):
            says(vm, line, "Error: There's a migration process in progress")
        if os.path.exists(at('f')):
            raise Fail('the file is there before it is whole')
        says(vm, 'migrate_cancel', '')
        wait_state(vm, 'cancelled')
        if os.listdir(at.path):
            raise Fail(f'left over: {os.listdir(at.path)}')
        is_running(vm)
        vm.hmp('migrate_set_parameter max-bandwidth 0')
        resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                         (8192, resource.RLIM_INFINITY))
        says(vm, f'migrate {uri}', 'Error: the state cannot be sent: File too '
             'large')
        resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if os.listdir(at.path):
            raise Fail(f'left over: {os.listdir(at.path)}')
        is_running(vm)
        says(vm, f'migrate file:{at("no/f")}',
             f'Error: {at("no/f")}: No such file or directory')
        is_running(vm)
        begin = ticks(vm)
        moves(vm, uri)
        if os.listdir(at.path) != ['f'] or os.stat(at('f')).st_mode & 0o77:
            raise Fail(f'{os.listdir(at.path)} {os.stat(at("f"))}')
        says(vm, 'cont', '')                # nobody else has taken it
        is_running(vm)
        with bare('-incoming', uri, memory='64') as new:
            new.until('it is here', lambda: 'running' in
                      new.hmp('info status'), 60)
            if ticks(new) < begin:
                raise Fail('the clock ran backwards')
            is_running(new)


def test_a_command_that_fails_has_not_got_the_machine():
    with bare() as vm, Folder() as at:
        for command, why in (
                ('false', r'(the other side has gone away|the command ended '
                          r'with status 1)'),
                ('cat >/dev/null; exit 3', 'the command ended with status 3'),
                ('cat >/dev/null; kill -9 $$',
                 'the command was killed by signal 9')):
            says(vm, f'migrate "exec:{command}"', f'Error: {why}')
            if not re.fullmatch(fr'failed \({why}\)', migration(vm)):
                raise Fail(migration(vm))
            is_running(vm)
        # A command that does not take anything can be cancelled, too.
        says(vm, 'migrate -d "exec:sleep 1000"', '')
        wait_state(vm, 'active')
        says(vm, 'migrate_cancel', '')
        wait_state(vm, 'cancelled')
        is_running(vm)
        says(vm, f'migrate "exec:cat >{at("f")}"', '')
        vm.hmp('cont')
        is_running(vm)
        says(vm, 'migrate_set_capability compress on', '')
        says(vm, f'migrate "exec:cat >{at("g")}"', '')
        if os.stat(at('g')).st_size >= os.stat(at('f')).st_size:
            raise Fail('compressed it has '
                       f'{os.stat(at("g")).st_size} octets, else '
                       f'{os.stat(at("f")).st_size}')
        with bare('-incoming', f'exec:cat {at("g")}') as new:
            new.until('it is here', lambda: 'running' in
                      new.hmp('info status'), 60)
            is_running(new)


# ------------------------------------------------------------------ refusals

def record(path, *args):
    """A stopped machine in a file, not compressed: the stream's octets."""
    with bare(*args) as vm:
        is_running(vm)
        moves(vm, f'exec:cat >{path}')
        leave(vm)
    with open(path, 'rb') as f:
        return f.read()


def arrive(data, *args, memory='16', limit=60):
    """Status and output of a program that takes in these octets, and quits
    when it has them."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        p = subprocess.Popen(
            [ORRERY, '-accel', 'soft', '-m', memory, '-boot', 'n', '-display',
             'none', '-monitor', 'stdio', '-S', *args, '-incoming',
             f'file:{f.name}'], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            end = time.monotonic() + limit * SLOW
            os.set_blocking(p.stdout.fileno(), False)
            out = b''
            while p.poll() is None:
                if time.monotonic() > end:
                    raise Fail('it neither takes nor refuses the stream')
                try:
                    p.stdin.write(b'info status\n')
                    p.stdin.flush()
                    out += p.stdout.read() or b''
                except OSError:
                    break
                if b'status: paused\r' in out:
                    p.stdin.write(b'quit\n')
                    p.stdin.flush()
                    p.wait(limit * SLOW)
                time.sleep(0.02)
            p.wait(limit * SLOW)
            err = p.stderr.read().decode(errors='replace')
            return p.returncode, err.replace(f.name, 'FILE').strip()
        finally:
            p.kill()
            p.wait()
            for s in (p.stdin, p.stdout, p.stderr):
                try:
                    s.close()
                except OSError:
                    pass


def refused(data, pattern, *args, **more):
    code, err = arrive(data, *args, **more)
    if code != 1 or not re.fullmatch(f'orrery: -incoming file:FILE: {pattern}',
                                     err):
        raise Fail(f'status {code}: {err!r} is not {pattern!r}')


def frames(data):
    """(offset, type, length) of the frames of a stream."""
    at = 12
    while at < len(data):
        kind, _, size = struct.unpack_from('<4sIQ', data, at)
        yield at, kind, size
        at += 16 + size


def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def edited(data, old, new):
    """The stream with other words in its description, signed again."""
    at, kind, size = next(frames(data))
    body = data[at + 16:at + 16 + size]
    if kind != b'HEAD' or old not in body:
        raise Fail(f'{kind} {body}')
    body = body.replace(old, new)
    return (data[:at] + struct.pack('<4sIQ', kind, crc32c(body), len(body))
            + body + data[at + 16 + size:])


def test_a_machine_of_another_build_is_refused():
    with Folder() as at:
        data = record(at('f'))
        code, err = arrive(data)
        if code != 0 or err:
            raise Fail(f'the stream as it is: status {code}: {err}')
        refused(data, 'the machine that arrives has 16 MiB of memory, this one '
                '24; start this one with -m 16', memory='24')
        refused(data, 'the machine that arrives has CPUs: 1, this one 2; start '
                'this one with -smp 1', '-smp', '2')
        refused(data, 'the machine that arrives has CPU model max, this one '
                'qemu64; start this one with -cpu max', '-cpu', 'qemu64')
        refused(data, r'the machine that arrives has a device \S+ \(VGA\), '
                'this one has not', '-vga', 'none')
        disk = at('disk')
        with open(disk, 'wb') as f:
            f.truncate(1 << 20)
        refused(data, 'this machine has an image in drive ide0-hd0, the one '
                'that arrives has none', '-drive', f'file={disk},format=raw')
        refused(edited(data, b'machine=pc-i440fx-7.2', b'machine=pc-q35-9.9'),
                'the machine that arrives has type pc-q35-9.9, this one '
                'pc-i440fx-7.2; start this one with -M pc-q35-9.9')
        refused(edited(data, b'machine=', b'm\x1b[2Jchine='),
                'the stream is damaged: its description is not complete')
        with_disk = record(at('g'), '-drive', f'file={disk},format=raw')
        with open(disk, 'ab') as f:
            f.truncate(2 << 20)
        refused(with_disk, 'drive ide0-hd0 has 1048576 octets where the '
                'machine comes from, 2097152 here; both have to use the same '
                'image', '-drive', f'file={disk},format=raw')


def test_a_stream_cut_short_or_damaged_is_refused():
    with Folder() as at:
        data = record(at('f'))
    parts = list(frames(data))
    kinds = {kind: start for start, kind, _ in parts}
    pages = [start for start, kind, _ in parts if kind == b'PAGE']
    if set(kinds) != {b'HEAD', b'PAGE', b'STAT', b'END '}:
        raise Fail(f'frames: {set(kinds)}')
    for cut in (0, 4, 11, 20, pages[0], pages[0] + 5000, pages[-1] + 20,
                kinds[b'STAT'], kinds[b'STAT'] + 100, kinds[b'END '] + 3):
        refused(data[:cut], 'the stream ends (too early|before it has begun)')
    for flip in (0, 9, 13, 30, pages[0] + 9, pages[0] + 16, pages[0] + 30,
                 pages[1] + 200, kinds[b'STAT'] + 2, kinds[b'STAT'] + 20,
                 kinds[b'STAT'] + 2000, kinds[b'END ']):
        bad = bytearray(data)
        bad[flip] ^= 0x55
        refused(bytes(bad), '(the stream is damaged: .*|this is no machine as '
                'orrery sends it|the stream has another version .*|'
                'the stream ends too early)')
    # Frames in another order, twice, or unknown.
    start, _, size = parts[-2]
    refused(data[:start + 16 + size] + data[start:], 'the stream is damaged: '
            'two states')
    refused(data[:start] + data[parts[-1][0]:], 'the stream is damaged: its '
            'parts are out of order')
    refused(data[:12] + data[parts[1][0]:], 'the stream is damaged: it does '
            'not begin with a description')


def test_what_makes_no_sense_is_one_line():
    with bare() as vm:
        place = ("Error: '{}' is no place to migrate to or from: exec:COMMAND, "
                 'file:PATH, unix:PATH, tcp:HOST:PORT or fd:NUMBER')
        for line, why in (
                ('migrate nowhere', place.format('nowhere')),
                ('migrate rdma:a:1', place.format('rdma:a:1')),
                ('migrate unix:', 'Error: unix:: nothing behind it'),
                ('migrate tcp:localhost', 'Error: tcp:localhost: expected '
                 'HOST:PORT'),
                ('migrate tcp::0', 'Error: tcp::0: expected HOST:PORT'),
                ('migrate unix:/nonexistent/s', 'Error: unix:/nonexistent/s: '
                 'No such file or directory'),
                ('migrate unix:/' + 'x' * 200, 'Error: unix:/x*: the path is '
                 'too long'),
                (f'migrate tcp::{free_port()}', 'Error: tcp::[0-9]*: '
                 'Connection refused'),
                ('migrate fd:77', 'Error: fd:77: there is no such open '
                 'descriptor'),
                ('migrate_incoming exec:true', "Error: '-incoming' was not "
                 'specified on the command line'),
                ('migrate_cancel', ''),
                ('migrate_set_parameter max-bandwidth much', 'Error: Invalid '
                 'size much'),
                ('migrate_set_parameter downtime-limit 2000001', "Error: "
                 "Parameter 'downtime_limit' expects an integer in the range "
                 r'of 0 to \(2000 \* 1000\) ms'),
                ('migrate_set_parameter tls-creds x', 'Error: invalid '
                 r'parameter value: tls-creds \(max-bandwidth or '
                 r'downtime-limit\)'),
                ('migrate_set_capability xbzrle on', 'Error: invalid parameter '
                 r'value: xbzrle \(compress or events\)')):
            says(vm, line, why)
            status(vm, 'running')
        says(vm, 'info migrate_parameters',
             'max-bandwidth: 0 bytes/second\ndowntime-limit: 300 ms')
        says(vm, 'info migrate_capabilities', 'compress: off\nevents: off')
        is_running(vm)
    for uri, why in (
            ('nowhere', "'nowhere' is no place to migrate to or from: .*"),
            ('unix:/nonexistent/s', 'unix:/nonexistent/s: No such file or '
             'directory'),
            ('file:/nonexistent', '/nonexistent: No such file or directory'),
            ('file:/tmp', '/tmp: Is a directory'),
            ('exec:echo nothing', 'this is no machine as orrery sends it'),
            ('exec:true', 'the stream ends before it has begun')):
        p = subprocess.run([ORRERY, '-accel', 'soft', '-display', 'none',
                            '-incoming', uri], capture_output=True, text=True,
                           timeout=60 * SLOW, check=False)
        if p.returncode != 1 or not re.fullmatch(
                f'orrery: -incoming {re.escape(uri)}: {why}\n', p.stderr):
            raise Fail(f'{uri}: status {p.returncode}: {p.stderr!r}')


# ---------------------------------------------------------------- run states

@each('as it is', '-S', 'stop', 'paused')
def test_it_arrives_running_or_paused(how):
    with Folder() as at, bare() as vm:
        uri = f'unix:{at("s")}'
        is_running(vm)
        with bare('-incoming', 'defer',
                  *(['-S'] if how == '-S' else [])) as new:
            status(new, ARRIVES)
            says(new, f'migrate exec:cat', 'Error: Guest is waiting for an '
                 'incoming migration')
            for line in ('savevm a', 'loadvm a'):
                says(new, line, 'Error: [^\n]*')
            says(new, 'migrate_incoming nowhere', "Error: 'nowhere' is no "
                 '[^\n]*')
            says(new, f'migrate_incoming {uri}', '')
            says(new, 'migrate_incoming exec:cat', 'Error: The incoming '
                 'migration has already been started')
            new.hmp('system_reset')     # there is nothing to reset yet
            if how == 'stop':
                new.hmp('stop')
            new.hmp('sendkey ret')
            if how == 'paused':
                vm.hmp('stop')
            begin = ticks(vm)
            moves(vm, uri)
            if os.path.exists(at('s')):
                raise Fail('the socket is still there')
            if how == 'as it is':
                is_running(new)
            else:
                status(new, 'paused')
                if how == 'paused' and ticks(new) != begin:
                    raise Fail('it moved while it was paused')
                new.hmp('cont')
            is_running(new)


def test_strangers_at_the_socket_are_sent_away():
    with Folder() as at, bare('-incoming', f'unix:{at("s")}') as new:
        if os.stat(at('s')).st_mode & 0o777 != 0o600:
            raise Fail('anybody may connect to the socket')
        for greeting in (b'', b'GET / HTTP/1.0\r\n\r\n', b'ORRERYMG\xff\0\0\0',
                         b'ORR'):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60)
                s.connect(at('s'))
                s.sendall(greeting)
                s.shutdown(socket.SHUT_WR)
                try:
                    if s.recv(1000):
                        raise Fail('it answers a stranger')
                except ConnectionResetError:
                    pass
        status(new, ARRIVES)
        with bare() as vm:
            moves(vm, f'unix:{at("s")}')
        is_running(new)
        if new.output().count('waiting for the next one') != 4:
            raise Fail(new.output())


def test_quit_at_any_time_ends_at_once():
    with Folder() as at:
        with bare('-incoming', f'unix:{at("s")}') as new:
            leave(new)
        if os.path.exists(at('s')):
            raise Fail('the socket is still there')
        with bare('-incoming', f'unix:{at("s")}') as new, bare() as vm:
            slow(vm)
            vm.hmp('migrate_set_parameter max-bandwidth 1k')
            says(vm, f'migrate -d unix:{at("s")}', '')
            wait_state(vm, 'active')
            leave(vm)
            ends(new, f'unix:{re.escape(at("s"))}: {SENDER_GONE}')
        with bare('-incoming', 'exec:sleep 1000') as new:
            new.process.send_signal(signal.SIGTERM)
            if new.wait_exit(30) != 0:
                raise Fail(f'status {new.process.returncode}')


# --------------------------------------------------------------------- JSON

def shape(value):
    """Names and types."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return 'number' if isinstance(value, (int, float)) and not \
        isinstance(value, bool) else type(value).__name__


def json_answers(program, *args):
    """What a program says of a migration to nowhere: answers and events."""
    with Folder() as at:
        cmd = [program, *args, '-m', '16', '-display', 'none', '-qmp',
               f'unix:{at("q")},server=on,wait=off']
        p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        try:
            with QMP(at('q')) as q:
                out = [shape(q('query-migrate'))]
                q('migrate-set-capabilities', {'capabilities': [
                    {'capability': 'events', 'state': True}]})
                q('migrate-set-parameters', {'downtime-limit': 200})
                out.append(q('query-migrate-parameters')['downtime-limit'])
                q('migrate', {'uri': 'exec:cat >/dev/null'})
                end = time.monotonic() + 60 * SLOW
                while q('query-migrate')['status'] != 'completed':
                    if time.monotonic() > end:
                        raise Fail(f'{q("query-migrate")}')
                    time.sleep(0.02)
                out += [shape(q('query-migrate')), q('query-status')]
                out.append([e['data']['status'] for e in q.events
                            if e['event'] == 'MIGRATION'])
                try:
                    q('migrate', {'uri': 'exec:cat >/dev/null'})
                except QMPError as e:
                    out.append((e.klass, str(e)))
                q('cont')
                out.append(q('query-status'))
                q('migrate', {'uri': 'exec:exit 1'})
                while q('query-migrate')['status'] != 'failed':
                    if time.monotonic() > end:
                        raise Fail(f'{q("query-migrate")}')
                    time.sleep(0.02)
                out.append(q('query-status')['status'])
                q('quit')
            p.wait(60 * SLOW)
            return out
        finally:
            p.kill()
            p.wait()


def test_json_answers_and_events_are_the_peers():
    if not shutil.which('qemu-system-x86_64'):
        raise Skip('qemu-system-x86_64 is missing')
    ours = json_answers(ORRERY, '-accel', 'soft')
    theirs = json_answers('qemu-system-x86_64', '-accel', 'tcg')
    for a, b in zip(ours, theirs):
        if a != b:
            raise Fail(f'ours:   {a}\ntheirs: {b}')
    if len(ours) != len(theirs):
        raise Fail(f'{ours} {theirs}')


@each('kvm to kvm', 'kvm to soft', 'soft to kvm')
def test_under_kvm_and_between_accelerators(way):
    need_accel('kvm')
    here, _, there = way.split()
    model = ('-cpu', 'pentium3,kvm=off')    # what both can give
    with Folder() as at, bare(*model, accel=here) as vm:
        is_running(vm)
        says(vm, f'migrate file:{at("f")}', '')
        with bare('-incoming', f'file:{at("f")}', *model, accel=there) as new:
            new.until('it is here', lambda: 'running' in
                      new.hmp('info status'), 60)
            is_running(new)


if __name__ == '__main__':
    main(globals())
