-- trim removes the dead letters of a partition that are older than what a failed
-- operation leaves is kept: their traces, requests and results have expired. Never
-- refused; a repeat finds nothing. Killed before: nothing; after: all of it.
--
-- KEYS
--   1 dead       the dead-letter stream
-- ARGV
--   1 dead_retention  ms
-- RETURNS
--   how many
-- ERRORS
--   none of its own
--#include clock
local dead = KEYS[1]
local dead_retention = tonumber(ARGV[1])
return redis.call('XTRIM', dead, 'MINID', '=', string.format('%.0f', math.max(0, clock() - dead_retention)))
