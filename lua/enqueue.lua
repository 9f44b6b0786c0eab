-- enqueue accepts operations: each gets its trace, its request and its entry in
-- one step, so that an operation is either wholly there or not at all, and a
-- repeat (a lost reply, the same idempotency key) finds what the first made. It
-- refuses at the door what exceeds a queue's limit. One with a future start
-- rests in RECEIVED in the delayed set and gets its entry from promote.
--
-- KEYS
--   1 stats      the partition's counts
--   2 delayed    operations that wait for a time
--   3 deadlines  operations with a deadline
--   per operation, k +
--   1 trace
--   2 request
--   3 checkpoint
--   4 result
--   5 out
--   6 unique     of its idempotency key; the trace's key again when it has none
--   7 stream     of its queue
-- ARGV
--   1 n          operations, 1 to 100
--   2 limit      operations of a queue that may wait in this partition, and as many that may wait for a time
--   per operation, a +
--   1 width      slots of this operation, this one included
--   2 id
--   3 queue
--   4 path       state letters from RECEIVED: R, RQ, RPQ
--   5 due        unix ms of its start, with a leading + ms from now; 0 now
--   6 deadline   likewise; 0 none
--   7 body       the request
--   8 hash       of the request; empty when its ID is minted and it has no key
--   9 keyed      1 when unique is its idempotency key's
--   10 fields    first of the flat list of further trace fields, to the end
-- RETURNS
--   per operation: OK; EXISTING ID; CONFLICT ID; QUEUEFULL; MANYQUEUES; ILLEGAL
-- ERRORS
--   per operation: OOM, WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each door create
local stats = KEYS[1]
local delayed = KEYS[2]
local deadlines = KEYS[3]
local n = ARGV[1]
local limit = tonumber(ARGV[2])
local now = clock()

-- at(text): a time in ms; with a leading + counted from now.
local function at(text)
  local after = string.match(text, '^%+(%d+)$')
  return after and now + tonumber(after) or tonumber(text)
end

local function one(k, a)
  local keys = {
    trace = KEYS[k + 1],
    request = KEYS[k + 2],
    checkpoint = KEYS[k + 3],
    result = KEYS[k + 4],
    out = KEYS[k + 5],
    unique = KEYS[k + 6],
  }
  local stream = KEYS[k + 7]
  local width = tonumber(ARGV[a + 1])
  local id = ARGV[a + 2]
  local queue = ARGV[a + 3]
  local path = ARGV[a + 4]
  local due = at(ARGV[a + 5])
  local deadline = at(ARGV[a + 6])
  local body = ARGV[a + 7]
  local hash = ARGV[a + 8]
  local keyed = ARGV[a + 9] == '1'

  local last = walk('R', string.sub(path, 2))
  if string.sub(path, 1, 1) ~= 'R' or (last ~= 'Q' and due <= now) or not last then
    return 'ILLEGAL'
  end
  if keyed then
    local first = redis.call('GET', keys.unique)
    if first then
      local held, held_hash = string.match(first, '^(%S+) (%S*)$')
      return (held_hash == hash and 'EXISTING ' or 'CONFLICT ') .. held
    end
  end
  if redis.call('EXISTS', keys.trace) == 1 then
    return ((redis.call('HGET', keys.trace, 'request_hash') or '') == hash and 'EXISTING ' or 'CONFLICT ') .. id
  end
  local waits = due > now
  if waits then
    last, path = 'R', 'R'
  end
  local place = (waits and 'delayed:' or 'waiting:') .. queue
  if not has_room(stats, limit, place) then
    return refusal(place)
  end

  local hf, hv, hn = hop(0, path, now, now, 0, '')
  local fields = { 'state', NAMES[last], 'created', now, 'size', #body, 'hn', hn, hf, hv, unpack(ARGV, a + 10, a + width) }
  local function add(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if hash ~= '' then
    add('request_hash', hash)
  end
  if waits then
    add('not_before', due)
  end
  if deadline ~= 0 then
    add('deadline', deadline)
  end
  -- First what can fail of another type: after it nothing can.
  if deadline ~= 0 then
    redis.call('ZADD', deadlines, deadline, id)
  end
  if waits then
    redis.call('ZADD', delayed, due, id)
  else
    add('entry', 'stream:' .. queue .. '/' .. redis.call('XADD', stream, '*', 't', id))
  end
  create(keys, { id = id, body = body, hash = hash, fields = fields, unique = keyed })
  take_place(place)
  moved(queue, '', last)
  return 'OK'
end

local answers = each(n, 3, 7, 2, 0, one)
write_counts(stats)
return answers
