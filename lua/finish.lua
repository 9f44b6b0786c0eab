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
  local trace = KEYS[k + 1]
  local request = KEYS[k + 2]
  local checkpoint = KEYS[k + 3]
  local result = KEYS[k + 4]
  local out = KEYS[k + 5]
  local unique = KEYS[k + 6]
  local reply = KEYS[k + 7]
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
  local tried = ARGV[a + 13]

  local t = held(trace)
  local verdict = guard(t, owner, epoch, token, seq)
  if verdict then
    return verdict == 'REPLAY' and 'OK' or verdict
  end
  if walk(LETTERS[t[STATE]], path) ~= 'X' then
    return 'ILLEGAL ' .. t[STATE]
  end
  terminal(trace, request, checkpoint, result, out, unique, reply, t, {
    id = id, done = done, dead = dead, deadlines = deadlines, now = now, path = path, took = took, outcome = outcome,
    reason = reason, body = body, usage = usage, error = err, attempts = (t[ATTEMPTS] or 0) + tried,
    crashes_total = t[CRASHES_TOTAL], lifetime = outcome == 'failed' and dead_retention or retention, seq = seq,
  })
  ack(stream, entry_id(t[ENTRY]))
  return 'OK'
end

local answers = each(n, 4, 8, 4, 13, one)
write_endings(done)
write_acks(group)
write_counts(stats)
return answers
