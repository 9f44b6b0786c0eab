-- unlock gives the fleet's lock back if the caller still holds it; one that it
-- has lost is left alone. A repeat finds it gone. A holder that dies before it leaves
-- the lock to its expiry.
--
-- KEYS
--   1 lock
-- ARGV
--   1 token
--   2 fence
-- RETURNS
--   OK or LOST
-- ERRORS
--   none of its own
--#include lockguard
local lock = KEYS[1]
local token = ARGV[1]
local fence = ARGV[2]
if not lockguard(lock, token, fence) then
  return 'LOST'
end
redis.call('DEL', lock)
return 'OK'
