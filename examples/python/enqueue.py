#!/usr/bin/env python3
"""Ask one question through Lighterman and print the answer's text.

    enqueue.py NAME QUESTION [MODEL]

Needs redis-py (Debian: python3-redis, else pip install redis). Redis is at
LIGHTERMAN_REDIS_URL, else where `lighterman dev` listens. Run again with the same
NAME, question and model it asks nothing twice and prints the same answer. Exit
status: 0 answered, 1 not, 2 called wrongly. The contract is docs/wire.md.
"""

import hashlib
import json
import os
import sys
import time
import uuid

import redis

URL = os.environ.get("LIGHTERMAN_REDIS_URL", "redis://127.0.0.1:7379")
STREAM, DEAD = "{lm:0}:stream:default", "{lm:0}:dead"  # partition 0
PATIENCE = 120  # seconds for the answer
BLOCK = 10  # seconds of one blocking read; then the result is looked at anyway


def main(name, question, model=None):
    body = {"messages": [{"role": "user", "content": question}]}
    if model:
        body["model"] = model
    body = json.dumps(body)
    # The ID names the work and the body: pushed again it is the same operation,
    # and another body never meets the answer to this one.
    own = name + "-" + hashlib.sha256(body.encode()).hexdigest()[:8]
    trace_id = "0-" + own
    reply = "py-" + uuid.uuid4().hex  # notices for this process alone

    r = redis.Redis.from_url(URL, decode_responses=True, socket_timeout=BLOCK + 5)
    # What is dead-lettered from here on may be ours.
    last = r.xrevrange(DEAD, count=1)
    seen = last[0][0] if last else "0-0"
    entry = r.xadd(STREAM, {"v": 1, "id": own, "kind": "chat", "reply": reply, "body": body})

    result = wait(r, trace_id, entry, reply, seen)
    if result["outcome"] != "succeeded":
        sys.exit(f"{trace_id} {result['outcome']}: {result.get('error', '')}")
    print(json.loads(result["body"])["choices"][0]["message"]["content"])


def wait(r, trace_id, entry, reply, seen):
    """The result as its hash's fields. A notice only says when to look."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        result = r.hgetall("{lm:0}:result:" + trace_id)
        if result:
            return result
        # An entry that was refused has no result: its dead letter carries the raw
        # fields, under our ID or, where that cannot name keys, one made of the entry's.
        for seen, letter in r.xrange(DEAD, min="(" + seen, count=1000):
            t = letter["t"]
            if "raw" in letter and (t == trace_id or t.startswith(f"0-x{entry}-")):
                sys.exit(f"{trace_id} refused: {letter['reason']}")
        r.xread({"{lm:0}:reply:" + reply: "0", DEAD: seen}, block=BLOCK * 1000)
    sys.exit(f"{trace_id}: no answer within {PATIENCE} s; the work goes on, run this again to wait for it")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        print("usage: enqueue.py NAME QUESTION [MODEL]", file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except redis.RedisError as e:
        sys.exit(f"redis: {e}")
