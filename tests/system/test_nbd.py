# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: network block devices with QEMU's tools as the other side
# - images that qemu-nbd exports, read, compared, written and mapped by ours,
#   over a unix socket and TCP, under every form of name
# - images that `orrery img nbd` exports, the same way round by qemu-img and
#   qemu-io; several clients at a time; read-only; persistent or not
# - a server that dies, one that never says anything, names inside of images
# - a machine with an exported disk as its own, and its drives exported live
import os
import shutil
import socket
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from tap import Skip, main
from qmp import QMP, QMPError
from vmlab import ORRERY, SLOW, VM, Fail

MIB = 1 << 20
IMG = [os.path.abspath(ORRERY), 'img']
LIMIT = 60 * SLOW


def run(*words, good=(0,)):
    p = subprocess.run(words, text=True, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=LIMIT, check=False)
    if p.returncode not in good:
        raise Fail(f'{" ".join(words)}: exit status {p.returncode}\n'
                   f'{p.stdout}{p.stderr}')
    return p.stdout + p.stderr


def until(what, check, limit=LIMIT):
    end = time.monotonic() + limit
    while not check():
        if time.monotonic() > end:
            raise Fail(f'{what}: not within {limit} s')
        time.sleep(0.05)


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
        except OSError:
            return False
    return True


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Lab:
    """A folder with images; servers in it end with it."""

    def __init__(self):
        for tool in 'qemu-nbd', 'qemu-img', 'qemu-io':
            if not shutil.which(tool):
                raise Skip(f'{tool} is missing')
        self.dir = tempfile.mkdtemp(prefix='nbd.')
        self.children = []
        with open(self['r'], 'wb') as f:
            f.write(os.urandom(3 * MIB))
            f.seek(6 * MIB)
            f.write(os.urandom(MIB // 2))
            f.truncate(10 * MIB)
        run('qemu-img', 'convert', '-O', 'qcow2', self['r'], self['q'])

    def __getitem__(self, name):
        return os.path.join(self.dir, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.children:
            if p.poll() is None:
                p.kill()
            p.wait()
        shutil.rmtree(self.dir)

    def serve(self, *words):
        """The server runs, and listens on a socket if -k names one."""
        p = subprocess.Popen(words, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL)
        self.children.append(p)
        if '-k' in words:
            path = words[words.index('-k') + 1]
            until(f'{path} is there', lambda: os.path.exists(path))
        return p

    def stop(self, p):
        p.terminate()
        return p.wait(LIMIT)


def test_client_reads_and_writes_what_the_peer_exports():
    with Lab() as d:
        s = d['s']
        p = d.serve('qemu-nbd', '-t', '-e', '4', '-k', s, '-x', 'a b', '-f',
                    'qcow2', d['q'])
        names = (f'nbd:unix:{s}:exportname=a b',
                 f'nbd+unix:///a%20b?socket={s}')
        for n in names:
            run(*IMG, 'compare', '-f', 'raw', '-F', 'raw', n, d['r'])
            ours = run(*IMG, 'map', '-f', 'raw', '--output', 'json', n)
            theirs = run('qemu-img', 'map', '-f', 'raw', '--output', 'json',
                         names[1])
            if [s for s in ours.split('\n') if s] != \
                    [s for s in theirs.split('\n') if s]:
                raise Fail(f'map: {ours}\nthe peer: {theirs}')
        with open(d['new'], 'wb') as f:
            f.write(os.urandom(MIB))
            f.truncate(10 * MIB)
        run(*IMG, 'convert', '-n', '-f', 'raw', '-O', 'raw', d['new'],
            names[0])
        d.stop(p)
        run('qemu-img', 'compare', d['q'], d['new'])
        run('qemu-img', 'check', d['q'])


def test_client_uses_tcp_and_sees_the_format_inside():
    with Lab() as d:
        port = free_port()
        d.serve('qemu-nbd', '-t', '-b', '127.0.0.1', '-p', str(port), '-f',
                'raw', d['q'])

        def listens():
            with socket.socket() as s:
                return s.connect_ex(('127.0.0.1', port)) == 0
        until('qemu-nbd listens', listens)
        for n in f'nbd:127.0.0.1:{port}', f'nbd://127.0.0.1:{port}/', \
                f'nbd://localhost:{port}':
            run(*IMG, 'compare', n, d['r'])
            text = run(*IMG, 'info', n)
            if 'file format: qcow2' not in text or \
                    'disk size: unavailable' not in text:
                raise Fail(text)


def test_peer_reads_and_writes_what_we_export():
    with Lab() as d:
        s = d['s']
        uri = f'nbd+unix:///disk?socket={s}'
        p = d.serve(*IMG, 'nbd', '-t', '-e', '8', '-k', s, '-x', 'disk',
                    '-f', 'qcow2', d['q'])
        text = run('qemu-nbd', '-L', '-k', s)
        if "'disk'" not in text or 'base:allocation' not in text or \
                'multi' not in text:
            raise Fail(text)
        if os.stat(s).st_mode & 0o777 != 0o600:
            raise Fail(f'mode of the socket: {os.stat(s).st_mode:o}')
        run('qemu-img', 'compare', uri, d['r'])
        ours = run('qemu-img', 'map', '--output', 'json', uri)
        other = d['s2']
        q = d.serve('qemu-nbd', '-r', '-k', other, '-x', 'disk', '-f', 'raw',
                    d['r'])
        theirs = run('qemu-img', 'map', '--output', 'json',
                     f'nbd+unix:///disk?socket={other}')
        if ours.count('"data": true') != theirs.count('"data": true'):
            raise Fail(f'map: {ours}\nthe peer: {theirs}')
        d.stop(q)
        run('qemu-io', '-f', 'raw', '-c', 'write -P 7 1M 1M',
            '-c', 'write -z 3M 1M', '-c', 'write -f -P 8 5M 4k',
            '-c', 'write -P 9 12345 777', '-c', 'discard 8M 1M', '-c', 'flush',
            uri)
        many = [subprocess.Popen(['qemu-img', 'bench', '-w', '-f', 'raw',
                                  '-c', '300', '-d', '16', '-o', str(o),
                                  '-S', '4096', '--pattern', str(i + 1), uri],
                                 stdout=subprocess.DEVNULL)
                for i, o in enumerate((7 * MIB, 7 * MIB + 3 * 1024 * 400))]
        if any(m.wait(LIMIT) for m in many):
            raise Fail('qemu-img bench failed')
        if d.stop(p) != 0 or os.path.exists(s):
            raise Fail('SIGTERM: not a clean end')
        run('qemu-img', 'check', d['q'])
        text = run('qemu-io', '-c', 'read -P 7 1M 1M', '-c',
                   'read -P 0 3M 1M', '-c', 'read -P 8 5M 4k', '-c',
                   'read -P 9 12345 777', d['q'])
        if 'failed' in text:
            raise Fail(text)


def test_server_keeps_to_its_options():
    with Lab() as d:
        s = d['s']
        uri = f'nbd+unix:///?socket={s}'
        p = d.serve(*IMG, 'nbd', '-r', '-k', s, '-f', 'raw', d['r'])
        text = run('qemu-io', '-f', 'raw', '-c', 'write 0 4k', uri,
                   good=(0, 1))
        if 'wrote' in text:
            raise Fail('written, though read-only')
        # Not persistent: the first client that goes was the last one.
        if p.wait(LIMIT) != 0:
            raise Fail('the server did not end well')
        p = d.serve(*IMG, 'nbd', '-t', '-k', s, '-f', 'raw', d['r'])
        # A client alone must not think that it may connect again.
        if 'multi' in run('qemu-nbd', '-L', '-k', s):
            raise Fail('several connections are offered, one is let in')
        run('qemu-img', 'info', uri)
        run('qemu-img', 'info', uri)
        text = run(*IMG, 'nbd', '-t', '-k', s, '-f', 'raw', d['q'], good=(1,))
        if 'in use' not in text.lower():
            raise Fail(text)
        d.stop(p)


def test_dead_and_silent_servers_do_not_hang_us():
    with Lab() as d:
        s = d['s']
        p = d.serve('qemu-nbd', '-t', '-k', s, '-f', 'raw', d['r'])
        q = subprocess.Popen([*IMG, 'bench', '-c', '100000000', '-f', 'raw',
                              f'nbd:unix:{s}'], stderr=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, text=True)
        d.children.append(q)
        time.sleep(0.5)
        p.kill()
        text = q.communicate(timeout=LIMIT)[1]
        if q.returncode == 0 or text.count('connection lost') != 1:
            raise Fail(text)
        silent = d['silent']
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(silent)
            listener.listen(4)
            start = time.monotonic()
            run(*IMG, 'info', f'nbd:unix:{silent}', good=(1,))
            if not 9 < time.monotonic() - start < 30 * SLOW:
                raise Fail(f'gave up after {time.monotonic() - start} s')
        run(*IMG, 'info', f'nbd:unix:{d["nothing"]}', good=(1,))


def test_names_inside_of_images_are_files():
    with Lab() as d:
        s = d['s']
        d.serve('qemu-nbd', '-t', '-r', '-k', s, '-f', 'raw', d['r'])
        run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b',
            f'nbd+unix:///?socket={s}', d['o'], '10M')
        run('qemu-img', 'compare', '-F', 'raw', d['o'], d['r'])
        text = run(*IMG, 'compare', '-F', 'raw', d['o'], d['r'], good=(2,))
        if 'No such file' not in text:
            raise Fail(text)


def test_machine_uses_and_exports_disks():
    with Lab() as d:
        s, t = d['s'], d['t']
        d.serve('qemu-nbd', '-t', '-k', s, '-f', 'raw', d['r'])
        with VM('-drive', f'file=nbd:unix:{s},format=raw,if=ide,id=d0',
                '-drive', f'file={d["q"]},format=qcow2,if=ide,id=d1',
                '-qmp', f'unix:{d["qmp"]},server=on,wait=off', '-S') as vm:
            if f'nbd:unix:{s}' not in vm.hmp('info block'):
                raise Fail(vm.hmp('info block'))
            if 'not running' not in vm.hmp('nbd_server_add d0'):
                raise Fail('exported without a server')
            if vm.hmp(f'nbd_server_start unix:{t}').strip():
                raise Fail('nbd_server_start')
            for line in 'nbd_server_add d0', 'nbd_server_add -w d1 disk':
                text = vm.hmp(line).strip()
                if text:
                    raise Fail(f'{line}: {text}')
            run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw',
                f'nbd+unix:///d0?socket={t}', d['r'])
            uri = f'nbd+unix:///disk?socket={t}'
            run('qemu-io', '-f', 'raw', '-c', 'write -P 5 2M 1M', '-c',
                'flush', '-c', 'read -P 5 2M 1M', uri)
            if vm.hmp('nbd_server_remove disk').strip():
                raise Fail('nbd_server_remove')
            run('qemu-img', 'info', uri, good=(1,))
            with QMP(d['qmp']) as q:
                q('nbd-server-stop')
                where = {'addr': {'type': 'unix', 'data': {'path': t}}}
                q('nbd-server-start', where)
                q('nbd-server-add', {'device': 'd1', 'name': 'x',
                                     'writable': False})
                try:
                    q('nbd-server-start', where)
                except QMPError:
                    pass
                else:
                    raise Fail('a second server')
                run('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 5 2M 1M',
                    f'nbd+unix:///x?socket={t}')
                q('quit')
            vm.wait_exit()
        if can_connect(t) or os.path.exists(t):
            raise Fail('the socket outlives the machine')
        run('qemu-img', 'check', d['q'])


if __name__ == '__main__':
    main(globals())
