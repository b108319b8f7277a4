#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What people run in a Debian guest, under this program and QEMU's TCG in turn.

usage: tests/bench/programs.py DISK VMLINUZ INITRD [RUNS]
       ORRERY, PEER as for the tests

DISK is a raw image of a Debian system on a file system without partitions,
root without a password, with gcc, perl and python3; it is not written to. As
root on the host:

    mmdebstrap --variant=minbase --include=systemd-sysv,udev,login,\\
gcc,libc6-dev,python3,perl,linux-image-amd64 bookworm root.tar
    mkdir root && tar xf root.tar -C root && sed -i s/^root:[^:]*/root:/ \\
root/etc/shadow && mke2fs -q -t ext4 -d root disk.img 3G
    cp -L root/vmlinuz root/initrd.img .

Prints a Markdown table of processor seconds of the whole process, best of RUNS
[2]: that survives a loaded host.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'tools'))
import vmlab                                            # noqa: E402

WORK = {
    'compile five small programs':
        'cd /tmp; printf "#include <stdio.h>\\nint main(){puts(\\"x\\");}\\n"'
        ' > a.c; for i in 1 2 3 4 5; do gcc -O2 a.c -o a; done',
    'the same again, all in memory': None,
    'perl, a hash of 500000 keys':
        "perl -e 'my %h; $h{\"k$_\"} = $_ for 1 .. 500000; my $s = 0; "
        "$s += $h{$_} for sort keys %h; print \"$s\\n\"'",
    'python, JSON and a search':
        "python3 -c 'import json, re; s = json.dumps({str(i): i * i for i in "
        "range(200000)}); print(len(json.loads(s)), "
        "len(re.findall(\"[0-9]+\", s)))'",
    'shell, 300 rounds of four processes':
        'i=0; while [ $i -lt 300 ]; do i=$((i+1)); /bin/true; '
        'x=$(echo $i | sed s/1/2/); done',
    'tar and gzip of documents':
        'set -o pipefail; tar cf - /usr/share/doc /usr/lib/python3* | '
        'gzip | wc -c',
}


def seconds(pid):
    with open(f'/proc/{pid}/stat') as f:
        words = f.read().rsplit(')', 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')


def measure(program, accel, disk, kernel, initrd):
    vmlab.ORRERY = program
    figures, last = {}, ''
    with vmlab.Console(
            '-nographic', '-m', '1024', '-kernel', kernel, '-initrd', initrd,
            '-drive', f'file={disk},format=raw,if=ide,snapshot=on', '-append',
            'root=/dev/sda rw console=ttyS0 quiet systemd.show_status=0',
            accel=accel) as c:
        c.wait('login: ', 600)
        figures['start to login'] = seconds(c.pid)
        c.send('root\n')
        c.wait('[#$] $', 60)
        c.send('stty -echo; PS1=; export PS1; echo R$((1+1))\n')
        c.wait('^R2$', 60)
        for name, command in WORK.items():
            at, before = len(c.text()), seconds(c.pid)
            last = command or last
            c.send(f'{last}\necho E$?\n')
            c.wait('^E[0-9]+$', 900, at)
            if not re.search('^E0$', c.text()[at:], re.M):
                sys.exit(f'{program}: {name} failed:\n{c.text()[at:]}')
            figures[name] = seconds(c.pid) - before
    return figures


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    runs = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    sides = ((os.environ.get('ORRERY', 'build/orrery'), 'soft'),
             (os.environ.get('PEER', 'qemu-system-x86_64'), 'tcg'))
    best = ({}, {})
    for _ in range(runs):
        for side, (program, accel) in enumerate(sides):
            now = measure(program, accel, *sys.argv[1:4])
            for name, v in now.items():
                best[side][name] = min(v, best[side].get(name, v))
    print('| processor seconds | orrery soft | qemu tcg | times tcg |')
    print('|---|---|---|---|')
    for name, ours in best[0].items():
        tcg = best[1][name]
        print(f'| {name} | {ours:.1f} | {tcg:.1f} | {tcg / ours:.1f} |')


if __name__ == '__main__':
    main()
