#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: sh assets/run-demo.sh PROGRAM LIVE.ISO
#
# Boots a live CD. On a terminal its screen is shown there. Otherwise it boots
# without one, and when the guest asks for a login its text screen is printed.
set -eu
program=$1
iso=$2
limit_s=${DEMO_LIMIT:-300}

if [ -t 0 ] && [ -t 1 ]; then
    echo "Booting $iso; Ctrl-A ? shows the keys."
    exec "$program" -cdrom "$iso" -boot d -m 512 -display curses
fi

tmp=$(mktemp -d "${TMPDIR:-/tmp}/orrery-demo.XXXXXX")
pid=
clean() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    rm -rf "$tmp"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

# The monitor reads from a FIFO that stays open on descriptor 3.
mkfifo "$tmp/commands"
: >"$tmp/serial"
"$program" -cdrom "$iso" -boot d -m 512 -display none \
    -serial "file:$tmp/serial" -monitor stdio \
    <"$tmp/commands" >"$tmp/monitor" 2>"$tmp/errors" &
pid=$!
exec 3>"$tmp/commands"

waited_s=0
until grep -q 'guest login:' "$tmp/serial"; do
    if ! kill -0 "$pid" 2>/dev/null || [ "$waited_s" -ge "$limit_s" ]; then
        cat "$tmp/errors" >&2
        tail -n 5 "$tmp/serial" >&2
        echo "run-demo: no login prompt after ${waited_s} s" >&2
        exit 1
    fi
    sleep 1
    waited_s=$((waited_s + 1))
done

# All of text memory: Linux scrolls by moving the screen's start through it.
# A second command after it marks the end of what is printed.
printf 'xp /4096xg 0xb8000\ninfo status\n' >&3
until grep -q '^VM status:' "$tmp/monitor"; do
    kill -0 "$pid" 2>/dev/null || { cat "$tmp/errors" >&2; exit 1; }
    sleep 1
done
printf 'quit\n' >&3
wait "$pid" || { echo "run-demo: $program ended with status $?" >&2; exit 1; }
pid=

# The 25 rows that end with the login prompt.
awk '
function byte(hex) {
    return (index(digits, substr(hex, 1, 1)) - 1) * 16 \
        + index(digits, substr(hex, 2, 1)) - 1
}
function put(c) {
    if (c == 0) c = 32
    line = line sprintf("%c", c >= 32 && c < 127 ? c : 63)
    if (length(line) < 80) return
    sub(/ +$/, "", line)
    text[row] = line
    if (line ~ /^guest login:/) last = row
    row++
    line = ""
}
BEGIN { digits = "0123456789abcdef"; row = 0; last = -1 }
/^[0-9a-f]+: 0x/ {
    # Four characters a word, the first in its lowest byte.
    for (f = 2; f <= NF; f++)
        for (at = 17; at >= 3; at -= 4) put(byte(substr($f, at, 2)))
}
END {
    if (last < 0) exit 1
    for (i = last > 24 ? last - 24 : 0; i <= last; i++) print text[i]
}' "$tmp/monitor" || {
    echo "run-demo: the login prompt is not on the screen" >&2
    exit 1
}
