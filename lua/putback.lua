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
--   9 cause      a code word for the history: lease, drain, surplus, contact
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

-- ending(id, t, outcome, reason, path): what terminal needs to know.
local function ending(id, t, outcome, reason, path)
  local err = reason == '' and '' or '{"kind":"' .. reason .. '"}'
  return { id = id, now = now, path = path, took = 0, outcome = outcome, reason = reason, body = '', usage = '', error = err,
    attempts = t.attempts, retention = retention, dead_retention = dead_retention, fields = { 'crashes', t.crashes, 'crashes_total', t.crashes_total, 'seq', t.seq },
    keep_result = outcome == 'succeeded' }
end

local function one(k, a)
  local keys = {
    trace = KEYS[k + 1],
    request = KEYS[k + 2],
    checkpoint = KEYS[k + 3],
    result = KEYS[k + 4],
    out = KEYS[k + 5],
    unique = KEYS[k + 6],
    reply = KEYS[k + 7],
    done = done, dead = dead, deadlines = deadlines,
  }
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

  local f = redis.call('HMGET', keys.trace, 'owner', 'epoch', 'token', 'seq', 'state', 'created', 'hn', 'queue', 'entry', 'attempts',
    'crashes', 'crashes_total', 'kind', 'unique', 'reply', 'deadline', 'followed', 'started', 'lease', 'beat')
  local t = { owner = f[1], state = LETTERS[f[5]], created = f[6], hn = f[7], queue = f[8], attempts = f[10] or '0',
    crashes = tonumber(f[11]) or 0, crashes_total = tonumber(f[12]) or 0, kind = f[13], unique = f[14], reply = f[15], deadline = f[16], followed = f[17],
    seq = mine and seq or f[4] or '0' }

  local fields = {}
  if mine then
    local verdict = guard(f, owner, epoch, token, seq)
    if verdict then
      return verdict == 'REPLAY' and 'OK' or verdict
    end
    fields = { 'seq', seq }
  else
    if not is_pending(stream, group, consumer, entry_id(entry)) then
      return 'SKIP'
    end
    if not f[5] then
      redis.call('XADD', dead, 'MAXLEN', '~', 100000, '*', 't', id, 'reason', 'trace_lost', 'state', '', 'worker', owner,
        'queue', string.match(entry, ':(.*)/') or '', 'kind', '', 'error', 'the trace of an entry is gone')
      count('failed', 1)
      ack(stream, entry_id(entry))
      return 'LOST'
    end
    if f[9] ~= entry then
      ack(stream, entry_id(entry))
      return 'STALE'
    end
    if t.state ~= expected or (f[1] or '') ~= owner or (f[2] or '') ~= epoch then
      return 'SKIP'
    end
    if leased and f[20] and tonumber(f[20]) + tonumber(f[19]) > now then
      return 'LIVE'
    end
  end

  local back = BACK[t.state]
  local last = back and walk(t.state, back)
  if not last then
    return 'ILLEGAL ' .. f[5]
  end
  if not mine and f[18] == '1' and t.state ~= 'V' then
    t.crashes = t.crashes + 1
    t.crashes_total = t.crashes_total + 1
    fields[#fields + 1] = 'crashes'
    fields[#fields + 1] = t.crashes
    fields[#fields + 1] = 'crashes_total'
    fields[#fields + 1] = t.crashes_total
    if t.crashes > crash_limit or t.crashes_total >= crash_bound then
      terminal(keys, t, ending(id, t, 'failed', 'crash_limit', 'EX'))
      ack(stream, entry_id(entry))
      return 'ENDED'
    end
  end
  if last == 'X' then
    terminal(keys, t, ending(id, t, 'succeeded', '', back))
    ack(stream, entry_id(entry))
    return 'ENDED'
  end

  redis.call('HDEL', keys.trace, 'owner', 'started', 'lease', 'beat')
  local fresh = redis.call('XADD', resume, '*', 't', id)
  if back ~= '' then
    local hf, hv, hn = hop(t.hn, back, now, t.created, 0, cause)
    fields[#fields + 1] = 'hn'
    fields[#fields + 1] = hn
    fields[#fields + 1] = hf
    fields[#fields + 1] = hv
  end
  redis.call('HSET', keys.trace, 'state', NAMES[last], 'entry', 'resume:' .. t.queue .. '/' .. fresh, unpack(fields))
  ack(stream, entry_id(entry))
  moved(t.queue, t.state, last)
  return 'OK'
end

local answers = each(n, 4, 9, 8, 9, one)
write_acks(group)
write_counts(stats)
return answers
