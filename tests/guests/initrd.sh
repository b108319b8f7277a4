#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# initrd.sh OUTDIR amd64|i386|cloud: ARCH/vmlinuz from Debian's kernel package
# and ARCH/initrd.gz, a busybox system that loads the drivers it finds hardware
# for, mounts the live CD if there is one, and asks for a login on tty1 and ttyS0
# (root, no password).
set -eu
. "$(dirname "$0")/lib.sh"
arch=$2
case $arch in
amd64) meta=linux-image-amd64 in_arch= ;;
cloud) meta=linux-image-cloud-amd64 in_arch= ;;
i386) meta=linux-image-686 in_arch=for_i386 ;;
*) die "unknown architecture '$arch'" ;;
esac

# Drivers by name; what they depend on comes with them.
drivers="ata_piix ahci ata_generic sd_mod sr_mod nvme floppy parport_pc
    virtio_blk virtio_scsi virtio_pci virtio_mmio virtio_net virtio_balloon
    virtio_console virtio_rng virtio_input virtio-gpu 9p 9pnet_virtio
    isofs ext4 vfat nls_ascii nls_utf8 nls_cp437 nls_iso8859-1 loop squashfs
    overlay fuse crc32c-intel crc32c_generic
    e1000 e1000e rtl8139 8139cp ne2k-pci pcnet32 af_packet
    psmouse evdev button uhci-hcd ehci-pci ohci-pci xhci-pci usb-storage uas
    usbhid hid-generic usb-common i2c-piix4 pcspkr
    bochs cirrus vga16fb snd-hda-intel snd-hda-codec-generic snd-intel8x0
    snd-ens1370 sym53c8xx mptspi megaraid_sas"

kernel=$($in_arch kernel_package $meta)
[ -n "$kernel" ] || die "apt knows no kernel package behind $meta"
version=${kernel#linux-image-}
work=$WORK/initrd-$arch
rm -rf "$work"
$in_arch unpack "$work/kernel" "$kernel"
$in_arch unpack "$work/busybox" busybox-static
mkdir -p "$OUT/$arch"
cp "$work/kernel/boot/vmlinuz-$version" "$OUT/$arch/vmlinuz"

root=$work/root
for d in bin sbin proc sys dev tmp etc/acpi/PWRF root mnt cd run var/log; do
    mkdir -p "$root/$d"
done
cp "$work/busybox/bin/busybox" "$root/bin/busybox"
cp "$here/init" "$root/init"
cp "$here/inittab" "$here/rcS" "$here/udhcpc.sh" "$root/etc/"
printf '#!/bin/sh\nexec poweroff\n' >"$root/etc/acpi/PWRF/00000080"
chmod 755 "$root/init" "$root/etc/rcS" "$root/etc/udhcpc.sh" \
    "$root/etc/acpi/PWRF/00000080"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root::0:0:99999:7:::' >"$root/etc/shadow"
printf 'root:x:0:\ntty:x:5:\n' >"$root/etc/group"
echo guest >"$root/etc/hostname"
printf 'Guest live \\m \\r on \\l\n' >"$root/etc/issue"
echo "$version $arch" >"$root/etc/live-release"

from=$work/kernel/lib/modules/$version
[ -f "$from/modules.dep" ] || depmod -b "$work/kernel" "$version"
to=$root/lib/modules/$version
mkdir -p "$to"
cp "$from/modules.order" "$from/modules.builtin" \
    "$from/modules.builtin.modinfo" "$to/"
for d in $drivers; do
    name=$(printf %s "$d" | sed 's/[-_]/[-_]/g')
    sed -n "s#^\(\(.*/\)\{0,1\}$name\.ko\):#\1#p" "$from/modules.dep"
done | tr ' ' '\n' | sed '/^$/d' | LC_ALL=C sort -u |
    while read -r module; do
        mkdir -p "$to/${module%/*}"
        cp "$from/$module" "$to/$module"
    done
depmod -b "$root" "$version"
pack_initrd "$root" "$OUT/$arch/initrd.gz"
rm -rf "$work"
say "$arch: kernel $version, initrd $(wc -c <"$OUT/$arch/initrd.gz") bytes"
