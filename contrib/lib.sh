# SPDX-License-Identifier: Apache-2.0
# Shared by quickstart.sh and test.sh: packages and the build. Sourced, not run.
top=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '%s==>%s %s\n' "${bold-}" "${plain-}" "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$(printf '\033[1m'); plain=$(printf '\033[0m'); fi

need_root() { [ "$(id -u)" = 0 ] || die "run this as root: sudo $0"; }

# install_packages PURPOSE...: what is missing of the lists in contrib/packages.
install_packages() {
	command -v dpkg-query >/dev/null || die "only Debian and its relatives are supported by this script"
	missing=
	for purpose in "$@"; do
		for package in $(sed -n "s/^$purpose //p" "$top/contrib/packages"); do
			dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
				missing="$missing $package"
		done
	done
	[ -n "$missing" ] || return 0
	say "installing$missing"
	apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# fetch_package NAME DIR: the files of a package into DIR, beside what is installed.
fetch_package() {
	[ -d "$2/usr" ] && return 0
	rm -rf "$2.tmp"
	mkdir -p "$2.tmp"
	say "fetching $1"
	(
		cd "$2.tmp"
		# apt's unprivileged user cannot write here
		apt-get download -qq -o APT::Sandbox::User=root "$1" ||
			{ apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root "$1"; }
		dpkg-deb -x ./*.deb . && rm ./*.deb
	) >/dev/null || die "cannot fetch the package $1"
	mv "$2.tmp" "$2"
}

# build_tree DIR [configure options]: out of the source tree, only what changed.
build_tree() {
	dir=$1; shift
	[ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] || (cd "$top" && autoreconf -i >/dev/null 2>&1) ||
		die "autoreconf failed: run it in $top to see why"
	mkdir -p "$dir"
	(
		cd "$dir"
		[ -f config.status ] || "$top/configure" -q "$@"
		make -s -j"$(nproc)" all >build.log 2>&1 || { tail -n 40 build.log >&2; exit 1; }
	) || die "the build in $dir failed"
}
