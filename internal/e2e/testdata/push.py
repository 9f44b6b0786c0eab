#!/usr/bin/env python3
"""Push operations as a foreign producer does, until standard input ends.

    push.py URL CLUSTER PARTITIONS RATE

CLUSTER is 1 for Redis Cluster. Each operation goes to the next partition and is
pushed again until Redis has taken it, which its ID makes safe. Prints the number
of each once it is taken. The contract is docs/wire.md.
"""

import json
import sys
import threading
import time

import redis
import redis.cluster


def main(url, cluster, partitions, rate):
    connect = redis.cluster.RedisCluster.from_url if cluster == "1" else redis.Redis.from_url
    r = connect(url, decode_responses=True, socket_timeout=5)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    i, began = 0, time.monotonic()
    while not over.is_set():
        push(r, i % int(partitions), i)
        print(i, flush=True)
        i += 1
        over.wait(max(0, began + i / float(rate) - time.monotonic()))


def push(r, partition, i):
    body = json.dumps({"model": "sim-tools", "messages": [{"role": "user", "content": f"Why do rivers bend? (py-{i:05d})"}]})
    while True:
        try:
            r.xadd("{lm:%d}:stream:default" % partition, {"v": 1, "id": f"py-{i:05d}", "kind": "chat", "body": body})
            return
        except redis.RedisError as e:
            print(f"push {i}: {e!r}", file=sys.stderr, flush=True)
            time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
