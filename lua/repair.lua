-- repair mends operations that no worker would ever find again, because somebody
-- deleted, trimmed or acknowledged by hand what leads to them: one that waits and
-- whose entry is in no stream (or was delivered and is pending with nobody) gets a
-- new one, one that waits for a time gets its place in the delayed set, one that
-- runs without a pending entry and has been silent for three leases is put back,
-- and one whose request or checkpoint is a key of another type is dead-lettered
-- key_replaced. All of it is checked here, in one step: a claim in between makes
-- it CHANGED, a worker that is merely slow WELL. Dying around it leaves it undone
-- or done; a repeat finds it CHANGED or WELL. Begins with a write that Redis never
-- refuses.
--
-- KEYS
--   1 stats      the partition's counts
--   2 done       ended operations
--   3 dead       the dead-letter stream
--   4 deadlines  operations with a deadline
--   5 delayed    operations that wait for a time
--   per operation, k +
--   1 trace
--   2 request
--   3 checkpoint
--   4 result
--   5 out
--   6 unique     of its idempotency key; the trace's key again when it has none
--   7 reply      of its producer; the trace's key again when it has none
--   8 stream     that its entry names; its queue's when it names none
--   9 resume     stream of its queue
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   3 retention  ms
--   4 dead_retention  ms
--   5 act        1 repairs; 0 says what would be done
--   per operation, a +
--   1 id
--   2 expected   state letter, as read
--   3 entry      as read; may be empty
--   4 epoch      as read; may be empty
--   5 short      the stream's name in a trace's entry
-- RETURNS
--   per operation: WELL; ENTRY, a new one; DELAYED, back in the set; BACK, put back;
--   DONE, it was delivered; DEAD, dead-lettered; ENDED before; CHANGED, not what was
--   read; NOTFOUND; ILLEGAL STATE
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each ack entry terminal
local stats = KEYS[1]
local done = KEYS[2]
local dead = KEYS[3]
local deadlines = KEYS[4]
local delayed = KEYS[5]
local n = ARGV[1]
local group = ARGV[2]
local retention = ARGV[3]
local dead_retention = ARGV[4]
local act = ARGV[5] == '1'
local now = clock()

-- The way back of a claim, and the way to the end of what waits.
local BACK = { C = 'L', G = 'L', I = 'L', T = 'L', O = 'L', D = 'EWQ', V = 'X' }
local WAY = { R = 'EX', P = 'EX', Q = 'EX', W = 'QEX', L = 'CEX' }

-- ask(...): a command that may find no key, no group, or (XINFO on miniredis)
-- not be there: the answer is then empty.
local function ask(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then
    for _, code in ipairs({ 'NOPERM', 'WRONGTYPE', 'OOM' }) do
      if string.find(found.err, code, 1, true) then
        error(found)
      end
    end
    return {}
  end
  return found or {}
end

local function is_of(key, want)
  local kind = redis.call('TYPE', key)
  kind = kind.ok or kind
  return kind == 'none' or kind == want
end

-- delivered(stream, entry): whether the group has read past an entry.
local last = {}

local function delivered(stream, entry)
  if not last[stream] then
    last[stream] = '0-0'
    for _, flat in ipairs(ask('XINFO', 'GROUPS', stream)) do
      local g = map(flat)
      if g.name == group then
        last[stream] = g['last-delivered-id'] or '0-0'
      end
    end
  end
  local ms, seq = string.match(entry, '^(%d+)%-(%d+)$')
  local last_ms, last_seq = string.match(last[stream], '^(%d+)%-?(%d*)$')
  ms, last_ms = tonumber(ms), tonumber(last_ms)
  return ms < last_ms or ms == last_ms and tonumber(seq) <= (tonumber(last_seq) or 0)
end

-- reached(stream, entry): whether some worker has this entry or will read it.
local function reached(stream, entry)
  if not entry or #ask('XRANGE', stream, entry, entry) == 0 then
    return false
  end
  return #ask('XPENDING', stream, group, entry, entry, 1) > 0 or not delivered(stream, entry)
end

local function one(k, a)
  local trace = KEYS[k + 1]
  local request = KEYS[k + 2]
  local checkpoint = KEYS[k + 3]
  local result = KEYS[k + 4]
  local out = KEYS[k + 5]
  local unique = KEYS[k + 6]
  local reply = KEYS[k + 7]
  local stream = KEYS[k + 8]
  local resume = KEYS[k + 9]
  local id = ARGV[a + 1]
  local expected = ARGV[a + 2]
  local entry = ARGV[a + 3]
  local epoch = ARGV[a + 4]
  local short = ARGV[a + 5]

  local t = held(trace, 'crashes', 'started', 'lease', 'beat', 'not_before')
  local crashes, started, lease, beat, not_before = t[16], t[17] == '1', t[18], t[19], t[20]
  if not t[STATE] then
    return 'NOTFOUND'
  end
  local state, queue = LETTERS[t[STATE]], t[QUEUE]
  if state == 'X' then
    return 'ENDED'
  end
  if state ~= expected or (t[ENTRY] or '') ~= entry or (t[2] or '') ~= epoch then
    return 'CHANGED'
  end
  local at = entry_id(entry)

  -- finish(path, outcome, reason): the terminal write.
  local function finish(path, outcome, reason)
    if walk(state, path) ~= 'X' then
      return 'ILLEGAL ' .. t[STATE]
    end
    local failed = outcome == 'failed'
    if act then
      terminal(trace, request, checkpoint, result, out, unique, reply, t, {
        id = id, done = done, dead = dead, deadlines = deadlines, now = now, path = path, took = 0, outcome = outcome,
        reason = reason, body = '', usage = '', attempts = t[ATTEMPTS] or '0', crashes_total = t[CRASHES_TOTAL],
        error = failed and '{"kind":"' .. reason .. '","message":"its request or checkpoint is a key of another type"}' or '',
        lifetime = failed and dead_retention or retention, seq = t[SEQ] or '0', keep_result = not failed,
      })
      redis.call('ZREM', delayed, id)
      if at then
        ack(stream, at)
      end
    end
    return failed and 'DEAD' or 'DONE'
  end

  local back = BACK[state]
  if not back then
    if not is_of(request, 'string') or not is_of(checkpoint, 'hash') then
      return finish(WAY[state], 'failed', 'key_replaced')
    end
    if state == 'Q' or state == 'L' then
      if reached(stream, at) then
        return 'WELL'
      end
      if act then
        redis.call('HDEL', trace, '-')
        local fresh = redis.call('XADD', stream, '*', 't', id)
        redis.call('HSET', trace, 'entry', short .. '/' .. fresh)
        if at and fresh ~= at then -- a stream that was deleted may mint the same ID again
          ack(stream, at)
        end
      end
      return 'ENTRY'
    end
    if redis.call('ZSCORE', delayed, id) then
      return 'WELL'
    end
    if act then
      redis.call('HDEL', trace, '-')
      redis.call('ZADD', delayed, state == 'R' and tonumber(not_before) or now, id)
    end
    return 'DELAYED'
  end

  local silent = (tonumber(beat) or tonumber(t[CREATED]) or now) + 3 * (tonumber(lease) or 10000) <= now
  if not silent or at and #ask('XPENDING', stream, group, at, at, 1) > 0 then
    return 'WELL'
  end
  if back == 'X' then
    return finish(back, 'succeeded', '')
  end
  local to = walk(state, back)
  if not to then
    return 'ILLEGAL ' .. t[STATE]
  end
  if act then
    redis.call('HDEL', trace, 'owner', 'started', 'lease', 'beat')
    local fresh = redis.call('XADD', resume, '*', 't', id)
    local hf, hv, hn = hop(t[HN], back, now, t[CREATED], 0, 'repair')
    redis.call('HSET', trace, 'state', NAMES[to], 'entry', 'resume:' .. queue .. '/' .. fresh, 'hn', hn, hf, hv)
    if started then
      redis.call('HSET', trace, 'crashes', (crashes or 0) + 1, 'crashes_total', (t[CRASHES_TOTAL] or 0) + 1)
    end
    if at and (stream ~= resume or fresh ~= at) then
      ack(stream, at)
    end
    moved(queue, state, to)
  end
  return 'BACK'
end

local answers = each(n, 5, 9, 5, 5, one)
write_endings(done)
write_acks(group)
write_counts(stats)
return answers
