# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: bad input on the command line. Each ends with exit status 1
# and exactly one line on stderr that names the value, with nothing on stdout
# and nothing created or changed in the current folder.
import os
import re
import shutil
import socket
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, SLOW, Fail

PROGRAM = ORRERY if '/' not in ORRERY else os.path.abspath(ORRERY)


def snapshot(folder):
    return {f: os.stat(os.path.join(folder, f)).st_mtime_ns
            for f in os.listdir(folder)}


def refused(pattern, *args, folder=None, program=PROGRAM, as_nobody=False):
    """Run with args; the one line of stderr must match the pattern."""
    with tempfile.TemporaryDirectory() as empty:
        folder = folder or empty
        os.chmod(folder, 0o755)
        before = snapshot(folder)
        user = {'user': 65534, 'group': 65534, 'extra_groups': []} \
            if as_nobody and os.geteuid() == 0 else {}
        try:
            p = subprocess.run([program, '-display', 'none', *args],
                               stdin=subprocess.DEVNULL, capture_output=True,
                               cwd=folder, timeout=20 * SLOW, check=False,
                               **user)
        except subprocess.TimeoutExpired:
            raise Fail(f'{args}: was not refused, it runs') from None
        after = snapshot(folder)
    err = p.stderr.decode(errors='replace')
    said = f'{args}: status {p.returncode}, stderr:\n{err}'
    if p.returncode != 1:
        raise Fail(f'exit status is not 1\n{said}')
    if err.count('\n') != 1 or not err.endswith('\n'):
        raise Fail(f'not exactly one line\n{said}')
    if not re.search(pattern, err):
        raise Fail(f'the line does not match {pattern!r}\n{said}')
    if p.stdout:
        raise Fail(f'stdout: {p.stdout!r}\n{said}')
    if before != after:
        raise Fail(f'files changed: {before} -> {after}\n{said}')


def test_an_unknown_option_is_named():
    refused('-nosuchoption', '-nosuchoption')
    refused('-nosuchoption', '-m', '64', '-nosuchoption', 'x')


def test_an_option_without_its_value_is_named():
    refused('-m', '-m')


def test_a_missing_file_is_named():
    refused('nosuch.iso', '-cdrom', 'nosuch.iso')
    refused('nosuch.img', '-hda', 'nosuch.img')
    refused('nosuch.img', '-fda', 'nosuch.img')
    refused('nosuch-kernel', '-kernel', 'nosuch-kernel')
    refused('nosuch.bin', '-bios', 'nosuch.bin')


def test_the_reason_stands_behind_a_long_name():
    if IS_PEER:
        raise Skip('our way to shorten a line')
    long = '/'.join(['x' * 200] * 15)
    refused(r'^.{,420}: No such file or directory$', '-hda', long)
    refused(r'^.{,420}: No such file or directory$', '-kernel', long)


def test_a_name_cannot_steer_the_terminal():
    if IS_PEER:
        raise Skip('the peer prints names as they are')
    for args in (('-hda', 'a\x1b[2J\nb'), ('-M', '\x1b]0;x\x07\r\n'),
                 ('-\x1b[31m',), ('-d', 'x\n'), ('-L', 'a\x7f\x9bb')):
        refused(r'\A[^\x00-\x1f\x7f\x80-\x9f]+\n\Z', *args)


def test_a_missing_initrd_is_named():
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, 'kernel'), 'wb') as f:
            f.write(b'\0' * 65536)
        refused('nosuch-initrd|kernel', '-kernel', 'kernel', '-initrd',
                'nosuch-initrd', folder=d)


def test_a_kernel_that_is_none_is_named():
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, 'junk-kernel'), 'wb') as f:
            f.write(b'this is not a kernel\n' * 5000)
        refused('junk-kernel', '-kernel', 'junk-kernel', folder=d)


def test_a_directory_is_no_image():
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(os.path.join(d, 'folder.iso'))
        refused('folder.iso', '-cdrom', 'folder.iso', folder=d)


def test_an_unreadable_file_is_named():
    with tempfile.TemporaryDirectory() as d:
        program = readable_program(d)
        path = os.path.join(d, 'secret.iso')
        with open(path, 'wb') as f:
            f.write(b'\0' * 65536)
        os.chmod(path, 0)
        refused('secret.iso.*ermission', '-cdrom', 'secret.iso', folder=d,
                program=program, as_nobody=True)


def readable_program(folder):
    """A copy another user may run; its folder is opened for that."""
    if '/' not in PROGRAM:
        return PROGRAM
    path = os.path.join(folder, os.path.basename(PROGRAM))
    shutil.copy(PROGRAM, path)
    os.chmod(path, 0o755)
    return path


def test_a_memory_size_that_cannot_be_is_named():
    refused(r'\b0\b', '-m', '0')
    refused('9999T', '-m', '9999T')
    refused('12X', '-m', '12X')
    refused('-5', '-m', '-5')


def test_an_unknown_machine_is_named():
    refused('nosuch', '-M', 'nosuch')
    refused('nosuch', '-machine', 'nosuch')


def test_an_unknown_accelerator_is_named():
    refused('nosuch', '-accel', 'nosuch')


def test_a_number_of_cpus_that_cannot_be_is_named():
    refused(r'\b0\b', '-smp', '0')
    refused('99999', '-smp', '99999')
    refused('two', '-smp', 'two')


def test_a_boot_order_that_cannot_be_is_named():
    refused('[qx]', '-boot', 'qx')


def test_an_unknown_device_is_named():
    refused('nosuch-device', '-device', 'nosuch-device')


def test_an_unknown_display_is_named():
    refused('nosuch', '-display', 'nosuch')


def test_a_display_s_word_that_cannot_be_is_named():
    refused("'?typo", '-display', 'sdl,typo=on')
    refused("full-screen", '-display', 'none,full-screen=maybe')


def test_an_unknown_keyboard_layout_is_named():
    refused('xx', '-k', 'xx', '-vnc', 'unix:vnc.sock')


def test_a_display_that_is_not_there_gives_one_line():
    # Not the complaints of libraries below as well.
    if IS_PEER:
        raise Skip('a peer may lack this display')
    names = ('DISPLAY', 'WAYLAND_DISPLAY', 'WAYLAND_SOCKET',
             'XDG_RUNTIME_DIR', 'SDL_VIDEODRIVER', 'ASAN_OPTIONS')
    saved = {n: os.environ.pop(n) for n in names if n in os.environ}
    try:
        refused('-display sdl', '-display', 'sdl')
        os.environ['DISPLAY'] = ':nosuch'
        os.environ['ASAN_OPTIONS'] = 'detect_leaks=0'   # the D-Bus library's
        refused('-display sdl', '-display', 'sdl')
    finally:
        for n in names:
            os.environ.pop(n, None)
        os.environ.update(saved)


def test_a_device_as_json_that_cannot_be_is_named():
    refused('nosuch-device', '-device', '{"driver": "nosuch-device"}')
    refused('driver', '-device', '{"id": "x"}')
    refused('-device', '-device', '{"driver": "VGA"')


def test_flash_memory_is_refused_by_name():
    if IS_PEER:
        raise Skip('a peer has flash memory')
    refused('pflash.*no flash memory', '-drive', 'if=pflash,file=x')


def test_a_vnc_port_in_use_is_named():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for n in range(100, 1000):
            try:
                s.bind(('127.0.0.1', 5900 + n))
                break
            except OSError:
                continue
        s.listen()
        refused(f'{5900 + n}|:{n}', '-vnc', f'127.0.0.1:{n}')


def test_missing_firmware_names_the_package():
    if IS_PEER:
        raise Skip('a peer goes on to its own folders')
    refused('/nonexistent', '-L', '/nonexistent')
    with tempfile.TemporaryDirectory() as d:
        refused(f'{d}.*package seabios', '-L', d)


def test_kvm_without_permission_says_how_to_get_it():
    if not os.path.exists('/dev/kvm'):
        raise Skip('there is no /dev/kvm')
    mode = os.stat('/dev/kvm').st_mode & 0o777
    if mode & 0o006 or os.geteuid() != 0 and os.access('/dev/kvm', os.R_OK):
        raise Skip(f'everybody may open /dev/kvm (mode {mode:o})')
    with tempfile.TemporaryDirectory() as d:
        refused('/dev/kvm.*(group|usermod|permission)', '-accel', 'kvm',
                folder=d, program=readable_program(d), as_nobody=True)


main(globals())
