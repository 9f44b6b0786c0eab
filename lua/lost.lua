-- lost counts a call whose worker died before the answer was saved, by what the
-- repeat of it used: as waste by a crash, and as cost too unless the dead worker
-- still recorded an answer itself. One script, because the two must not both
-- happen: the dead one's replay keys are closed in it, so that a worker that was
-- only stopped counts nothing afterwards. The same loss again counts nothing. A
-- worker that dies before it leaves the loss to the next repeat.
--
-- KEYS
--   1 model      the model's hash
--   2 backend    its backend's hash
--   3 lost       the replay key of this loss
--   4 op         the operation's costs; the model's key when not counted
--   5 tenant     the tenant's costs; the model's key when not counted
--   per try, k +
--   1 seen       of a try that the dead worker may have made
-- ARGV
--   1 n          tries
--   2 input      tokens
--   3 cached     tokens
--   4 output     tokens
--   5 cost       nano-USD
--   6 budget_period
--   7 keep       ms that lost and the operation's costs are kept
--   8 seen_keep  ms that seen is kept
--   9 tenant_keep  ms that the tenant's costs are kept
-- RETURNS
--   COST, counted as cost and waste; WASTE, as waste alone; REPLAY
-- ERRORS
--   none of its own
--#include clock period spend use
local model = KEYS[1]
local backend = KEYS[2]
local lost = KEYS[3]
local op = KEYS[4]
local tenant = KEYS[5]
local n = tonumber(ARGV[1])
local input = ARGV[2]
local cached = ARGV[3]
local output = ARGV[4]
local cost = ARGV[5]
local budget_period = ARGV[6]
local keep = ARGV[7]
local seen_keep = ARGV[8]
local tenant_keep = ARGV[9]
local now = clock()

for _, key in ipairs({ model, backend, op, tenant }) do
  redis.call('HGET', key, 'cost') -- another type is found before anything is written
end
if redis.call('GET', lost) then
  return 'REPLAY'
end
local open, answered = {}, false
for i = 1, n do
  local k = 5 + i - 1
  local seen = KEYS[k + 1]
  local value = redis.call('GET', seen) or ''
  answered = answered or string.sub(value, 1, 2) == 'DK'
  if string.sub(value, 1, 1) ~= 'D' then
    open[seen] = 'D' .. value
  end
end

redis.call('SET', lost, 'D', 'PX', keep)
for seen, value in pairs(open) do
  redis.call('SET', seen, value, 'PX', seen_keep)
end
local function waste(key)
  if not answered then
    spend(key, input, cached, output, cost, 'crash', 1)
  elseif tonumber(cost) ~= 0 then
    redis.call('HINCRBY', key, 'waste_crash', cost)
  end
end
waste(model)
waste(backend)
if op ~= model then
  waste(op)
  redis.call('PEXPIRE', op, keep)
end
if tenant ~= model then
  waste(tenant)
  redis.call('PEXPIRE', tenant, tenant_keep)
end
if answered then
  return 'WASTE'
end
use(model, 'budget', budget_period, now, cost)
return 'COST'
