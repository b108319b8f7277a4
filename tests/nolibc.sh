#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: tests/nolibc.sh BUILDDIR
#
# What is checked: objects of core/cpu and core/soft, except host_*.c, run while
# the guest's vector registers are live.  They must call no libc function that
# may use them (memcpy, strlen, printf, ...) and hold no vector instruction.
set -u
cd "$(dirname "$0")/.." || exit 1
b=${1:-build}

if grep -q '^SANITIZERS = yes' "$b/config.mk" 2>/dev/null; then
    echo "ok 1 # SKIP sanitizers put their own calls in"
    exit 0
fi
objs=$(find "$b/core/cpu" "$b/core/soft" -name '*.o' ! -name 'host_*' 2>/dev/null |
    while read -r o; do
        s=${o#"$b"/}
        [ -f "${s%.o}.c" ] && echo "$o"
    done | sort)
[ -n "$objs" ] || { echo "not ok 1 - $b holds objects of core/cpu and core/soft"; exit 1; }

n=0
status=0
verdict() {
    n=$((n + 1))
    if [ -z "$2" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
        status=1
    fi
}

# Whatever glibc and libm export; its assembly functions use vector registers.
exports=$(mktemp)
trap 'rm -f "$exports"' EXIT
# The compiler the build was configured with.
cc=$(sed -n 's/^CC = //p' "$b/config.mk")
for lib in libc.so.6 libm.so.6; do
    nm -D --defined-only "$($cc -print-file-name=$lib)"
done | awk '{ sub(/@.*/, "", $3); print $3 }' | sort -u >"$exports"
[ "$(wc -l <"$exports")" -gt 1000 ] || { echo "not ok 1 - glibc is found"; exit 1; }

verdict "code that runs with live vector registers calls no libc" "$(
    for o in $objs; do
        nm -u "$o" | awk '{ print $2 }' | grep -xFf "$exports" |
            sed "s|^|$o: |"
    done)"
verdict "code that runs with live vector registers uses no vector register" "$(
    for o in $objs; do
        objdump -d --no-show-raw-insn "$o" | grep -m3 -E '%[xyz]?mm[0-9]|%st' |
            sed "s|^|$o: |"
    done)"
echo "1..$n"
exit $status
