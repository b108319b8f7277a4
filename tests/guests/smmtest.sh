#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The test of system management mode: a bare guest on the CPU test's start.
set -eu
. "$(dirname "$0")/lib.sh"
cc=${CC:-gcc}
list=
for f in "$here"/smmtest/*.[Sc] "$here"/cputest/start64.S \
    "$here"/cputest/report.c; do
    o=$WORK/smmtest-$(basename "$f").o
    $cc -m64 -std=gnu11 -O1 -ffreestanding -fno-pic -fno-stack-protector \
        -fcf-protection=none -fno-asynchronous-unwind-tables -fno-builtin \
        -fno-strict-aliasing -mgeneral-regs-only -mno-red-zone \
        -fno-tree-loop-distribute-patterns \
        -Wall -Wextra -Wno-array-bounds -Werror -c "$f" -o "$o"
    list="$list $o"
done
# shellcheck disable=SC2086
ld -m elf_x86_64 -T "$here/cputest/link.ld" --build-id=none -z noexecstack \
    --no-warn-rwx-segments -z max-page-size=4096 -o "$WORK/smmtest64" $list
objcopy -O elf32-i386 "$WORK/smmtest64" "$OUT/smmtest.elf"
