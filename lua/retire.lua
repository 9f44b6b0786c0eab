-- retire removes a queue that nothing is left of: its counts and its two streams.
-- All of it is checked here, in one step, so that an operation that was accepted
-- meanwhile keeps its queue. The next operation of that name makes it anew. Dying
-- around it leaves the queue as it was, or gone; a repeat finds nothing to remove.
-- Begins with a write that Redis never refuses.
--
-- KEYS
--   1 stats      the partition's counts
--   2 stream     of the queue
--   3 resume     stream of the queue
-- ARGV
--   1 queue
-- RETURNS
--   OK, it is gone; KEPT, something is left of it
-- ERRORS
--   none of its own
--#include
local stats = KEYS[1]
local stream = KEYS[2]
local resume = KEYS[3]
local queue = ARGV[1]
local fields = { 'waiting:' .. queue, 'running:' .. queue, 'delayed:' .. queue }
for _, count in ipairs(redis.call('HMGET', stats, unpack(fields))) do
  if (tonumber(count or 0) or 0) ~= 0 then
    return 'KEPT'
  end
end
for _, key in ipairs({ stream, resume }) do
  if redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1] then
    return 'KEPT'
  end
end
redis.call('HDEL', stats, unpack(fields))
redis.call('UNLINK', stream, resume)
return 'OK'
