-- recount sets counts that do not agree with the operations there are. Each is set
-- only while it is still what was read beside them, so that one that has moved
-- meanwhile is left to the next pass; a repeat finds it set and changes nothing.
-- Dying around it leaves the drift as it was, or mended.
--
-- KEYS
--   1 stats      the partition's counts
-- ARGV
--   1 n          counts, 1 to 100
--   per count, a +
--   1 field
--   2 counted    as read; 0 for one that is not there
--   3 real       operations there are
-- RETURNS
--   how many were set
-- ERRORS
--   none of its own
--#include
local stats = KEYS[1]
local n = tonumber(ARGV[1])
local set = 0
for i = 1, n do
  local a = 1 + (i - 1) * 3
  local field = ARGV[a + 1]
  local counted = ARGV[a + 2]
  local real = ARGV[a + 3]
  if (redis.call('HGET', stats, field) or '0') == counted and counted ~= real then
    if real == '0' then
      redis.call('HDEL', stats, field)
    else
      redis.call('HSET', stats, field, real)
    end
    set = set + 1
  end
end
return set
