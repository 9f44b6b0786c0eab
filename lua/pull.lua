-- pull brings parked operations of one queue back to the worker that asks, because it
-- can run what others cannot: each gets an entry in the queue's resume stream, and the
-- caller reads that stream in the same step, so that no other worker is handed what it
-- would only park again. It is nobody's claim, so it checks again what was read: still
-- parked at that place. Begins with a write that Redis never refuses. Killed before:
-- nothing; after, or the reply lost: the entries are pending with the caller, and are
-- put back by a sweep as those of a lost read; a replay finds none of them parked.
--
-- KEYS
--   1 stats      the partition's counts
--   2 delayed    operations that wait for a time
--   3 parked     those of them that wait for something by its name
--   4 stream     the resume stream of their queue
--   per operation, k +
--   1 trace
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   3 consumer   the caller
--   4 queue      of all of them
--   per operation, a +
--   1 id
--   2 place      in the parked set, as read
-- RETURNS
--   {answers, entries as XREADGROUP lists them}; per operation: OK; GONE, it is not
--   parked there, and is out of the set; CHANGED, it is another queue's
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each comeback
local stats = KEYS[1]
local delayed = KEYS[2]
local parked = KEYS[3]
local stream = KEYS[4]
local n = ARGV[1]
local group = ARGV[2]
local consumer = ARGV[3]
local queue = ARGV[4]
local now = clock()
local came = 0

local function one(k, a)
  local trace = KEYS[k + 1]
  local id = ARGV[a + 1]
  local place = ARGV[a + 2]
  local t = redis.call('HMGET', trace, 'state', 'created', 'hn', 'queue', 'parked')
  local state = LETTERS[t[1]]
  if t[5] ~= place or not state or walk(state, 'Q') ~= 'Q' then
    redis.call('ZREM', parked, place .. '|' .. id)
    return 'GONE'
  end
  if t[4] ~= queue then
    return 'CHANGED'
  end
  comeback(delayed, parked, trace, stream, 'resume', id, t, state, now)
  came = came + 1
  return 'OK'
end

local answers = each(n, 4, 1, 4, 2, one)
write_counts(stats)
local read = came > 0 and redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', came, 'STREAMS', stream, '>')
return { answers, read and read[1] and read[1][2] or {} }
