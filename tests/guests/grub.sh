#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# GRUB rescue images, straight from the package.
set -eu
. "$(dirname "$0")/lib.sh"
unpack "$WORK/grub" grub-rescue-pc
cp "$WORK"/grub/usr/lib/grub-rescue/grub-rescue-* "$OUT/"
