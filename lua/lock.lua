-- lock takes the fleet's one advisory lock, or says who has it. Taking mints a
-- fence, which grows for ever, also when Redis lost its last writes. The key's
-- expiry is the lock's end, so that a holder that died is succeeded without
-- anybody's help; whoever asks sees to it that no more than its life is left, also
-- after the server's clock was set back. The same token again is answered alike.
--
-- KEYS
--   1 lock
--   2 fence      the last one minted
-- ARGV
--   1 owner      for people
--   2 token      random, one per acquisition
--   3 life       ms
-- RETURNS
--   {OK, now, fence, acquired, ms left}; {HELD, now, owner, ms left}
-- ERRORS
--   none of its own
--#include clock
local lock = KEYS[1]
local fence = KEYS[2]
local owner = ARGV[1]
local token = ARGV[2]
local life = ARGV[3]
local now = clock()
local l = redis.call('HMGET', lock, 'token', 'owner', 'fence', 'acquired', 'life')
if l[1] then
  redis.call('PEXPIRE', lock, l[5] or life, 'LT') -- a clock that was set back has made it longer
end
local left = redis.call('PTTL', lock)
if l[1] == token then
  return { 'OK', now, l[3], l[4], left }
elseif l[1] then
  return { 'HELD', now, l[2], left }
end
local minted = string.format('%.0f', math.max((tonumber(redis.call('GET', fence) or 0) or 0) + 1, now))
redis.call('SET', fence, minted)
redis.call('HSET', lock, 'owner', owner, 'token', token, 'fence', minted, 'acquired', now, 'life', life)
redis.call('PEXPIRE', lock, life)
return { 'OK', now, minted, now, life }
