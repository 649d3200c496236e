#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the sources in a directory are: commit, state of the tree and date, as a C header, or with
# --archive as the file .build-info that a source archive carries. The date is SOURCE_DATE_EPOCH when
# that is set, else the commit's, so that two builds of the same sources are the same.
#
# usage: build-info.sh [--archive] SRCDIR
set -eu

archive=
[ "$1" != --archive ] || { archive=1; shift; }
src=$1 commit='' state='' epoch=''

# The sources may be another user's.
in_git() {
	git --no-optional-locks -c safe.directory='*' -C "$src" "$@" 2>/dev/null
}

if [ -f "$src/.build-info" ]; then
	read -r commit epoch <"$src/.build-info" || :
	state=archive
elif [ -e "$src/.git" ] && commit=$(in_git rev-parse HEAD); then
	epoch=$(in_git log -1 --format=%ct)
	state=clean
	[ -z "$(in_git status --porcelain --untracked-files=no)" ] || state=dirty
fi
if [ "$archive" ]; then
	echo "$commit $epoch"
	exit
fi
epoch=${SOURCE_DATE_EPOCH:-${epoch:-0}}
cat <<END
/* Made by build-info.sh. */
#define BUILD_COMMIT "$commit"
#define BUILD_TREE_STATE "$state"
#define BUILD_DATE "$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)"
END
