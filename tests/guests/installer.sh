#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Kernels and initrds of the Debian installer, text and graphical.
set -eu
. "$(dirname "$0")/lib.sh"
unpack "$WORK/installer" debian-installer-12-netboot-amd64
images=$WORK/installer/usr/lib/debian-installer/images/12/amd64
for kind in text gtk; do
    mkdir -p "$OUT/installer/$kind"
    for f in linux initrd.gz; do
        mv "$images/$kind/debian-installer/amd64/$f" "$OUT/installer/$kind/$f"
    done
done
rm -rf "$WORK/installer"
