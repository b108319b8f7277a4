#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The CPU test: bare guests written from the processor manuals.
set -eu
. "$(dirname "$0")/lib.sh"
cc=${CC:-gcc}
src=$here/cputest
flags='-std=gnu11 -O1 -ffreestanding -fno-pic -fno-stack-protector
    -fcf-protection=none -fno-asynchronous-unwind-tables -fno-builtin
    -fno-strict-aliasing -mgeneral-regs-only
    -Wall -Wextra -Wno-clobbered -Wno-array-bounds -Werror'

objects() { # objects BITS FLAGS SOURCE...: compile, leave the names in $list
    bits=$1
    more=$2
    shift 2
    list=
    for f; do
        o=$WORK/cputest$bits-$(basename "$f").o
        # shellcheck disable=SC2086
        $cc -m"$bits" $flags $more -c "$f" -o "$o"
        list="$list $o"
    done
}

link() { # link BITS EMULATION OUTPUT
    # shellcheck disable=SC2086
    ld -m "$2" -T "$src/link.ld" --build-id=none -z noexecstack \
        --no-warn-rwx-segments -z max-page-size=4096 -o "$3" $list
}

objects 64 -mno-red-zone "$src"/*.S "$src"/*.c
link 64 elf_x86_64 "$WORK/cputest64"
objcopy -O elf32-i386 "$WORK/cputest64" "$OUT/cputest64.elf"
objects 32 '' "$src"/32bit/*.S "$src"/32bit/*.c "$src"/report.c
link 32 elf_i386 "$OUT/cputest32.elf"
