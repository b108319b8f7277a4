# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: a disk image that cannot be written gives the guest an I/O
# error and the user a line that names the image; the machine goes on.
import os
import re
import resource
import subprocess
import tempfile

import common                                           # noqa: F401
from tap import Skip, main
from vmlab import IS_PEER, ORRERY, SLOW, VM, Fail, guest

MIB = 1 << 20
LIMIT = 300 * MIB           # of file sizes; guest memory has to fit


def linux(disk):
    return ['-kernel', guest('amd64/vmlinuz'), '-m', '256', '-initrd',
            guest('amd64/initrd.gz'), '-append', 'console=ttyS0 nocd',
            '-drive', f'file={disk},format=raw,werror=report']


def shell(vm, line):
    """Run a line in the guest; what it printed."""
    at = len(vm.serial_text())
    vm.serial_write(line + '; echo END-OF-$((1+1))\n')
    vm.wait_serial('^END-OF-2$', 120, at)
    return vm.serial_text()[at:]


def test_a_file_size_limit_is_an_error_for_the_guest():
    with tempfile.TemporaryDirectory() as d:
        disk = os.path.join(d, 'disk.img')
        with open(disk, 'wb') as f:
            f.truncate(512 * MIB)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
        try:
            vm = VM(*linux(disk), serial='socket')
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        with vm:
            vm.wait_prompt('^guest login: ', 180)
            vm.serial_write('root\n')
            vm.wait_prompt('~ # ', 30)
            text = shell(vm, 'dd if=/dev/zero of=/dev/sda bs=1M count=1 '
                             'seek=400 conv=fsync || echo FAILED')
            if not re.search('^FAILED', text, re.M):
                raise Fail(f'dd saw no error:\n{text}')
            text = shell(vm, 'dd if=/dev/zero of=/dev/sda bs=1M count=1 '
                             'conv=fsync && echo WRITTEN')
            if not re.search('^WRITTEN', text, re.M):
                raise Fail(f'dd below the limit fails too:\n{text}')
            if not IS_PEER and 'disk.img: write failed: File too large' \
                    not in vm.output():
                raise Fail('no line about the failed write')


def test_a_limit_smaller_than_memory_is_a_clear_error():
    if IS_PEER:
        raise Skip('the peer has guest memory that is no file')
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    p = subprocess.run([ORRERY, '-accel', 'soft', '-m', '64', '-display',
                        'none'], stdin=subprocess.DEVNULL, capture_output=True,
                       preexec_fn=limit, timeout=20 * SLOW, check=False)
    if p.returncode != 1 or p.stderr.count(b'\n') != 1:
        raise Fail(f'status {p.returncode}, stderr {p.stderr!r}')


main(globals())
