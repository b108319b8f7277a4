#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# install-cd.sh OUTDIR: install.iso, a CD with a menu-driven installer that puts
# a small Linux on a disk (partition, ext4, files, GRUB).  Needs OUTDIR/amd64.
# Menu entry 1 asks, entry 2 (install=auto) answers everything itself.
set -eu
. "$(dirname "$0")/lib.sh"
work=$WORK/install-cd
live=$work/live        # the live system with the installer's programs
disk=$work/disk        # what ends up on the disk
start=$work/start      # initrd of the installed system
tree=$work/iso
rm -rf "$work"
mkdir -p "$live" "$tree/isolinux" "$tree/guest"
gzip -dc "$OUT/amd64/initrd.gz" | (cd "$live" && cpio -i -d --quiet)

# ---- the installer's programs, with the libraries they need
tools=$work/tools
unpack "$tools" libc6 dialog libncursesw6 libtinfo6 ncurses-base e2fsprogs \
    libext2fs2 libcom-err2 libss2 libblkid1 libuuid1 fdisk libfdisk1 \
    libsmartcols1 libmount1 libreadline8 libselinux1 libpcre2-8-0 grub-common \
    grub2-common grub-pc-bin libdevmapper1.02.1 libudev1 liblzma5 libefivar1 \
    libefiboot1
(
    cd "$tools"
    rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info \
        usr/share/grub usr/share/bash-completion usr/share/lintian etc/grub.d \
        usr/lib/x86_64-linux-gnu/gconv usr/lib/x86_64-linux-gnu/audit
    find usr/bin sbin usr/sbin -type f | while read -r f; do
        case ${f##*/} in
        dialog | mke2fs | e2fsck | sfdisk | grub-install | grub-mkimage | \
            grub-probe | grub-editenv) ;;
        *) rm -f "$f" ;;
        esac
    done
    rm -f usr/lib/grub/i386-pc/*.image
)
for d in lib usr sbin etc bin lib64; do
    [ ! -d "$tools/$d" ] || { mkdir -p "$live/$d" &&
        cp -a "$tools/$d/." "$live/$d/"; }
done
mkdir -p "$live/target"
cp "$here/install-cd/installer" "$live/sbin/installer"
chmod 755 "$live/sbin/installer"
pack_initrd "$live" "$tree/guest/initrd.gz"

# ---- the system on the disk: busybox, the same drivers
for d in bin sbin etc/init.d proc sys dev tmp root mnt var/log run boot lib; do
    mkdir -p "$disk/$d"
done
cp "$live/bin/busybox" "$disk/bin/busybox"
"$disk/bin/busybox" --list-full | while read -r applet; do
    mkdir -p "$disk/$(dirname "$applet")"
    [ -e "$disk/$applet" ] || ln -s /bin/busybox "$disk/$applet"
done
cp -a "$live/lib/modules" "$disk/lib/"
cp "$here/udhcpc.sh" "$disk/etc/"
cp "$here/install-cd/inittab" "$disk/etc/inittab"
cp "$here/install-cd/rcS" "$disk/etc/init.d/rcS"
chmod 755 "$disk/etc/init.d/rcS" "$disk/etc/udhcpc.sh"
echo 'root:x:0:0:root:/root:/bin/sh' >"$disk/etc/passwd"
echo 'root::0:0:99999:7:::' >"$disk/etc/shadow"
chmod 600 "$disk/etc/shadow"
printf 'root:x:0:\ntty:x:5:\n' >"$disk/etc/group"
echo guest >"$disk/etc/hostname"
printf 'Guest installed \\m \\r on \\l\n' >"$disk/etc/issue"
tar -C "$disk" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime="@$SOURCE_DATE_EPOCH" -cf - . | gzip -6n >"$tree/guest/rootfs.tgz"

# ---- its initrd: loads drivers, finds the root file system
for d in bin sbin proc sys dev target lib; do mkdir -p "$start/$d"; done
cp "$disk/bin/busybox" "$start/bin/"
cp -a "$live/lib/modules" "$start/lib/"
rm -rf "$start"/lib/modules/*/kernel/drivers/gpu \
    "$start"/lib/modules/*/kernel/sound "$start"/lib/modules/*/kernel/drivers/net
depmod -b "$start" "$(ls "$start/lib/modules")"
cp "$here/install-cd/init" "$start/init"
chmod 755 "$start/init"
pack_initrd "$start" "$tree/guest/initrd-disk.gz"

# ---- the CD
echo "installation CD of the test guest" >"$tree/GUESTCD"
cp "$OUT/amd64/vmlinuz" "$tree/guest/"
cat >"$tree/isolinux/isolinux.cfg" <<EOF
UI menu.c32
PROMPT 0
TIMEOUT 300
MENU TITLE Installation CD
DEFAULT install
LABEL install
 MENU LABEL Install (menus)
 LINUX /guest/vmlinuz
 INITRD /guest/initrd.gz
 APPEND loglevel=5 nomodeset install console=ttyS0,115200 console=tty0
LABEL auto
 MENU LABEL Install automatically on the first disk
 LINUX /guest/vmlinuz
 INITRD /guest/initrd.gz
 APPEND loglevel=5 nomodeset install=auto console=ttyS0,115200 console=tty0
LABEL local
 MENU LABEL Boot from the first disk
 LOCALBOOT 0x80
EOF
make_iso "$tree" "$OUT/install.iso" GUESTCD
rm -rf "$work"
say "install.iso: $(wc -c <"$OUT/install.iso") bytes"
