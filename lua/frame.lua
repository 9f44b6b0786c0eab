-- frame appends to an operation's token stream for those who follow it. Fenced by
-- owner, epoch and token like every write; frames carry their own sequence, so
-- that they never wait for a state write. A sequence number that is not higher
-- than the last one of this epoch was written before and is skipped. Where an
-- earlier claim wrote frames, those of the next begin with a reset (sequence 0):
-- it does the work again, and who reads must not hold its text twice.
--
-- KEYS
--   1 trace
--   2 out
-- ARGV
--   1 owner
--   2 epoch
--   3 token
--   4 keep       frames the stream may hold, about
--   5 n          frames
--   per frame, a +
--   1 seq
--   2 kind       a frame type
--   3 data
--   4 step       whose model says it; empty: the field is left out
-- RETURNS
--   OK, FENCED or NOTFOUND
-- ERRORS
--   OOM, raised: nothing was written
--#include
local trace = KEYS[1]
local out = KEYS[2]
local owner = ARGV[1]
local epoch = ARGV[2]
local token = ARGV[3]
local keep = ARGV[4]
local n = tonumber(ARGV[5])

local t = redis.call('HMGET', trace, 'owner', 'epoch', 'token', 'frame')
if not t[2] then
  return 'NOTFOUND'
end
if t[1] ~= owner or t[2] ~= epoch or t[3] ~= token then
  return 'FENCED'
end
local held_epoch, last = string.match(t[4] or '', '^(%d+) (%d+)$')
local resumed = held_epoch and held_epoch ~= epoch
last = held_epoch == epoch and tonumber(last) or 0
for i = 1, n do
  local a = 5 + (i - 1) * 4
  local seq = ARGV[a + 1]
  local kind = ARGV[a + 2]
  local data = ARGV[a + 3]
  local step = ARGV[a + 4]
  if resumed and kind ~= 'reset' then
    redis.call('XADD', out, '*', 'epoch', epoch, 'seq', 0, 'type', 'reset', 'data', '')
  end
  resumed = false
  if tonumber(seq) > last then
    if step == '' then
      redis.call('XADD', out, 'MAXLEN', '~', keep, '*', 'epoch', epoch, 'seq', seq, 'type', kind, 'data', data)
    else
      redis.call('XADD', out, 'MAXLEN', '~', keep, '*', 'epoch', epoch, 'seq', seq, 'type', kind, 'data', data, 'step', step)
    end
    last = tonumber(seq)
  end
end
if n > 0 then
  redis.call('HSET', trace, 'frame', epoch .. ' ' .. last, 'followed', '1')
end
return 'OK'
