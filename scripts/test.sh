#!/usr/bin/env bash
# Runs go test with the arguments given (none: ./...), after making sure that a
# redis-server is there: every script is tested on miniredis and on a real one,
# and where they differ the real one is right. Where it is missing it is
# installed by the system's package manager; LIGHTERMAN_NO_INSTALL=1 prevents
# that. Where none can be had, the tests run on miniredis alone and this says
# so first and last. The exit status is go test's.
set -u

cd "$(dirname "$0")/.." || exit 2

have_redis() { command -v redis-server >/dev/null 2>&1; }

# as_root runs a command with the rights to install. Without a terminal nobody
# could type a password, so sudo then fails at once.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif ! command -v sudo >/dev/null 2>&1; then
		echo "test.sh: not root, and no sudo" >&2
		return 1
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

install_redis() {
	if command -v apt-get >/dev/null 2>&1; then
		as_root apt-get update -qq
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server
	elif command -v dnf >/dev/null 2>&1; then
		as_root dnf install -y redis
	elif command -v apk >/dev/null 2>&1; then
		as_root apk add redis
	elif command -v brew >/dev/null 2>&1; then # refuses to run as root
		brew install redis
	else
		echo "test.sh: no apt-get, dnf, apk or brew" >&2
		return 1
	fi
}

without_redis() {
	cat >&2 <<'BANNER'

  ############################################################################
  #                                                                          #
  #   NO redis-server: THE TESTS AGAINST A REAL REDIS ARE NOT RUN.           #
  #   miniredis alone is used, and it is wrong about pending lists, delivery #
  #   counts and lag. Install redis-server before you trust the result.      #
  #                                                                          #
  ############################################################################

BANNER
}

if ! have_redis && [ -z "${LIGHTERMAN_NO_INSTALL:-}" ]; then
	echo "test.sh: no redis-server in PATH; installing it" >&2
	install_redis >&2 || echo "test.sh: redis-server could not be installed" >&2
	hash -r
fi

if have_redis; then
	redis-server --version
else
	without_redis
fi

[ $# -gt 0 ] || set -- ./...
# The timeout is per package; internal/e2e takes four minutes on two cores.
go test -timeout 9m "$@"
status=$?

have_redis || without_redis
exit "$status"
