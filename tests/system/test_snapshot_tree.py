# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: what snapshots tell of themselves
# - info snapshots -t is the tree of where they come from, over loads, a fresh
#   process and deleted ones; the one the machine goes on from is marked
# - each keeps a note, which can be changed, its clock, size and machine, the
#   text of its screen and a small picture of it
# - x-orrery-query-snapshots tells programs the same
# - an image with a damaged note still loads
import base64
import os
import re

import common                                           # noqa: F401
from tap import main
from test_snapshot_jobs import Control, line
from test_snapshots import (Disk, flip, in_image, leave, listed, need, run,
                            runs, save, saved, says)
from vmlab import VM, Fail

NO_BOOT = 'No bootable device'


def tree(vm):
    """Names in the tree with their depth, a * for where the machine is."""
    rows = []
    for x in vm.hmp('info snapshots -t').splitlines():
        m = re.match(r'((?:[|`][ -]{3}|    )*)(\w+) ([* ]) +\d{4}-\d\d-\d\d', x)
        if m:
            rows.append((len(m[1]) // 4, m[2] + m[3].strip()))
    return rows


def expect(vm, *rows):
    if tree(vm) != list(rows):
        raise Fail(f'{tree(vm)}, not {list(rows)}\n'
                   + vm.hmp('info snapshots -t'))


def take(vm, tag, *options):
    save(vm, tag, *options)
    saved(vm)


def load(vm, tag):
    says(vm, f'loadvm {tag}', f"Back at snapshot '{tag}'")


def test_the_tree_follows_where_snapshots_come_from():
    with Disk() as disk:
        args = disk.args('-boot', 'n', memory='32')
        with VM(*args) as vm:
            runs(vm)
            take(vm, 'root')
            take(vm, 'left')
            take(vm, 'leaf')
            load(vm, 'root')
            take(vm, 'right')
            expect(vm, (0, 'root'), (1, 'left'), (2, 'leaf'), (1, 'right*'))
            load(vm, 'leaf')
            expect(vm, (0, 'root'), (1, 'left'), (2, 'leaf*'), (1, 'right'))
            leave(vm)
        # A machine that starts from its firmware comes from nowhere.
        with VM(*args) as vm:
            runs(vm)
            take(vm, 'other')
            load(vm, 'right')
            take(vm, 'deep')
            expect(vm, (0, 'root'), (1, 'left'), (2, 'leaf'), (1, 'right'),
                   (2, 'deep*'), (0, 'other'))
            # What hung from a deleted one hangs from its parent.
            vm.hmp('delvm right')
            expect(vm, (0, 'root'), (1, 'left'), (2, 'leaf'), (1, 'deep*'),
                   (0, 'other'))
            vm.hmp('delvm root')
            expect(vm, (0, 'left'), (1, 'leaf'), (0, 'other'), (0, 'deep*'))
            # Another one of the same name is not the parent.
            take(vm, 'root')
            expect(vm, (0, 'left'), (1, 'leaf'), (0, 'other'), (0, 'deep'),
                   (1, 'root*'))
            out = vm.hmp('info snapshots leaf')
            if not re.search('^Parent:  left$', out, re.M):
                raise Fail(out)
            out = vm.hmp('info snapshots left')
            if not re.search('^Parent:  root, which is deleted$', out, re.M):
                raise Fail(out)
            leave(vm)
        disk.check()


def test_notes_are_kept_and_changed():
    with Disk() as disk:
        args = disk.args('-boot', 'n', memory='32')
        with VM(*args) as vm:
            runs(vm)
            take(vm, 'a', '-n "before the \\"update\\""')
            take(vm, 'b')
            says(vm, 'snapshot_note b a second one', '')
            says(vm, 'snapshot_note c x', 'Error: [^\n]*requested snapshot '
                 "'c'")
            says(vm, 'snapshot_note b ' + 'x' * 1100,
                 'Error: a note has at most 1023 octets')
            leave(vm)
        disk.check()
        with VM(*args) as vm:
            out = vm.hmp('info snapshots -t')
            if not re.search(r'^a .*  before the "update"$', out, re.M) or \
               not re.search(r'b .*  a second one$', out, re.M):
                raise Fail(out)
            says(vm, 'snapshot_note b', '')
            out = vm.hmp('info snapshots b')
            if 'Note:' in out:
                raise Fail(out)
            load(vm, 'b')
            load(vm, 'a')
            leave(vm)
        # A note that was half written when the power failed costs no more.
        flip(disk.path, in_image(disk.path, b'before the "update"')[0])
        with VM(*args) as vm:
            out = vm.hmp('info snapshots a')
            if 'Note:' in out or 'Machine: pc' not in out:
                raise Fail(out)
            load(vm, 'a')
            leave(vm)
        disk.check()


def test_notes_of_encrypted_images_too():
    need('qemu-img')
    secret = 'secret,id=s,data=open-sesame'
    with Disk() as disk:
        os.unlink(disk.path)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '--object', secret,
            '-o', 'encrypt.format=luks,encrypt.key-secret=s,'
            'encrypt.iter-time=20', disk.path, '16M')
        args = ['-m', '32', '-boot', 'n', '-object', secret, '-drive',
                f'file={disk.path},format=qcow2,encrypt.key-secret=s']
        with VM(*args) as vm:
            runs(vm)
            take(vm, 'a', '-n "the first word"')
            says(vm, 'snapshot_note a the second word', '')
            leave(vm)
        with VM(*args) as vm:
            out = vm.hmp('info snapshots a')
            if not re.search('Note: *the second word$', out, re.M):
                raise Fail(out)
            load(vm, 'a')
            leave(vm)
        run('qemu-img', 'check', '--object', secret, '--image-opts',
            f'driver=qcow2,file.filename={disk.path},encrypt.key-secret=s')
        with open(disk.path, 'rb') as f:
            if b'second word' in f.read():
                raise Fail('the note can be read without the secret')


def test_the_screen_is_kept():
    with Disk() as disk:
        with Control(disk) as (vm, qmp):
            vm.wait_screen(NO_BOOT)
            vm.hmp('stop')
            want = [x for x in vm.screen() if x]
            width, height, rgb = vm.picture()
            take(vm, 'a', '-n seen')
            out = vm.hmp('info snapshots a')
            got = re.findall(r'^  \| (.*)$', out, re.M)
            if [x for x in got if x] != want:
                raise Fail(f'{got}\nis not\n{want}')
            if f'Screen:  {width}x{height}, text' not in out:
                raise Fail(out)
            s = qmp('x-orrery-query-snapshots', {'thumbnails': True})[0]
            if (s['name'], s['note'], s['machine'], s['ram'], s['cpus'],
                    s['is-current']) != ('a', 'seen', s['machine'], 32 << 20, 1,
                                         True):
                raise Fail(f'{s}')
            if not s['machine'].startswith('pc') or 'parent' in s:
                raise Fail(f'{s}')
            check_picture(s['screen']['thumbnail'], width, height, rgb)
            take(vm, 'b')
            s = qmp('x-orrery-query-snapshots', {'tag': 'b'})
            if len(s) != 1 or s[0]['parent'] != 'a' or \
               'thumbnail' in s[0]['screen']:
                raise Fail(f'{s}')
            if "there is no snapshot 'c'" not in line(qmp, 'info snapshots c'):
                raise Fail('a snapshot that is not there is shown')
            leave(vm)


def check_picture(thumb, width, height, rgb):
    """It is as bright as the screen, part by part."""
    w, h = thumb['width'], thumb['height']
    small = base64.b64decode(thumb['rgb'])
    if len(small) != w * h * 3 or not 0 < w <= 160 or not 0 < h <= 120:
        raise Fail(f'{w}x{h}, {len(small)} octets')
    if abs(w / h - width / height) > 0.1:
        raise Fail(f'{w}x{h} of {width}x{height}')
    for part in range(4):       # quarters from top to bottom
        a = sum(small[part * h // 4 * w * 3:(part + 1) * h // 4 * w * 3])
        b = sum(rgb[part * height // 4 * width * 3:
                    (part + 1) * height // 4 * width * 3])
        a, b = a / (w * h * 3 / 4), b / (width * height * 3 / 4)
        if abs(a - b) > 3:
            raise Fail(f'quarter {part}: brightness {a:.1f}, screen {b:.1f}')
    if not any(small):
        raise Fail('the small picture is black')


def test_graphics_have_a_picture_and_no_text():
    with Disk() as disk, Control(disk) as (vm, qmp):
        vm.wait_screen(NO_BOOT)
        # Mode 13h by hand would need a guest: the VBE registers will do.
        for index, value in ((4, 0), (1, 320), (2, 200), (3, 32), (4, 0x41)):
            vm.hmp(f'o /h 0x1ce {index}')
            vm.hmp(f'o /h 0x1cf {value}')
        vm.until('the picture changes', lambda: vm.picture()[:2] == (320, 200),
                 30)
        take(vm, 'a')
        out = vm.hmp('info snapshots a')
        if 'Screen:  320x200, graphics' not in out or '  | ' in out:
            raise Fail(out)
        screen = qmp('x-orrery-query-snapshots', {'tag': 'a',
                                                  'thumbnails': True})
        screen = screen[0]['screen']
        if (screen['width'], screen['height']) != (320, 200) or \
           'text' in screen or screen['thumbnail']['width'] != 160:
            raise Fail(f'{screen}')


def test_a_list_is_as_the_peer_prints_it_whatever_is_kept():
    with Disk() as disk, VM(*disk.args('-boot', 'n', memory='32')) as vm:
        runs(vm)
        take(vm, 'a', '-n note')
        if listed(vm) != ['a']:
            raise Fail(vm.hmp('info snapshots'))
        both = vm.hmp('info snapshots -v')
        if 'Note:    note' not in both:
            raise Fail(both)


if __name__ == '__main__':
    main(globals())
