-- revive makes a new operation of a failed one: its request moves to a new trace
-- with an entry in its queue, the failed one is told which (retried_as) and its
-- dead-letter entry goes, all in one step, so that a repeat (a lost reply, two
-- people) finds the first one's. The checkpoint comes from the caller, sealed for
-- the new ID. The failed trace, its result and its idempotency key live on to
-- their end. It is nobody's claim: what was read of the failed one must still be
-- so. Refuses at the door as enqueue does, and begins like it with a write that
-- Redis may refuse. Killed before: nothing; after: all of it.
--
-- KEYS
--   1 stats      the partition's counts
--   2 dead       the dead-letter stream
--   per operation, k +
--   1 old        trace of the failed one
--   2 old_request
--   3 old_checkpoint
--   4 trace      of the new one
--   5 request
--   6 checkpoint
--   7 stream     of its queue
-- ARGV
--   1 n          operations, 1 to 100
--   2 limit      operations of a queue that may wait in this partition
--   per operation, a +
--   1 width      slots of this operation, this one included
--   2 old_id
--   3 id         of the new one, minted
--   4 ended      of the failed one, unix ms, as read
--   5 queue
--   6 saved      how many values of the next are checkpoint fields
--   7 rest       first of two flat lists, checkpoint fields and trace fields, to the end
-- RETURNS
--   per operation: OK; EXISTING ID, it was retried before; NOTFOUND, no trace;
--   NOREQUEST; ILLEGAL STATE or OUTCOME, it has not failed; CHANGED, not what was
--   read; CONFLICT, the new ID is taken; QUEUEFULL; MANYQUEUES
-- ERRORS
--   per operation: OOM, WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include clock history counts each entry door create
local stats = KEYS[1]
local dead = KEYS[2]
local n = ARGV[1]
local limit = tonumber(ARGV[2])
local now = clock()

-- letter_of(id, name): whether that dead-letter entry is there and that operation's.
local function letter_of(id, name)
  local found = name and redis.call('XRANGE', dead, name, name)[1]
  return found and map(found[2]).t == id
end

local function one(k, a)
  local old = KEYS[k + 1]
  local old_request = KEYS[k + 2]
  local old_checkpoint = KEYS[k + 3]
  local trace = KEYS[k + 4]
  local request = KEYS[k + 5]
  local checkpoint = KEYS[k + 6]
  local stream = KEYS[k + 7]
  local width = tonumber(ARGV[a + 1])
  local old_id = ARGV[a + 2]
  local id = ARGV[a + 3]
  local ended = ARGV[a + 4]
  local queue = ARGV[a + 5]
  local saved = tonumber(ARGV[a + 6])
  local rest = { unpack(ARGV, a + 7, a + width) }

  local t = redis.call('HMGET', old, 'state', 'outcome', 'ended', 'queue', 'retried_as', 'dead')
  if not t[1] then
    return 'NOTFOUND'
  end
  if t[5] then
    return 'EXISTING ' .. t[5]
  end
  if t[1] ~= 'COMPLETED' or t[2] ~= 'failed' then
    return 'ILLEGAL ' .. (t[2] or t[1])
  end
  if t[3] ~= ended or t[4] ~= queue then
    return 'CHANGED'
  end
  local body = redis.call('GET', old_request)
  if not body then
    return 'NOREQUEST'
  end
  if redis.call('EXISTS', trace) == 1 then
    return 'CONFLICT'
  end
  local has_letter = letter_of(old_id, t[6])
  if not has_room(stats, limit, 'waiting:' .. queue) then
    return refusal('waiting:' .. queue)
  end

  local entry = 'stream:' .. queue .. '/' .. redis.call('XADD', stream, '*', 't', id)
  local hf, hv, hn = hop(0, 'RQ', now, now, 0, '')
  local fields = { 'state', 'QUEUED', 'created', now, 'size', #body, 'hn', hn, hf, hv, 'entry', entry, 'retry_of', old_id }
  redis.call('UNLINK', old_request, old_checkpoint, checkpoint)
  if saved > 0 then
    local size = 0
    for i = 1, saved do
      size = size + #rest[i]
    end
    redis.call('HSET', checkpoint, 'checkpoint_ts', now, unpack(rest, 1, saved))
    fields[#fields + 1] = 'checkpoint_size'
    fields[#fields + 1] = size
  end
  for i = saved + 1, #rest do
    fields[#fields + 1] = rest[i]
  end
  create({ trace = trace, request = request }, { id = id, body = body, hash = '', fields = fields })
  redis.call('HSET', old, 'retried_as', id)
  if has_letter then
    redis.call('XDEL', dead, t[6])
  end
  take_place('waiting:' .. queue)
  moved(queue, '', 'Q')
  return 'OK'
end

local answers = each(n, 2, 7, 2, 0, one)
write_counts(stats)
return answers
