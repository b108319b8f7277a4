# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: persistent dirty bitmaps, with qemu-img as judge
# - bitmap: every action and every refusal, texts and statuses
# - bits a running peer has set: merged across images and granularities,
#   cleared, copied by convert --bitmaps; counted by the peer
# - what does not change the disk leaves them valid; a snapshot is not applied
# - resize: bitmaps go with the disk, their bits are those of the peer; one that
#   is inconsistent stops it
# - the peer's check finds nothing, nothing is leaked
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, SLOW, Fail, die_with_parent

PEER = 'qemu-system-x86_64'
STEPS = '''
bitmap --add a.q b0
bitmap --add a.q b0
bitmap --add -g 32k a.q b1
bitmap --add -g 3k a.q b2
bitmap --add -g 256 a.q b2
bitmap --add -g 4G a.q b2
bitmap --add -g foo a.q b2
bitmap --remove a.q none
bitmap --clear a.q none
bitmap --enable a.q none
bitmap --merge none a.q b0
bitmap --merge b0 a.q none
bitmap --disable a.q b0
bitmap --disable a.q b0
bitmap --merge b1 a.q b0
bitmap a.q b0
bitmap --add a.q
bitmap -g 64k --clear a.q b0
bitmap --add --disable a.q b5
bitmap --remove --add a.q b5
bitmap -b b.q --clear a.q b0
bitmap -F qcow2 --merge b0 a.q b1
bitmap --remove a.q b5
snapshot -c s a.q
snapshot -a s a.q
snapshot -d s a.q
amend -o lazy_refcounts=on a.q
amend -o lazy_refcounts=off a.q
rebase -u -b r -F raw a.q
measure -O qcow2 a.q
measure -O qcow2 -o cluster_size=512 a.q
measure -O qcow2 --output=json b.q
measure -O raw a.q
bitmap --add -g 32k b.q m32
bitmap --merge dirty b.q m32
bitmap --add --disable a.q other
bitmap --merge dirty -b b.q -F qcow2 a.q other
bitmap --add -g 128k b.q m128
bitmap --merge m32 b.q m128
bitmap --clear b.q dirty
convert --bitmaps -O raw b.q out
convert --bitmaps -f raw -O qcow2 r out
convert --bitmaps -O qcow2 a.q b.q out
convert --skip-broken-bitmaps -O qcow2 b.q out
convert --bitmaps -O qcow2 b.q c.q
bitmap --remove b.q m32
bitmap --remove b.q m128
bitmap --remove b.q dirty
'''


def run(d, *args):
    p = subprocess.run(args, cwd=d, capture_output=True, text=True,
                       check=False, stdin=subprocess.DEVNULL,
                       timeout=60 * SLOW)
    return p.returncode, re.sub('^(orrery img|qemu-img): ', '',
                                p.stdout + p.stderr, flags=re.M)


def peer(d, image, *commands, readonly=False):
    """QMP commands to a peer that has the image as node n0; the answers."""
    lines = [{'execute': 'qmp_capabilities'}, *commands, {'execute': 'quit'}]
    p = subprocess.run(
        [PEER, '-S', '-display', 'none', '-nodefaults', '-m', '16', '-accel',
         'tcg', '-qmp', 'stdio', '-blockdev',
         f'qcow2,node-name=n0,read-only={"on" if readonly else "off"},'
         f'file.driver=file,file.filename={image}'], cwd=d, text=True,
        input='\n'.join(map(json.dumps, lines)), capture_output=True,
        check=False, timeout=60 * SLOW, preexec_fn=die_with_parent)
    return [json.loads(x) for x in p.stdout.splitlines() if x[0] == '{']


def write(text):
    return {'execute': 'human-monitor-command',
            'arguments': {'command-line': f'qemu-io n0 "{text}"'}}


def bitmaps(d, image):
    for answer in peer(d, image, {'execute': 'query-named-block-nodes'},
                       readonly=True):
        for n in answer.get('return') or []:
            if isinstance(n, dict) and n.get('node-name') == 'n0':
                return n.get('dirty-bitmaps', [])
    raise Fail(f'{image}: the peer does not open it')


def play(tool):
    with tempfile.TemporaryDirectory() as d:
        for name in ('a.q', 'b.q'):
            run(d, 'qemu-img', 'create', '-q', '-f', 'qcow2', name, '10M')
        run(d, 'qemu-img', 'create', '-q', '-f', 'raw', 'r', '1M')
        run(d, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'b.q', 'dirty')
        peer(d, 'b.q', write('write 1M 200k'), write('write 5M 64k'))
        said = []
        for line in STEPS.split('\n')[1:-1]:
            said.append((line, *run(d, *tool, *line.split())))
        for image in ('a.q', 'b.q', 'c.q'):
            said.append((image, bitmaps(d, image)))
            said.append((image, run(d, 'qemu-img', 'check', '-q', image)))
            said.append((image, run(d, ORRERY, 'img', 'check', '-q', image)))
        if os.path.exists(os.path.join(d, 'out')):
            said.append('a refused convert left its target')
        return said


def test_bitmaps_are_those_of_the_peer():
    if IS_PEER:
        raise Skip('the peer has a tool of its own')
    if shutil.which('qemu-img') is None or shutil.which(PEER) is None:
        raise Skip('qemu-img or the peer is not installed')
    ours, theirs = play([ORRERY, 'img']), play(['qemu-img'])
    counts = [b['count'] for x in theirs if x[0] == 'c.q'
              and isinstance(x[1], list) for b in x[1]]
    if sorted(counts) != [0, 5 << 16, 6 << 16]:
        raise Fail(f'the peer counts {counts}')
    left = 'a refused convert left its target'
    bad = [f'{o}\n    theirs {t}' for o, t in
           zip(ours, [t for t in theirs if t != left]) if o != t]
    if bad or left in ours:
        raise Fail('\n'.join(bad) + left * (left in ours))


RESIZES = '''
resize b.q 20M
resize --shrink b.q 9950720
resize --preallocation=metadata b.q 300M
resize --shrink b.q 1200K
resize b.q 2M
resize --shrink b.q 512
resize o.q 12M
resize broken.q 20M
resize --shrink broken.q 1M
'''


def tables(path):
    """Name, flags and bits of all bitmaps, read as the format describes."""
    with open(path, 'rb') as f:
        image = f.read()
    cluster = 1 << struct.unpack('>I', image[20:24])[0]
    at, = struct.unpack('>I', image[100:104])
    while struct.unpack('>I', image[at:at + 4])[0] != 0x23852875:
        at += 8 + (struct.unpack('>I', image[at + 4:at + 8])[0] + 7) // 8 * 8
    count, _, _, at = struct.unpack('>IIQQ', image[at + 8:at + 32])
    out = []
    for _ in range(count):
        table, n, flags, _, grain, name, extra = struct.unpack(
            '>QIIBBHI', image[at:at + 24])
        bits = b''
        for entry in struct.unpack(f'>{n}Q', image[table:table + 8 * n]):
            where = entry & 0xfffffffffffe00
            bits += image[where:where + cluster] if where else \
                (b'\xff' if entry & 1 else b'\0') * cluster
        at += 24 + extra
        out.append((image[at:at + name], flags, grain, n, bits))
        at += (name + 7) & ~7
    return out


def play_resizes(tool):
    with tempfile.TemporaryDirectory() as d:
        for name in ('b.q', 'o.q'):
            run(d, 'qemu-img', 'create', '-q', '-f', 'qcow2', name, '10M')
        run(d, 'qemu-img', 'create', '-q', '-f', 'raw', 'long', '16M')
        run(d, 'qemu-img', 'rebase', '-u', '-F', 'raw', '-b', 'long', 'o.q')
        for image in ('b.q', 'o.q'):
            run(d, 'qemu-img', 'bitmap', '--add', '-g', '64k', image, 'one')
            run(d, 'qemu-img', 'bitmap', '--add', '-g', '512', image, 'two')
            run(d, 'qemu-img', 'bitmap', '--add', '--disable', image, 'off')
            peer(d, image, write('write 1M 200k'), write('write 9M 1M'))
        shutil.copy(f'{d}/b.q', f'{d}/broken.q')
        # A write by a program that does not keep bitmaps.
        run(d, ORRERY, 'img', 'bench', '-q', '-w', '-c', '1', 'broken.q')
        said = []
        for line in RESIZES.split('\n')[1:-1]:
            rc, _ = run(d, *tool, *line.split())
            image = line.split()[-2]
            said.append((line, rc, tables(f'{d}/{image}')))
            said.append((line, *run(d, 'qemu-img', 'check', '-q', image)))
            said.append((line, *run(d, ORRERY, 'img', 'check', '-q', image)))
        said += [(image, bitmaps(d, image)) for image in ('b.q', 'o.q')]
        return said


def test_bitmaps_go_with_the_size_of_the_disk():
    if IS_PEER:
        raise Skip('the peer has a tool of its own')
    if shutil.which('qemu-img') is None or shutil.which(PEER) is None:
        raise Skip('qemu-img or the peer is not installed')
    ours, theirs = play_resizes([ORRERY, 'img']), play_resizes(['qemu-img'])
    if [x[1] for x in theirs if len(x) == 3 and x[1]] != [1, 1] or \
            not any(any(t[4]) for t in theirs[0][2]):
        raise Fail(f'the peer did not do what it should: {theirs}')
    bad = [f'{o}\n    theirs {t}'[:4000]
           for o, t in zip(ours, theirs) if o != t]
    if bad or len(ours) != len(theirs):
        raise Fail('\n'.join(bad))


if __name__ == '__main__':
    main(globals())
