# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: the commands beside the peer's, and what they do to files
# - every line command and page of info the peer lists: ours has it, with the
#   flags of its form, or one line says why not
# - every JSON command of ours: arguments by the peer's schema
# - files that cannot be written, FIFOs, a full disk, sizes that overflow
# - a hundred clients at once, half of which never read
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import common                                           # noqa: F401
from qmp import QMP, QMPError
from tap import Skip, main
from vmlab import IS_PEER, SLOW, VM, Fail, die_with_parent

PEER = 'qemu-system-x86_64'
# Arguments of the peer that say nothing here: there is no such feature, and
# whoever gives one is told that it is unexpected.
ABSENT = {
    'base-node', 'top-node', 'bottom', 'filter-node-name', 'on-error',
    'on-source-error', 'on-target-error', 'bitmap', 'bitmap-mode', 'x-perf',
    'compress', 'buf-size', 'copy-mode', 'granularity', 'replaces', 'unmap',
    'node-name', 'snapshot-node-name', 'tls-authz', 'tls-creds'}
# Commands that check their members by themselves, and take the peer's.
OWN_CHECK = {'block_set_io_throttle', 'blockdev-add', 'object-add',
             'migrate-set-parameters'}
# Members of the peer's variants, which its schema lists elsewhere.
VARIANTS = {('expire_password', 'display'), ('set_password', 'display')}
OURS = {'query-events'}                 # of earlier versions of QMP


class Peer:
    """The peer with a JSON connection."""

    def __enter__(self):
        if shutil.which(PEER) is None:
            raise Skip(f'{PEER} is not installed')
        if IS_PEER:
            raise Skip('the program under test is the peer')
        self.dir = tempfile.TemporaryDirectory()
        path = os.path.join(self.dir.name, 'q')
        self.process = subprocess.Popen(
            [PEER, '-S', '-accel', 'tcg', '-m', '64', '-display', 'none',
             '-qmp', f'unix:{path},server=on,wait=off'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.qmp = QMP(path)
        return self

    def __exit__(self, *_):
        self.qmp.close()
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()

    def hmp(self, line):
        return self.qmp('human-monitor-command', {'command-line': line})


def json_machine(d, *args):
    path = os.path.join(d, 'q')
    return VM('-S', '-m', '64', '-qmp', f'unix:{path},server=on,wait=off',
              *args), path


# ---------------------------------------------------------------- forms

def forms(text, prefix=''):
    """{name: form} of the lines of help or info."""
    out = {}
    for line in text.splitlines():
        m = re.match(re.escape(prefix) + r'([\w|?-]+)(.*?) -- ', line)
        for name in m[1].split('|') if m else ():
            out[name] = m[2]
    return out


def flags(form):
    return set(re.findall(r'(?<!\S)-(\w)\b', re.sub(r'[][|]', ' ', form)))


def missing(name, form, answer, prefix=''):
    """What is wrong with our help for one of the peer's names; or None."""
    lines = answer.strip().splitlines()
    if not lines or 'unknown command' in answer:
        return f'{name}: {answer!r}'
    m = re.match(re.escape(prefix + name) + r': \S.*\S$', lines[0])
    if m:                               # it is absent, and why
        return None if len(lines) == 1 else f'{name}: more than one line'
    text = ' '.join(x.strip() for x in lines)
    if ' -- ' not in text:
        return f'{name}: {answer!r}'
    lost = flags(form) - flags(text.split(' -- ')[0])
    return f'{name}: lacks {sorted(lost)}: {text}' if lost else None


def test_every_command_of_the_peer_is_there_or_says_why_not():
    with Peer() as peer, VM('-S', '-m', '64') as vm:
        commands = forms(peer.hmp('help'))
        pages = forms(peer.hmp('info'), 'info ')
        if len(commands) < 100 or len(pages) < 60:
            raise Fail(f'{len(commands)} commands, {len(pages)} pages')
        bad = [missing(n, f, vm.hmp('help ' + n))
               for n, f in commands.items() if n != 'info']
        bad += [missing(n, f, vm.hmp('help info ' + n), 'info ')
                for n, f in pages.items()]
    bad = [x for x in bad if x]
    if bad:
        raise Fail('\n'.join(bad))


def test_what_is_absent_is_refused_in_one_line():
    with Peer() as peer, VM('-S', '-m', '64') as vm:
        names = [n for n in forms(peer.hmp('help')) if n != 'info']
        names += ['info ' + n for n in forms(peer.hmp('info'), 'info ')]
        absent = [n for n in names
                  if ' -- ' not in vm.hmp('help ' + n)]
        if not absent:
            raise Fail('nothing is absent')
        for name in absent:
            answer = vm.hmp(name)
            if not answer.strip() or answer.strip().count('\n') or \
                    'unknown' in answer:
                raise Fail(f'{name}: {answer!r}')


# --------------------------------------------------------------- schema

class Schema:
    def __init__(self, rows):
        self.types = {r['name']: r for r in rows
                      if r['meta-type'] not in ('command', 'event')}
        self.commands = {r['name']: r for r in rows
                         if r['meta-type'] == 'command'}
        self.events = {r['name'] for r in rows if r['meta-type'] == 'event'}

    def kind(self, name):
        """What JSON writes for a type."""
        t = self.types.get(name, {'meta-type': 'any'})
        if t['meta-type'] == 'builtin':
            return t['json-type']
        return 'string' if t['meta-type'] == 'enum' else t['meta-type']

    def arguments(self, command):
        t = self.types[self.commands[command]['arg-type']]
        return {m['name']: (self.kind(m['type']), 'default' in m)
                for m in t['members']}


def differences(theirs, ours, name):
    want, got = theirs.arguments(name), ours.arguments(name)
    for x in sorted(set(want) | set(got)):
        if x not in got:
            if want[x][1] and x in ABSENT or name in OWN_CHECK:
                continue
            yield f'{name}: lacks {x}'
        elif x not in want:
            if (name, x) not in VARIANTS:
                yield f'{name}: {x} is not in the schema'
        elif want[x][1] != got[x][1]:
            yield f'{name}: {x}: optional {got[x][1]}, there {want[x][1]}'
        elif got[x][0] not in (want[x][0], 'value'):
            yield f'{name}: {x}: {got[x][0]}, there {want[x][0]}'


def test_arguments_are_those_of_the_peers_schema():
    with Peer() as peer, tempfile.TemporaryDirectory() as d:
        theirs = Schema(peer.qmp('query-qmp-schema'))
        vm, path = json_machine(d)
        with vm, QMP(path) as q:
            ours = Schema(q('query-qmp-schema'))
            names = {c['name'] for c in q('query-commands')}
    if names != set(ours.commands):
        raise Fail(f'{names ^ set(ours.commands)}')
    bad = []
    for name in sorted(names):
        if name in theirs.commands:
            bad += differences(theirs, ours, name)
        elif name not in OURS and not name.startswith('x-'):
            bad.append(f'{name}: the peer has no such command')
    bad += [f'event {x}' for x in ours.events - theirs.events]
    if bad:
        raise Fail('\n'.join(bad))


def test_a_required_argument_that_is_missing_is_named():
    with Peer() as peer, tempfile.TemporaryDirectory() as d:
        theirs = Schema(peer.qmp('query-qmp-schema'))
        vm, path = json_machine(d)
        with vm, QMP(path) as q:
            names = {c['name'] for c in q('query-commands')}
            for name in sorted(names & set(theirs.commands)):
                need = [k for k, (_, optional)
                        in theirs.arguments(name).items() if not optional]
                if not need:
                    continue
                try:
                    q(name, {})
                except QMPError as e:
                    if not any(f"'{k}'" in str(e) for k in need):
                        raise Fail(f'{name}: {e}') from None
                    continue
                raise Fail(f'{name}: {need} may be missing')


# -------------------------------------------------------------- hostile

WRITERS = ('memsave 0 {size} {path}', 'pmemsave 0 {size} {path}',
           'dump-guest-memory {path}', 'screendump {path}',
           'logfile {path}')


def refusal(vm, line):
    text = vm.hmp(line)
    if not text.strip() or text.strip().count('\n') or len(text) > 400:
        raise Fail(f'{line}: {text!r}')
    return text


def test_files_that_cannot_be_written_are_named():
    with tempfile.TemporaryDirectory() as d, VM('-S', '-m', '64') as vm:
        fifo, sock = os.path.join(d, 'fifo'), os.path.join(d, 'sock')
        os.mkfifo(fifo)
        s = socket.socket(socket.AF_UNIX)
        s.bind(sock)
        for path in (fifo, sock, d, d + '/no/such', '/proc/version/x'):
            for w in WRITERS:
                text = refusal(vm, w.format(path=path, size=4096))
                if path not in text:
                    raise Fail(f'{w} {path}: {text}')
        s.close()
        same_state(vm)


def test_a_full_disk_is_told_of():
    if not os.path.exists('/dev/full'):
        raise Skip('there is no /dev/full')
    with VM('-S', '-m', '64') as vm:
        for w in WRITERS[:4]:
            text = refusal(vm, w.format(path='/dev/full', size=65536))
            if 'No space left on device' not in text:
                raise Fail(f'{w}: {text}')
        same_state(vm)


def test_sizes_that_overflow_are_refused():
    with tempfile.TemporaryDirectory() as d, VM('-S', '-m', '64') as vm:
        path = os.path.join(d, 'f')
        for at, size in (('0', '0xffffffffffffffff'), ('0', '-1'),
                         ('0xffffffffffffffff', '-1'),
                         ('0', '0x7fffffffffffffff'),
                         ('1', '0x8000000000000000'), ('0', '1000000000000')):
            for w in ('memsave', 'pmemsave'):
                refusal(vm, f'{w} {at} {size} {path}')
            refusal(vm, f'sum {at} {size}')
        for begin, length in (('0xfffffffffffff000', '0x2000'), ('0', '-1'),
                              ('0', '0'), ('-1', '-1')):
            refusal(vm, f'dump-guest-memory {path} {begin} {length}')
        if os.path.exists(path):
            raise Fail('the file was made')
        same_state(vm)


def same_state(vm):
    got = vm.hmp('info status')
    if got != 'VM status: paused (prelaunch)':
        raise Fail(got)


def test_a_number_too_long_is_called_that():
    if IS_PEER:
        raise Skip('our words')
    with tempfile.TemporaryDirectory() as d:
        vm, path = json_machine(d)
        with vm, QMP(path) as q:
            for n in (100, 100000):
                q.send('{"execute": "query-name", "id": ' + '7' * n + '}')
                text = q.answer()['error']['desc']
                if 'too long' not in text or len(text) > 200:
                    raise Fail(text)
            # the rest of the request was not taken for another
            while q.sync():
                pass


def test_a_hundred_clients_half_of_which_never_read():
    if IS_PEER:
        raise Skip('the peer serves one client of a socket at a time')
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'c')
        with VM('-S', '-m', '64', '-control', path) as vm:
            crowd(vm, path)


def crowd(vm, path):
    deaf, slow = [], []
    for n in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)                 # waits while the queue is full
        s.settimeout(20 * SLOW)
        (deaf if n % 2 else slow).append(s)
    for s in deaf:
        fill(s)
    files = [s.makefile('rb') for s in slow]
    request = b'{"execute": "qmp_capabilities"}'
    served = [(s, f) for s, f in zip(slow, files) if greeted(f)]
    if not 2 <= len(served) < 50:       # the others are turned away at once
        raise Fail(f'{len(served)} of 50 clients are served')
    for i in range(len(request)):       # one octet each at a time
        for s, _ in served:
            s.sendall(request[i:i + 1])
    for _, f in served:
        if json.loads(f.readline()) != {'return': {}}:
            raise Fail('a slow client got no answer')
    if vm.rss_kib() > 1 << 20:
        raise Fail(f'{vm.rss_kib()} KiB resident')
    same_state(vm)
    for s in files + deaf + slow:
        s.close()
    vm.until('room for another client', lambda: status(path), 20)


def fill(s):
    """Send requests until the machine takes no more, and read nothing."""
    line = b'{"execute": "query-commands"}' * 50
    s.settimeout(0.2)
    try:
        s.sendall(b'{"execute": "qmp_capabilities"}')
        while True:
            s.sendall(line)
    except OSError:
        pass


def greeted(f):
    try:
        return b'QMP' in f.readline()
    except ConnectionError:
        return False


def status(path):
    try:
        with QMP(path) as q:
            return q('query-status')['status'] == 'prelaunch'
    except (EOFError, ConnectionError):
        return False                    # some are still to be closed


if __name__ == '__main__':
    main(globals())
