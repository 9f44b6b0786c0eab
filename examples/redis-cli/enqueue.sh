#!/usr/bin/env bash
# Push one chat-completions body through Lighterman with redis-cli (7.0 or newer)
# and print the answer's body, which jq reads:
#
#	enqueue.sh NAME <request.json | jq -r '.choices[0].message.content'
#
# Redis is at LIGHTERMAN_REDIS_URL, else where `lighterman dev` listens. Run again
# with the same NAME and request it asks nothing twice and prints the same answer.
# Exit status: 0 answered, 1 not, 2 called wrongly. The contract is docs/wire.md.
set -euo pipefail

url=${LIGHTERMAN_REDIS_URL:-redis://127.0.0.1:7379}
patience=120 # seconds for the answer

# -e: an error of Redis is an exit status.
redis() { redis-cli -e --raw --no-auth-warning -u "$url" "$@"; }

die() {
	echo "enqueue.sh: $1" >&2
	exit "${2:-1}"
}

[ $# -eq 1 ] || die "usage: enqueue.sh NAME <request.json" 2
body=$(cat)
# What Lighterman would refuse has no result to wait for, so it is refused here.
[[ $1 =~ ^[A-Za-z0-9_.-]{1,55}$ ]] || die "NAME: want 1 to 55 of A-Z a-z 0-9 _ . -" 2
size=$(printf %s "$body" | wc -c)
((size > 0 && size <= 4194304)) || die "the request has $size bytes; want 1 to 4194304" 2

# The ID names the work and the body: pushed again it is the same operation, and
# another body never meets the answer to this one.
sum=$(printf %s "$body" | sha256sum)
own=$1-${sum:0:8}
id=0-$own
result="{lm:0}:result:$id"
reply=sh-$$-$RANDOM$RANDOM # notices for this process alone

# -x: the last argument comes from stdin, whatever its size.
printf %s "$body" | redis -x XADD '{lm:0}:stream:default' '*' v 1 id "$own" kind chat reply "$reply" body >/dev/null

# A notice only says when to look; after 10 s without one we look anyway.
outcome=$(redis HGET "$result" outcome)
while [ -z "$outcome" ]; do
	((SECONDS < patience)) || die "$id: no answer within $patience s; the work goes on, run this again to wait for it"
	redis XREAD BLOCK 10000 STREAMS "{lm:0}:reply:$reply" 0 >/dev/null
	outcome=$(redis HGET "$result" outcome)
done
[ "$outcome" = succeeded ] || die "$id $outcome: $(redis HGET "$result" error)"
redis HGET "$result" body
