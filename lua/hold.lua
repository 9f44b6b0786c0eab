-- hold prolongs what a call that still runs was admitted with: its reservation, and the
-- half-open circuit's probe where it is that. One script, because a call that has ended
-- must not get back what its outcome gave up. A reservation that expired meanwhile, or
-- was lost by a failover, is made again with its cost, for the call is under way; a
-- probe that another call has is left to that. A worker that dies prolongs no more.
--
-- KEYS
--   1 model      the model's hash
--   2 seen       of this call's key
--   3 holds      the model's reservations by expiry
-- ARGV
--   1 reservation  as admit gave it
--   2 lease      ms from now
--   3 limited    1: the model has limits, a budget or a quota; 0: only a probe is held
--   4 model_keep  ms that the model is kept
-- RETURNS
--   {OK, now}; {ENDED, now} of a call whose outcome is known
-- ERRORS
--   none of its own
--#include clock reserved
local model = KEYS[1]
local seen = KEYS[2]
local holds = KEYS[3]
local reservation = ARGV[1]
local lease = tonumber(ARGV[2])
local limited = ARGV[3]
local model_keep = ARGV[4]
local now = clock()

local m = redis.call('HMGET', model, 'probe_token', 'held_cost', 'disabled')
local value = redis.call('GET', seen) or ''
local held = redis.call('ZSCORE', holds, reservation)
local done, probe, member = string.match(value, '^(D?)A (%d) %d+ (.*)$')
if value ~= '' and member ~= reservation then
  return { 'ENDED', now }
end

local until_ms = now + lease
if limited == '1' then
  if not held then
    local _, money = reserved(reservation)
    redis.call('HSET', model, 'held_cost', (tonumber(m[2]) or 0) + money)
  end
  redis.call('ZADD', holds, until_ms, reservation)
  redis.call('PEXPIRE', holds, model_keep)
end
if m[1] == string.match(reservation, '^[^:]*') then
  redis.call('HSET', model, 'probe_until', until_ms)
end
if member then
  redis.call('SET', seen, string.format('%sA %s %.0f ', done, probe, until_ms) .. reservation, 'PX', math.max(lease + 60000, redis.call('PTTL', seen)))
end
if m[3] ~= '1' then
  redis.call('PEXPIRE', model, model_keep)
end
return { 'OK', now }
