-- claim makes a worker the owner of operations whose entries it has read: state,
-- epoch, token and owner change together, and only for the entry that the trace
-- names, pending with the caller. A stale entry is removed, an own entry without
-- a trace is dead-lettered trace_lost, another's claim is left alone. The answer
-- carries all that is needed to start, where it is small.
--
-- KEYS
--   1 stream     that the entries were read from
--   2 stats      the partition's counts
--   3 dead       the dead-letter stream
--   per operation, k +
--   1 trace
--   2 request
--   3 checkpoint
-- ARGV
--   1 n          operations, 1 to 100, in the order of their entries
--   2 group      the consumer group
--   3 owner      the caller
--   4 short      the stream's name in a trace's entry: stream:QUEUE, resume:QUEUE
--   5 lease      ms
--   6 crash_limit  one with as many crashes is claimed but not started
--   7 inline     bytes of a request or checkpoint that travel in the answer
--   8 sum        bytes of all that travel
--   per operation, a +
--   1 entry      the stream ID
--   2 id
--   3 token      random, 16 characters
-- RETURNS
--   per operation: {OK, epoch, now, started, trace before as one text of fields and
--   values with a zero byte between, request or false, checkpoint as a flat list or
--   false}; STALE, removed; LOST, dead-lettered; EXPIRE, untouched and past its deadline;
--   SKIP, untouched
-- ERRORS
--   per operation: OOM, WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states clock history counts each ack entry
local stream = KEYS[1]
local stats = KEYS[2]
local dead = KEYS[3]
local n = ARGV[1]
local group = ARGV[2]
local owner = ARGV[3]
local short = ARGV[4]
local lease = ARGV[5]
local crash_limit = tonumber(ARGV[6])
local inline = tonumber(ARGV[7])
local sum = tonumber(ARGV[8])
local now = clock()

local pending = {}
local found = redis.pcall('XPENDING', stream, group, ARGV[9], ARGV[9 + 3 * (n - 1)], n, owner)
for _, p in ipairs(found.err and {} or found) do
  pending[p[1]] = true
end

-- carry(size): whether so many bytes still travel in this answer.
local function carry(size)
  if size > inline or size > sum then
    return false
  end
  sum = sum - size
  return true
end

local function one(k, a)
  local trace = KEYS[k + 1]
  local request = KEYS[k + 2]
  local checkpoint = KEYS[k + 3]
  local entry = ARGV[a + 1]
  local id = ARGV[a + 2]
  local token = ARGV[a + 3]

  if not pending[entry] and not is_pending(stream, group, owner, entry) then
    return 'SKIP'
  end
  local flat = redis.call('HGETALL', trace)
  local t = map(flat)
  if not t.state then
    redis.call('XADD', dead, 'MAXLEN', '~', 200000, '*', 't', id, 'reason', 'trace_lost', 'state', '', 'worker', owner,
      'queue', string.match(short, ':(.*)$') or '', 'kind', '', 'error', 'the trace of an entry is gone')
    count('failed', 1)
    ack(stream, entry)
    return 'LOST'
  end
  local state = LETTERS[t.state]
  local replay = t.token == token and t.owner == owner and t.seq == '0'
  if not replay then
    if t.entry ~= short .. '/' .. entry then
      ack(stream, entry)
      return 'STALE'
    end
    if state ~= 'Q' and state ~= 'L' then
      return 'SKIP'
    end
    if t.deadline and tonumber(t.deadline) <= now then
      return 'EXPIRE'
    end
  end

  local body = carry(tonumber(t.size) or 0) and redis.call('GET', request)
  local saved = false
  if t.checkpoint_size then
    saved = carry(tonumber(t.checkpoint_size)) and redis.call('HGETALL', checkpoint)
  end
  local epoch, started = t.epoch, t.started
  if not replay then
    epoch = math.max((tonumber(t.epoch) or 0) + 1, now)
    started = (tonumber(t.crashes) or 0) < crash_limit and '1' or '0'
    local hf, hv, hn = hop(t.hn, 'C', now, t.created, 0, epoch .. ' ' .. owner)
    redis.call('HSET', trace, 'state', 'CLAIMED', 'epoch', epoch, 'token', token, 'owner', owner, 'seq', 0,
      'started', started, 'lease', lease, 'beat', now, 'hn', hn, hf, hv)
    moved(t.queue, state, 'C')
  end
  return { 'OK', epoch, now, started, table.concat(flat, '\0'), body, saved }
end

local answers = each(n, 3, 3, 8, 3, one)
write_acks(group)
write_counts(stats)
return answers
