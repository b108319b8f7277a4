#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# live.sh OUTDIR amd64|i386 NAME.iso: live CD of OUTDIR/ARCH with a text menu
set -eu
. "$(dirname "$0")/lib.sh"
arch=$2
tree=$WORK/live-$arch
rm -rf "$tree"
mkdir -p "$tree/isolinux" "$tree/live"
echo "live CD of the $arch test guest" >"$tree/GUESTCD"
cp "$OUT/$arch/vmlinuz" "$OUT/$arch/initrd.gz" "$tree/live/"
cat >"$tree/isolinux/isolinux.cfg" <<EOF
UI menu.c32
PROMPT 0
TIMEOUT 50
MENU TITLE Live Linux CD, $arch
DEFAULT live
LABEL live
 MENU LABEL Live Linux, text console
 LINUX /live/vmlinuz
 INITRD /live/initrd.gz
 APPEND nomodeset console=ttyS0,115200 console=tty0
LABEL fb
 MENU LABEL Live Linux, framebuffer console
 LINUX /live/vmlinuz
 INITRD /live/initrd.gz
 APPEND vga=791 console=ttyS0,115200 console=tty0
LABEL local
 MENU LABEL Boot from the first disk
 LOCALBOOT 0x80
EOF
make_iso "$tree" "$OUT/$3" GUESTCD
rm -rf "$tree"
