-- terminal(k, t, e): the terminal write of one operation, the only one there
-- is. k: the keys trace, request, checkpoint, result, out, unique, reply, done,
-- dead, deadlines. t: what the trace holds (state letter, queue, created, hn,
-- attempts, crashes_total, kind, unique, reply, deadline, followed). e: the
-- ending: id, now, path (validated letters), took, outcome, reason, body, usage,
-- error, retention and dead_retention (ms), fields (further trace fields, flat),
-- keep_result (the result is stored already). Begins with a write that Redis
-- never refuses. The caller acknowledges the entry and writes the counts.
local function terminal(k, t, e)
  redis.call('HDEL', k.trace, 'owner', 'started', 'lease', 'beat')
  local failed = e.outcome == 'failed'
  local lifetime = failed and e.dead_retention or e.retention
  local hf, hv, hn = hop(t.hn, e.path, e.now, t.created, e.took, e.reason)
  redis.call('HSET', k.trace, 'state', 'COMPLETED', 'outcome', e.outcome, 'entry', '', 'ended', int(e.now),
    'reason', e.reason, 'attempts', e.attempts, 'hn', hn, hf, hv, unpack(e.fields))
  if not e.keep_result then
    redis.call('UNLINK', k.result) -- whatever its type, so that the next write cannot fail
    redis.call('HSET', k.result, 'outcome', e.outcome, 'body', e.body, 'codec', 'json', 'usage', e.usage,
      'error', e.error, 'attempts', e.attempts, 'crashes', t.crashes_total or '0')
  end
  redis.call('PEXPIRE', k.trace, lifetime)
  redis.call('PEXPIRE', k.result, lifetime)
  if t.unique then
    redis.call('PEXPIRE', k.unique, lifetime)
  end
  if t.followed then
    redis.call('PEXPIRE', k.out, lifetime)
  end
  if failed then
    redis.call('PEXPIRE', k.request, lifetime)
    redis.call('PEXPIRE', k.checkpoint, lifetime)
    redis.call('XADD', k.dead, 'MAXLEN', '~', 100000, '*', 't', e.id, 'reason', e.reason, 'state', NAMES[t.state],
      'worker', t.owner or '', 'queue', t.queue, 'kind', t.kind or 'chat', 'error', string.sub(e.error, 1, 1024))
  else
    redis.call('UNLINK', k.request, k.checkpoint)
  end
  if t.deadline then
    redis.call('ZREM', k.deadlines, e.id)
  end
  redis.call('XADD', k.done, 'MAXLEN', '~', 10000, '*', 't', e.id, 'outcome', e.outcome)
  if t.reply then
    local kind = redis.call('TYPE', k.reply)
    kind = kind.ok or kind
    if kind == 'none' or kind == 'stream' then
      redis.call('XADD', k.reply, 'MAXLEN', '~', 10000, '*', 't', e.id, 'outcome', e.outcome)
      redis.call('PEXPIRE', k.reply, 3600000)
    end
  end
  moved(t.queue, t.state, 'X')
  count(e.outcome, 1)
end
