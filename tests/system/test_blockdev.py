# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: drives and nodes as -blockdev, -object and QMP make them
# - the same commands to the peer and to us: both succeed, or both fail alike
# - -blockdev with dots and as JSON; wrong ones: one line, status 1
# - limits (-drive throttling.*, block_set_io_throttle), read back everywhere
# - secrets: -object, object-add; missing, wrong and asked for on a terminal
# - block_resize: the image grows; refused while a job runs
# - trays and media in steps, their events; a node as a medium
# - jobs: their states, nodes as targets, new images on top, -snapshot
# - BLOCK_IO_ERROR, io-status, and cont that tries again
# - query-blockstats, by device and by node, in the peer's shape
# - drive_add and drive_del
import json
import os
import re
import shutil
import subprocess
import tempfile

import common                                           # noqa: F401
from qmp import QMP, QMPError
from tap import Skip, main
from vmlab import (IS_PEER, ORRERY, SLOW, Console, Fail, VM, die_with_parent,
                   guest)

PEER = 'qemu-system-x86_64'


def same(got, want):
    if got != want:
        raise Fail(f'wanted {want!r}, got {got!r}')


def quiet(text):
    """A line was done: nothing printed, or a word that says so."""
    if re.search('rror|nknown|xpected|cannot', text):
        raise Fail(text)


def shell(*args, **more):
    p = subprocess.run(args, capture_output=True, text=True, check=False,
                       stdin=subprocess.DEVNULL, timeout=60 * SLOW, **more)
    if p.returncode != 0:
        raise Fail(f'{args}: {p.stdout}{p.stderr}')
    return p.stdout


class Machine(VM):
    """A VM with a QMP socket, in a directory of its own with images."""

    def __init__(self, *args, **more):
        self.qdir = tempfile.mkdtemp(prefix='blockdev.')
        self.images()
        path = os.path.join(self.qdir, 'q')
        try:
            super().__init__('-m', '32', '-nodefaults', '-qmp',
                             f'unix:{path},server=on,wait=off',
                             *(a.replace('@', self.qdir) for a in args), **more)
            self.qmp = QMP(path)
        except BaseException:
            shutil.rmtree(self.qdir, ignore_errors=True)
            raise

    def images(self):
        make_images(self.qdir)

    def path(self, name):
        return os.path.join(self.qdir, name)

    def close(self):
        super().close()
        shutil.rmtree(self.qdir, ignore_errors=True)


def make_images(d):
    """Raw a, b and qcow2 c; d.qcow2 stands on e.qcow2."""
    for name in ('a.img', 'b.img'):
        with open(os.path.join(d, name), 'wb') as f:
            f.truncate(4 << 20)
    for name in ('c.qcow2', 'e.qcow2'):
        shell(ORRERY if not IS_PEER else 'qemu-img',
              *(['img'] if not IS_PEER else []), 'create', '-q', '-f', 'qcow2',
              os.path.join(d, name), '8M')
    shell(ORRERY if not IS_PEER else 'qemu-img',
          *(['img'] if not IS_PEER else []), 'create', '-q', '-f', 'qcow2',
          '-b', 'e.qcow2', '-F', 'qcow2', 'd.qcow2', cwd=d)


def fails(qmp, klass, pattern, name, arguments=None):
    try:
        got = qmp(name, arguments)
    except QMPError as e:
        if e.klass != klass or not re.search(pattern, str(e)):
            raise Fail(f'{name} {arguments}: {e.klass}: {e}') from None
        return
    raise Fail(f'{name} {arguments} was answered: {got}')


def refused(pattern, *args, tmpdir=None):
    """The program ends at once with status 1 and one line."""
    with tempfile.TemporaryDirectory() as d:
        make_images(d)
        p = subprocess.run(
            [ORRERY, '-display', 'none', '-S',
             *(a.replace('@', d) for a in args)], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60 * SLOW, check=False,
            preexec_fn=die_with_parent,
            env={**os.environ, **({'TMPDIR': tmpdir} if tmpdir else {})})
    if p.returncode != 1 or p.stderr.count('\n') != 1 or \
            not re.search(pattern, p.stderr):
        raise Fail(f'{args}: status {p.returncode}: {p.stderr!r}')


# ------------------------------------------------------- beside the peer

def node(name, **more):
    return ('blockdev-add', {'node-name': name, **more})


def file_(name, **more):
    return {'driver': 'file', 'filename': '@/' + name, **more}


# Texts are compared, but for those that name a file in different words.
SESSION = [
    node('f0', **file_('c.qcow2')),
    node('q0', driver='qcow2', file='f0'),
    ('blockdev-del', {'node-name': 'nosuch'}),
    ('blockdev-add', {'driver': 'raw', 'file': 'nosuch'}),
    node('q0', driver='null-co'),
    node('x y', driver='null-co'),
    node('1x', driver='null-co'),
    node('n' * 32, driver='null-co'),
    node('hd', driver='null-co'),
    node('r0', driver='raw'),
    node('r0', driver='rawx'),
    ('blockdev-add', {'node-name': 'r0'}),
    node('r0', driver='raw', file='nosuch'),
    node('r0', driver='raw', foo=1, file=file_('b.img')),
    node('r0', driver='raw', cache={'direct': 'x'}, file=file_('b.img')),
    node('r0', driver='raw', discard='x', file=file_('b.img')),
    node('r0', driver='raw', **{'detect-zeroes': 'unmap'},
         file=file_('b.img')),
    node('r0', driver='raw', **{'force-share': True}, file=file_('b.img')),
    node('r0', driver='raw', **{'read-only': 'yes'}, file=file_('b.img')),
    node('r0', driver='host_device', filename='@/b.img'),
    node('r0', driver='qcow2', file=file_('b.img')),
    node('r0', driver='raw', offset=4 << 20, size=512, file=file_('b.img')),
    node('r0', driver='raw', offset=0, size=511, file=file_('b.img')),
    node('r0', driver='raw', offset=512, size=1024, file=file_('b.img')),
    ('blockdev-del', {'node-name': 'r0'}),
    ('blockdev-del', {'node-name': 'r0'}),
    node('n0', driver='null-co', size=1 << 20),
    node('t0', driver='throttle', **{'throttle-group': 'tg'}, file='n0'),
    ('object-add', {'qom-type': 'throttle-group', 'id': 'tg',
                    'limits': {'bps-total': 1000, 'bps-read': 1}}),
    ('object-add', {'qom-type': 'throttle-group', 'id': 'tg',
                    'limits': {'bps-total': 1000}}),
    node('t0', driver='throttle', **{'throttle-group': 'tg'}, file='n0'),
    ('object-del', {'id': 'tg'}),
    ('object-del', {'id': 'nosuch'}),
    ('blockdev-del', {'node-name': 'n0'}),
    ('blockdev-del', {'node-name': 't0'}),
    ('blockdev-del', {'node-name': 'n0'}),
    ('object-del', {'id': 'tg'}),
    node('ov', driver='qcow2', file=file_('d.qcow2'), backing=None),
    ('blockdev-del', {'node-name': 'ov'}),
    node('ov', driver='qcow2', file=file_('d.qcow2', **{'node-name': 'in'})),
    ('blockdev-del', {'node-name': 'in'}),
    ('blockdev-del', {'node-name': 'ov'}),
    node('in', driver='null-co'),
    ('blockdev-del', {'node-name': 'in'}),
    ('object-add', {'qom-type': 'secret', 'id': 's1'}),
    ('object-add', {'qom-type': 'secret', 'id': 's1', 'data': 'x',
                    'file': 'y'}),
    ('object-add', {'qom-type': 'secret', 'id': 's1', 'data': 'x'}),
    ('object-add', {'qom-type': 'secret', 'id': 's1', 'data': 'x'}),
    ('object-add', {'qom-type': 'secret', 'id': 's2', 'data': 'x!',
                    'format': 'base64'}),
    ('object-add', {'qom-type': 'secret', 'id': 's2', 'data': 'x',
                    'format': 'text'}),
    ('object-add', {'qom-type': 'secret', 'id': 's2', 'file': '/no/such'}),
    ('object-add', {'qom-type': 'secret', 'data': 'x'}),
    ('object-add', {'qom-type': 'secret', 'id': 's 2', 'data': 'x'}),
    ('object-add', {'qom-type': 'nothing', 'id': 's2'}),
    ('object-del', {'id': 's1'}),
    ('block_resize', {'device': 'hd', 'size': 8 << 20}),
    ('block_resize', {'device': 'nosuch', 'size': 8 << 20}),
    ('block_resize', {'node-name': 'q0', 'size': 16 << 20}),
    ('block_resize', {'size': 1}),
    ('block_resize', {'device': 'hd', 'size': -1}),
    ('block_set_io_throttle', {'device': 'hd'}),
    *(('block_set_io_throttle', {
        'bps': 0, 'bps_rd': 0, 'bps_wr': 0, 'iops': 0, 'iops_rd': 0,
        'iops_wr': 0, **more}) for more in (
            {}, {'device': 'nosuch'}, {'device': 'hd', 'id': 'hd'},
            {'device': 'hd', 'bps': 1, 'bps_rd': 1},
            {'device': 'hd', 'bps': -1}, {'device': 'hd', 'bps': 10 ** 16},
            {'device': 'hd', 'bps': 'x'}, {'device': 'hd', 'foo': 1},
            {'device': 'hd', 'iops_size': 512},
            {'device': 'hd', 'bps': 5, 'bps_max': 4},
            {'device': 'hd', 'bps_max': 4},
            {'device': 'hd', 'bps': 5, 'bps_max_length': 2},
            {'device': 'hd', 'bps': 5, 'bps_max': 9, 'bps_max_length': 0},
            {'device': 'hd', 'iops_rd': 5, 'iops_rd_max': 9,
             'iops_rd_max_length': 3, 'iops_size': 4096, 'group': 'g'},
            {'device': 'hd'})),
    ('blockdev-open-tray', {}),
    ('blockdev-open-tray', {'id': 'nosuch'}),
    ('blockdev-open-tray', {'device': 'cd'}),
    ('blockdev-open-tray', {'device': 'cd'}),
    ('blockdev-close-tray', {'device': 'cd'}),
    ('blockdev-close-tray', {'device': 'cd', 'id': 'cd'}),
    ('eject', {'device': 'cd'}),
    ('eject', {'device': 'cd', 'force': True}),
    ('eject', {'device': 'nosuch'}),
    ('blockdev-change-medium', {'device': 'cd', 'filename': '@/a.img',
                                'format': 'raw', 'read-only-mode': 'x'}),
    ('blockdev-change-medium', {'device': 'cd', 'filename': '@/b.img',
                                'format': 'raw'}),
    ('blockdev-reopen', {'options': [{'driver': 'raw', 'node-name': 'zz',
                                      'file': 'f0'}]}),
    ('blockdev-del', {'node-name': 'q0'}),
    ('blockdev-del', {'node-name': 'f0'}),
]
# What we say in other words, on purpose: which file, what to do about it.
OTHER_WORDS = re.compile(
    r'a\.img|b\.img|/no/such|base64|Base64|smaller or equal|not multiple|'
    r'Throttle group|force-share|node-name=|nosuch|node-name:')


def play(program, d, extra=()):
    path = os.path.join(d, 'q')
    p = subprocess.Popen(
        [program, '-S', '-m', '32', '-nodefaults', '-display', 'none',
         *extra, '-qmp', f'unix:{path},server=on,wait=off', '-drive',
         f'if=ide,id=hd,format=raw,file={d}/a.img', '-drive',
         'if=ide,index=2,id=cd,media=cdrom'], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent)
    answers = []
    try:
        with QMP(path) as q:
            for name, args in SESSION:
                args = json.loads(json.dumps(args).replace('@', d))
                try:
                    answers.append(('return', q(name, args)))
                except QMPError as e:
                    answers.append((e.klass, str(e).replace(d, '@')))
            answers.append(sorted(
                (e['event'], e['data'].get('tray-open')) for e in q.events
                if e['event'] == 'DEVICE_TRAY_MOVED'))
    finally:
        p.kill()
        p.wait()
    return answers


def test_commands_are_answered_as_the_peer_answers_them():
    if shutil.which(PEER) is None:
        raise Skip(f'{PEER} is not installed')
    got = []
    for program, extra in ((ORRERY, ('-accel', 'soft')),
                           (PEER, ('-accel', 'tcg'))):
        with tempfile.TemporaryDirectory() as d:
            make_images(d)
            got.append(play(program, d, () if IS_PEER else extra))
    bad = []
    for what, ours, theirs in zip(SESSION + ['events'], *got):
        if what == 'events' or ours[0] != theirs[0] or \
                ours[1] != theirs[1] and not OTHER_WORDS.search(str(theirs[1])):
            if ours != theirs:
                bad.append(f'{what}\n    ours   {ours}\n    theirs {theirs}')
    if bad:
        raise Fail('\n'.join(bad))


KEYS = ('device', 'locked', 'removable', 'io-status', 'tray_open')
INSERTED = ('iops', 'bps', 'bps_max', 'bps_max_length', 'group', 'ro', 'drv',
            'detect_zeroes', 'backing_file_depth', 'encrypted', 'cache')


def test_query_block_tells_the_same_as_the_peer():
    if shutil.which(PEER) is None:
        raise Skip(f'{PEER} is not installed')
    got = []
    for program, accel in ((ORRERY, 'soft'), (PEER, 'tcg')):
        with tempfile.TemporaryDirectory() as d:
            make_images(d)
            path = os.path.join(d, 'q')
            p = subprocess.Popen(
                [program, *([] if IS_PEER else ['-accel', accel]), '-S', '-m',
                 '32', '-nodefaults', '-display', 'none', '-qmp',
                 f'unix:{path},server=on,wait=off', '-drive',
                 'if=ide,format=qcow2,file=d.qcow2,cache=none,'
                 'detect-zeroes=unmap,discard=unmap', '-drive',
                 'if=ide,format=raw,file=a.img,bps=1000,bps_max=2000,group=g',
                 '-drive', 'if=ide,media=cdrom', '-drive',
                 'if=none,id=ro,driver=qcow2,node-name=n1,read-only=on,'
                 'file.driver=file,file.filename=c.qcow2,file.node-name=n0'],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, preexec_fn=die_with_parent, cwd=d)
            try:
                with QMP(path) as q:
                    blocks = {b['device']: b for b in q('query-block')}
                    nodes = {n['node-name']: n
                             for n in q('query-named-block-nodes')}
            finally:
                p.kill()
                p.wait()
        got.append([
            {k: v.get(k) for k in KEYS if k != 'removable' or b != 'ro'} |
            {k: v.get('inserted', {}).get(k) for k in INSERTED}
            for b, v in sorted(blocks.items())] + [
            blocks['ide0-hd0']['inserted']['image'],
            blocks['ro']['inserted']['node-name'],
            [(n, nodes[n]['drv'], nodes[n]['ro'], nodes[n]['image']['format'])
             for n in ('n0', 'n1')], len(nodes)])
    ours, theirs = got
    for o, t in zip(ours, theirs):
        if isinstance(o, dict):
            for image in (o, t, o.get('backing-image', {}),
                          t.get('backing-image', {})):
                image.pop('actual-size', None)
        same(o, t)


def test_answers_have_the_peers_shape():
    if IS_PEER:
        raise Skip('the peer is what it is compared with')
    if shutil.which(PEER) is None:
        raise Skip(f'{PEER} is not installed')
    with tempfile.TemporaryDirectory() as d:
        texts = []
        for program, accel in ((ORRERY, 'soft'), (PEER, 'tcg')):
            make_images(d)
            path = os.path.join(d, program.replace('/', '_'))
            p = subprocess.Popen(
                [program, '-accel', accel, '-S', '-m', '32', '-nodefaults',
                 '-display', 'none', '-qmp', f'unix:{path},server=on,wait=off',
                 '-drive', 'if=ide,format=qcow2,file=d.qcow2,node-name=n0,'
                 'detect-zeroes=on,iops=7,iops_max=8'],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, preexec_fn=die_with_parent, cwd=d)
            try:
                with QMP(path) as q:
                    text = q('human-monitor-command',
                             {'command-line': 'info block'})
            finally:
                p.kill()
                p.wait()
            texts.append(re.sub('Attached to: .*', 'Attached', text))
        same(texts[0], texts[1])


def nameless(value):
    """Without what each program names its own way."""
    if isinstance(value, list):
        return sorted((nameless(v) for v in value), key=json.dumps)
    if not isinstance(value, dict):
        return value
    return {k: '#' if k == 'node-name' and v.startswith('#') else nameless(v)
            for k, v in sorted(value.items()) if k != 'qdev'}


def test_block_statistics_have_the_peers_shape():
    if IS_PEER:
        raise Skip('the peer is what it is compared with')
    if shutil.which(PEER) is None:
        raise Skip(f'{PEER} is not installed')
    with tempfile.TemporaryDirectory() as d:
        got = []
        for program, accel in ((ORRERY, 'soft'), (PEER, 'tcg')):
            make_images(d)
            path = os.path.join(d, program.replace('/', '_'))
            p = subprocess.Popen(
                [program, '-accel', accel, '-S', '-m', '32', '-nodefaults',
                 '-display', 'none', '-qmp', f'unix:{path},server=on,wait=off',
                 '-drive', 'if=ide,format=qcow2,file=d.qcow2,node-name=n0',
                 '-blockdev', 'driver=null-co,node-name=n1,read-zeroes=on'],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, preexec_fn=die_with_parent, cwd=d)
            try:
                with QMP(path) as q:
                    got.append([nameless(q('query-blockstats', a)) for a in (
                        None, {'query-nodes': False}, {'query-nodes': True})])
                    fails(q, 'GenericError', 'query-nodes', 'query-blockstats',
                          {'query-nodes': 1})
            finally:
                p.kill()
                p.wait()
        for ours, theirs in zip(*got):
            same(ours, theirs)


def test_drives_come_and_go_while_the_machine_runs():
    with Machine('-S', '-drive', 'if=ide,id=hd,file=@/a.img,format=raw') as vm:
        same(vm.hmp(f'drive_add 0 if=none,id=x,file={vm.path("c.qcow2")},'
                    'read-only=on').strip(), 'OK')
        if not re.search(r'^x.*c\.qcow2 \(qcow2, read-only\)',
                         vm.hmp('info block'), re.M):
            raise Fail(vm.hmp('info block'))
        if 'Duplicate ID' not in vm.hmp('drive_add 0 if=none,id=x'):
            raise Fail('x was added twice')
        for text, why in (('if=ide,file=/dev/null', "Can't hot-add|type 1|"
                           'Could not|not a'),
                          ('if=none,file=/nonexistent', 'No such file'),
                          ('if=nine,file=/nonexistent', 'unsupported|No such'),
                          ('if=none,media=tape,file=/nonexistent', 'media|No'),
                          ('if=none,id=y,bogus=1', 'option|driver or file')):
            out = vm.hmp(f'drive_add 0 {text}')
            if not re.search(why, out):
                raise Fail(f'{text}: {out}')
        sock = vm.path('nbd')
        vm.hmp(f'nbd_server_start unix:{sock}')
        vm.hmp('nbd_server_add x')
        if shutil.which('qemu-img') is not None:
            shell('qemu-img', 'info', f'nbd:unix:{sock}:exportname=x')
        quiet(vm.hmp('drive_del x'))  # with its export
        if re.search('^x', vm.hmp('info block'), re.M):
            raise Fail(vm.hmp('info block'))
        # The image is free again.
        quiet(vm.hmp(f'drive_add 0 if=none,id=x,file={vm.path("c.qcow2")}'))
        quiet(vm.hmp('drive_del x'))
        quiet(vm.hmp('drive_add -n 0 driver=null-co,node-name=n,size=1M'))
        quiet(vm.hmp('drive_del n'))
        if 'not found' not in vm.hmp('drive_del n'):
            raise Fail('n is still there')
        if not IS_PEER and 'in use' not in vm.hmp('drive_del hd'):
            raise Fail('a disk was taken from its controller')


# ---------------------------------------------------------- command line

def test_blockdev_takes_dots_and_json():
    with Machine('-S', '-blockdev', 'driver=file,node-name=f0,filename=@/a.img',
                 '-blockdev', 'raw,node-name=r0,file=f0,offset=1M,size=64k,'
                 'read-only=on',
                 '-blockdev', json.dumps({
                     'driver': 'qcow2', 'node-name': 'q0', 'discard': 'unmap',
                     'cache': {'direct': False, 'no-flush': True},
                     'file': {'driver': 'file', 'filename': '@/c.qcow2'}}),
                 '-object', 'throttle-group,id=tg,limits.iops-total=7',
                 '-blockdev', 'throttle,node-name=t0,throttle-group=tg,'
                 'file.driver=null-co,file.size=1M') as vm:
        nodes = {n['node-name']: n
                 for n in vm.qmp('query-named-block-nodes', {'flat': True})}
        same({'f0', 'r0', 'q0', 't0'} - set(nodes), set())
        same((nodes['r0']['image']['virtual-size'], nodes['r0']['ro']),
             (65536, True))
        same(nodes['q0']['cache'],
             {'no-flush': True, 'direct': False, 'writeback': True})
        same(nodes['t0']['image']['virtual-size'], 1 << 20)
        text = vm.hmp('info block -n')
        for name in ('f0', 'r0', 'q0', 't0'):
            if not re.search(f'^{name}: ', text, re.M):
                raise Fail(text)
        same(vm.qmp('query-block'), [])
        fails(vm.qmp, 'GenericError', 'in use', 'blockdev-del',
              {'node-name': 'f0'})
        for name in ('r0', 'f0', 'q0', 't0'):
            vm.qmp('blockdev-del', {'node-name': name})
        fails(vm.qmp, 'GenericError', 'in use|not found', 'object-del',
              {'id': 'nosuch'})
        vm.hmp('object_del tg')


def test_wrong_options_are_one_line():
    if IS_PEER:
        raise Skip("the peer's texts have several lines")
    for text, pattern in (
            ('driver=raw,node-name=x', "'file' is missing"),
            ('driver=foo,node-name=x', "does not accept value 'foo'"),
            ('raw,node-name=x,file.driver=file,file.filename=@/a.img,foo=1',
             "'foo' is unexpected"),
            ('raw,node-name=x,file.driver=file,file.filename=@/none',
             'No such file'),
            ('raw,node-name=x,file.driver=file', "'file.filename' is missing"),
            ('raw,node-name=x,file.driver=file,file.filename=@/a.img,'
             'file.x=1', "'file.x' is unexpected"),
            ('raw,node-name=x,file=y', "node-name='y'"),
            ('raw,file.driver=null-co', "'node-name' must be"),
            ('{"driver":"raw"', 'JSON'), ('[1]', "'node-name' must be"),
            ('', 'node-name|driver'), ('null-co,node-name=x,size=-1', 'size'),
            ('null-co,node-name=x,size=1,size.y=2', 'inconsistently'),
            ('nbd,node-name=x,server.type=unix', "'server.path' is missing"),
            ('nbd,node-name=x,server.type=fd,server.str=3', "'fd'"),
            ('qcow2,node-name=x,file.driver=file,file.filename=@/a.img',
             'not in qcow2 format'),
            ('file,node-name=x,filename=@/a.img,read-only=maybe',
             "expects 'on' or 'off'")):
        refused(pattern, '-blockdev', text)
    for text, pattern in (
            ('secret,id=s', "Either 'file' or 'data'"),
            ('secret,id=s,data=TOPSECRET,format=x', "value 'x'"),
            ('nothing,id=s', "value 'nothing'"), ('secret,data=x', "'id'"),
            ('throttle-group,id=g,x-nothing=1', "'x-nothing'"),
            ('throttle-group,id=g,limits.bps-total=x', 'size')):
        refused(pattern, '-object', text)
    for text, pattern in (
            ('file=@/a.img,format=raw,bps=1,bps_rd=1', 'same time'),
            ('file=@/a.img,format=raw,iops=x', 'expects a number'),
            ('file=@/a.img,format=raw,throttling.x=1', 'no parameter'),
            ('if=ide,driver=raw,file.driver=nbd,file.server.type=unix,'
             'file.server.path=/no/such', '/no/such')):
        refused(pattern, '-drive', text)


def test_a_passphrase_is_never_in_a_message():
    with tempfile.TemporaryDirectory() as d:
        p = subprocess.run(
            [ORRERY, '-display', 'none', '-object',
             'secret,id=s,data=TOPSECRET,format=x'], capture_output=True,
            text=True, cwd=d, check=False, timeout=60 * SLOW)
    if 'TOPSECRET' in p.stderr and not IS_PEER:
        raise Fail(p.stderr)


# -------------------------------------------------------------- encryption

def make_encrypted(d):
    tool = ['qemu-img'] if IS_PEER else [ORRERY, 'img']
    for args in (('-f', 'luks', '-o', 'key-secret=s,iter-time=10', 'l.luks'),
                 ('-f', 'qcow2', '-o', 'encrypt.format=luks,'
                  'encrypt.key-secret=s,encrypt.iter-time=10', 'l.qcow2')):
        shell(*tool, 'create', '-q', '--object',
              'secret,id=s,data=open sesame', *args, '4M', cwd=d)


def need_qemu_img():
    if shutil.which('qemu-img') is None:
        raise Skip('qemu-img is not installed')


class Encrypted(Machine):
    def images(self):
        super().images()
        make_encrypted(self.qdir)


def test_encrypted_images_open_with_their_secret():
    need_qemu_img()
    with Encrypted(
            '-S', '-object', 'secret,id=s0,data=open sesame', '-drive',
            'if=ide,file=@/l.qcow2,format=qcow2,encrypt.key-secret=s0') as vm:
        q = vm.qmp
        b = q('query-block')[0]['inserted']
        same((b['encrypted'], b['image']['encrypted']), (True, True))
        if 'encrypted)' not in vm.hmp('info block'):
            raise Fail(vm.hmp('info block'))
        luks = {'driver': 'luks', 'node-name': 'l0', 'key-secret': 's1',
                'file': {'driver': 'file', 'filename': vm.path('l.luks')}}
        fails(q, 'GenericError', "'?s1'?", 'blockdev-add', luks)
        q('object-add', {'qom-type': 'secret', 'id': 's1', 'data': 'closed'})
        fails(q, 'GenericError', 'key slots|password', 'blockdev-add', luks)
        q('object-del', {'id': 's1'})
        with open(vm.path('key'), 'w') as f:
            f.write('b3BlbiBzZXNhbWU=')     # base64
        quiet(vm.hmp(f'object_add secret,id=s1,file={vm.path("key")},'
                    'format=base64'))
        q('blockdev-add', luks)
        q('object-del', {'id': 's1'})       # open stays open
        names = {n['node-name']: n for n in q('query-named-block-nodes')}
        same(names['l0']['encrypted'], True)
        q('blockdev-del', {'node-name': 'l0'})


def test_a_missing_or_wrong_secret_is_one_line():
    need_qemu_img()
    with tempfile.TemporaryDirectory() as d:
        make_encrypted(d)
        for image, key in (('l.qcow2', 'encrypt.key-secret'),
                           ('l.luks', 'key-secret')):
            form = image.split('.')[1]
            for extra, pattern in (
                    ('', key), (f',{key}=s1', "'?s1'?"),
                    (f',{key}=bad', 'key slots|Invalid password')):
                p = subprocess.run(
                    [ORRERY, '-display', 'none', '-S', '-object',
                     'secret,id=bad,data=x', '-drive',
                     f'file={d}/{image},format={form}{extra}'],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True,
                    check=False, timeout=60 * SLOW, preexec_fn=die_with_parent)
                if p.returncode != 1 or p.stderr.count('\n') != 1 or \
                        not re.search(pattern, p.stderr):
                    raise Fail(f'{image}{extra}: {p.returncode} {p.stderr!r}')


def test_a_terminal_is_asked_for_the_passphrase():
    if IS_PEER:
        raise Skip('the peer does not ask')
    need_qemu_img()
    with tempfile.TemporaryDirectory() as d:
        make_encrypted(d)
        args = ('-S', '-m', '16', '-display', 'none', '-monitor', 'stdio',
                '-serial', 'none', '-parallel', 'none', '-drive',
                f'file={d}/l.qcow2,format=qcow2')
        with Console(*args) as c:
            c.wait('Passphrase for .*l.qcow2: $')
            c.send('open sesame\r')
            c.wait(r'\([a-z]+\) $')
            if 'sesame' in c.text():
                raise Fail('the passphrase is shown')
            c.send('info block ide0-hd0\r')
            c.wait('encrypted')
        with Console(*args) as c:
            c.wait('Passphrase for .*: $')
            c.send('open barley\r')
            c.wait('opens none of the key slots')
            same(c.wait_exit(), 1)
        with Console(*args) as c:
            c.wait('Passphrase for .*: $')
            c.send('\x03')
            c.wait('no passphrase given')
            same(c.wait_exit(), 1)


# ------------------------------------------------------------------- sizes

def test_an_image_grows_and_not_while_a_job_runs():
    with Machine('-S', '-drive', 'if=ide,file=@/a.img,format=raw', '-drive',
                 'if=ide,file=@/d.qcow2,format=qcow2') as vm:
        q = vm.qmp
        quiet(vm.hmp('block_resize ide0-hd0 16M'))
        same(os.path.getsize(vm.path('a.img')), 16 << 20)
        quiet(vm.hmp('block_resize ide0-hd1 12'))    # MiB
        sizes = [b['inserted']['image']['virtual-size']
                 for b in q('query-block')]
        same(sizes, [16 << 20, 12 << 20])
        with open(vm.path('a.img'), 'r+b') as f:
            f.write(b'x' * (1 << 20))   # 16 seconds; holes take none
        q('drive-backup', {'device': 'ide0-hd0', 'sync': 'full', 'speed': 65536,
                           'target': vm.path('copy'), 'format': 'raw',
                           'job-id': 'j0'})
        fails(q, 'GenericError', 'in use|busy', 'block_resize',
              {'device': 'ide0-hd0', 'size': 8 << 20})
        same(os.path.getsize(vm.path('a.img')), 16 << 20)
        q('quit')
        vm.wait_exit()
        info = json.loads(shell('qemu-img' if IS_PEER else ORRERY,
                                *([] if IS_PEER else ['img']), 'info',
                                '--output=json', vm.path('d.qcow2')))
        same(info['virtual-size'], 12 << 20)


# ------------------------------------------------------------------- media

def test_a_node_is_put_into_a_drive_and_taken_out():
    with Machine('-S', '-drive', 'if=ide,index=2,id=cd,media=cdrom') as vm:
        q = vm.qmp
        qdev = q('query-block')[0]['qdev']

        def state():
            b = q('query-block')[0]
            return b['tray_open'], b.get('inserted', {}).get('node-name')
        q('blockdev-add', {'driver': 'raw', 'node-name': 'm0',
                           'read-only': True, 'file': {
                               'driver': 'file', 'filename': vm.path('b.img')}})
        fails(q, 'GenericError', 'is not open', 'blockdev-insert-medium',
              {'id': qdev, 'node-name': 'm0'})
        q('blockdev-open-tray', {'id': qdev})
        same(q.wait_event('DEVICE_TRAY_MOVED')['data']['tray-open'], True)
        fails(q, 'GenericError', "'nosuch' not found", 'blockdev-insert-medium',
              {'id': qdev, 'node-name': 'nosuch'})
        q('blockdev-insert-medium', {'id': qdev, 'node-name': 'm0'})
        same(state(), (True, 'm0'))
        fails(q, 'GenericError', 'in use', 'blockdev-insert-medium',
              {'id': qdev, 'node-name': 'm0'})
        fails(q, 'GenericError', 'in use', 'blockdev-del', {'node-name': 'm0'})
        q('blockdev-close-tray', {'id': qdev})
        same(q.wait_event('DEVICE_TRAY_MOVED')['data']['tray-open'], False)
        same(state(), (False, 'm0'))
        if 'cd (m0): ' not in vm.hmp('info block'):
            raise Fail(vm.hmp('info block'))
        fails(q, 'GenericError', 'is not open', 'blockdev-remove-medium',
              {'id': qdev})
        q('eject', {'id': qdev, 'force': True})
        same(state(), (True, None))
        q('blockdev-del', {'node-name': 'm0'})
        q('blockdev-change-medium', {
            'id': qdev, 'filename': vm.path('c.qcow2'), 'format': 'qcow2',
            'read-only-mode': 'read-only'})
        b = q('query-block')[0]
        same((b['tray_open'], b['inserted']['drv'], b['inserted']['ro']),
             (False, 'qcow2', True))
        quiet(vm.hmp(f'change cd {vm.path("b.img")} raw read-only'))
        same(q('query-block')[0]['inserted']['drv'], 'raw')
        if 'x' not in vm.hmp(f'change cd {vm.path("b.img")} raw x'):
            raise Fail('read-only-mode x was taken')


# -------------------------------------------------------------------- jobs

def states(q, job):
    return [e['data']['status'] for e in q.events
            if e['event'] == 'JOB_STATUS_CHANGE' and e['data']['id'] == job]


def until_state(vm, job, state):
    vm.until(f'{job} {state}', lambda: [
        j for j in vm.qmp('query-jobs')
        if j['id'] == job and j['status'] == state], 60)


def test_a_job_goes_through_the_states_of_the_peer():
    # The peer pauses and goes on whenever it looks at a graph.
    with Machine('-S', '-drive', 'if=ide,id=hd,file=@/a.img,format=raw') as vm:
        q = vm.qmp
        q('drive-backup', {'device': 'hd', 'sync': 'full', 'job-id': 'j1',
                           'target': vm.path('t1'), 'format': 'raw',
                           'auto-finalize': False, 'auto-dismiss': False})
        until_state(vm, 'j1', 'pending')
        for verb, args in (('job-dismiss', {}), ('job-complete', {}),
                           ('job-pause', {})):
            if verb != 'job-pause' or not IS_PEER:
                fails(q, 'GenericError', "'j1' in state 'pending' cannot",
                      verb, {'id': 'j1', **args})
        j = q('query-block-jobs')[0]
        same((j['auto-finalize'], j['auto-dismiss'], j['status']),
             (False, False, 'pending'))
        q('block-job-finalize', {'id': 'j1'})
        until_state(vm, 'j1', 'concluded')
        q('job-dismiss', {'id': 'j1'})
        same(q('query-jobs'), [])
        q.wait_event('BLOCK_JOB_PENDING')
        same([s for s in states(q, 'j1') if not (IS_PEER and s == 'paused')][
            :2] + states(q, 'j1')[-4:],
             ['created', 'running', 'waiting', 'pending', 'concluded', 'null'])
        fails(q, 'GenericError', 'Job not found', 'job-dismiss', {'id': 'j1'})
        fails(q, 'DeviceNotActive', "'j1' not found", 'block-job-dismiss',
              {'id': 'j1'})
        fails(q, 'GenericError', "Invalid job ID 'x y'", 'drive-backup',
              {'device': 'hd', 'sync': 'full', 'job-id': 'x y',
               'target': vm.path('t2'), 'format': 'raw'})


def test_a_node_is_the_target_of_backup_and_mirror():
    with Machine('-S', '-drive', 'if=ide,id=hd,file=@/a.img,format=raw',
                 '-blockdev', 'raw,node-name=to,file.driver=file,'
                 'file.filename=@/b.img') as vm:
        q = vm.qmp
        for target, pattern in (('nosuch', "node-name='nosuch'"),):
            fails(q, 'GenericError', pattern, 'blockdev-backup',
                  {'device': 'hd', 'target': target, 'sync': 'full'})
        q('blockdev-backup', {'device': 'hd', 'target': 'to', 'sync': 'full',
                              'job-id': 'b'})
        same(q.wait_event('BLOCK_JOB_COMPLETED')['data']['type'], 'backup')
        q('blockdev-mirror', {'device': 'hd', 'target': 'to', 'sync': 'full',
                              'job-id': 'm'})
        q.wait_event('BLOCK_JOB_READY')
        fails(q, 'GenericError', 'in use', 'blockdev-del', {'node-name': 'to'})
        q('block-job-cancel', {'device': 'm'})      # a good copy is left
        e = q.wait_event('BLOCK_JOB_COMPLETED')['data']
        same((e['type'], 'error' in e), ('mirror', False))
        q('blockdev-mirror', {'device': 'hd', 'target': 'to', 'sync': 'full',
                              'job-id': 'm'})
        q.wait_event('BLOCK_JOB_READY')
        q('block-job-cancel', {'device': 'm', 'force': True})
        q.wait_event('BLOCK_JOB_CANCELLED')
        q('blockdev-mirror', {'device': 'hd', 'target': 'to', 'sync': 'full',
                              'job-id': 'm'})
        q.wait_event('BLOCK_JOB_READY')
        q('job-complete', {'id': 'm'})
        q.wait_event('BLOCK_JOB_COMPLETED')
        same(q('query-block')[0]['inserted']['node-name'], 'to')


def test_changes_go_to_a_new_image_and_back():
    need_qemu_img()
    with open('/dev/urandom', 'rb') as f:
        data = f.read(65536)
    with Machine('-S', '-drive', 'if=ide,id=hd,file=@/a.img,format=raw') as vm:
        q = vm.qmp
        top = vm.path('top.qcow2')
        fails(q, 'GenericError', "device='nosuch'", 'blockdev-snapshot-sync',
              {'device': 'nosuch', 'snapshot-file': top})
        q('blockdev-snapshot-sync', {'device': 'hd', 'snapshot-file': top,
                                     'format': 'qcow2'})
        b = q('query-block')[0]['inserted']
        same((b['file'], b['drv'], b['backing_file_depth']),
             (top, 'qcow2', 1))
        sock = vm.path('nbd')
        vm.hmp(f'nbd_server_start unix:{sock}')
        vm.hmp('nbd_server_add -w hd')
        with open(vm.path('piece'), 'wb') as f:
            f.write(data)
        shell('qemu-io', '-f', 'raw', '-c',
              f'write -s {vm.path("piece")} 64k 64k', '-c', 'flush',
              f'nbd:unix:{sock}:exportname=hd')
        with open(vm.path('a.img'), 'rb') as f:
            same(f.read().count(0), 4 << 20)
        vm.hmp('nbd_server_stop')
        quiet(vm.hmp('commit hd'))
        with open(vm.path('a.img'), 'rb') as f:
            f.seek(65536)
            same(f.read(65536) == data, True)
        quiet(vm.hmp(f'snapshot_blkdev hd {vm.path("top2.qcow2")} qcow2'))
        q('block-stream', {'device': 'hd', 'job-id': 's'})
        same('error' in q.wait_event('BLOCK_JOB_COMPLETED')['data'], False)
        same(q('query-block')[0]['inserted']['backing_file_depth'], 0)
        q('quit')
        vm.wait_exit()
        for name in ('top.qcow2', 'top2.qcow2'):
            shell('qemu-img', 'check', '-q', vm.path(name))
        shell('qemu-img', 'compare', '-q', vm.path('a.img'),
              vm.path('top2.qcow2'))


def test_what_is_written_to_a_snapshot_is_gone_or_committed():
    need_qemu_img()
    for how in (('-snapshot', '-drive', 'if=ide,id=hd,format=raw,file=@/a.img'),
                ('-drive',
                 'if=ide,id=hd,format=raw,file=@/a.img,snapshot=on')):
        with Machine('-S', *how) as vm:
            sock = vm.path('nbd')
            vm.hmp(f'nbd_server_start unix:{sock}')
            vm.hmp('nbd_server_add -w hd')
            shell('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 64k',
                  f'nbd:unix:{sock}:exportname=hd')
            with open(vm.path('a.img'), 'rb') as f:
                same(f.read(65536), bytes(65536))
            vm.hmp('nbd_server_stop')
            quiet(vm.hmp('commit all'))
            with open(vm.path('a.img'), 'rb') as f:
                same(f.read(65536), b'\7' * 65536)
    refused('TMPDIR|No such file', '-snapshot', '-drive',
            'format=raw,file=@/a.img', tmpdir='/no/such')


# ------------------------------------------------------------------ errors

# The first read of a disk is the controller's, for its geometry.
def faulty(vm_class, faults, **policy):
    words = ''.join(f',{k}={v}' for k, v in policy.items())
    return vm_class(
        '-drive', f'if=ide,driver=raw,id=hd,file.driver=faulty,'
        f'file.faults={faults},file.file.driver=file,'
        f'file.file.filename=@/a.img{words}', '-boot', 'c')


def test_errors_are_told_and_cont_tries_again():
    if IS_PEER:
        raise Skip('the peer has another filter for this')
    with faulty(Machine, 'read:2:EIO/read:3:ENOSPC', rerror='stop') as vm:
        q = vm.qmp
        want = {'device': 'hd', 'node-name': '#hd', 'operation': 'read',
                'action': 'stop', 'nospace': False,
                'reason': 'Input/output error'}
        for status in ('failed', 'nospace'):
            same(q.wait_event('BLOCK_IO_ERROR')['data'], want)
            q.wait_event('STOP')
            same(q('query-status')['status'], 'io-error')
            same(q('query-block')[0]['io-status'], status)
            if f'I/O status:       {status}\n' not in vm.hmp('info block'):
                raise Fail(vm.hmp('info block'))
            want = {**want, 'nospace': True,
                    'reason': 'No space left on device'}
            q('cont')
            q.wait_event('RESUME')
        # The firmware found nothing to boot, by reading it.
        vm.wait_text('No bootable device', 60)
        same(q('query-block')[0]['io-status'], 'ok')


def test_errors_that_do_not_stop_are_told_too():
    if IS_PEER:
        raise Skip('the peer has another filter for this')
    for action in ('report', 'ignore'):
        with faulty(Machine, 'read:2:EIO', rerror=action) as vm:
            e = vm.qmp.wait_event('BLOCK_IO_ERROR')['data']
            same((e['action'], e['operation']), (action, 'read'))
            same(vm.qmp('query-status')['status'], 'running')
            same(vm.qmp('query-block')[0]['io-status'], 'ok')


# ------------------------------------------------------------------ limits

def test_limits_of_a_drive_hold_for_what_reads_it():
    need_qemu_img()
    with Machine('-S', '-drive', 'if=ide,id=hd,file=@/a.img,format=raw,'
                 'throttling.bps-total=1048576') as vm:
        sock = vm.path('nbd')
        vm.hmp(f'nbd_server_start unix:{sock}')
        vm.hmp('nbd_server_add hd')
        out = shell('qemu-img', 'bench', '-f', 'raw', '-c', '32', '-d', '4',
                    '-s', '64k', f'nbd:unix:{sock}:exportname=hd')
        seconds = float(re.search(r'completed in ([\d.]+) seconds', out)[1])
        # 2 MiB at 1 MiB/s; a tenth and a request go at once.
        if seconds < (2 - 0.1 - 4 / 16) / 1:
            raise Fail(out)
        quiet(vm.hmp('block_set_io_throttle hd 0 0 0 0 0 0'))
        if 'throttling' in vm.hmp('info block'):
            raise Fail(vm.hmp('info block'))


def test_a_machine_with_requests_that_wait_ends_at_once():
    with Machine('-boot', 'c', '-drive', 'if=ide,file=@/a.img,format=raw,'
                 'throttling.iops-total=1,throttling.bps-total=1') as vm:
        vm.until('a sector the firmware reads',
                 lambda: vm.qmp('query-blockstats')[0]['stats'][
                     'rd_operations'] > 0, 60)
        vm.qmp('quit')
        same(vm.wait_exit(30), 0)


if __name__ == '__main__':
    main(globals())
