-- promote gives an entry to operations whose time has come: a retry or a
-- scheduled start. Before its time one comes back that is parked where it was read
-- (what it waits for is there again), or whose history has not grown since (a person
-- wakes it). It is nobody's claim, so it checks again what was read: still due or
-- parked, still waiting. Begins with a write that Redis never refuses. Killed before:
-- nothing; after: all of it; a replay finds it waiting no more.
--
-- KEYS
--   1 stats      the partition's counts
--   2 delayed    operations that wait for a time
--   3 parked     those of them that wait for something by its name
--   per operation, k +
--   1 trace
--   2 stream     of its queue
-- ARGV
--   1 n          operations, 1 to 100
--   per operation, a +
--   1 id
--   2 place      in the parked set, as read: it comes back though it is not due; empty: none
--   3 newest     number of its newest record, as read: likewise; empty: none
--   4 queue      as read, whose stream is given
-- RETURNS
--   per operation: OK; EARLY, not due any more; CHANGED, not what was read; GONE, it
--   does not wait, or not there, and is out of the set; ILLEGAL STATE
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each comeback
local stats = KEYS[1]
local delayed = KEYS[2]
local parked = KEYS[3]
local n = ARGV[1]
local now = clock()

local function one(k, a)
  local trace = KEYS[k + 1]
  local stream = KEYS[k + 2]
  local id = ARGV[a + 1]
  local place = ARGV[a + 2]
  local newest = ARGV[a + 3]
  local queue = ARGV[a + 4]
  local due = redis.call('ZSCORE', delayed, id)
  local early = place ~= '' or newest ~= ''
  if not early and (not due or tonumber(due) > now) then
    return 'EARLY'
  end
  local t = redis.call('HMGET', trace, 'state', 'created', 'hn', 'queue', 'parked')
  local state = LETTERS[t[1]]
  if place ~= '' and (state ~= 'W' or t[5] ~= place) then
    redis.call('ZREM', parked, place .. '|' .. id)
    return 'GONE'
  end
  if state ~= 'R' and state ~= 'W' then
    redis.call('ZREM', delayed, id)
    return 'GONE'
  end
  if newest ~= '' and (state ~= 'W' or t[3] ~= newest) then
    return 'CHANGED'
  end
  if walk(state, 'Q') ~= 'Q' then
    return 'ILLEGAL ' .. t[1]
  end
  if t[4] ~= queue then
    return 'CHANGED'
  end
  comeback(delayed, parked, trace, stream, 'stream', id, t, state, now)
  return 'OK'
end

local answers = each(n, 3, 2, 1, 4, one)
write_counts(stats)
return answers
