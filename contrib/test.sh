#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need, builds, runs everything, ends with "N passed, N failed".
#   sudo contrib/test.sh            all
#   sudo contrib/test.sh unit       one of: unit, sanitizers, functional, style
set -u
. "$(dirname "$0")/lib.sh"
need_root
install_packages build run test
command -v kubectl >/dev/null || install_packages kubectl
command -v npm >/dev/null || install_packages node
# Debian's kubectl is an old one (1.20 in Debian 12): the tests find it by this name.
fetch_package kubernetes-client "$top/build/kubernetes-client"
old=$(cd "$top/build/kubernetes-client/usr/bin" && ./kubectl version --client -o json | jq -r .clientVersion.gitVersion)
old=${old#v}
mkdir -p "$top/build/bin"
ln -sf "$top/build/kubernetes-client/usr/bin/kubectl" "$top/build/bin/kubectl.${old%.*}"
export PATH="$PATH:$top/build/bin:/usr/sbin:/sbin"

passed=0 failed=0
count() { passed=$((passed + $1)); failed=$((failed + $2)); }
# step NAME COMMAND...: one check that is a single pass or failure.
step() {
	name=$1; shift
	if "$@" >"$logs/step.log" 2>&1; then echo "ok: $name"; count 1 0
	else tail -n 40 "$logs/step.log"; echo "FAILED: $name"; count 0 1; fi
}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# cmocka prints "[  PASSED  ] N test(s)." and "[  FAILED  ] N test(s)"; programs without such a line
# (layer check, fuzz replays) count as one each by their .trs file.
run_unit() {
	build=$1
	make -C "$build" -s -k -j"$(nproc)" check >"$logs/check.log" 2>&1
	find "$build/tests" -name '*.trs' >"$logs/trs"
	[ -s "$logs/trs" ] || { tail -n 40 "$logs/check.log"; echo "FAILED: no unit test ran in $build"; count 0 1; return; }
	while read -r trs; do
		log=${trs%.trs}.log
		p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
		f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
		if grep -q '^:test-result: PASS' "$trs"; then
			[ $((p + f)) -gt 0 ] || p=1
		else
			[ "$f" -gt 0 ] || f=1
			echo "FAILED: ${log#"$build"/}"; tail -n 30 "$log"
		fi
		count "$p" "$f"
	done <"$logs/trs"
	echo "unit tests in ${build#"$top"/}: $(wc -l <"$logs/trs") programs"
}

unit() { build_tree "$top/build/test" --enable-werror CFLAGS='-O1 -g'; run_unit "$top/build/test"; }
run_functional() {
	rm -f "$logs/functional"
	python3 "$top/tests/functional/run.py" --build "$1" --result "$logs/functional" ||
		echo "functional tests in ${1#"$top"/}: see above"
	if [ -s "$logs/functional" ]; then read -r p f <"$logs/functional"; count "$p" "$f"; else count 0 1; fi
}
functional() { build_tree "$top/build/test" --enable-werror CFLAGS='-O1 -g'; run_functional "$top/build/test"; }
# Both suites once more in a build with AddressSanitizer and UBSan.
sanitizers() {
	build_tree "$top/build/sanitize" --enable-sanitizers --enable-werror CFLAGS='-O1 -g'
	export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
	run_unit "$top/build/sanitize"
	unset ASAN_OPTIONS UBSAN_OPTIONS
	run_functional "$top/build/sanitize"
}
style() {
	step "clang-format" sh -c "cd '$top' && find src include tests contrib -name '*.[ch]' | xargs clang-format --dry-run -Werror"
	step "builds without warnings with clang" clang_build
}
clang_build() (
	build_tree "$top/build/clang" --enable-werror CC=clang
	make -C "$top/build/clang" -s -j"$(nproc)" check TESTS=
)

for suite in ${*:-style unit functional sanitizers}; do
	echo "== $suite"
	case $suite in
	unit | sanitizers | functional | style) $suite ;;
	*) die "unknown suite $suite" ;;
	esac
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
