#!/usr/bin/env bash
# Runs what is too slow for CI or needs the network: the parts named (none: all of
# them), one after the other whatever the one before said, and sums up at the end.
# The exit status is 1 if one of them failed. docs: CONTRIBUTING.md.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

export CI=true # tests that find no redis-server fail instead of being skipped

# aimock asks npm's mock of the model APIs through every adapter.
aimock() {
	LIGHTERMAN_NIGHTLY=1 go test -count=1 -v -timeout 10m ./internal/aimock
}

# real asks the servers that the environment names.
real() {
	if [ -z "${OLLAMA_TEST_URL:-}${OPENAI_TEST_BASE_URL:-}" ]; then
		echo "neither OLLAMA_TEST_URL nor OPENAI_TEST_BASE_URL is set"
		return "$skipped"
	fi
	go test -count=1 -v -timeout 30m -run '^TestRealServer$' ./provider/openai ./provider/ollama
}

# full runs the tests that measure, or take long, with all counts and tight bounds.
# One package at a time: they measure.
full() {
	local packages
	mapfile -t packages < <(grep -rl --include='*_test.go' --exclude-dir=bench LIGHTERMAN_E2E . | xargs -r -n 1 dirname | sort -u)
	[ ${#packages[@]} -gt 0 ] || { echo "no test knows LIGHTERMAN_E2E"; return 1; }
	LIGHTERMAN_E2E=full go test -count=1 -p 1 -timeout 60m "${packages[@]}"
}

race() {
	scripts/test.sh -race -timeout 30m ./...
}

# fuzz fuzzes each fuzz test for FUZZ_TIME. What it finds is written beneath the
# package's testdata/fuzz: commit it with the fix, and every go test runs it.
fuzz() {
	local status=0 found=0 file name
	while IFS=: read -r file name; do
		found=$((found + 1))
		echo "-- $name of $(dirname "$file")"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZ_TIME:-1m}" "$(dirname "$file")" || status=1
	done < <(grep -r --include='*_test.go' --exclude-dir=bench -o '^func Fuzz[A-Za-z0-9_]*' . | sed 's/func //' | sort)
	echo "$found fuzz tests"
	[ "$found" -gt 0 ] && return "$status"
}

compat() {
	scripts/compat.sh
}

skipped=75 # of a part that had nothing to do

run() {
	case $1 in
	aimock) aimock ;;
	real) real ;;
	full) full ;;
	race) race ;;
	fuzz) fuzz ;;
	compat) compat ;;
	*)
		echo "no part $1; there are aimock, real, full, race, fuzz and compat"
		return 1
		;;
	esac
}

[ $# -gt 0 ] || set -- aimock real full race fuzz compat
summary=() failed=0
for part in "$@"; do
	echo "== nightly: $part"
	begin=$SECONDS
	run "$part"
	case $? in
	0) result=passed ;;
	"$skipped") result=SKIPPED ;;
	*) result=FAILED failed=1 ;;
	esac
	summary+=("$(printf '%-8s %-8s %5d s' "$part" "$result" $((SECONDS - begin)))")
done
echo "== nightly"
printf '%s\n' "${summary[@]}"
exit "$failed"
