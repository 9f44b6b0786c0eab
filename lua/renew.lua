-- renew prolongs the fleet's lock for the one who holds it. One script, because
-- between a look and a PEXPIRE the lock may have gone to somebody else. A holder that
-- dies renews no more, and the lock ends by its expiry.
--
-- KEYS
--   1 lock
-- ARGV
--   1 token
--   2 fence
--   3 life       ms from now
-- RETURNS
--   OK or LOST
-- ERRORS
--   none of its own
--#include lockguard
local lock = KEYS[1]
local token = ARGV[1]
local fence = ARGV[2]
local life = ARGV[3]
if not lockguard(lock, token, fence) then
  return 'LOST'
end
redis.call('PEXPIRE', lock, life)
return 'OK'
