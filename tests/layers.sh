#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is checked, one result line each (TAP):
# - includes go only where the layers allow (core/README.md); own header first
# - headers carry an include guard and stay under 350 lines, .c files under
#   1000; a file that says "pure table" in its first ten lines may be longer
# - only ui/main.c and block/img*.c call exit(); _exit() is for a child process
#   the manager or savevm has forked
# - one SPDX line at the top of every source file
# - no device calls the host's clock
# - no path of the machine it was written on, no promise of later work
# It reads what git tracks plus new files that are not ignored.
set -u
cd "$(dirname "$0")/.." || exit 1

n=0
status=0
verdict() { # verdict "sentence" "offending lines, empty if none"
    n=$((n + 1))
    if [ -z "$2" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '%s\n' "$2" | sed 's/^/# /'
        status=1
    fi
}

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    files=$(git ls-files -co --exclude-standard | while read -r f; do
        [ -f "$f" ] && echo "$f"; done)
else
    files=$(find . -type f ! -path './build*' ! -path './.git/*' |
        sed 's|^\./||')
fi
pick() { printf '%s\n' "$files" | grep -E "$1"; }
sources=$(pick '^(core|hw|block|monitor|ui)/.*\.[ch]$')
[ -n "$sources" ] || { echo "not ok 1 - there are sources to check"; exit 1; }

# Folder -> regular expression of what it may include.
verdict "includes follow the layers" "$(
    # shellcheck disable=SC2086
    grep -nE '^ *# *include *"' $sources |
    awk -F: '
    function layer(p) {
        if (p ~ /^core\//) { split(p, a, "/"); return "core/" a[2] }
        sub(/\/.*/, "", p); return p
    }
    BEGIN {
        may["core/base"]  = "core/base"
        may["core/loop"]  = "core/(base|loop)"
        may["core/vm"]    = "core/(base|loop|vm)"
        may["core/cpu"]   = "core/(base|vm|cpu)"
        may["core/soft"]  = "core/(base|vm|cpu|soft)"
        may["core/accel"] = "core/(base|loop|vm|cpu|soft|accel)"
        may["core/host"]  = "core/(base|loop|vm|host)"
        may["block"]      = "(core/(base|loop)|block)"
        may["hw"]         = "(core/(base|loop|vm|host)|hw|block/block\\.h$)"
        may["monitor"]    = "(core/[a-z]+|monitor|block/(block|job|nbd_export|nodes|snapshot)\\.h$)"
        may["ui"]         = "(core/[a-z]+|block|hw|monitor|ui)"
    }
    {
        file = $1; inc = $0
        sub(/^[^"]*"/, "", inc); sub(/".*/, "", inc)
        from = layer(file)
        if (inc == "config.h") next
        if (inc ~ /\.def$/ && inc !~ /\//) next
        if (!(from in may))
            print file ":" $2 ": no layer is named " from
        else if (inc !~ "^" may[from] "(/|$)" && inc !~ "^" may[from])
            print file ":" $2 ": " from " may not include " inc
    }')"

verdict "a .c file includes its own header first" "$(
    for f in $(pick '^(core|hw|block|monitor|ui)/.*\.c$'); do
        h=${f%.c}.h
        [ -f "$h" ] || continue
        first=$(grep -m1 -E '^ *# *include' "$f")
        case $first in *"\"$h\""*) ;; *) echo "$f: first include is $first" ;; esac
    done)"

verdict "headers have an include guard" "$(
    for f in $(pick '^(core|hw|block|monitor|ui)/.*\.h$'); do
        grep -qE '^# *(ifndef|pragma once)' "$f" || echo "$f"
    done)"

verdict "files keep their length (.c 1000, .h 350 lines; tables may not)" "$(
    for f in $sources; do
        case $f in *.h) max=350 ;; *) max=1000 ;; esac
        lines=$(wc -l <"$f")
        [ "$lines" -le $max ] || head -n 10 "$f" | grep -qi 'pure table' ||
            echo "$f: $lines lines"
    done)"

verdict "only ui/main.c and block/img*.c may exit" "$(
    # shellcheck disable=SC2046
    grep -nE '(^|[^A-Za-z0-9_.>])(exit|_Exit|quick_exit) *\(' \
        $(printf '%s\n' "$sources" | grep -vE '^(ui/main\.c|block/img[^/]*\.c)$') |
    grep -vE ':[0-9]+: *(/?\*|//)'
    # shellcheck disable=SC2046
    grep -nE '(^|[^A-Za-z0-9_.>])_exit *\(' \
        $(printf '%s\n' "$sources" | grep -vE '^(ui/main\.c|ui/manager/.*|monitor/savevm[^/]*\.c)$'))"

verdict "every source has its SPDX line" "$(
    for f in $(pick '\.([chS]|sh|py)$|^(Makefile|configure)$|^\.ci/run$'); do
        head -n 3 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' ||
            echo "$f"
    done)"

verdict "devices take the time from the machine, not from the host" "$(
    # shellcheck disable=SC2046
    grep -nE '(clock_gettime|gettimeofday|[^_a-z]time|usleep|nanosleep) *\(' \
        /dev/null $(pick '^hw/.*\.[ch]$') | grep -vE ':[0-9]+: *(/?\*|//)')"

verdict "no path of one machine, no promise of later work" "$(
    # The patterns are spelled so that they do not find themselves.
    # shellcheck disable=SC2046
    grep -nE '(/wor[k]/|/far[m]/|\.\./share[d]/|deb\.debia[n]\.org)|(TOD[O]|FIXM[E]|XX[X]:)' \
        /dev/null $(pick '\.(c|h|S|sh|py|md|mk|cfg|conf)$|^(Makefile|configure)$|^\.ci/'))"

echo "1..$n"
exit $status
