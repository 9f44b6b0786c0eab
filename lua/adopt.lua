-- adopt makes a foreign producer's entry an operation: its trace names this very
-- entry, so that the claim or putback that follows treats it as any other, and a
-- worker that dies in between leaves what the next one adopts again under the
-- same ID. What cannot be one goes to the dead-letter stream with its raw fields
-- in the same step, and its producer is told where it named a reply stream. The
-- body is kept as it came; it is validated after the claim, so that one which
-- kills its worker counts as a crash.
--
-- KEYS
--   1 stream     that holds the entries
--   2 stats      the partition's counts
--   3 dead       the dead-letter stream
--   4 deadlines  operations with a deadline
--   5 tries      of long foreign entries
--   per operation, k +
--   1 trace
--   2 request
--   3 checkpoint
--   4 result
--   5 out
--   6 unique     of its idempotency key; the trace's key again when it has none
--   7 reply      of its producer; the trace's key again when it has none
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   3 consumer   the caller, whose pending list holds the entries
--   4 short      the stream's name in a trace's entry: stream:QUEUE
--   per operation, a +
--   1 width      slots of this operation, this one included
--   2 entry_name  the stream ID
--   3 id         derived from the entry, the same for every worker
--   4 verdict    empty, or why it is malformed: a code word, a space, and which field
--   5 queue
--   6 deadline   unix ms; 0 none
--   7 hash       of the request
--   8 keyed      1 when unique is its idempotency key's
--   9 fields    first of the flat list of further trace fields, to the end
-- RETURNS
--   per operation: OK; DUPLICATE, acknowledged; DEAD, dead-lettered; GONE, the
--   entry is no more; SKIP, pending with another consumer
-- ERRORS
--   per operation: OOM, WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states clock history counts each ack entry create terminal
local stream = KEYS[1]
local stats = KEYS[2]
local dead = KEYS[3]
local deadlines = KEYS[4]
local tries = KEYS[5]
local n = ARGV[1]
local group = ARGV[2]
local consumer = ARGV[3]
local short = ARGV[4]
local now = clock()

-- raw(entry): the entry's fields as a JSON list of at most 64 KiB; what is longer is cut,
-- by what it takes when it is written as JSON.
local function raw(entry)
  local list, left = {}, 65534
  for _, v in ipairs(entry[2]) do
    v = string.sub(v, 1, left)
    local text = string.sub(cjson.encode({ v }), 2, -2)
    while #text >= left and v ~= '' do
      v = string.sub(v, 1, math.max(0, math.min(#v - 1, math.floor(#v * left / #text) - 3)))
      text = string.sub(cjson.encode({ v }), 2, -2)
    end
    left = left - #text - 1
    if left < 0 then
      break
    end
    list[#list + 1] = v
  end
  return cjson.encode(list)
end

-- bury(id, entry, reason, detail, trace, reply): nothing of the operation is recorded
-- but this; a notice has the outcome failed and the ID that the dead letter has.
local function bury(id, entry, reason, detail, trace, reply)
  redis.call('XADD', dead, 'MAXLEN', '~', 200000, '*', 't', id, 'reason', reason, 'state', '', 'worker', '',
    'queue', string.match(short, ':(.*)$') or '', 'kind', '', 'error', detail, 'raw', raw(entry))
  if reply ~= trace then
    notify(reply, id, 'failed')
  end
  count('failed', 1)
  ack(stream, entry[1])
  return 'DEAD'
end

local function adopt(k, a, entry_name)
  local keys = {
    trace = KEYS[k + 1],
    request = KEYS[k + 2],
    checkpoint = KEYS[k + 3],
    result = KEYS[k + 4],
    out = KEYS[k + 5],
    unique = KEYS[k + 6],
  }
  local reply = KEYS[k + 7]
  local width = tonumber(ARGV[a + 1])
  local id = ARGV[a + 3]
  local verdict = ARGV[a + 4]
  local queue = ARGV[a + 5]
  local deadline = ARGV[a + 6]
  local hash = ARGV[a + 7]
  local keyed = ARGV[a + 8] == '1'

  local entry = redis.call('XRANGE', stream, entry_name, entry_name)[1]
  if not entry then
    ack(stream, entry_name)
    return 'GONE'
  end
  if not is_pending(stream, group, consumer, entry_name) then
    return 'SKIP'
  end
  if verdict ~= '' then
    local reason, detail = string.match(verdict, '^(%S+) (.*)$')
    return bury(id, entry, reason, detail, keys.trace, reply)
  end
  local here = short .. '/' .. entry_name
  local t = redis.call('HMGET', keys.trace, 'entry', 'request_hash', 'created')
  if t[1] == here then
    return 'OK'
  end
  local first = keyed and redis.call('GET', keys.unique)
  if t[3] or first then
    local held_hash = t[3] and (t[2] or '') or string.match(first, ' (%S*)$')
    if held_hash ~= hash then
      return bury(id, entry, 'conflict', (t[3] and 'id' or 'key') .. ': used with another request before', keys.trace, reply)
    end
    ack(stream, entry_name)
    return 'DUPLICATE'
  end

  local body = map(entry[2]).body
  local hf, hv, hn = hop(0, 'RQ', now, now, 0, '')
  local fields = { 'state', 'QUEUED', 'created', now, 'size', #body, 'hn', hn, hf, hv, 'entry', here,
    'request_hash', hash, unpack(ARGV, a + 9, a + width) }
  if deadline ~= '0' then
    fields[#fields + 1] = 'deadline'
    fields[#fields + 1] = deadline
  end
  create(keys, { id = id, body = body, hash = hash, fields = fields, unique = keyed })
  if deadline ~= '0' then
    redis.call('ZADD', deadlines, deadline, id)
  end
  moved(queue, '', 'Q')
  return 'OK'
end

local settled = {}
local function one(k, a)
  local entry_name = ARGV[a + 2]
  local answer = adopt(k, a, entry_name)
  if answer ~= 'SKIP' then
    settled[#settled + 1] = short .. '/' .. entry_name
  end
  return answer
end

local answers = each(n, 5, 7, 4, 0, one)
if #settled > 0 then
  redis.call('HDEL', tries, unpack(settled))
end
write_endings()
write_acks(group)
write_counts(stats)
return answers
