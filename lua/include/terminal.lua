-- held(trace, ...): what the trace of an operation says that is about to end, in
-- the order of the names below, and any further fields behind them.
local OWNER, SEQ, STATE, CREATED, HN, QUEUE, ENTRY, ATTEMPTS, CRASHES_TOTAL, KIND, DEADLINE, FOLLOWED, RETENTION = 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15

local function held(trace, ...)
  return redis.call('HMGET', trace, 'owner', 'epoch', 'token', 'seq', 'state', 'created', 'hn', 'queue', 'entry', 'attempts',
    'crashes_total', 'kind', 'deadline', 'followed', 'retention', ...)
end

-- terminal(trace, request, checkpoint, result, out, unique, reply, t, e): the
-- terminal write of one operation, the only one there is. unique and reply are
-- the trace's key again where there is none. t: what held said. e: the ending:
-- id, done, dead and deadlines (keys), now, path (validated letters), took,
-- outcome, reason, body, usage, error, attempts, crashes_total, lifetime (ms; of
-- one that has not failed the request's retention instead, where it asks for one),
-- seq, keep_result (the result is stored already). Begins with a write that Redis
-- never refuses. A failed one's trace names its dead-letter entry (dead), so that
-- revive and purge remove that one and no other. The caller acknowledges the entry and calls write_endings,
-- write_acks and write_counts.
local gone, notices = {}, {}

-- notify(stream, id, outcome) notes a notice for a stream.
local function notify(stream, id, outcome)
  local notice = notices[stream]
  if not notice then
    notice = {}
    notices[stream] = notice
  end
  notice[#notice + 1] = id
  notice[#notice + 1] = outcome
end

local function terminal(trace, request, checkpoint, result, out, unique, reply, t, e)
  local state, queue, outcome = LETTERS[t[STATE]], t[QUEUE], e.outcome
  local lifetime = outcome ~= 'failed' and t[RETENTION] or e.lifetime
  local hf, hv, hn = hop(t[HN], e.path, e.now, t[CREATED], e.took, e.reason)
  redis.call('HDEL', trace, 'owner', 'started', 'lease', 'beat')
  redis.call('HSET', trace, 'state', 'COMPLETED', 'outcome', outcome, 'entry', '', 'ended', e.now,
    'reason', e.reason, 'attempts', e.attempts, 'seq', e.seq, 'hn', hn, hf, hv)
  if not e.keep_result then
    local fields = { 'outcome', outcome, 'body', e.body, 'codec', 'json', 'usage', e.usage, 'attempts', e.attempts }
    if e.error ~= '' or e.crashes_total then
      fields[11], fields[12], fields[13], fields[14] = 'error', e.error, 'crashes', e.crashes_total or '0'
    end
    local wrote = redis.pcall('HSET', result, unpack(fields))
    if type(wrote) == 'table' and wrote.err then -- a key of another type is in the way
      redis.call('UNLINK', result)
      redis.call('HSET', result, unpack(fields))
    end
  end
  redis.call('PEXPIRE', trace, lifetime)
  redis.call('PEXPIRE', result, lifetime)
  if unique ~= trace then
    redis.call('PEXPIRE', unique, lifetime)
  end
  if t[FOLLOWED] then -- those who follow hear of the end where they read
    redis.pcall('XADD', out, '*', 'epoch', t[2] or 0, 'seq', 0, 'type', 'final', 'data', outcome)
    redis.call('PEXPIRE', out, lifetime)
  end
  if outcome == 'failed' then
    redis.call('PEXPIRE', request, lifetime)
    redis.call('PEXPIRE', checkpoint, lifetime)
    redis.call('HSET', trace, 'dead', redis.call('XADD', e.dead, 'MAXLEN', '~', 200000, '*', 't', e.id, 'reason', e.reason,
      'state', t[STATE], 'worker', t[OWNER] or '', 'queue', queue, 'kind', t[KIND] or 'chat', 'error', string.sub(e.error, 1, 1024)))
  else
    gone[#gone + 1] = request
    gone[#gone + 1] = checkpoint
  end
  if t[DEADLINE] then
    redis.call('ZREM', e.deadlines, e.id)
  end
  notify(e.done, e.id, outcome)
  if reply ~= trace then
    notify(reply, e.id, outcome)
  end
  moved(queue, state, 'X')
  count(outcome, 1)
end

-- write_endings(done) removes what succeeded operations no longer need, and tells
-- those who wait: one entry per stream and script, whose fields are the IDs and
-- whose values are the outcomes. A producer's stream lives for an hour after the
-- last notice; a key of another type under its name is left alone. done: the
-- partition's stream, which lives for ever; nil where it is not told.
local function write_endings(done)
  if #gone > 0 then
    redis.call('UNLINK', unpack(gone))
  end
  for stream, notice in pairs(notices) do
    local kind = redis.call('TYPE', stream)
    kind = kind.ok or kind
    if kind == 'none' or kind == 'stream' then
      redis.call('XADD', stream, 'MAXLEN', '~', 10000, '*', unpack(notice))
      if stream ~= done then
        redis.call('PEXPIRE', stream, 3600000)
      end
    end
  end
end
