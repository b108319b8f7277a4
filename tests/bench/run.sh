#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# make bench: every figure beside the peer's in one run; writes RESULTS.md.
# usage: tests/bench/run.sh BUILD-DIR
set -eu
B=${1:-build}; export B
ORRERY=${ORRERY:-$B/orrery}; GUESTS=${GUESTS:-$B/guests}
export ORRERY GUESTS
here=$(dirname "$0")
out=$B/RESULTS.md
command -v qemu-system-x86_64 >/dev/null || {
	echo "bench: qemu-system-x86_64 (package qemu-system-x86) is the peer; install it" >&2
	exit 1
}
{
	sed '/^<!-- figures -->$/q' "$here/RESULTS.md"
	printf '\nRun of %s on %s, %s processors, load %s.\n\n' \
		"$(date -u +%Y-%m-%d)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		"$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)"
	printf 'Peer: %s\n\n## Start-up and memory\n\n' \
		"$(qemu-system-x86_64 --version | head -n 1)"
	python3 "$here/start.py" 5
	printf '\n## Workload\n'
	python3 "$here/workload.py"
	printf '\n## Snapshots\n\n'
	python3 "$here/snapshot.py" 3
} > "$out"
cp "$out" "$here/RESULTS.md"
cat "$out"
