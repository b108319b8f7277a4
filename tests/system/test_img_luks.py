# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: key slots of encrypted images, with qemu-img as judge
# - amend: fill, refuse, erase, --force; the same texts and statuses
# - what one tool wrote the other opens, with the secrets that are left alone
# - a terminal is asked for the passphrase of an image
import os
import re
import shutil
import tempfile

import common                                           # noqa: F401
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, Console, Fail, run_tool

SECRETS = [x for n, text in enumerate(('aaa', 'bbb', 'ccc'))
           for x in ('--object', f'secret,id=s{n},data={text}')]
OURS, THEIRS = [ORRERY, 'img'], ['qemu-img']
LUKS = 'driver=luks,key-secret={},file.filename=l.luks'
QCOW2 = 'driver=qcow2,encrypt.key-secret={},file.filename=l.q'
STEPS = [           # secret that opens the image, options, more arguments
    ('s0', 'state=active'), ('s0', 'state=active,new-secret=s1,iter-time=10'),
    ('s0', 'state=active,new-secret=s1,keyslot=1,iter-time=10'),
    ('s0', 'state=active,new-secret=s1,old-secret=s0,iter-time=10'),
    ('s0', 'state=active,new-secret=s2,keyslot=9,iter-time=10'),
    ('s0', 'state=foo'), ('s0', 'foo=1'), ('s0', 'state=inactive'),
    ('s0', 'state=inactive,old-secret=s2'), ('s0', 'state=inactive,keyslot=5'),
    ('s0', 'state=inactive,keyslot=0'), ('s0', 'state=active'),
    ('s1', 'state=inactive,old-secret=s1'), ('s1', 'state=inactive,keyslot=1'),
    ('s1', 'state=active,new-secret=s2,keyslot=1,iter-time=10'),
    ('s1', 'state=active,new-secret=s2,keyslot=1,iter-time=10', '--force'),
    ('s2', 'state=active,new-secret=s0,keyslot=7,iter-time=10'),
    ('s0', 'state=inactive,old-secret=s2'),
]
SAID_OTHERWISE = re.compile('none of the key slots|Invalid password')


def run(tool, d, *args):
    """Status and output."""
    p = run_tool([*tool, *args], d)
    text = re.sub('^(orrery img|qemu-img): ', '', p.stderr, flags=re.M)
    return p.returncode, SAID_OTHERWISE.sub('WRONG', text)


def need_qemu_img():
    if IS_PEER:
        raise Skip('the peer has a tool of its own')
    if shutil.which('qemu-img') is None:
        raise Skip('qemu-img is not installed')


def make(tool, d):
    for args in (('-f', 'luks', '-o', 'key-secret=s0,iter-time=10', 'l.luks'),
                 ('-f', 'qcow2', '-o', 'encrypt.format=luks,'
                  'encrypt.key-secret=s0,encrypt.iter-time=10', 'l.q')):
        status, text = run(tool, d, 'create', '-q', *SECRETS, *args, '1M')
        if status != 0:
            raise Fail(text)


def opens(tool, d, image, secret):
    """1 if the secret does not open it; reading is what tells."""
    return run(tool, d, 'convert', '-O', 'raw', *SECRETS, '--image-opts',
               image.format(secret), 'out')[0]


def play(tool, judge):
    said = []
    with tempfile.TemporaryDirectory() as d:
        make(judge, d)
        for image, prefix in ((LUKS, ''), (QCOW2, 'encrypt.')):
            for secret, options, *more in STEPS:
                options = ','.join(prefix + x for x in options.split(','))
                status, text = run(tool, d, 'amend', *SECRETS, *more, '-o',
                                   options, '--image-opts',
                                   image.format(secret))
                if 'WRONG' in text:
                    text = 'WRONG'
                said.append((image, secret, options, status, text))
            said.append([opens(judge, d, image, f's{n}') for n in range(3)])
            said.append([opens(tool, d, image, f's{n}') for n in range(3)])
        said.append(run(judge, d, 'check', '-q', *SECRETS, '--image-opts',
                        QCOW2.format('s0'))[0])
    return said


def test_key_slots_are_filled_and_erased_as_the_peer_does():
    need_qemu_img()
    ours, theirs = play(OURS, THEIRS), play(THEIRS, OURS)
    bad = [f'{o}\n    theirs {t}' for o, t in zip(ours, theirs) if o != t]
    if bad:
        raise Fail('\n'.join(bad))


def test_an_erased_slot_keeps_nothing_of_its_key():
    need_qemu_img()
    with tempfile.TemporaryDirectory() as d:
        make(OURS, d)
        with open(os.path.join(d, 'l.luks'), 'rb') as f:
            f.seek(4096)
            before = f.read(4096)
        run(OURS, d, 'amend', *SECRETS, '-o', 'state=active,new-secret=s1,'
            'iter-time=10', '--image-opts', LUKS.format('s0'))
        status, text = run(OURS, d, 'amend', *SECRETS, '-o',
                           'state=inactive,keyslot=0', '--image-opts',
                           LUKS.format('s0'))
        with open(os.path.join(d, 'l.luks'), 'rb') as f:
            f.seek(4096)
            after = f.read(4096)
        if status != 0 or sum(a == b for a, b in zip(before, after)) > 200:
            raise Fail(f'{status} {text}: the slot was not overwritten')


def test_a_terminal_is_asked():
    need_qemu_img()
    with tempfile.TemporaryDirectory() as d:
        make(OURS, d)
        out = os.path.join(d, 'out')
        for name in ('l.luks', 'l.q'):
            # Console puts -accel first, which is no command of the tool.
            with Console('img', 'convert', '-O', 'raw', os.path.join(d, name),
                         out, accel=None) as c:
                c.wait('Passphrase for .*: $')
                c.send('aaaX\x7f\r')
                if c.wait_exit() != 0 or os.path.getsize(out) != 1 << 20:
                    raise Fail(c.text())
        with Console('img', 'convert', '-O', 'raw', os.path.join(d, 'l.q'),
                     out, accel=None) as c:
            c.wait('Passphrase for .*: $')
            c.send('wrong\r')
            c.wait('key slots')
            if c.wait_exit() != 1:
                raise Fail(c.text())


if __name__ == '__main__':
    main(globals())
