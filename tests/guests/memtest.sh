#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# memtest86+ from its package on an ISO; its screen goes to ttyS0 as well.
set -eu
. "$(dirname "$0")/lib.sh"
unpack "$WORK/memtest" memtest86+
tree=$WORK/memtest-iso
rm -rf "$tree"
mkdir -p "$tree/isolinux"
cp "$WORK/memtest/boot/memtest86+x64.bin" "$tree/isolinux/memtest"
cat >"$tree/isolinux/isolinux.cfg" <<'EOF'
DEFAULT memtest
PROMPT 0
LABEL memtest
  LINUX memtest
  APPEND console=ttyS0,115200 keyboard=legacy
EOF
make_iso "$tree" "$OUT/memtest.iso" MEMTEST
