-- announce writes what a worker is and does into the fleet's roster, with the
-- server's time, by which everybody tells who has been silent for long.
--
-- KEYS
--   1 workers    the roster: one field per running worker
-- ARGV
--   1 owner      the consumer's name, new at every start
--   2 record     JSON
-- RETURNS
--   now, ms
-- ERRORS
--   none of its own
--#include clock
local workers = KEYS[1]
local owner = ARGV[1]
local record = ARGV[2]
local now = clock()
redis.call('HSET', workers, owner, string.format('%.0f', now) .. ' ' .. record)
return now
