-- forget removes consumers that are gone, but never one with pending entries:
-- XGROUP DELCONSUMER drops those, which loses work. Check and removal are one
-- step for that reason.
--
-- KEYS
--   1 stream
-- ARGV
--   1 n          consumers
--   2 group      the consumer group
--   per consumer, a +
--   1 consumer
-- RETURNS
--   how many were removed
-- ERRORS
--   none of its own
--#include
local stream = KEYS[1]
local n = tonumber(ARGV[1])
local group = ARGV[2]
local removed = 0
for i = 1, n do
  local a = 2 + i - 1
  local consumer = ARGV[a + 1]
  local found = redis.pcall('XPENDING', stream, group, '-', '+', 1, consumer)
  if not found.err and #found == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
    removed = removed + 1
  end
end
return removed
