-- finish ends a claim with its outcome: result, state, lifetimes, notices and the
-- acknowledgement of the entry in one step, so that no result can be recorded
-- twice and no entry outlives it. A failed one gets its dead-letter entry here.
-- Begins with a write that Redis never refuses.
--
-- KEYS
--   1 stats      the partition's counts
--   2 done       ended operations, for waiters and lists
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
-- ARGV
--   1 n          operations, 1 to 100
--   2 group      the consumer group
--   3 retention  of trace and result, ms
--   4 dead_retention  of all that a failed one leaves, ms
--   per operation, a +
--   1 id
--   2 owner
--   3 epoch
--   4 token
--   5 seq
--   6 path       state letters from the stored state to COMPLETED
--   7 took       us
--   8 outcome
--   9 reason     a code word; empty when it succeeded
--   10 body      the result
--   11 usage     JSON, or empty
--   12 err       error as JSON, or empty
--   13 tried     1 when a handler ran, which counts an attempt
-- RETURNS
--   per operation: OK; FENCED; NOTFOUND; ILLEGAL STATE
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; nothing of it was written
--#include states walk clock history counts each fence ack entry terminal
local stats = KEYS[1]
local done = KEYS[2]
local dead = KEYS[3]
local deadlines = KEYS[4]
local n = ARGV[1]
local group = ARGV[2]
local retention = ARGV[3]
local dead_retention = ARGV[4]
local now = clock()

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
  local id = ARGV[a + 1]
  local owner = ARGV[a + 2]
  local epoch = ARGV[a + 3]
  local token = ARGV[a + 4]
  local seq = ARGV[a + 5]
  local path = ARGV[a + 6]
  local took = ARGV[a + 7]
  local outcome = ARGV[a + 8]
  local reason = ARGV[a + 9]
  local body = ARGV[a + 10]
  local usage = ARGV[a + 11]
  local err = ARGV[a + 12]
  local tried = tonumber(ARGV[a + 13])

  local t = redis.call('HMGET', keys.trace, 'owner', 'epoch', 'token', 'seq', 'state', 'created', 'hn', 'queue', 'entry',
    'attempts', 'crashes_total', 'kind', 'unique', 'reply', 'deadline', 'followed')
  local verdict = guard(t, owner, epoch, token, seq)
  if verdict then
    return verdict == 'REPLAY' and 'OK' or verdict
  end
  local state = LETTERS[t[5]]
  if walk(state, path) ~= 'X' then
    return 'ILLEGAL ' .. t[5]
  end
  terminal(keys, {
    state = state, owner = t[1], created = t[6], hn = t[7], queue = t[8], crashes_total = t[11], kind = t[12],
    unique = t[13], reply = t[14], deadline = t[15], followed = t[16],
  }, {
    id = id, now = now, path = path, took = took, outcome = outcome, reason = reason, body = body, usage = usage,
    error = err, attempts = (tonumber(t[10]) or 0) + tried, retention = retention, dead_retention = dead_retention,
    fields = { 'seq', seq },
  })
  ack(stream, entry_id(t[9]))
  return 'OK'
end

local answers = each(n, 4, 8, 4, 13, one)
write_acks(group)
write_counts(stats)
return answers
