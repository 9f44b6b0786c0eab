#!/usr/bin/env bash
# Runs tests against other servers than the installed one: Redis 8 and Valkey 8
# from Debian 13's packages, unpacked into a directory and run from there with
# their own libraries; nothing is installed. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
at=${COMPAT_DIR:-${TMPDIR:-/tmp}/lighterman-compat}
packages=(redis-tools valkey-tools libc6 libjemalloc2 libssl3t64 liblzf1 libatomic1 libsystemd0 libcap2 libzstd1 zlib1g libstdc++6 libgcc-s1)
libraries=usr/lib/x86_64-linux-gnu

fetch() {
	local list=$at/Packages package file
	curl -sSf "$mirror/dists/trixie/main/binary-amd64/Packages.xz" | xz -dc >"$list"
	for package in "${packages[@]}"; do
		file=$(awk -v want="$package" '$1 == "Package:" { is = $2 == want } is && $1 == "Filename:" { print $2; exit }' "$list")
		curl -sSf "$mirror/$file" -o "$at/package.deb"
		dpkg-deb -x "$at/package.deb" "$at/root"
	done
	rm "$at/package.deb" "$list"
}

# wrap makes DIR/redis-server start a server under the libraries it was built for.
# The package keeps the server under the name of its checker.
wrap() {
	mkdir -p "$at/$1"
	cat >"$at/$1/redis-server" <<-END
		#!/bin/sh
		exec "$at/root/$libraries/ld-linux-x86-64.so.2" --argv0 redis-server --library-path "$at/root/$libraries" "$at/root/usr/bin/$2" "\$@"
	END
	chmod +x "$at/$1/redis-server"
}

if [ ! -e "$at/root/usr/bin/valkey-check-rdb" ]; then
	mkdir -p "$at"
	fetch
fi
wrap redis8 redis-check-rdb
wrap valkey8 valkey-check-rdb

[ $# -gt 0 ] || set -- ./lua ./consumer ./producer ./internal/e2e
failed=()
for server in redis8 valkey8; do
	echo "== $("$at/$server/redis-server" --version)"
	CI=true PATH="$at/$server:$PATH" go test -count=1 -timeout 10m "$@" || failed+=("$server")
done
if [ ${#failed[@]} -gt 0 ]; then
	echo "compat: FAILED: ${failed[*]}"
	exit 1
fi
