-- putback gives an operation to whoever has room: the one script of reclaim, of
-- drain, and of entries that were read and not claimed. It is called by the claim
-- itself (mine: by its fence, nothing counted) or by somebody who took the entry
-- over (seen: state, owner, epoch and entry must be what was read, and the entry
-- pending with the caller). The claim ends, the old entry goes and the new one in
-- the resume stream comes in one step. A crash is counted for a started claim
-- that a sweep takes over; over the limit the operation ends here. Begins with a
-- write that Redis never refuses.
--
-- KEYS
--   1 stats      the partition's counts
--   2 done       ended operations
--   3 dead       the dead-letter stream
--   4 deadlines  operations with a deadline
--   per operation, k +
--   1 trace
--   2 request
--   3 checkpoint
--   4 result
--   5 out
--   6 unique     of its idempotency key; the trace's key again when it has none
--   7 reply      of its producer; the trace's key again when it has none
--   8 stream     that holds its entry
--   9 resume     that takes the new one
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   3 consumer   the caller
--   4 retention  ms
--   5 dead_retention  ms
--   6 crash_limit  crashes since the last checkpoint after which the next is the end
--   7 crash_bound  crashes in all after which the next is the end
--   8 leased     1 refuses while the owner's lease runs
--   per operation, a +
--   1 id
--   2 entry      STREAM/ID that the caller holds
--   3 mine       1 by the claim itself, 0 seen
--   4 owner
--   5 epoch
--   6 token      of mine
--   7 seq        of mine
--   8 expected   state letter, of seen
--   9 cause      a code word for the history: lease, presence, drain, surplus, contact
-- RETURNS
--   per operation: OK; ENDED, over the crash limit or already delivered; STALE, the
--   entry was removed; LOST, dead-lettered trace_lost; LIVE, its owner is there;
--   SKIP, it changed or is not the caller's; FENCED; NOTFOUND; ILLEGAL STATE
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each fence ack entry terminal
local stats = KEYS[1]
local done = KEYS[2]
local dead = KEYS[3]
local deadlines = KEYS[4]
local n = ARGV[1]
local group = ARGV[2]
local consumer = ARGV[3]
local retention = ARGV[4]
local dead_retention = ARGV[5]
local crash_limit = tonumber(ARGV[6])
local crash_bound = tonumber(ARGV[7])
local leased = ARGV[8] == '1'
local now = clock()

-- The way back from each state; a claim that has delivered is only acknowledged.
local BACK = { Q = '', L = '', C = 'L', G = 'L', I = 'L', T = 'L', O = 'L', D = 'EWQ', V = 'X' }

local function one(k, a)
  local trace = KEYS[k + 1]
  local request = KEYS[k + 2]
  local checkpoint = KEYS[k + 3]
  local result = KEYS[k + 4]
  local out = KEYS[k + 5]
  local unique = KEYS[k + 6]
  local reply = KEYS[k + 7]
  local stream = KEYS[k + 8]
  local resume = KEYS[k + 9]
  local id = ARGV[a + 1]
  local entry = ARGV[a + 2]
  local mine = ARGV[a + 3] == '1'
  local owner = ARGV[a + 4]
  local epoch = ARGV[a + 5]
  local token = ARGV[a + 6]
  local seq = ARGV[a + 7]
  local expected = ARGV[a + 8]
  local cause = ARGV[a + 9]

  local t = held(trace, 'crashes', 'started', 'lease', 'beat')
  local crashes, started, lease, beat = t[16], t[17] == '1', t[18], t[19]
  local state, queue = LETTERS[t[STATE]], t[QUEUE]
  if mine then
    local verdict = guard(t, owner, epoch, token, seq)
    if verdict then
      return verdict == 'REPLAY' and 'OK' or verdict
    end
  else
    if not is_pending(stream, group, consumer, entry_id(entry)) then
      return 'SKIP'
    end
    if not t[STATE] then
      redis.call('XADD', dead, 'MAXLEN', '~', 200000, '*', 't', id, 'reason', 'trace_lost', 'state', '', 'worker', owner,
        'queue', string.match(entry, ':(.*)/') or '', 'kind', '', 'error', 'the trace of an entry is gone')
      count('failed', 1)
      ack(stream, entry_id(entry))
      return 'LOST'
    end
    if t[ENTRY] ~= entry then
      ack(stream, entry_id(entry))
      return 'STALE'
    end
    if state ~= expected or (t[OWNER] or '') ~= owner or (t[2] or '') ~= epoch then
      return 'SKIP'
    end
    if leased and beat and beat + lease > now then
      return 'LIVE'
    end
  end
  local back = BACK[state]
  local last = back and walk(state, back)
  if not last then
    return 'ILLEGAL ' .. t[STATE]
  end

  local fields = { 'seq', mine and seq or t[SEQ] or '0' }
  local crashed = not mine and started and state ~= 'V'
  crashes = (crashes or 0) + (crashed and 1 or 0)
  local total = (t[CRASHES_TOTAL] or 0) + (crashed and 1 or 0)
  if crashed then
    fields[3], fields[4], fields[5], fields[6] = 'crashes', crashes, 'crashes_total', total
  end
  local over = crashed and (crashes > crash_limit or total >= crash_bound)
  if over or last == 'X' then
    terminal(trace, request, checkpoint, result, out, unique, reply, t, {
      id = id, done = done, dead = dead, deadlines = deadlines, now = now, path = over and 'EX' or back, took = 0,
      outcome = over and 'failed' or 'succeeded', reason = over and 'crash_limit' or '', body = '', usage = '',
      error = over and '{"kind":"crash_limit"}' or '', attempts = t[ATTEMPTS] or '0', crashes_total = total,
      lifetime = over and dead_retention or retention, seq = fields[2], keep_result = not over,
    })
    redis.call('HSET', trace, unpack(fields))
    ack(stream, entry_id(entry))
    return 'ENDED'
  end

  redis.call('HDEL', trace, 'owner', 'started', 'lease', 'beat')
  local fresh = redis.call('XADD', resume, '*', 't', id)
  if back ~= '' then
    local hf, hv, hn = hop(t[HN], back, now, t[CREATED], 0, cause)
    redis.call('HSET', trace, 'hn', hn, hf, hv)
  end
  redis.call('HSET', trace, 'state', NAMES[last], 'entry', 'resume:' .. queue .. '/' .. fresh, unpack(fields))
  ack(stream, entry_id(entry))
  moved(queue, state, last)
  return 'OK'
end

local answers = each(n, 4, 9, 8, 9, one)
write_endings(done)
write_acks(group)
write_counts(stats)
return answers
