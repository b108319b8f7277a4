# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: `orrery img` beside qemu-img on the same files.
# - standard output and exit status of every command, byte for byte; that
#   something is said on standard error whenever the peer says something
# - what the commands did to the files: compared and checked by the peer
# - images by the peer in every format that is only read
# - Ctrl-C leaves nothing half-made; SIGUSR1 tells the progress
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import common                                           # noqa: F401
from tap import Skip, each, main
from vmlab import IS_PEER, ORRERY, SLOW, Fail, run_tool

MIB = 1 << 20
IMG = [os.path.abspath(ORRERY), 'img']


def run(tool, args, folder):
    return run_tool([*tool, *args], folder)


def peer(folder, *args):
    p = run(['qemu-img'], args, folder)
    if p.returncode != 0:
        raise Fail(f'qemu-img {args}: {p.stderr}')
    return p.stdout


def peer_io(folder, file, *commands):
    words = [w for c in commands for w in ('-c', c)]
    subprocess.run(['qemu-io', *words, file], cwd=folder, check=True,
                   capture_output=True)


def make_base(d):
    """The files that the commands below work on."""
    with open(os.path.join(d, 'r'), 'wb') as f:
        f.truncate(3 * MIB)
        f.seek(MIB)
        f.write(os.urandom(704 * 1024))
    peer(d, 'create', '-q', '-f', 'raw', 'raw2', '3M')
    peer(d, 'create', '-q', '-f', 'qcow2', 'e.q', '10M')
    peer(d, 'convert', '-O', 'qcow2', 'r', 'a.q')
    peer(d, 'convert', '-c', '-O', 'qcow2', 'r', 'c.q')
    peer(d, 'create', '-q', '-f', 'qcow2', '-b', 'a.q', '-F', 'qcow2', 'o.q')
    peer_io(d, 'o.q', 'write -P 3 64k 128k', 'write -z 1M 128k')
    peer(d, 'create', '-q', '-f', 'qcow2', '-b', 'o.q', '-F', 'qcow2', 't.q')
    peer_io(d, 't.q', 'write -P 9 2M 64k')
    shutil.copy(os.path.join(d, 'a.q'), os.path.join(d, 's.q'))
    peer(d, 'snapshot', '-c', 's1', 's.q')
    peer_io(d, 's.q', 'write -P 4 0 1M')
    peer(d, 'snapshot', '-c', 's two', 's.q')
    peer(d, 'create', '-q', '-f', 'qcow2', '-o',
         'extended_l2=on,cluster_size=128k', 'x.q', '4M')
    peer(d, 'create', '-q', '-f', 'qcow2', '-o', 'compat=0.10', 'v2.q', '4M')
    peer(d, 'create', '-q', '-u', '-f', 'qcow2', '-b', 'nonex', '-F', 'raw',
         'bad.q', '4M')
    peer(d, 'create', '-q', '-f', 'qcow2', '-o', 'compression_type=zstd,'
         'lazy_refcounts=on,refcount_bits=8', 'z.q', '4M')
    # A disk on a shorter one on a longer one; places without data; no disk.
    peer(d, 'create', '-q', '-f', 'qcow2', '-b', 'r', '-F', 'raw', 'm.q', '1M')
    peer(d, 'create', '-q', '-f', 'qcow2', '-b', 'm.q', '-F', 'qcow2', 'h.q',
         '3M')
    peer(d, 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata',
         'p.q', '4M')
    peer_io(d, 'p.q', 'write -P 5 1M 100k')
    peer(d, 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata,'
         'extended_l2=on', 'px.q', '4M')
    peer(d, 'create', '-q', '-f', 'qcow2', '0.q', '0')
    # A header that its cluster has no room for more in.
    peer(d, 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', '5.q',
         '64k')
    peer(d, 'snapshot', '-c', 's', '0.q')
    # The peer times itself for the number of rounds; a busy host confuses it.
    for rest in range(10, -1, -1):
        p = run(['qemu-img'],
                ['create', '-q', '--object', 'secret,id=s0,data=abc', '-f',
                 'qcow2', '-o', 'encrypt.format=luks,encrypt.key-secret=s0',
                 'l.q', '2M'], d)
        if p.returncode == 0:
            break
        if rest == 0 or 'CPU usage' not in p.stderr:
            raise Fail(f'l.q: {p.stderr}')


@functools.cache
def made_base():
    """Made once; making the encrypted one takes seconds."""
    top = tempfile.TemporaryDirectory()
    make_base(top.name)
    return top


class Bench:
    """The files once, and a copy for each side."""
    def __enter__(self):
        if IS_PEER:
            raise Skip('the peer is compared with itself')
        if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
            raise Skip('no qemu-img and qemu-io to compare with')
        self.top = tempfile.TemporaryDirectory()
        self.base = self.folder('base')
        shutil.copytree(made_base().name, self.base)
        return self

    def __exit__(self, *_):
        self.top.cleanup()

    def folder(self, name):
        return os.path.join(self.top.name, name)

    def both(self, line):
        """Run a line on fresh copies; (theirs, ours)."""
        args, out = words(line), []
        for name, tool in (('theirs', ['qemu-img']), ('ours', IMG)):
            shutil.rmtree(self.folder(name), ignore_errors=True)
            shutil.copytree(self.base, self.folder(name))
            out.append(run(tool, args, self.folder(name)))
        return out


def words(line):
    return [w.replace('~', ' ') for w in line.split()]


def difference(line, theirs, ours):
    """What is not alike, or None."""
    clean = re.compile(r'[\d.]+ seconds')
    a, b = (clean.sub('', p.stdout) for p in (theirs, ours))
    if theirs.returncode != ours.returncode:
        return (f'{line}: status {ours.returncode}, peer '
                f'{theirs.returncode}\n{ours.stderr}{theirs.stderr}')
    if a != b:
        return f'{line}: peer prints\n{a}ours\n{b}'
    if bool(theirs.stderr) and not ours.stderr:
        return f'{line}: peer says {theirs.stderr}, we nothing'
    if ours.returncode != 0 and not ours.stderr and not ours.stdout and \
            '-q' not in line:
        return f'{line}: fails without a word'
    return None


def compare_lines(lines, after=lambda bench, line: None):
    faults = []
    with Bench() as b:
        for line in lines:
            fault = difference(line, *b.both(line)) or after(b, line)
            if fault:
                faults.append(fault)
    if faults:
        raise Fail('\n'.join(faults))


FILES = ['r', 'e.q', 'a.q', 'c.q', 'o.q', 't.q', 's.q', 'x.q', 'v2.q', 'z.q',
         'm.q', 'h.q', 'p.q', 'px.q', '0.q', 'l.q']


def test_what_describes_images_prints_the_same():
    lines = []
    for f in FILES:
        lines += [f'info {f}', f'info --output=json {f}',
                  f'info --backing-chain {f}',
                  f'info --backing-chain --output json {f}', f'info -U {f}',
                  f'snapshot -l {f}', f'snapshot {f}']
        if f == 'l.q':      # the peer wants the secret for a list too
            lines = lines[:-2]
            continue
        lines += [f'check {f}', f'check --output=json {f}', f'check -q {f}',
                  f'check -r all {f}', f'check -r leaks {f}',
                  f'map --output=json {f}', f'measure {f}',
                  f'measure -O qcow2 {f}',
                  f'measure -O qcow2 --output=json {f}']
        if f != 'c.q':      # compressed: where it lies cannot be said
            lines += [f'map {f}']
    lines += ['info bad.q', 'info --output=json bad.q',
              'info --backing-chain bad.q',
              'info --backing-chain --output=json bad.q', 'info file:r',
              'info --image-opts driver=qcow2,file.filename=a.q',
              'info json:{"driver":"raw","file":{"driver":"file",'
              '"filename":"r"}}',
              'map --start-offset=1M a.q',
              'map --start-offset=1M --max-length=4k --output=json a.q',
              'measure --size 1G', 'measure --size 10G -O qcow2',
              'measure --size 1G -O qcow2 -o cluster_size=4k',
              'measure --size 1G -O qcow2 -o preallocation=full']
    compare_lines(lines)


def test_what_is_refused_ends_with_the_same_status():
    compare_lines([
        '', 'foo', 'create', 'create -Q', 'create -f', 'create n', 'create n zz',
        'create n 1M zz', 'create -f bogus n 1M', 'create n 9E',
        'create /nonex/n 1M', 'create -f qcow2 -o bla=1 n 1M',
        'create -f qcow2 -o size=5M n 1M',
        'create -f qcow2 -b a.q n', 'create -f qcow2 -b nonex -F qcow2 n',
        'create -u -f qcow2 -b nonex -F qcow2 n',
        'info --image-opts -f qcow2 file.filename=a.q',
        'map --image-opts -f qcow2 file.filename=a.q',
        'info --object secret a.q', 'info --object secret,data=x a.q',
        'info', 'info nonex', 'info -f bogus r', 'info -f qcow2 r',
        'info --output=x r', 'info .', 'info a b', 'check nonex', 'check',
        'check r', 'check -r foo e.q', 'check -T foo e.q', 'compare r',
        'compare r nonex', 'compare -f bogus r r', 'compare a b c',
        'resize r', 'resize nonex 1M', 'resize -f raw r 1x',
        'resize --shrink e.q -100M', 'resize -f raw r 1M',
        'resize -f raw --preallocation=foo r 4M',
        'resize -f raw --preallocation=full r 1M', 'rebase o.q',
        'rebase -b nonex -F raw o.q', 'rebase -b x -F bogus o.q',
        'rebase -b raw2 o.q', 'rebase -f raw -b r -F raw raw2',
        'commit e.q', 'commit -f raw r', 'commit', 'commit -b nonex t.q',
        'map', 'map --start-offset=zz a.q', 'measure', 'measure --size 1G r',
        'measure -O bogus --size 1', 'snapshot', 'snapshot -c',
        'snapshot -c x -l a.q', 'snapshot -d zz s.q', 'snapshot -a zz s.q',
        'snapshot -a zz r', 'snapshot -c zz r', 'convert', 'convert r',
        'convert nonex n', 'convert -c r n', 'convert -O bogus r n',
        'convert -O qcow2 -B a.q o.q n', 'convert -n r nonex',
        'convert -m 99 r n', 'convert -S 3 r n', 'convert -l zz s.q n',
        'convert -l s1 r n', 'convert -T foo r n', 'convert -t foo r n',
        'convert -r zz r n', 'convert --target-is-zero r n',
        'convert -n -O raw e.q r', 'convert -C -S 4k r n',
        'convert -f qcow2 r n', 'convert -f bogus r n', 'convert -o bla=1 r n',
        'convert r /nonex/n', 'convert r r', 'convert l.q n', 'dd', 'dd if=r',
        'dd foo=1 if=r of=n', 'dd if=r of=n bs=zz', 'dd if=r of=n bs=0',
        'dd if=nonex of=n', 'dd -O bogus if=r of=n', 'bench',
        'bench -c 10 -d 4 -w --flush-interval=2 -f raw r',
        'bench --flush-interval=3 r', 'amend a.q', 'amend -o compat=1.1',
        'amend -f raw -o size=1 r', 'amend -o backing_file=b.q a.q',
        'measure -O luks --size 1M', 'create -f raw -o nocow=maybe n 1M',
        'measure -O qcow2 -o encrypt.format=luks --size 1M'])


def same_files(b, line):
    """All files of both sides hold the same, and the peer finds them sound."""
    theirs, ours = b.folder('theirs'), b.folder('ours')
    if sorted(os.listdir(theirs)) != sorted(os.listdir(ours)):
        return (f'{line}: files {sorted(os.listdir(ours))}, peer '
                f'{sorted(os.listdir(theirs))}')
    for f in sorted(os.listdir(ours)):
        x, y = os.path.join(theirs, f), os.path.join(ours, f)
        if f in ('l.q', 'bad.q') or same_octets(x, y):
            continue
        p = run(['qemu-img'], ['compare', x, y], ours)
        if p.returncode != 0:
            return f'{line}: {f}: {p.stdout}{p.stderr}'
        kind = json.loads(peer(ours, 'info', '--output=json', f))
        if kind['format'] != 'qcow2':
            continue
        other = json.loads(peer(theirs, 'info', '--output=json', f))
        for key in ('virtual-size', 'backing-filename', 'cluster-size',
                    'backing-filename-format', 'format-specific'):
            if kind.get(key) != other.get(key):
                return (f'{line}: {f}: {key} {kind.get(key)}, peer '
                        f'{other.get(key)}')
        p = run(['qemu-img'], ['check', f], ours)
        if p.returncode != 0:
            return f'{line}: {f}: {p.stdout}{p.stderr}'
    return None


def same_octets(x, y):
    if os.path.getsize(x) != os.path.getsize(y):
        return False
    with open(x, 'rb') as f, open(y, 'rb') as g:
        return f.read() == g.read()


def test_what_changes_files_leaves_the_same_behind():
    compare_lines([
        'create n 10M', 'create -q n 1M', 'create n 1.5G',
        'create -o preallocation=full n 1M', 'create n -f qcow2 10M',
        'create -f qcow2 -o compat=v3,cluster_size=4k,lazy_refcounts=on n 1G',
        'create -f qcow2 -o nocow=on,extent_size_hint=1M n 1M',
        'create -f raw -o nocow=on n 1M',
        'create -f qcow2 -o size=5M n', 'create -f qcow2 e.q 1M',
        'create -f qcow2 -b a.q -F qcow2 n',
        'create -f qcow2 -b a.q -F qcow2 n 5M',
        'create -f qcow2 -o preallocation=metadata,extended_l2=on n 4M',
        'resize e.q +1M', 'resize e.q 20M', 'resize -q e.q 20M',
        'resize --shrink e.q 5M', 'resize --shrink e.q -1M', 'resize -f raw r 5M',
        'resize -f raw --shrink r -1M',
        'resize -f raw --preallocation=full r 4M',
        'resize --preallocation=metadata e.q 20M',
        'snapshot -c x a.q', 'snapshot -a s1 s.q', 'snapshot -d s1 s.q',
        'snapshot -a s~two s.q', 'snapshot -d 1 s.q',
        'compare r a.q', 'compare r e.q', 'compare -s r e.q',
        'compare o.q a.q', 'compare -q o.q a.q', 'compare a.q c.q',
        'compare raw2 r', 'compare r raw2', 'compare s.q a.q',
        'rebase -b a.q -F qcow2 e.q', 'rebase -b raw2 -F raw o.q',
        'rebase -u -b foo -F raw o.q', 'rebase -u o.q',
        'rebase -f qcow2 -b  t.q', 'rebase -b a.q -F qcow2 t.q',
        'commit o.q', 'commit -q o.q', 'commit -d o.q', 'commit -b a.q t.q',
        'commit t.q', 'commit -b r h.q', 'commit h.q', 'commit -d m.q',
        'snapshot -c x 0.q', 'snapshot -a s 0.q', 'amend -o size=1M a.q',
        'amend -o size=0 a.q', 'amend -o size=4M o.q',
        'resize --preallocation=metadata m.q +1M',
        'resize --preallocation=full x.q +1M', 'rebase -b r -F raw h.q',
        'rebase -b r -F raw 5.q', 'rebase -u -b 0.q -F qcow2 5.q',
        'bitmap --add 5.q b',
        'create -f qcow2 -o extended_l2=on,preallocation=metadata n 5M',
        'create -f qcow2 -o extended_l2=on,preallocation=full -b r -F raw n 5M',
        'dd if=r of=n bs=1 count=27 skip=93', 'dd if=r of=n bs=1M skip=3',
        'amend -o lazy_refcounts=on a.q',
        'amend -o compat=0.10 a.q', 'amend -o compat=1.1 v2.q',
        'convert r n', 'convert -O qcow2 r n',
        'convert -O qcow2 -o cluster_size=4k a.q n', 'convert -c -O qcow2 r n',
        'convert -c -W -m 16 -O qcow2 r n', 'convert -m 1 -O qcow2 r n',
        'convert -c -O qcow2 -o compression_type=zstd r n',
        'convert -O qcow2 -B a.q -F qcow2 o.q n', 'convert -n r raw2',
        'convert -n -O qcow2 r e.q', 'convert -S 0 r n', 'convert -S 64k r n',
        'convert -W r n', 'convert -l s1 s.q n',
        'convert -l snapshot.name=s~two s.q n', 'convert -l 1 -O qcow2 s.q n',
        'convert r raw2 a.q n', 'convert -r 1G r n',
        'convert --target-is-zero -n r raw2', 'convert -O qcow2 r e.q',
        'convert -C r n', 'convert --salvage r n',
        'convert -O qcow2 -o preallocation=metadata r n',
        'convert -T none -t none r n', 'convert t.q n', 'convert x.q n',
        'convert --image-opts driver=raw,file.filename=r n',
        'convert -n --target-image-opts r driver=raw,file.filename=raw2',
        'convert --object secret,id=s0,data=abc --image-opts '
        'driver=qcow2,file.filename=l.q,encrypt.key-secret=s0 n',
        'dd if=r of=n', 'dd if=r of=n bs=1M count=1', 'dd if=r of=n bs=1M skip=1',
        'dd if=r of=n bs=1M skip=1 count=2 -O qcow2',
        'dd if=r of=n bs=4k skip=10000', 'dd -f raw if=a.q of=n',
        'bench -c 1 r', 'bench -c 10 -w -f raw raw2',
        'bench -w -c 64 --flush-interval=64 -f raw raw2',
        'bench -c 4 -s 64k -S 128k -o 1M -d 2 -w --pattern 7 raw2 -f raw',
        'bench -c 9 --image-opts driver=raw,file.filename=r',
        'bench -w --no-drain --flush-interval=8 -d 4 -c 16 -f raw raw2',
        'bench -c 9 -i native r', 'bench -n -c 9 r', 'bench -U -c 9 r',
        'bench -U -w -c 9 r', 'snapshot -U -c x a.q', 'snapshot -U -l s.q',
        'rebase -U -u -b foo -F raw o.q', 'convert --salvage -C r n',
        'compare -T bogus r r', 'amend -f raw -o help',
        'map -s 1M -l 1M --output=json r', 'map -s 1M r', 'map -s 99M r'],
        same_files)


KINDS = [f'vmdk -o subformat={s}' for s in (
    'monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse',
    'twoGbMaxExtentFlat', 'streamOptimized')] + [
    'vmdk -o zeroed_grain=on,compat6=on', 'vdi', 'vdi -o static=on', 'vhdx',
    'vhdx -o subformat=fixed', 'vhdx -o block_size=1M', 'vpc',
    'vpc -o subformat=fixed', 'vpc -o force_size=on', 'qcow']


@each(*KINDS)
def test_a_foreign_image_is_read_as_the_peer_reads_it(kind):
    fmt, *options = kind.split()
    with Bench() as b:
        d = b.base
        with open(os.path.join(d, 'big'), 'wb') as f:
            f.truncate(40 * MIB + 512)
            for at in range(0, 40 * MIB, 3 * MIB + 4096 * 3):
                f.seek(at)
                f.write(b'%08d' % at * 9000)
            f.seek(40 * MIB)
            f.write(b'x' * 512)
        peer(d, 'convert', '-f', 'raw', '-O', fmt, *options, 'big', 'image')
        peer(d, 'convert', '-f', fmt, '-O', 'raw', 'image', 'reference')
        p = run(IMG, ['convert', '-f', fmt, 'image', 'out'], d)
        if p.returncode != 0 or not same_octets(os.path.join(d, 'out'),
                                                os.path.join(d, 'reference')):
            raise Fail(f'status {p.returncode}: {p.stderr}')
        ours, theirs = (json.loads(run(t, ['info', '--output=json', '-f', fmt,
                                           'image'], d).stdout)
                        for t in (IMG, ['qemu-img']))
        for key in ('virtual-size', 'format'):
            if ours[key] != theirs[key]:
                raise Fail(f'{key}: {ours[key]}, peer {theirs[key]}')
        p = run(IMG, ['check', '-f', fmt, 'image'], d)
        q = run(['qemu-img'], ['check', '-f', fmt, 'image'], d)
        if (p.returncode, p.stdout) != (q.returncode, q.stdout):
            raise Fail(f'check: {p.stdout}{p.stderr}')


def test_a_base_is_not_seen_through_a_shorter_file():
    """The peer, given -B, copies nothing where it would have to."""
    with Bench() as b:
        p = run(IMG, ['convert', '-O', 'qcow2', '-B', 'r', '-F', 'raw', 'h.q',
                      'n'], b.base)
        q = run(['qemu-img'], ['compare', 'h.q', 'n'], b.base)
        if p.returncode != 0 or q.returncode != 0:
            raise Fail(p.stderr + q.stdout + q.stderr)


def start_slow_convert(d, *options):
    """A conversion that its rate limit keeps from ending."""
    return subprocess.Popen([*IMG, 'convert', '-r', '64k', *options, 'r', 'n'],
                            cwd=d, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def wait_for(what, condition, limit=30):
    end = time.monotonic() + limit * SLOW
    while not condition():
        if time.monotonic() > end:
            raise Fail(f'no {what} within {limit} s')
        time.sleep(0.05)


@each(signal.SIGINT, signal.SIGTERM)
def test_an_interrupted_conversion_leaves_nothing(sig):
    with Bench() as b:
        before = sorted(os.listdir(b.base))
        p = start_slow_convert(b.base)
        wait_for('temporary file',
                 lambda: sorted(os.listdir(b.base)) != before)
        if os.path.exists(os.path.join(b.base, 'n')):
            raise Fail('the target has its name before it is complete')
        p.send_signal(sig)
        p.communicate(timeout=30 * SLOW)
        if p.returncode != -sig:
            raise Fail(f'status {p.returncode}')
        if sorted(os.listdir(b.base)) != before:
            raise Fail(f'left behind: {os.listdir(b.base)}')


def test_sigusr1_prints_the_progress():
    with Bench() as b:
        before = sorted(os.listdir(b.base))
        p = start_slow_convert(b.base)
        wait_for('temporary file',
                 lambda: sorted(os.listdir(b.base)) != before)
        p.send_signal(signal.SIGUSR1)
        line = p.stderr.readline()
        p.terminate()
        p.communicate(timeout=30 * SLOW)
        if not re.fullmatch(r'    \(\d+\.\d\d/100%\)\n', line):
            raise Fail(f'said {line!r}')


def test_progress_ends_at_a_hundred():
    with Bench() as b:
        p = subprocess.run([*IMG, 'convert', '-p', 'r', 'n'], cwd=b.base,
                           stdout=subprocess.PIPE, check=True,
                           timeout=60 * SLOW)
        if not re.fullmatch(rb'(    \(\d+\.\d\d/100%\)\r)+\n', p.stdout) or \
                not p.stdout.endswith(b'(100.00/100%)\r\n'):
            raise Fail(f'printed {p.stdout!r}')


def test_a_failed_conversion_leaves_the_old_target():
    with Bench() as b:
        path = os.path.join(b.base, 'e.q')
        with open(path, 'rb') as f:
            before = f.read()
        p = run(IMG, ['convert', '-O', 'qcow2', '-o', 'cluster_size=3', 'r',
                      'e.q'], b.base)
        with open(path, 'rb') as f:
            if p.returncode != 1 or f.read() != before:
                raise Fail(f'status {p.returncode}: {p.stderr}')


def test_every_command_has_help_and_the_manual_names_it():
    if IS_PEER:
        raise Skip('the peer has its own manual')
    text = run(IMG, ['--help'], '.').stdout
    names = re.findall(r'^  ([a-z]+) .*filename|^  (dd) ', text, re.M)
    names = {a or b for a, b in names}
    if len(names) < 14:
        raise Fail(f'commands: {names}')
    manual = run(IMG, ['--man'], '.').stdout
    script = run(IMG, ['--bash-completion'], '.').stdout
    for name in names:
        p = run(IMG, [name, '--help'], '.')
        if p.returncode != 0 or f'orrery img  {name}' not in p.stdout:
            raise Fail(f'{name} --help: {p.stdout}')
        if f'.SS {name}\n' not in manual or f'{name}) words=' not in script:
            raise Fail(f'{name} is missing from manual or completion')
    p = subprocess.run(['bash', '-n'], input=script, text=True, check=False)
    if p.returncode != 0:
        raise Fail('bash does not take the completion')


def test_data_in_a_file_of_their_own_are_read():
    if IS_PEER or shutil.which('qemu-img') is None:
        raise Skip('this is about the program beside qemu-img')
    with tempfile.TemporaryDirectory() as d:
        def do(*args):
            p = subprocess.run(args, cwd=d, capture_output=True, text=True,
                               check=False, timeout=60 * SLOW)
            return p.returncode, p.stdout, p.stderr
        for name, options in (('a', 'data_file_raw=on'),
                              ('b', 'extended_l2=on'), ('c', 'compat=v3')):
            do('qemu-img', 'create', '-f', 'qcow2', '-o',
               f'data_file={name}.data,{options}', name, '4M')
            do('qemu-io', '-c', 'write -P 1 0 100k', '-c', 'write -P 2 2M 2k',
               '-c', 'write -z 1M 64k', '-c', 'write -P 3 3M 64k', name)
            do('qemu-img', 'create', '-f', 'qcow2', '-b', name, '-F', 'qcow2',
               f'over-{name}', '4M')
            do('qemu-io', '-c', 'write -P 4 3M 1k', f'over-{name}')
            for line in ('info {}', 'info --output=json {}', 'check {}',
                         'map {}', 'compare {} over-{}', 'measure {}',
                         'compare over-{} over-{}'):
                args = line.format(name, name).split()
                ours = do(ORRERY, 'img', *args)
                theirs = do('qemu-img', *args)
                if ours[:2] != theirs[:2]:
                    raise Fail(f'{line} {name}:\n{ours}\n{theirs}')
            for top in (name, f'over-{name}'):
                do('qemu-img', 'convert', '-O', 'raw', top, 'theirs')
                rc, _, text = do(ORRERY, 'img', 'convert', '-O', 'raw', top,
                                 'ours')
                if rc or do('cmp', 'ours', 'theirs')[0]:
                    raise Fail(f'convert {top}: {rc} {text}')
            with open(f'{d}/{name}', 'rb') as f:
                before = f.read()
            for args in (('resize', name, '5M'), ('snapshot', '-c', 's', name),
                         ('check', '-r', 'all', name),
                         ('commit', f'over-{name}'),
                         ('bench', '-w', '-c', '1', name)):
                if do(ORRERY, 'img', *args)[0] != 1:
                    raise Fail(f'{args} was not refused')
            with open(f'{d}/{name}', 'rb') as f:
                if f.read() != before:
                    raise Fail(f'{name} was changed')
        # The name is a path, whatever it looks like.
        with open(f'{d}/a', 'r+b') as f:
            image = f.read()
            f.seek(image.index(b'a.data'))
            f.write(b'nbd:x:')
        rc, _, text = do(ORRERY, 'img', 'convert', '-O', 'raw', 'a', 'out')
        if rc != 1 or 'nbd:x:: No such file' not in text:
            raise Fail(f'{rc} {text}')


main(globals())
