-- advance records how far a claim has got: a path of states (empty for a
-- checkpoint alone) and the checkpoint fields that belong to it, both or
-- neither. A written checkpoint sets the crash count back, because the operation
-- makes progress. Without steps it begins with a write that Redis never refuses. A
-- line tells of a step that has ended, in the trace and not in the checkpoint.
--
-- KEYS
--   per operation, k +
--   1 trace
--   2 checkpoint
-- ARGV
--   1 n          operations, 1 to 100
--   per operation, a +
--   1 width      slots of this operation, this one included
--   2 owner
--   3 epoch
--   4 token
--   5 seq
--   6 from       the state letter the caller believes in
--   7 path       state letters
--   8 took       the worker's measure of the stage it leaves, us
--   9 start      1 starts a claim that crash_limit held back
--   10 steps     first of the flat list of checkpoint fields, to the end; a field !reset drops what was stored, a field !line tells of a step
-- RETURNS
--   per operation: OK; CANCEL, EXPIRE: written, and it is to end; FENCED; NOTFOUND;
--   ILLEGAL STATE, with the state the trace is in
-- ERRORS
--   per operation: OOM, WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history lines each fence
local n = ARGV[1]
local now = clock()
local wrote = false

local function one(k, a)
  local trace = KEYS[k + 1]
  local checkpoint = KEYS[k + 2]
  local width = tonumber(ARGV[a + 1])
  local owner = ARGV[a + 2]
  local epoch = ARGV[a + 3]
  local token = ARGV[a + 4]
  local seq = ARGV[a + 5]
  local from = ARGV[a + 6]
  local path = ARGV[a + 7]
  local took = ARGV[a + 8]
  local start = ARGV[a + 9] == '1'
  local steps = { unpack(ARGV, a + 10, a + width) }

  local t = redis.call('HMGET', trace, 'owner', 'epoch', 'token', 'seq', 'state', 'created', 'hn', 'cancel_requested', 'checkpoint_size', 'sn')
  local verdict = guard(t, owner, epoch, token, seq)
  local done = t[8] and (t[8] == 'expired' and 'EXPIRE' or 'CANCEL') or 'OK'
  if verdict then
    return verdict == 'REPLAY' and done or verdict
  end
  local state = LETTERS[t[5]]
  local last = walk(state, path)
  if state ~= from or not last then
    return 'ILLEGAL ' .. t[5]
  end

  local saved, told = lines(steps, t[10], now - (t[6] or now))
  if #saved == 0 then
    if not wrote then
      redis.call('HDEL', trace, '-')
    end
  else
    local size = tonumber(t[9]) or 0
    if saved[1] == '!reset' then
      redis.call('HSET', checkpoint, 'checkpoint_ts', now)
      redis.call('UNLINK', checkpoint)
      size = 0
      table.remove(saved, 1)
      table.remove(saved, 1)
    end
    for i = 1, #saved do
      size = size + #saved[i]
    end
    if #saved > 0 then
      redis.call('HSET', checkpoint, 'checkpoint_ts', now, unpack(saved))
    end
    redis.call('HSET', trace, 'checkpoint_size', size, 'crashes', '0')
  end
  wrote = true
  if start then
    redis.call('HSET', trace, 'started', '1')
  end
  if path == '' then
    redis.call('HSET', trace, 'seq', seq, unpack(told))
  else
    local hf, hv, hn = hop(t[7], path, now, t[6], took)
    redis.call('HSET', trace, 'seq', seq, 'state', NAMES[last], 'hn', hn, hf, hv, unpack(told))
  end
  return done
end

return each(n, 0, 2, 1, 0, one)
