#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: sh all.sh OUTDIR [GUEST...]    GUEST: a name from the table below
#
# Builds the test guests from Debian packages, every one once; OUTDIR/NAME.done
# says that NAME is there and of which builders it was made.  DEBS=DIR keeps the
# downloads elsewhere than in ~/.cache/orrery/guests.
#
#   grub       grub-rescue-cdrom.iso, -floppy.img, -usb.img
#   memtest    memtest.iso: memtest86+ with its screen on the serial port too
#   boottest   multiboot.elf, pvh.elf: ours, tell what the boot protocol gave
#   cputest    cputest64.elf, cputest32.elf: ours, written from the CPU manuals
#   smmtest    smmtest.elf: ours, system management mode by the manuals
#   flushdisk  flushdisk.img: writes to the disk and tells what it flushed
#   amd64      amd64/{vmlinuz,initrd.gz}: Debian's kernel and busybox
#   live       live.iso: the same with isolinux's menu
#   install    install.iso: installs a small Linux on a disk, with dialogs
#   i386       i386/{vmlinuz,initrd.gz}, live-i386.iso: 32 bits, no PAE
#   cloud      cloud/{vmlinuz,initrd.gz}: the small kernel of cloud images
#   installer  installer/{text,gtk}/{linux,initrd.gz}: Debian installer
set -eu
. "$(dirname "$0")/lib.sh"
shift
need apt-get apt
need dpkg-deb dpkg
need cpio cpio
need depmod kmod
need xorriso xorriso

# One builder at a time: they share the downloads.
if [ -z "${GUESTS_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    GUESTS_LOCKED=1
    export GUESTS_LOCKED
    exec flock "$DEBS/lock" sh "$0" "$OUT" "$@"
fi

# stamp FILE...: what a guest was made of
stamp() { (cd "$here" && cat lib.sh "$@" | sha256sum); }

build() { # build NAME "script and arguments" FILE...
    name=$1
    command=$2
    shift 2
    sum=$(stamp "$@")
    [ "$(cat "$OUT/$name.done" 2>/dev/null)" != "$sum" ] || return 0
    say "building $name"
    rm -f "$OUT/$name.done"
    # shellcheck disable=SC2086  # script and arguments
    set -- $command
    script=$1
    shift
    sh "$here/$script" "$OUT" "$@" || die "$name failed"
    printf '%s\n' "$sum" >"$OUT/$name.done"
}

one() {
    case $1 in
    grub) build grub grub.sh grub.sh ;;
    memtest) build memtest memtest.sh memtest.sh ;;
    boottest) build boottest boottest.sh boottest.sh boottest.S boottest.ld ;;
    cputest)
        # shellcheck disable=SC2046  # names without blanks
        build cputest cputest.sh cputest.sh $(cd "$here" && ls cputest/*.* cputest/32bit/*)
        ;;
    smmtest)
        # shellcheck disable=SC2046  # names without blanks
        build smmtest smmtest.sh smmtest.sh $(cd "$here" && ls smmtest/*.*) \
            cputest/start64.S cputest/report.c cputest/report.h cputest/link.ld
        ;;
    flushdisk) build flushdisk flushdisk.sh flushdisk.sh flushdisk.S ;;
    amd64) build amd64 'initrd.sh amd64' initrd.sh init rcS inittab udhcpc.sh ;;
    cloud) build cloud 'initrd.sh cloud' initrd.sh init rcS inittab udhcpc.sh ;;
    live)
        one amd64
        build live 'live.sh amd64 live.iso' live.sh initrd.sh init rcS inittab udhcpc.sh
        ;;
    install)
        one amd64
        build install install-cd.sh install-cd.sh install-cd/installer \
            install-cd/init install-cd/inittab install-cd/rcS initrd.sh init \
            rcS inittab udhcpc.sh
        ;;
    i386)
        build i386-boot 'initrd.sh i386' initrd.sh init rcS inittab udhcpc.sh
        build i386 'live.sh i386 live-i386.iso' live.sh initrd.sh init rcS inittab udhcpc.sh
        ;;
    installer) build installer installer.sh installer.sh ;;
    *) die "unknown guest '$1'" ;;
    esac
}

[ $# -gt 0 ] || set -- grub memtest boottest flushdisk cputest smmtest amd64 live \
    install i386 cloud installer
for guest; do one "$guest"; done
