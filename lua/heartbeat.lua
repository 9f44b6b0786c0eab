-- heartbeat renews the leases that the caller still owns, and says of each claim
-- whether it is lost, to be cancelled, or followed. It takes an entry back that a
-- sweep has just moved to itself, but never a claim: owner, epoch and token
-- decide. XCLAIM comes first, which Redis never refuses for memory.
--
-- KEYS
--   per operation, k +
--   1 trace
--   2 stream     that holds its entry
-- ARGV
--   1 n          claims, 1 to 100
--   2 group      the consumer group
--   3 owner      the caller
--   per operation, a +
--   1 entry      the stream ID
--   2 epoch
--   3 token
-- RETURNS
--   per operation: OK, FOLLOWED, CANCEL, EXPIRE or LOST
-- ERRORS
--   per operation: WRONGTYPE, NOPERM, ERROR; its lease was not renewed
--#include clock each
local n = ARGV[1]
local group = ARGV[2]
local owner = ARGV[3]
local now = clock()
local mine, traces = {}, {}

local function one(k, a)
  local trace = KEYS[k + 1]
  local stream = KEYS[k + 2]
  local entry = ARGV[a + 1]
  local epoch = ARGV[a + 2]
  local token = ARGV[a + 3]
  local t = redis.call('HMGET', trace, 'owner', 'epoch', 'token', 'cancel_requested', 'followed')
  if t[1] ~= owner or t[2] ~= epoch or t[3] ~= token then
    return 'LOST'
  end
  local ids = mine[stream]
  if not ids then
    ids = {}
    mine[stream] = ids
  end
  ids[#ids + 1] = entry
  traces[#traces + 1] = trace
  return t[4] and (t[4] == 'expired' and 'EXPIRE' or 'CANCEL') or t[5] and 'FOLLOWED' or 'OK'
end

local answers = each(n, 0, 2, 3, 3, one)
for stream, ids in pairs(mine) do
  ids[#ids + 1] = 'JUSTID'
  raise(redis.pcall('XCLAIM', stream, group, owner, 0, unpack(ids))) -- a lease that could not be renewed is none
end
for _, trace in ipairs(traces) do
  redis.pcall('HSET', trace, 'beat', now)
end
return answers
