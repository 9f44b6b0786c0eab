-- retry sets a claimed operation aside until a time: after a transient error
-- (one attempt more), parked (nothing counted), or for a newer worker
-- (schema_waits). The claim ends, its entry goes and its place in the delayed set
-- is taken in one step, and its place in the parked set where it waits for more than
-- a time (include/parked.lua). One that is asked to end waits for nothing: its next
-- claim hears it. Begins with a write that Redis never refuses. Killed before:
-- nothing; after: all of it; a replay answers OK and parks nothing a second time. Why
-- the try ended is kept in 4 fields of 64 bytes: e01 to e44 of the newest 5 attempts, by
-- attempt % 5, ep1 to ep4 of the newest try that counted none.
--
-- KEYS
--   1 stats      the partition's counts
--   2 delayed    operations that wait for a time
--   3 parked     those of them that wait for something by its name
--   per operation, k +
--   1 trace
--   2 stream     that holds its entry
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   per operation, a +
--   1 id
--   2 owner
--   3 epoch
--   4 token
--   5 seq
--   6 path       state letters from the stored state to RETRYING
--   7 took       us
--   8 delay      ms from now
--   9 counted    the trace field that grows by one: attempts, schema_waits, or empty
--   10 reason    a code word
--   11 route     the try's way through members, in fields route1 to route4 of 64 bytes
--   12 waits     what it waits for, as model/NAME; empty: only for its time
--   13 note      why the try ended, of at most 200 bytes
-- RETURNS
--   per operation: OK; FENCED; NOTFOUND; ILLEGAL STATE
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each fence ack entry parked
local stats = KEYS[1]
local delayed = KEYS[2]
local parked = KEYS[3]
local n = ARGV[1]
local group = ARGV[2]
local now = clock()

-- put(fields, name, text): adds a text as up to 4 fields of 64 bytes, name1 to name4.
local function put(fields, name, text)
  for i = 1, 4 do
    local piece = string.sub(text, 64 * i - 63, 64 * i)
    if piece ~= '' then
      fields[#fields + 1] = name .. i
      fields[#fields + 1] = piece
    end
  end
end

local function one(k, a)
  local trace = KEYS[k + 1]
  local stream = KEYS[k + 2]
  local id = ARGV[a + 1]
  local owner = ARGV[a + 2]
  local epoch = ARGV[a + 3]
  local token = ARGV[a + 4]
  local seq = ARGV[a + 5]
  local path = ARGV[a + 6]
  local took = ARGV[a + 7]
  local delay = tonumber(ARGV[a + 8])
  local counted = ARGV[a + 9]
  local reason = ARGV[a + 10]
  local route = ARGV[a + 11]
  local waits = ARGV[a + 12]
  local note = ARGV[a + 13]

  local t = redis.call('HMGET', trace, 'owner', 'epoch', 'token', 'seq', 'state', 'created', 'hn', 'queue', 'entry', 'attempts', 'schema_waits', 'cancel_requested')
  local verdict = guard(t, owner, epoch, token, seq)
  if verdict then
    return verdict == 'REPLAY' and 'OK' or verdict
  end
  local state = LETTERS[t[5]]
  if walk(state, path) ~= 'W' then
    return 'ILLEGAL ' .. t[5]
  end
  local fields = { 'state', 'RETRYING', 'entry', '', 'seq', seq, 'reason', reason }
  if counted == 'attempts' then
    fields[#fields + 1] = 'attempts'
    fields[#fields + 1] = (tonumber(t[10]) or 0) + 1
  elseif counted == 'schema_waits' then
    fields[#fields + 1] = 'schema_waits'
    fields[#fields + 1] = (tonumber(t[11]) or 0) + 1
  end
  local attempt = (tonumber(t[10]) or 0) + 1
  local slot = 'e' .. (counted == 'attempts' and attempt % 5 or 'p')
  put(fields, 'route', route)
  put(fields, slot, note ~= '' and attempt .. ' ' .. (now - (t[6] or now)) .. ' ' .. note or '')
  local place = waits ~= '' and not t[12] and place_of(waits, now)
  if place then
    fields[#fields + 1] = 'parked'
    fields[#fields + 1] = place
  end
  redis.call('HDEL', trace, 'owner', 'started', 'lease', 'beat', 'parked', 'route1', 'route2', 'route3', 'route4',
    slot .. '1', slot .. '2', slot .. '3', slot .. '4')
  local hf, hv, hn = hop(t[7], path, now, t[6], took, reason)
  redis.call('HSET', trace, 'hn', hn, hf, hv, unpack(fields))
  if t[12] then
    delay = 0
  end
  redis.call('ZADD', delayed, now + delay, id)
  if place then
    redis.call('ZADD', parked, 0, place .. '|' .. id)
  end
  ack(stream, entry_id(t[9]))
  moved(t[8], state, 'W')
  return 'OK'
end

local answers = each(n, 3, 2, 2, 13, one)
write_acks(group)
write_counts(stats)
return answers
