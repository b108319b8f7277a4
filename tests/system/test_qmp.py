# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the JSON control protocol, with a client that knows QMP
# alone
# - greeting, negotiation, ids, error classes, several forms of connection
# - keys and types of the answers beside the peer's, in the same machine
# - events: order, data, time stamps
# - keys sent reach the guest; a screendump is written
# - bytes that are no JSON, limits, a client that never reads
# - two clients at once
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from qmp import QMP, QMPError
from rfb import Viewer
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, SLOW, VM, Fail, die_with_parent, guest

PEER = 'qemu-system-x86_64'
CD = 'grub-rescue-cdrom.iso'


class Machine(VM):
    """A VM with a QMP socket besides its monitor."""

    def __init__(self, *args, **more):
        self.qdir = tempfile.mkdtemp(prefix='qmp.')
        self.path = os.path.join(self.qdir, 'q')
        try:
            super().__init__('-m', '64', '-qmp',
                             f'unix:{self.path},server=on,wait=off', *args,
                             **more)
            self.qmp = QMP(self.path)
        except BaseException:
            shutil.rmtree(self.qdir, ignore_errors=True)
            raise

    def close(self):
        super().close()
        shutil.rmtree(self.qdir, ignore_errors=True)


def fails(qmp, klass, pattern, name, arguments=None):
    try:
        got = qmp(name, arguments)
    except QMPError as e:
        if e.klass != klass or not re.search(pattern, str(e)):
            raise Fail(f'{name} {arguments}: {e.klass}: {e}') from None
        return
    raise Fail(f'{name} {arguments} was answered: {got}')


def same(got, want):
    if got != want:
        raise Fail(f'wanted {want!r}, got {got!r}')


def raw(qmp, text):
    """The answer to octets."""
    qmp.send(text)
    return qmp.answer()


# ------------------------------------------------------------- protocol

def test_greeting_negotiation_ids_and_errors():
    with Machine('-S') as vm:
        vm.qmp.close()
        q = QMP(vm.path, negotiate=False)
        v = q.greeting['QMP']['version']
        same((v['qemu']['major'], v['qemu']['minor']), (7, 2))
        if not isinstance(v['package'], str):
            raise Fail(f'{v}')
        fails(q, 'CommandNotFound', 'qmp_capabilities', 'query-status')
        same(q('qmp_capabilities'), {})
        fails(q, 'CommandNotFound', 'complete', 'qmp_capabilities')
        for id_ in (7, 'x', [1, {'a': None}], 1.5, None):
            q.send(json.dumps({'execute': 'query-name', 'id': id_}))
            same(q.answer(), {'return': {}, 'id': id_})
        same(raw(q, "{'execute': 'query-name'}"), {'return': {}})
        fails(q, 'CommandNotFound', 'query-nothing has not been found',
              'query-nothing')
        fails(q, 'GenericError', "'x' is unexpected", 'stop', {'x': 1})
        fails(q, 'GenericError', "'keys' is missing", 'send-key')
        fails(q, 'GenericError', "'device', expected: string", 'eject',
              {'device': 5})
        fails(q, 'DeviceNotFound', "Device 'nodev' not found", 'eject',
              {'device': 'nodev'})
        fails(q, 'DeviceNotFound', "Device 'nodev' not found", 'device_del',
              {'id': 'nodev'})
        fails(q, 'GenericError', "'nope' is not a valid device model name",
              'device_add', {'driver': 'nope'})
        for text in ('{"execute": 5}', '{"exec": "x"}', '[1]', '5 ', 'x y ',
                     '{"execute": "stop", "arguments": 3}', '{', '"', '}'):
            if text in ('{', '"'):          # not over until something ends it
                if IS_PEER:
                    continue
                text += '\xff'
            q.send(text.encode('latin-1'))
            answers = q.sync()
            if not answers:
                raise Fail(f'{text!r} was not answered')
            for m in answers:
                same(m['error']['class'], 'GenericError')
        same(q('query-status')['status'], 'prelaunch')
        q.close()


def test_pretty_and_the_long_form_of_the_option():
    with tempfile.TemporaryDirectory() as d:
        p, m = os.path.join(d, 'p'), os.path.join(d, 'm')
        with VM('-S', '-qmp-pretty', f'unix:{p},server=on,wait=off',
                '-chardev', f'socket,id=c0,path={m},server=on,wait=off',
                '-mon', 'chardev=c0,mode=control'):
            with QMP(m) as q:
                same(q('query-status')['running'], False)
            s = socket.socket(socket.AF_UNIX)
            s.connect(p)
            s.settimeout(60 * SLOW)
            text = b''
            while not re.search(rb'^}\r?$', text, re.M):
                text += s.recv(4096)
            if b'\n    "QMP"' not in text or 'QMP' not in json.loads(text):
                raise Fail(f'greeting: {text}')
            s.close()


def test_tcp_and_stdio():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    p = subprocess.Popen(
        [ORRERY, '-S', '-m', '16', '-display', 'none', '-qmp', 'stdio', '-qmp',
         f'tcp:127.0.0.1:{port},server=on,wait=off'], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent)
    try:
        if 'QMP' not in json.loads(p.stdout.readline()):
            raise Fail('no greeting on standard output')
        with QMP(('127.0.0.1', port)) as q:
            same(q('query-status')['status'], 'prelaunch')
        p.stdin.write(b'{"execute":"qmp_capabilities"}{"execute":"quit"}')
        p.stdin.flush()
        lines = [json.loads(x) for x in p.stdout]
        same(lines[0], {'return': {}})
        if not IS_PEER:                     # it may end before it answers
            same(lines[1], {'return': {}})
        same([x['event'] for x in lines if 'event' in x], ['SHUTDOWN'])
        same(p.wait(60 * SLOW), 0)
    finally:
        p.kill()
        p.wait()


# --------------------------------------------------------------- shapes

def shape(v):
    """Types of a value; an array's is that of its members together."""
    if isinstance(v, dict):
        return {k: shape(x) for k, x in v.items()}
    if isinstance(v, list):
        out = {}
        for x in v:
            s = shape(x)
            if isinstance(s, dict):
                out.update(s)
            else:
                out['*'] = s
        return [out]
    return type(v).__name__


def lacks(want, got, where):
    """What of the peer's shape is not in ours, as text lines."""
    if isinstance(want, dict) and isinstance(got, dict):
        for k, v in want.items():
            if k not in got:
                yield f'{where}.{k}: missing'
            else:
                yield from lacks(v, got[k], f'{where}.{k}')
    elif isinstance(want, list) and isinstance(got, list):
        if want and got:
            yield from lacks(want[0], got[0], where + '[]')
    elif want != got:
        yield f'{where}: {got}, the peer has {want}'


QUERIES = ('query-status', 'query-version', 'query-block', 'query-cpus-fast',
           'query-kvm', 'query-name', 'query-uuid', 'query-chardev',
           'query-hotpluggable-cpus', 'query-mice', 'query-machines',
           'query-memory-size-summary', 'query-memdev', 'query-target',
           'query-current-machine', 'query-chardev-backends',
           'query-cpu-definitions', 'query-iothreads', 'query-tpm',
           'query-memory-devices', 'query-display-options', 'query-commands',
           'query-pci', 'query-vnc', 'query-vnc-servers', 'query-blockstats',
           'query-block-jobs')
# Members that come and go in the peer with the machine type or CPU model.
OPTIONAL = {'alias', 'is-default', 'default-cpu-type', 'default-ram-id',
            'acpi', 'alias-of', 'parent', 'parent-cpu-type', 'unavailable-features[]'}


def test_answers_have_the_peers_keys_and_types():
    if shutil.which(PEER) is None:
        raise Skip(f'{PEER} is not installed')
    with tempfile.TemporaryDirectory() as d, socket.socket() as s:
        s.bind(('127.0.0.1', 0))            # a display nobody has
        number = s.getsockname()[1] - 5900
        s.close()
        path, disk = os.path.join(d, 'q'), os.path.join(d, 'disk.img')
        with open(disk, 'wb') as f:
            f.truncate(1 << 20)
        args = ('-S', '-name', 'shapes', '-drive',
                f'file={disk},format=raw,snapshot=off', '-cdrom', guest(CD),
                '-vnc', f'127.0.0.1:{number}')
        with Machine(*args) as vm:
            ours = {x: vm.qmp(x) for x in QUERIES}
        p = subprocess.Popen(
            [PEER, *args, '-m', '64', '-display', 'none', '-accel', 'tcg',
             '-qmp', f'unix:{path},server=on,wait=off'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        try:
            with QMP(path) as q:
                theirs = {x: q(x) for x in QUERIES}
        finally:
            p.kill()
            p.wait()
    bad = [line for x in QUERIES
           for line in lacks(shape(theirs[x]), shape(ours[x]), x)
           if line.split(':')[0].rsplit('.', 1)[-1] not in OPTIONAL]
    if bad:
        raise Fail('\n'.join(bad))
    for x in ('query-status', 'query-kvm', 'query-name', 'query-uuid',
              'query-target', 'query-memory-size-summary', 'query-iothreads',
              'query-vnc', 'query-block-jobs'):
        same(ours[x], theirs[x])
    devices = {b['device']: b for b in theirs['query-block']}
    for b in ours['query-block']:
        t = devices[b['device']]
        same((set(b) ^ set(t)) - {'qdev'}, set())
        for k in ('removable', 'locked'):
            same(b[k], t[k])
        if 'inserted' in b:
            for k in ('file', 'drv', 'ro', 'cache', 'backing_file_depth'):
                same(b['inserted'][k], t['inserted'][k])
            same(b['inserted']['image']['virtual-size'],
                 t['inserted']['image']['virtual-size'])


# ------------------------------------------------------------ behaviour

def test_stop_cont_reset_powerdown_and_quit_send_events():
    with Machine('-S') as vm:
        q = vm.qmp
        same(q('cont'), {})
        same(q('query-status')['status'], 'running')
        q.wait_event('RESUME')
        before = time.time()
        same(q('stop'), {})
        e = q.wait_event('STOP')
        t = e['timestamp']
        now = t['seconds'] + t['microseconds'] / 1e6
        if not before - 60 < now < time.time() + 60:
            raise Fail(f'time stamp {t}')
        same(q('query-status')['running'], False)
        same(q('stop'), {})
        q('system_reset')                       # as one that never ran
        q.wait_event('RESET')
        same(q('query-status')['status'], 'prelaunch')
        q('cont')
        same(q('query-status')['status'], 'running')
        q('system_reset')
        same(q.wait_event('RESET')['data'],
             {'guest': False, 'reason': 'host-qmp-system-reset'})
        same(q('query-status')['status'], 'running')
        q('system_powerdown')
        q.wait_event('POWERDOWN')
        same(q('quit'), {})
        same(q.wait_event('SHUTDOWN')['data'],
             {'guest': False, 'reason': 'host-qmp-quit'})
        same(vm.wait_exit(), 0)
        names = [e['event'] for e in q.events]
        if names.count('STOP'):
            raise Fail(f'events left: {names}')


def test_vnc_viewers_are_told_of():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with Machine('-vnc', f'127.0.0.1:{port - 5900}') as vm:
        v = Viewer(port)
        v.update()
        e = vm.qmp.wait_event('VNC_CONNECTED')['data']
        same(e['server']['service'], str(port))
        same((e['client']['family'], e['client']['host'],
              e['client']['websocket']), ('ipv4', '127.0.0.1', False))
        same(vm.qmp.wait_event('VNC_INITIALIZED')['data']['client']['service'],
             e['client']['service'])
        clients = vm.qmp('query-vnc')['clients']
        same([c['service'] for c in clients], [e['client']['service']])
        v.close()
        same(vm.qmp.wait_event('VNC_DISCONNECTED')['data']['client']['service'],
             e['client']['service'])


def test_lines_and_json_run_the_same_commands():
    with Machine('-S') as vm:
        q = vm.qmp

        def line(text, **more):
            return q('human-monitor-command',
                     {'command-line': text, **more}).replace('\r\n', '\n')
        same(line('info status'), 'VM status: paused (prelaunch)\n')
        same(line('foo'), "unknown command: 'foo'\n")
        same(line('info name'), vm.hmp('info name'))
        path = os.path.join(vm.qdir, 'mem')
        q('pmemsave', {'val': 0xffff0, 'size': 16, 'filename': path})
        with open(path, 'rb') as f:
            same(f.read(1), b'\xea')
        vm.hmp('cont')
        q.wait_event('RESUME')
        same(q('query-status')['status'], 'running')
        same(line('stop'), '')
        q.wait_event('STOP')
        same(vm.hmp('info status'), 'VM status: paused')
        fails(q, 'GenericError', 'cpu-index|CPU number',
              'human-monitor-command', {'command-line': 'info registers',
                                        'cpu-index': 9})
        fails(q, 'GenericError', '/no/such', 'pmemsave',
              {'val': 0, 'size': 16, 'filename': '/no/such/file'})


def test_memory_is_dumped_as_a_core_file_gdb_reads():
    if shutil.which('gdb') is None:
        raise Skip('gdb is not installed')
    with Machine('-S', '-smp', '2') as vm:
        path = os.path.join(vm.qdir, 'core')
        vm.qmp('dump-guest-memory',
               {'paging': False, 'protocol': 'file:' + path})
        e = vm.qmp.wait_event('DUMP_COMPLETED')['data']['result']
        same((e['status'], e['total'] == e['completed']), ('completed', True))
        want = re.search(r'EDX=(\w+)', vm.hmp('info registers'))[1]
        out = subprocess.run(
            ['gdb', '-batch', '-nx', '-ex', f'target core {path}', '-ex',
             'info threads', '-ex', 'p/x $edx', '-ex', 'p/x $rip'],
            capture_output=True, text=True, check=False,
            timeout=120 * SLOW, stdin=subprocess.DEVNULL)
        for pattern in (r'^\$1 = 0x0*' + want.lstrip('0') + '$',
                        r'^\$2 = 0xfff0$', r'^\* 1 .*LWP 1', r'LWP 2'):
            if not re.search(pattern, out.stdout, re.M):
                raise Fail(f'{pattern}: {out.stdout}{out.stderr}')
        with open(path, 'rb') as f:
            data = f.read()
        if data.count(b'\xea\x5b\xe0\x00\xf0') < 2 or len(data) < 64 << 20:
            raise Fail('memory is not in the file')
        fails(vm.qmp, 'GenericError', '/no/such', 'dump-guest-memory',
              {'paging': False, 'protocol': 'file:/no/such/core'})
        fails(vm.qmp, 'GenericError', 'protocol', 'dump-guest-memory',
              {'paging': False, 'protocol': path})


def test_a_drive_is_copied_while_the_machine_runs():
    with tempfile.TemporaryDirectory() as d:
        disk, copy = os.path.join(d, 'disk.img'), os.path.join(d, 'copy.img')
        content = random.Random(3).randbytes(8 << 20)
        with open(disk, 'wb') as f:
            f.write(content)
        with Machine('-drive', f'file={disk},format=raw') as vm:
            q = vm.qmp
            fails(q, 'DeviceNotActive', "Block job 'x' not found",
                  'block-job-cancel', {'device': 'x'})
            fails(q, 'GenericError', "device='nosuch'", 'drive-backup',
                  {'device': 'nosuch', 'sync': 'full', 'target': copy})
            fails(q, 'GenericError', "'sync'", 'drive-backup',
                  {'device': 'ide0-hd0', 'sync': 'some', 'target': copy})
            q('drive-backup', {'device': 'ide0-hd0', 'sync': 'full',
                               'target': copy, 'format': 'raw',
                               'speed': 1 << 20})
            j = q('query-block-jobs')[0]
            same((j['device'], j['type'], j['len'], j['speed']),
                 ('ide0-hd0', 'backup', len(content), 1 << 20))
            if 'Type backup, device ide0-hd0' not in vm.hmp('info block-jobs'):
                raise Fail(vm.hmp('info block-jobs'))
            for line, speed in (('2', 2 << 20), ('64k', 64 << 10)):
                vm.hmp('block_job_set_speed ide0-hd0 ' + line)
                same(q('query-block-jobs')[0]['speed'], speed)
            q('block-job-set-speed', {'device': 'ide0-hd0', 'speed': 0})
            e = q.wait_event('BLOCK_JOB_COMPLETED')['data']
            same((e['device'], e['len'], e['offset'], 'error' in e),
                 ('ide0-hd0', len(content), len(content), False))
            with open(copy, 'rb') as f:
                same(f.read() == content, True)
            q('drive-backup', {'device': 'ide0-hd0', 'sync': 'full',
                               'target': copy + '2', 'format': 'raw',
                               'speed': 65536})
            vm.hmp('block_job_cancel ide0-hd0')
            q.wait_event('BLOCK_JOB_CANCELLED')
            same(q('query-block-jobs'), [])
            same(vm.hmp('info block-jobs'), 'No active jobs')

            def reads():
                return [x['stats']['rd_bytes'] for x in q('query-blockstats')
                        if x['device'] == 'ide0-hd0'][0] >= 512
            vm.until('a sector the firmware reads', reads, 60)


def test_help_lists_what_can_be_added():
    with Machine('-S') as vm:
        for line, pattern in (
                ('device_add help', r'^name "isa-serial", bus ISA'),
                ('device_add ide-hd,help', r'^ide-hd options:\n(.*\n)*'
                                           r'  bootindex=<u?int32>'),
                ('chardev-add help', r'^  ringbuf$'),
                ('object_add help', r'^  throttle-group$')):
            if not re.search(pattern, vm.hmp(line), re.M):
                raise Fail(f'{line}: {vm.hmp(line)}')
        fails(vm.qmp, 'GenericError', 'not a valid device', 'device_add',
              {'driver': 'help'})


def test_media_change_with_tray_events():
    with Machine('-S', '-cdrom', guest(CD)) as vm:
        q = vm.qmp

        def drive():
            return [b for b in q('query-block') if b['device'] == 'ide1-cd0'][0]
        same(drive()['inserted']['file'], guest(CD))
        fails(q, 'GenericError', '/no/such.iso', 'blockdev-change-medium',
              {'device': 'ide1-cd0', 'filename': '/no/such.iso'})
        same(drive()['inserted']['file'], guest(CD))
        fails(q, 'GenericError', '.', 'eject', {})
        q('eject', {'device': 'ide1-cd0'})
        same('inserted' in drive(), False)
        q('blockdev-change-medium',
          {'device': 'ide1-cd0', 'filename': guest(CD), 'format': 'raw'})
        same(drive()['inserted']['file'], guest(CD))
        e = q.wait_event('DEVICE_TRAY_MOVED')['data']
        same((e['device'], e['tray-open']), ('ide1-cd0', True))
        e = q.wait_event('DEVICE_TRAY_MOVED')['data']
        same((e['device'], e['tray-open']), ('ide1-cd0', False))


def test_keys_reach_the_guest_and_the_screen_is_dumped():
    with Machine('-cdrom', guest(CD), '-boot', 'd') as vm:
        q = vm.qmp
        vm.wait_screen('GNU GRUB', 60)
        q('send-key', {'keys': [{'type': 'qcode', 'data': 'c'}]})
        vm.wait_text('grub> *$', 20)
        q('send-key', {'keys': [{'type': 'number', 'data': 0x1e}],
                       'hold-time': 20})
        vm.wait_text('grub> a *$', 20)
        for down in (True, False):
            q('input-send-event', {'events': [
                {'type': 'key', 'data': {'down': down, 'key': {
                    'type': 'qcode', 'data': 'b'}}}]})
        vm.wait_text('grub> ab *$', 20)
        fails(q, 'GenericError', 'foo', 'send-key',
              {'keys': [{'type': 'qcode', 'data': 'foo'}]})
        fails(q, 'GenericError', '.', 'input-send-event', {'events': [
            {'type': 'key', 'data': {'down': True, 'key': {
                'type': 'qcode', 'data': 'x'}}},
            {'type': 'rel', 'data': {'axis': 'q', 'value': 1}}]})
        path = os.path.join(vm.qdir, 'shot.png')
        q('screendump', {'filename': path, 'format': 'png'})
        with open(path, 'rb') as f:
            same(f.read(8), b'\x89PNG\r\n\x1a\n')
        same(vm.hmp('info status'), 'VM status: running')
        press = [{'type': 'btn', 'data': {'down': True, 'button': 'left'}}]
        fails(q, 'DeviceNotFound', 'nosuch', 'input-send-event',
              {'device': 'nosuch', 'events': press})
        q('stop')
        fails(q, 'GenericError', 'VM not running', 'input-send-event',
              {'events': press})
        q('cont')
        vm.wait_text('grub> ab *$', 5)      # x of the refused list is not there


def test_the_schema_describes_every_command_and_event():
    if IS_PEER:
        raise Skip('the peer names its types by number')
    with Machine('-S') as vm:
        q = vm.qmp
        schema = q('query-qmp-schema')
        names = {e['name'] for e in schema}
        same(len(names), len(schema))
        for kind, query in (('command', 'query-commands'),
                            ('event', 'query-events')):
            same({e['name'] for e in schema if e['meta-type'] == kind},
                 {e['name'] for e in q(query)})
        for e in schema:
            for t in [e.get('arg-type'), e.get('ret-type')] + \
                    [m['type'] for m in e.get('members', [])]:
                if t is not None and t not in names:
                    raise Fail(f'{e}: there is no type {t}')
        by_name = {e['name']: e for e in schema}
        send = by_name[by_name['send-key']['arg-type']]
        same({m['name']: 'default' in m for m in send['members']},
             {'keys': False, 'hold-time': True})
        options = {o['option'] for o in q('query-command-line-options')}
        if not {'drive', 'device', 'chardev'} <= options:
            raise Fail(f'{options}')
        same(len(q('query-command-line-options', {'option': 'drive'})), 1)
        fails(q, 'GenericError', "Invalid option 'nosuch'",
              'query-command-line-options', {'option': 'nosuch'})


def test_programs_add_character_devices():
    with Machine('-S') as vm:
        q = vm.qmp
        same(q('chardev-add', {'id': 'r', 'backend': {
            'type': 'ringbuf', 'data': {'size': 4096}}}), {})
        same(q('ringbuf-write', {'device': 'r', 'data': 'aGVsbG8A/w==',
                                 'format': 'base64'}), {})
        same(q('ringbuf-read', {'device': 'r', 'size': 4}), 'hell')
        same(q('ringbuf-read', {'device': 'r', 'size': 100,
                                'format': 'base64'}), 'bwD/')
        fails(q, 'GenericError', 'format|invalid', 'ringbuf-read',
              {'device': 'r', 'size': 1, 'format': 'utf7'})
        door = os.path.join(vm.qdir, 'door')
        same(q('chardev-add', {'id': 's', 'backend': {
            'type': 'socket', 'data': {
                'addr': {'type': 'unix', 'data': {'path': door}},
                'server': True, 'wait': False}}}), {})
        s = socket.socket(socket.AF_UNIX)
        s.connect(door)
        s.close()
        same(q('chardev-remove', {'id': 's'}), {})
        fails(q, 'GenericError', "'s' not found", 'chardev-remove',
              {'id': 's'})
        out = q('chardev-add', {'id': 'p', 'backend': {'type': 'pty',
                                                       'data': {}}})
        if not os.path.exists(out['pty']):
            raise Fail(f'{out}')
        same(q('chardev-remove', {'id': 'p'}), {})
        labels = {c['label'] for c in q('query-chardev')}
        same({'r', 's', 'p'} & labels, {'r'})


def test_what_programs_probe_for_is_answered():
    with Machine('-S') as vm:
        q = vm.qmp
        same(q('query-dump')['status'], 'none')
        if 'elf' not in q('query-dump-guest-memory-capability')['formats']:
            raise Fail('elf')
        for name in ('query-acpi-ospm-status', 'query-fdsets',
                     'query-rx-filter'):
            if not isinstance(q(name), list):
                raise Fail(name)
        model = q('query-cpu-model-expansion', {
            'type': 'full', 'model': {'name': 'qemu64'}})['model']
        same(model['props']['lm'], True)
        if not IS_PEER:
            same(q('trace-event-get-state', {'name': 'cpu_in'}),
                 [{'name': 'cpu_in', 'vcpu': False, 'state': 'disabled'}])
            q('trace-event-set-state', {'name': 'cpu_in', 'enable': True})
            same(q('trace-event-get-state', {'name': 'cpu_in'})[0]['state'],
                 'enabled')
            q('trace-event-set-state', {'name': 'cpu_in', 'enable': False})
        fails(q, 'GenericError', 'unknown event "nosuch"',
              'trace-event-set-state', {'name': 'nosuch', 'enable': True})
        fails(q, 'DeviceNotActive', 'No balloon device', 'query-balloon')
        text = q('x-query-roms')['human-readable-text']
        if 'bios' not in text:
            raise Fail(text)
        classes = {t['name'] for t in q('qom-list-types',
                                        {'implements': 'device'})}
        if 'isa-serial' not in classes:
            raise Fail(f'{classes}')


# -------------------------------------------------------------- hostile

def test_bytes_that_are_no_json_disturb_nobody():
    if IS_PEER:
        raise Skip('the peer keeps a half request for the next client')
    rng = random.Random(5)
    pieces = [b'{', b'}', b'[', b']', b'"', b"'", b'\\', b'\\u12', b'\xff',
              b'\0', b'"execute"', b':', b',', b'1e999', b'-', b'\n',
              b'"human-monitor-command"', b'"arguments"', b'null',
              b'{"execute":"query-block"}', b'\xc3', b'"id"']
    with Machine('-S') as vm:
        vm.qmp.close()
        for n in range(100):
            q = QMP(vm.path, negotiate=n % 2 == 0)
            data = b''.join(rng.choice(pieces)
                            for _ in range(rng.randrange(1, 60)))
            q.send(data)
            q.close()
        deep = QMP(vm.path)
        same(raw(deep, '[' * 10000 + ']' * 10000)['error']['class'],
             'GenericError')
        deep.send('"' + 'x' * (5 << 20) + '"')
        same(deep.answer()['error']['desc'], 'JSON token size limit exceeded')
        same(deep('query-status')['status'], 'prelaunch')
        deep.close()
        same(vm.hmp('info status'), 'VM status: paused (prelaunch)')


def test_two_clients_and_one_that_never_reads():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'second')
        with Machine('-S', '-qmp', f'unix:{path},server=on,wait=off') as vm:
            deaf = socket.socket(socket.AF_UNIX)
            deaf.connect(path)
            deaf.settimeout(0.5)
            deaf.sendall(b'{"execute": "qmp_capabilities"}')
            try:
                while True:                 # until it takes no more
                    deaf.sendall(b'{"execute": "query-commands"}' * 100)
            except socket.timeout:
                pass
            for _ in range(50):
                vm.qmp('cont')
                vm.qmp.wait_event('RESUME')
                vm.qmp('stop')
                vm.qmp.wait_event('STOP')
            same(vm.qmp('query-status')['status'], 'paused')
            if vm.rss_kib() > 1 << 20:
                raise Fail(f'{vm.rss_kib()} KiB resident')
            deaf.close()
            with QMP(path) as q:
                q('cont', None)
                vm.qmp.wait_event('RESUME')


if __name__ == '__main__':
    main(globals())
