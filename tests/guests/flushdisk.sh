#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# flushdisk.sh OUTDIR: flushdisk.img, a floppy whose boot sector writes to the
# hard disk, flushes, and tells the serial port what is safe.
set -eu
. "$(dirname "$0")/lib.sh"
need as binutils
mkdir -p "$WORK/flushdisk"
as --32 -o "$WORK/flushdisk/a.o" "$here/flushdisk.S"
ld -m elf_i386 -Ttext=0x7c00 --oformat binary -o "$WORK/flushdisk/a.bin" \
    "$WORK/flushdisk/a.o"
cp "$WORK/flushdisk/a.bin" "$OUT/flushdisk.img.part"
truncate -s 1474560 "$OUT/flushdisk.img.part"
mv "$OUT/flushdisk.img.part" "$OUT/flushdisk.img"
