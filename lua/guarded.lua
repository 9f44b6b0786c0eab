-- guarded sets fields of one of the fleet's hashes under its lock: token and
-- fence are compared in the script that writes, so that a holder that was stopped
-- past its lifetime changes nothing, even while it still thinks it holds. All fields
-- are written or none; a repeat writes the same once more.
--
-- KEYS
--   1 lock
--   2 hash
--   3 version    grows with every change that routing must see
--   4 channel    where that is told
-- ARGV
--   1 token
--   2 fence
--   3 publish    PUBLISH, or SPUBLISH on a cluster
--   4 n          fields
--   per field, a +
--   1 field
--   2 value
-- RETURNS
--   OK or FENCED
-- ERRORS
--   none of its own
--#include lockguard notice
local lock = KEYS[1]
local hash = KEYS[2]
local version = KEYS[3]
local channel = KEYS[4]
local token = ARGV[1]
local fence = ARGV[2]
local publish = ARGV[3]
local n = tonumber(ARGV[4])
if not lockguard(lock, token, fence) then
  return 'FENCED'
end
redis.call('HGET', hash, '-')
for i = 1, n do
  local a = 4 + (i - 1) * 2
  local field = ARGV[a + 1]
  local value = ARGV[a + 2]
  redis.call('HSET', hash, field, value)
end
changed(version, publish, channel)
return 'OK'
