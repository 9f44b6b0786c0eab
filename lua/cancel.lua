-- cancel ends operations that somebody no longer wants, whose deadline has passed,
-- or that are too old: one that waits ends here, one that runs is asked to end (its worker
-- hears it with its next write or heartbeat), one that is being delivered goes
-- on. It is nobody's claim, so state, entry and epoch must be what was read.
-- Begins with a write that Redis never refuses.
--
-- KEYS
--   1 stats      the partition's counts
--   2 done       ended operations
--   3 dead       the dead-letter stream
--   4 deadlines  operations with a deadline
--   5 delayed    operations that wait for a time
--   6 parked     those of them that wait for something by its name
--   per operation, k +
--   1 trace
--   2 request
--   3 checkpoint
--   4 result
--   5 out
--   6 unique     of its idempotency key; the trace's key again when it has none
--   7 reply      of its producer; the trace's key again when it has none
--   8 stream     that holds its entry; the trace's key again when it has none
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   3 retention  ms
--   4 outcome    cancelled or expired; the latter only past the deadline or max_age
--   5 err        error as JSON
--   6 max_age    ms since it was created or was to start; 0 none
--   per operation, a +
--   1 id
--   2 expected   state letter, as read
--   3 entry      as read; may be empty
--   4 epoch      as read; may be empty
-- RETURNS
--   per operation: OK, ended; REQUESTED, it runs and is asked to end; LATE, it is
--   being delivered; ENDED before; EARLY, neither past its deadline nor too old; CHANGED, not what was
--   read; NOTFOUND
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each ack entry terminal
local stats = KEYS[1]
local done = KEYS[2]
local dead = KEYS[3]
local deadlines = KEYS[4]
local delayed = KEYS[5]
local parked = KEYS[6]
local n = ARGV[1]
local group = ARGV[2]
local retention = ARGV[3]
local outcome = ARGV[4]
local err = ARGV[5]
local max_age = tonumber(ARGV[6])
local now = clock()

-- The way to the end from each state that waits.
local WAY = { R = 'EX', P = 'EX', Q = 'EX', W = 'QEX', L = 'CEX' }

-- How long after its deadline one that was being delivered is looked at again, ms.
local LATER = 60000

local function one(k, a)
  local trace = KEYS[k + 1]
  local request = KEYS[k + 2]
  local checkpoint = KEYS[k + 3]
  local result = KEYS[k + 4]
  local out = KEYS[k + 5]
  local unique = KEYS[k + 6]
  local reply = KEYS[k + 7]
  local stream = KEYS[k + 8]
  local id = ARGV[a + 1]
  local expected = ARGV[a + 2]
  local entry = ARGV[a + 3]
  local epoch = ARGV[a + 4]

  local t = held(trace, 'not_before', 'parked')
  if not t[STATE] then
    redis.call('ZREM', deadlines, id)
    return 'NOTFOUND'
  end
  local state = LETTERS[t[STATE]]
  if state == 'X' then
    redis.call('ZREM', deadlines, id)
    return 'ENDED'
  end
  if state ~= expected or (t[ENTRY] or '') ~= entry or (t[2] or '') ~= epoch then
    return 'CHANGED'
  end
  if outcome == 'expired' and not (t[DEADLINE] and tonumber(t[DEADLINE]) <= now) then
    local since = math.max(tonumber(t[CREATED]) or now, tonumber(t[16]) or 0)
    if max_age == 0 or since + max_age > now then
      return 'EARLY'
    end
  end
  if state == 'D' or state == 'V' then
    if t[DEADLINE] and outcome == 'expired' then -- if it is not delivered after all, it waits past its deadline
      redis.call('ZADD', deadlines, 'XX', now + LATER, id)
    end
    return 'LATE'
  end
  local way = WAY[state]
  if not way then
    redis.call('HDEL', trace, '-')
    redis.call('HSET', trace, 'cancel_requested', outcome)
    redis.call('ZREM', deadlines, id)
    return 'REQUESTED'
  end
  if walk(state, way) ~= 'X' then
    return 'ILLEGAL ' .. t[STATE]
  end
  terminal(trace, request, checkpoint, result, out, unique, reply, t, {
    id = id, done = done, dead = dead, deadlines = deadlines, now = now, path = way, took = 0, outcome = outcome,
    reason = outcome, body = '', usage = '', error = err, attempts = t[ATTEMPTS] or '0', crashes_total = t[CRASHES_TOTAL],
    lifetime = retention, seq = t[SEQ] or '0',
  })
  redis.call('ZREM', delayed, id)
  if t[17] then
    redis.call('ZREM', parked, t[17] .. '|' .. id)
  end
  if entry ~= '' then
    ack(stream, entry_id(entry))
  end
  return 'OK'
end

local answers = each(n, 6, 8, 6, 4, one)
write_endings(done)
write_acks(group)
write_counts(stats)
return answers
