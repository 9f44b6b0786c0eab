-- purge forgets dead letters: the entry goes, and where it is the one that the
-- trace of a failed operation names, everything of that operation with it, its
-- idempotency key too. An entry that stands for no operation (malformed, a
-- conflict, trace_lost), or whose ID another one has taken since, goes alone.
-- Begins with a write that Redis never refuses. A repeat finds nothing (GONE).
-- Killed before: nothing; after: all of it.
--
-- KEYS
--   1 dead       the dead-letter stream
--   per letter, k +
--   1 trace
--   2 request
--   3 checkpoint
--   4 result
--   5 out
--   6 unique     of its idempotency key; the trace's key again when it has none
-- ARGV
--   1 n          letters, 1 to 100
--   per letter, a +
--   1 id         of the operation that the letter tells of
--   2 letter     the stream ID
-- RETURNS
--   per letter: OK; ENTRY, only the entry was there to remove; GONE
-- ERRORS
--   per letter: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include each entry
local dead = KEYS[1]
local n = ARGV[1]

local function one(k, a)
  local trace = KEYS[k + 1]
  local request = KEYS[k + 2]
  local checkpoint = KEYS[k + 3]
  local result = KEYS[k + 4]
  local out = KEYS[k + 5]
  local unique = KEYS[k + 6]
  local id = ARGV[a + 1]
  local letter = ARGV[a + 2]

  local found = redis.call('XRANGE', dead, letter, letter)[1]
  if not found or map(found[2]).t ~= id then
    return 'GONE'
  end
  local t = redis.call('HMGET', trace, 'state', 'outcome', 'dead')
  local whole = t[1] == 'COMPLETED' and t[2] == 'failed' and t[3] == letter
  local key = whole and unique ~= trace and redis.call('GET', unique)
  redis.call('XDEL', dead, letter)
  if not whole then
    return 'ENTRY'
  end
  if key and string.match(key, '^%S+') == id then
    redis.call('UNLINK', unique)
  end
  redis.call('UNLINK', trace, request, checkpoint, result, out)
  return 'OK'
end

return each(n, 1, 6, 1, 2, one)
