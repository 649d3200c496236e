#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds an image archive (docker-archive and OCI layout in one) from a directory.
# Needs only tar, gzip, sha256sum and printf.
#   mkimage.sh OUT.tar REF ROOTDIR ENTRYPOINT_JSON [NAME=VALUE ...]
#   mkimage.sh hello.tar hello:1 root '["/hello","--http","8080"]' GREETING=Hi
set -eu
if [ $# -lt 4 ]; then
	echo "usage: $0 OUT.tar REF ROOTDIR ENTRYPOINT_JSON [NAME=VALUE ...]" >&2
	exit 2
fi
out=$1 ref=$2 root=$3 entrypoint=$4
shift 4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

quote() { # a JSON string of $1
	printf '"%s"' "$(printf %s "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"
}
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
size() { wc -c <"$1" | tr -d ' '; }
keep() { # file -> its digest; the file becomes a blob
	hex=$(digest "$1")
	mv "$1" "$work/image/blobs/sha256/$hex"
	printf %s "$hex"
}

case $(uname -m) in
x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; armv*) arch=arm ;; i?86) arch=386 ;;
*) arch=$(uname -m) ;;
esac
case $ref in
*/*:* | *:*/* | [!/]*:*) full=$ref ;;
*) full=$ref:latest ;;
esac

mkdir -p "$work/image/blobs/sha256"
env='"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"'
for pair; do
	env="$env,$(quote "$pair")"
done

# The same directory gives the same bytes: owners, order and times are fixed.
tar -C "$root" --numeric-owner --owner=0 --group=0 --sort=name --mtime=@0 -cf "$work/layer.tar" .
diff_id=$(digest "$work/layer.tar")
gzip -n "$work/layer.tar"
layer_size=$(size "$work/layer.tar.gz")
layer=$(keep "$work/layer.tar.gz")

printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":[%s],"Entrypoint":%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"mkimage.sh"}]}' \
	"$arch" "$env" "$entrypoint" "$diff_id" >"$work/config"
config_size=$(size "$work/config")
config=$(keep "$work/config")

printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}]}' \
	"$config" "$config_size" "$layer" "$layer_size" >"$work/manifest"
manifest_size=$(size "$work/manifest")
manifest=$(keep "$work/manifest")

name=$(quote "$full")
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":%s,"org.opencontainers.image.ref.name":%s},"platform":{"architecture":"%s","os":"linux"}}]}' \
	"$manifest" "$manifest_size" "$name" "$name" "$arch" >"$work/image/index.json"
printf '[{"Config":"blobs/sha256/%s","RepoTags":[%s],"Layers":["blobs/sha256/%s"]}]' \
	"$config" "$name" "$layer" >"$work/image/manifest.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"

tar -C "$work/image" --numeric-owner --owner=0 --group=0 --sort=name --mtime=@0 -cf "$out" \
	blobs index.json manifest.json oci-layout
