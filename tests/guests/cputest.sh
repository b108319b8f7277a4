#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The CPU test: bare guests written from the processor manuals.
set -eu
. "$(dirname "$0")/lib.sh"
cc=${CC:-gcc}
src=$here/cputest
flags='-std=gnu11 -O1 -ffreestanding -fno-pic -fno-stack-protector
    -fcf-protection=none -fno-asynchronous-unwind-tables -fno-builtin
    -fno-strict-aliasing -Wall -Wextra -Wno-clobbered -Werror'
objects=
for f in "$src"/start64.S "$src"/[!3]*.c; do
    o=$WORK/cputest-$(basename "$f").o
    # shellcheck disable=SC2086
    $cc -m64 $flags -mno-red-zone -mgeneral-regs-only -c "$f" -o "$o"
    objects="$objects $o"
done
# shellcheck disable=SC2086
ld -m elf_x86_64 -T "$src/link64.ld" --build-id=none -z noexecstack \
    --no-warn-rwx-segments -z max-page-size=4096 \
    -o "$WORK/cputest64" $objects
objcopy -O elf32-i386 "$WORK/cputest64" "$OUT/cputest64.elf"
