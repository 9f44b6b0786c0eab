-- heartbeat renews the leases that the caller still owns, and says of each claim
-- whether it is lost, to be cancelled, or followed. It takes an entry back that a
-- sweep has just moved to itself, but never a claim: owner, epoch and token
-- decide. An entry that is pending with nobody, as after its group was made again,
-- becomes pending with its owner, so that it is found when that one dies. XCLAIM comes
-- first, which Redis never refuses for memory; a claim that it refuses was not renewed.
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
local at, mine = 0, {}

local function one(k, a)
  at = at + 1
  local trace = KEYS[k + 1]
  local stream = KEYS[k + 2]
  local entry = ARGV[a + 1]
  local epoch = ARGV[a + 2]
  local token = ARGV[a + 3]
  local t = redis.call('HMGET', trace, 'owner', 'epoch', 'token', 'cancel_requested', 'followed')
  if t[1] ~= owner or t[2] ~= epoch or t[3] ~= token then
    return 'LOST'
  end
  local held = mine[stream]
  if not held then
    held = { ids = {}, claims = {} }
    mine[stream] = held
  end
  held.ids[#held.ids + 1] = entry
  held.claims[#held.claims + 1] = { at = at, trace = trace }
  return t[4] and (t[4] == 'expired' and 'EXPIRE' or 'CANCEL') or t[5] and 'FOLLOWED' or 'OK'
end

local answers = each(n, 0, 2, 3, 3, one)
for stream, held in pairs(mine) do
  held.ids[#held.ids + 1] = 'JUSTID'
  held.ids[#held.ids + 1] = 'FORCE'
  local text = raise(redis.pcall('XCLAIM', stream, group, owner, 0, unpack(held.ids)))
  local nowhere = string.find(text, 'NOGROUP', 1, true) -- nobody can take over what is pending with nobody
  for _, claim in ipairs(held.claims) do
    if text ~= '' and not nowhere then
      answers[claim.at] = code(text)
    else
      local wrote = redis.pcall('HSET', claim.trace, 'beat', now)
      if nowhere and type(wrote) == 'table' and wrote.err then
        answers[claim.at] = code(raise(wrote))
      end
    end
  end
end
return answers
