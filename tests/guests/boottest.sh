#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Our own tiny Multiboot and PVH guests, from boottest.S.
set -eu
. "$(dirname "$0")/lib.sh"
cc=${CC:-gcc}
for kind in multiboot pvh; do
    flag=
    [ $kind = multiboot ] || flag=-DPVH
    # shellcheck disable=SC2086
    $cc -m32 $flag -nostdinc -c "$here/boottest.S" -o "$WORK/$kind.o"
    ld -m elf_i386 -T "$here/boottest.ld" --build-id=none -z noexecstack \
        --no-warn-rwx-segments \
        -N -o "$OUT/$kind.elf" "$WORK/$kind.o"
done
