# SPDX-License-Identifier: GPL-2.0-or-later
# Common part of the guest builders; every one is run as: sh NAME.sh OUTDIR.
# Results land in OUTDIR, work in OUTDIR/.work.  Neither root nor installation
# is needed: packages are downloaded and unpacked, never installed.
OUT=${1:?usage: $0 OUTDIR}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
WORK=$OUT/.work
# Downloads outlive the build directory, so that a fresh checkout is quick.
DEBS=${DEBS:-${XDG_CACHE_HOME:-$HOME/.cache}/orrery/guests}
mkdir -p "$WORK" "$DEBS"
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
export PATH SOURCE_DATE_EPOCH
umask 022

say() { printf 'guests: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# need COMMAND PACKAGE: a program of the host
need() {
    command -v "$1" >/dev/null 2>&1 ||
        die "$1 is missing (Debian: apt-get install $2)"
}

# cached PKG: path of its .deb in $DEBS, nothing if it is not there
cached() { find "$DEBS" -maxdepth 1 -name "${1}_*.deb" | sort | tail -n 1; }

# unpack DIR PKG...: download the packages and unpack them into DIR
unpack() {
    dir=$1
    shift
    mkdir -p "$dir"
    for pkg; do
        deb=$(cached "$pkg")
        if [ -z "$deb" ]; then
            (cd "$DEBS" && apt-get -q -o APT::Sandbox::User= download "$pkg") \
                >"$WORK/apt.log" 2>&1 || {
                cat "$WORK/apt.log" >&2
                die "cannot download package $pkg (is apt-get update needed?)"
            }
            deb=$(cached "$pkg")
        fi
        dpkg-deb -x "$deb" "$dir"
    done
}

# kernel_package META: the real kernel package behind a meta package
kernel_package() {
    apt-cache depends "$1" |
        sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)$/\1/p' | head -n 1
}

# for_i386 COMMAND...: with apt looking at i386 through lists of its own (the
# system's sources and keys; nothing of the system is changed)
for_i386() {
    apt=$DEBS/apt-i386
    if [ ! -f "$apt/done" ]; then
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
        : >"$apt/status"
        cat >"$apt/apt.conf" <<EOF
APT::Architecture "i386";
APT::Architectures { "i386"; };
APT::Sandbox::User "";
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
EOF
        if [ -f /etc/apt/sources.list.d/debian.sources ]; then
            cp /etc/apt/sources.list.d/debian.sources "$apt/parts/"
            echo "Dir::Etc::SourceParts \"$apt/parts\";" >>"$apt/apt.conf"
        fi
        # One index that is out of step on a mirror must not stop the rest.
        APT_CONFIG=$apt/apt.conf apt-get -q update >"$WORK/apt-i386.log" 2>&1 ||
            say "apt-get update for i386 was not complete, going on"
        touch "$apt/done"
    fi
    (
        DEBS=$DEBS/i386
        mkdir -p "$DEBS"
        APT_CONFIG=$apt/apt.conf
        export APT_CONFIG
        "$@"
    )
}

# pack_initrd DIR FILE: cpio + gzip, every file owned by root
pack_initrd() {
    (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) |
        gzip -6n >"$2"
}

# make_iso TREE FILE LABEL: hybrid BIOS ISO; the tree holds isolinux/
make_iso() {
    need xorriso xorriso
    unpack "$WORK/isolinux" isolinux syslinux-common
    lib=$WORK/isolinux/usr/lib
    cp "$lib/ISOLINUX/isolinux.bin" "$1/isolinux/"
    for c in ldlinux menu libcom32 libutil poweroff reboot; do
        cp "$lib/syslinux/modules/bios/$c.c32" "$1/isolinux/"
    done
    xorriso -as mkisofs -quiet -o "$2.part" -V "$3" -J -R \
        -isohybrid-mbr "$lib/ISOLINUX/isohdpfx.bin" \
        -b isolinux/isolinux.bin -c isolinux/boot.cat \
        -no-emul-boot -boot-load-size 4 -boot-info-table "$1" \
        >"$WORK/xorriso.log" 2>&1 || { cat "$WORK/xorriso.log" >&2; exit 1; }
    mv "$2.part" "$2"
}
