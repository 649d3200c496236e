#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a durable 2 kB update costs: bytes that reach the block device, latency of a commit.
#
#   make tests/bench/store_bench && sudo tests/bench/store.sh [BUILD_DIR] [DIR]
#
# Bytes are counted on an ext4 file system of its own (a loop device), so that nothing else on the
# machine is counted and the journal is; latency is taken in DIR (default /var/tmp), on the real disk.
# For the line "lmdb": make tests/bench/store_bench BENCH_CPPFLAGS=-DBENCH_LMDB BENCH_LIBS=-llmdb
set -eu
build=${1:-.}
dir=${2:-/var/tmp}
bench=$build/tests/bench/store_bench
updates=${UPDATES:-10000}
[ "$(id -u)" = 0 ] || { echo "needs root (loop device)" >&2; exit 1; }
work=$(mktemp -d /dev/shm/store-bench.XXXXXX)
real=$(mktemp -d "$dir/store-bench.XXXXXX")
loop=
cleanup() {
	exec 3>&- || :
	umount "$work/mnt" 2>/dev/null || :
	[ -z "$loop" ] || losetup -d "$loop"
	rm -rf "$work" "$real"
}
trap cleanup EXIT INT TERM

truncate -s 256M "$work/image"
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/image"
loop=$(losetup --show -f "$work/image")
mkdir "$work/mnt"
mount "$loop" "$work/mnt"
mkfifo "$work/go"
sectors() { awk '{ print $7 }' "/sys/block/${loop##*/}/stat"; }

# run ENGINE DIR GROUP -> "engine group updates/s p50 p99 bytes"
run() {
	rm -rf "$2"
	mkdir -p "$2"
	"$bench" "$1" "$2" "$updates" "$3" <"$work/go" >"$work/out" &
	pid=$!
	exec 3>"$work/go"
	while ! grep -q ready "$work/out" 2>/dev/null; do
		kill -0 $pid 2>/dev/null || { exec 3>&-; wait $pid || return $?; }
		sleep 0.05
	done
	before=$(sectors)
	echo go >&3
	exec 3>&-
	wait $pid
	sync -f "$work/mnt"
	after=$(sectors)
	echo "$(tail -1 "$work/out") $(((after - before) * 512 / updates))"
	rm -rf "$2"
}

printf '%-7s %6s %12s %10s %10s %14s\n' engine group updates/s p50_us p99_us bytes/update
for group in 1 100; do
	for engine in store log lmdb; do
		bytes=$(run $engine "$work/mnt/x" $group) || continue
		time=$(run $engine "$real/x" $group)
		set -- $time
		printf '%-7s %6s %12s %10s %10s %14s\n' "$1" "$2" "$3" "$4" "$5" "${bytes##* }"
	done
done
