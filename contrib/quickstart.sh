#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian to a small application that runs, balances and heals: one command.
#   sudo contrib/quickstart.sh          start (safe to run again)
#   sudo contrib/quickstart.sh --stop   stop everything and remove what it made
set -eu
. "$(dirname "$0")/lib.sh"

build=$top/build/quickstart
state=/var/lib/coracle run=/run/coracle
log=$run/coracled.log mark=$state/quickstart
coracle="$build/coracle"
image=coracle.local/hello:1

usage() { sed -n '3,5s/^# \{0,1\}//p' "$0"; }
coracled_pid() { [ -f "$run/quickstart.pid" ] && kill -0 "$(cat "$run/quickstart.pid")" 2>/dev/null && cat "$run/quickstart.pid"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
	seconds=$1 what=$2; shift 2
	end=$(($(date +%s) + seconds))
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$end" ] || { tail -n 20 "$log" >&2; die "no $what after $seconds s; the log is $log"; }
		sleep 0.2
	done
}

# Only what this script has made is touched: the state directory of an installed coracled is not ours.
ours() { [ ! -e "$state" ] || [ -e "$mark" ]; }

stop() {
	ours || die "$state is not of this script; use: coracle node stop"
	if pid=$(coracled_pid); then
		say "stopping the pods and coracled"
		"$build/coracled" --stop-pods || true
		wait_for 60 "end of coracled" sh -c "! kill -0 $pid"
	fi
	# coracled lets the kernel forward packets; it was not so before.
	[ "$(cat "$mark" 2>/dev/null)" != 0 ] || echo 0 >/proc/sys/net/ipv4/ip_forward
	rm -rf "$run" "$state"
	say "everything that quickstart.sh made is gone (the packages and $build stay)"
}

start_daemon() {
	if coracled_pid >/dev/null; then say "coracled is running already"; return; fi
	ours || die "$state exists already and is not of this script: is coracled installed here?"
	mkdir -p "$run" "$state"
	[ -e "$mark" ] || cat /proc/sys/net/ipv4/ip_forward >"$mark"
	say "starting coracled"
	CORACLE_LIBEXECDIR="$build" setsid "$build/coracled" </dev/null >>"$log" 2>&1 &
	echo $! >"$run/quickstart.pid"
	wait_for 30 "API socket" sh -c "[ -S '$run/api.sock' ] || ! kill -0 $!"
	coracled_pid >/dev/null || { tail -n 5 "$log" >&2; rm -f "$run/quickstart.pid"; die "coracled did not start"; }
	wait_for 30 "ready node" sh -c "'$coracle' get node | grep -qw Ready"
}

# The demo image: the static server of contrib/demo and a shell, in an ordinary OCI archive.
load_image() {
	root=$(mktemp -d)
	mkdir -p "$root/bin" "$root/tmp" "$root/etc"
	cp "$build/contrib/demo/hello" "$build/contrib/demo/fetch" "$root/bin/"
	cp /bin/busybox "$root/bin/busybox"
	for applet in sh ls cat ps sleep kill nslookup; do ln -s busybox "$root/bin/$applet"; done
	"$top/contrib/mkimage.sh" "$root.tar" "$image" "$root" '["/bin/hello"]' PATH=/bin
	"$coracle" image load "$root.tar"
	rm -rf "$root" "$root.tar"
}

pods() { "$coracle" get pods -n hello -l app=hello -o name | sed 's,.*/,,'; }
answer() { "$build/contrib/demo/fetch" "http://$1/"; }
all_pods_ready() { [ "$("$coracle" get pods -n hello | grep -c ' 1/1 *Running ')" = 3 ]; }

show_balancing() {
	ip=$("$coracle" get service hello -n hello -o json | sed -n 's/.*"clusterIP": *"\([0-9.]*\)".*/\1/p' | head -n 1)
	say "30 requests to the Service address http://$ip/ and who answered"
	for _ in $(seq 30); do answer "$ip"; done | sort | uniq -c
	[ "$(for _ in $(seq 60); do answer "$ip"; done | sort -u | wc -l)" = 3 ] || die "not all three pods answered"
	pod=$(pods | head -n 1)
	say "the same from inside pod $pod, by the DNS name hello.hello"
	"$coracle" exec -n hello "$pod" -- sh -c 'for i in 1 2 3 4 5 6; do /bin/fetch http://hello.hello/; done' | sort | uniq -c
}

restarts() { "$coracle" get pod "$1" -n hello --no-headers 2>/dev/null | awk '{print $4}'; }
show_healing() {
	pod=$(pods | head -n 1)
	before=$(restarts "$pod")
	say "ending the container of $pod from inside"
	"$coracle" exec -n hello "$pod" -- kill 1 || true
	wait_for 60 "restart of $pod" sh -c "[ \"\$('$coracle' get pod $pod -n hello --no-headers | awk '{print \$4}')\" != \"$before\" ]"
	wait_for 60 "three ready pods" all_pods_ready
	"$coracle" get pods -n hello
}

next_steps() {
	cat <<TXT

It works. To go on:
  alias coracle="sudo $coracle"
  coracle get pods -A                            look around
  coracle describe deployment hello -n hello
  coracle scale deployment hello -n hello --replicas 5
  coracle show                                   what the daemon holds
  coracle kubeconfig > coracle.conf              then: kubectl --kubeconfig coracle.conf get all -A
The daemon writes its log to $log. To stop and undo:
  sudo $0 --stop
TXT
}

case ${1-} in
'') ;;
--stop) need_root; stop; exit 0 ;;
*) usage; exit 2 ;;
esac
need_root
install_packages build run
say "building in $build"
build_tree "$build"
start_daemon
load_image
say "applying contrib/examples/hello.yaml"
"$coracle" apply -f "$top/contrib/examples/hello.yaml"
"$coracle" rollout status deployment/hello -n hello --timeout 120s
wait_for 60 "three ready pods" all_pods_ready
show_balancing
show_healing
next_steps
