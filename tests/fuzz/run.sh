#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Build and run the fuzz targets: tests/fuzz/run.sh BUILDDIR [TARGET...]
#
# tests/fuzz/fuzz_X.c has libFuzzer's entry point and, in its first lines, a
# comment /* link: hw core block */ if it needs more or other archives than
# monitor, block and core. Seeds are the files in tests/fuzz/seeds/X. Where
# clang and its libFuzzer are installed (Debian: clang, libclang-rt-14-dev) the
# project is built with them, sanitizers and all, in BUILDDIR/libfuzzer; else,
# and with FUZZ_CC= (empty), the targets are linked with driver.c. FUZZ_SECONDS
# is per target [10]. Prints TAP.
set -eu

b=${1:?usage: $0 BUILDDIR [TARGET...]}
shift
[ $# -gt 0 ] || set -- $(ls tests/fuzz/fuzz_*.c |
    sed 's|.*/fuzz_\(.*\)\.c|\1|')
if [ -z "${FUZZ_CC+set}" ]; then
    mkdir -p "$b"
    echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void)
        { return 0; }' >"$b/has_fuzzer.c"
    FUZZ_CC=
    clang -fsanitize=fuzzer -o "$b/has_fuzzer" "$b/has_fuzzer.c" \
        >/dev/null 2>&1 && FUZZ_CC=clang
fi
if [ -n "$FUZZ_CC" ]; then
    b=$b/libfuzzer
    B=$b CC=$FUZZ_CC CFLAGS=-fsanitize=fuzzer-no-link ./configure --quiet \
        --enable-sanitizers
fi
make -s B="$b" "$b/core.a" "$b/hw.a" "$b/block.a" "$b/monitor.a" "$b/support.a"
libs=$(sed -n 's/^LIBS = //p; s/^CMOCKA_LIBS = //p' "$b/config.mk" | tr '\n' ' ')
san=$(sed -n 's/^CFLAGS_SAN = //p' "$b/config.mk")
compile=$(cat "$b/flags")
driver=tests/fuzz/driver.c
if [ -n "$FUZZ_CC" ]; then
    compile="$compile -fsanitize=fuzzer"
    driver=
fi
mkdir -p "$b/fuzz"
echo "1..$#"
n=0
failed=0
for x in "$@"; do
    n=$((n + 1))
    archives=$(sed -n '1,5s|^/\* *link: *\(.*[^ ]\) *\*/.*|\1|p' \
        "tests/fuzz/fuzz_$x.c")
    files=
    for a in ${archives:-monitor block core}; do files="$files $b/$a.a"; done
    $compile -pie -o "$b/fuzz/fuzz_$x" "tests/fuzz/fuzz_$x.c" $driver \
        -Wl,--gc-sections -Wl,--start-group "$b/support.a" $files \
        -Wl,--end-group -Wl,--as-needed $san $libs
    if [ -n "$driver" ]; then
        set -- -t "${FUZZ_SECONDS:-10}"
    else # what is found goes into the first folder
        mkdir -p "$b/fuzz/corpus-$x"
        set -- -max_total_time="${FUZZ_SECONDS:-10}" "corpus-$x"
    fi
    if (cd "$b/fuzz" && "./fuzz_$x" "$@" "$OLDPWD/tests/fuzz/seeds/$x"); then
        echo "ok $n - fuzz $x"
    else
        echo "not ok $n - fuzz $x: the input is in $b/fuzz"
        failed=1
    fi
done
exit $failed
