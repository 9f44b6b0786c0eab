-- promote gives an entry to operations whose time has come: a retry or a
-- scheduled start. It is nobody's claim, so it checks again what was read: still
-- due, still waiting. Begins with a write that Redis never refuses.
--
-- KEYS
--   1 stats      the partition's counts
--   2 delayed    operations that wait for a time
--   per operation, k +
--   1 trace
--   2 stream     of its queue
-- ARGV
--   1 n          operations, 1 to 100
--   per operation, a +
--   1 id
-- RETURNS
--   per operation: OK; EARLY, not due any more; GONE, it does not wait and is out of the set
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each
local stats = KEYS[1]
local delayed = KEYS[2]
local n = ARGV[1]
local now = clock()

local function one(k, a)
  local trace = KEYS[k + 1]
  local stream = KEYS[k + 2]
  local id = ARGV[a + 1]
  local due = redis.call('ZSCORE', delayed, id)
  if not due or tonumber(due) > now then
    return 'EARLY'
  end
  local t = redis.call('HMGET', trace, 'state', 'created', 'hn', 'queue')
  local state = LETTERS[t[1]]
  if state ~= 'R' and state ~= 'W' then
    redis.call('ZREM', delayed, id)
    return 'GONE'
  end
  if walk(state, 'Q') ~= 'Q' then
    return 'ILLEGAL ' .. t[1]
  end
  redis.call('HDEL', trace, '-')
  local entry = redis.call('XADD', stream, '*', 't', id)
  local hf, hv, hn = hop(t[3], 'Q', now, t[2], 0, '')
  redis.call('HSET', trace, 'state', 'QUEUED', 'entry', 'stream:' .. t[4] .. '/' .. entry, 'hn', hn, hf, hv)
  redis.call('ZREM', delayed, id)
  moved(t[4], state, 'Q')
  return 'OK'
end

local answers = each(n, 2, 2, 1, 1, one)
write_counts(stats)
return answers
