# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: direct boot by -kernel, -initrd, -append
# - Linux with its console on the serial port under -nographic, on a terminal:
#   login, a shell, Ctrl-A x ends the program
# - the kernel of cloud images
# - an initrd of 300 MB
# - PVH and Multiboot 1 images: what the protocol hands over
# - warnings of the kernel: none a PC of QEMU's does not cause too
import os
import re
import tempfile

import common                                           # noqa: F401
from tap import each, main
from vmlab import IS_PEER, VM, Console, Fail, guest


def linux(arch, *args, append='console=ttyS0', memory='256', initrd=None):
    return ['-kernel', guest(f'{arch}/vmlinuz'), '-m', memory,
            '-initrd', initrd or guest(f'{arch}/initrd.gz'),
            '-append', append, *args]


def test_linux_gives_a_shell_on_the_serial_console():
    with Console(*linux('amd64', '-nographic', append='console=ttyS0 nocd')) \
            as c:
        c.wait('guest login: ', 180)
        c.send('root\n')
        c.wait('~ # $', 30)
        c.send('echo $((6*7))x $(uname -m)\n')
        c.wait('^42x x86_64$', 30)
        c.send('\x01x')                                 # Ctrl-A x
        status = c.wait_exit(30)
        if status != 0:
            raise Fail(f'after Ctrl-A x the exit status is {status}')


@each('cloud', 'i386')
def test_other_kernels_boot_directly(arch):
    with VM(*linux(arch, append='console=ttyS0 nocd')) as vm:
        vm.wait_serial('^guest login:', 180)


# What QEMU 7.2's pc machine (-accel tcg) makes this kernel say at level warning
# and above (dmesg levels 0 to 4) with this command line. Both are no faults:
# the first answers our "nomodeset"; the second, an i440FX has no MMCONFIG.
KNOWN_WARNINGS = [
    r'Booted with the nomodeset parameter\. Only the system framebuffer will',
    r'acpi PNP0A03:00: fail to add MMCONFIG information',
]
# What a busy host causes on every machine: it gave the virtual CPU no time
# between two ticks of the guest's 64 Hz RTC.
KNOWN_WARNINGS += [r'hpet: Lost \d+ RTC interrupts',
                   r'hrtimer: interrupt took \d+ ns',
                   r'Reading current time from RTC took around \d+ ms']
# The same on AMD, where Linux measures the TSC: a read of port 61 took ten times
# as long as another; it measures again by the HPET.
KNOWN_WARNINGS += [r'tsc: Unable to calibrate against PIT',
                   r'tsc: PIT calibration deviates from HPET']
# What only QEMU's pc says, with two vCPUs; this program has no such excuse.
PEER_WARNINGS = [r'mtrr: your CPUs had inconsistent', r'Unstable clock detected',
                 r'If you want to keep using the local clock', r' *"trace_clock',
                 r'on the kernel command line']


def warnings(vm):
    """The guest's kernel messages of level warning and worse."""
    at = len(vm.serial_text())
    vm.serial_write("dmesg -r | grep '^<[0-4]>'; echo END-OF-$((1+1))\n")
    vm.wait_serial('^END-OF-2$', 60, at)
    lines = vm.serial_text()[at:].splitlines()
    return [re.sub(r'^<\d+>(\[ *[\d.]+\] )?', '', x) for x in lines
            if re.match(r'<[0-4]>', x)]


@each(1, 2)
def test_linux_warns_of_nothing_a_known_pc_does_not_cause(cpus):
    with VM(*linux('amd64', '-smp', str(cpus),
                   append='console=ttyS0 nomodeset nocd'),
            serial='socket') as vm:
        vm.wait_prompt('^guest login: ', 180)
        vm.serial_write('root\n')
        vm.wait_prompt('~ # ', 30)
        known = KNOWN_WARNINGS + (PEER_WARNINGS if IS_PEER else [])
        new = [x for x in warnings(vm)
               if not any(re.match(k, x) for k in known)]
        if new:
            raise Fail('the kernel warns:\n' + '\n'.join(new))


def test_an_initrd_of_300_MB_is_loaded():
    with tempfile.TemporaryDirectory() as d:
        big = os.path.join(d, 'initrd')
        with open(guest('amd64/initrd.gz'), 'rb') as src, \
                open(big, 'wb') as dst:
            dst.write(src.read())
            # The kernel skips zeros between archives; the archive that follows
            # them proves that the end arrived.
            dst.seek(300 << 20)
            dst.write(cpio_file('etc/issue', b'end of a big initrd\n'))
        with VM(*linux('amd64', append='console=ttyS0 nocd', memory='1G',
                       initrd=big)) as vm:
            vm.wait_serial('^end of a big initrd', 240)
            vm.wait_serial('^guest login:', 60)


def cpio_file(name, data):
    """A newc archive of one file (Documentation/driver-api/early-userspace)."""
    def entry(path, mode, body):
        fields = (0, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0,
                  len(path) + 1, 0)
        out = b'070701' + b''.join(b'%08x' % f for f in fields)
        out += path.encode() + b'\0'
        out += b'\0' * (-len(out) % 4) + body
        return out + b'\0' * (-len(out) % 4)
    return entry(name, 0o100644, data) + entry('TRAILER!!!', 0, b'')


def boottest(kind, *args):
    with tempfile.NamedTemporaryFile(suffix='.mod') as f:
        f.write(bytes(range(256)) * 1001)
        f.flush()
        with VM('-m', '64', '-kernel', guest(f'{kind}.elf'),
                '-append', 'one "two" three=3', '-initrd', f.name,
                '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', *args) as vm:
            status = vm.wait_exit(60)
            text = vm.serial_text()
    if status != 33:                        # (0x10 << 1) | 1
        raise Fail(f'exit status {status}, not 33:\n{text}')
    said = dict(x.rpartition(' ')[::2] for x in text.splitlines())
    if not re.search(r'^cmdline (.* )?one "two" three=3$', text, re.M):
        raise Fail(f'another command line arrived:\n{text}')
    expect(said, 'modules', 1)
    expect(said, 'module size', 256 * 1001)
    expect(said, 'module sum', 1001 * sum(range(256)))
    ram = int(said['ram KiB'], 16)
    if not 64 * 1024 - 1024 < ram <= 64 * 1024:
        raise Fail(f'the memory map holds {ram} KiB of RAM, not about 64 MiB')
    return said


def expect(said, key, value):
    if int(said[key], 16) != value:
        raise Fail(f'{key} is 0x{said[key]}, not {value:#x}')


def test_multiboot_image_gets_its_information():
    said = boottest('multiboot')
    flags = int(said['flags'], 16)
    if flags & 0x4d != 0x4d:        # memory, command line, modules, map
        raise Fail(f'flags {flags:#x} lack some of 0x4d')
    # Multiboot 0.6.96, 3.3: at most 640 KiB; upper memory from 1 MiB on
    if not 600 < int(said['mem_lower'], 16) <= 640:
        raise Fail(f'mem_lower is 0x{said["mem_lower"]} KiB')
    if not 62 << 10 <= int(said['mem_upper'], 16) <= 63 << 10:
        raise Fail(f'mem_upper is 0x{said["mem_upper"]} KiB')


def test_pvh_image_gets_its_information():
    said = boottest('pvh')
    expect(said, 'magic', 0x336ec578)
    if int(said['version'], 16) < 1:
        raise Fail('version 0 of hvm_start_info has no memory map')
    if not 0xe0000 <= int(said['rsdp'], 16) < 0x100000:
        raise Fail(f'RSDP at 0x{said["rsdp"]}')


main(globals())
