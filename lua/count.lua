-- count adds to a model what a worker has counted by itself: successes of a closed
-- circuit, by the time at which they happened, with what they used. Increments
-- only, so workers never lose each other's; a repeat under the same key adds
-- nothing. A success ends a streak of failures only if it came after the last. A
-- worker that dies with counts unsaved loses them, and nothing else.
--
-- KEYS
--   1 model      the model's hash
--   2 backend    its backend's hash
--   3 version    grows with every change that routing must see
--   4 seen       of this batch's key
--   5 channel    where a new version is told
-- ARGV
--   1 epoch      of the circuit that the calls ran under
--   2 age        ms since the last of them
--   3 requests   in all
--   4 input      tokens
--   5 cached     tokens
--   6 output     tokens
--   7 cost       nano-USD
--   8 quota_period
--   9 budget_period
--   10 window    ms, in 12 buckets
--   11 keep      ms that seen is kept
--   12 model_keep  ms that model and backend are kept
--   13 publish   PUBLISH, or SPUBLISH on a cluster
--   14 n         buckets
--   per bucket, a +
--   1 past       how many buckets ago
--   2 ok         successes in it
-- RETURNS
--   {OK or REPLAY, now, version}
-- ERRORS
--   none of its own
--#include clock notice period spend use
local model = KEYS[1]
local backend = KEYS[2]
local version = KEYS[3]
local seen = KEYS[4]
local channel = KEYS[5]
local epoch = tonumber(ARGV[1])
local age = tonumber(ARGV[2])
local requests = ARGV[3]
local input = ARGV[4]
local cached = ARGV[5]
local output = ARGV[6]
local cost = ARGV[7]
local quota_period = ARGV[8]
local budget_period = ARGV[9]
local window = tonumber(ARGV[10])
local keep = ARGV[11]
local model_keep = ARGV[12]
local publish = ARGV[13]
local n = tonumber(ARGV[14])
local now = clock()

local m = redis.call('HMGET', model, 'failures', 'epoch', 'circuit', 'last_failure', 'disabled', 'last_request')
local score = tonumber(redis.call('HGET', backend, 'score') or 1) or 1
if redis.call('GET', seen) then
  return { 'REPLAY', now, redis.call('GET', version) or '0' }
end
redis.call('SET', seen, 'D', 'PX', keep)
local last = now - age
if last > (tonumber(m[6]) or 0) then
  redis.call('HSET', model, 'last_request', last)
end
if m[5] ~= '1' then
  redis.call('PEXPIRE', model, model_keep)
end
if epoch == (tonumber(m[2]) or 0) and (not m[3] or m[3] == '') then
  local slot = math.floor(now / (window / 12))
  for i = 1, n do
    local a = 14 + (i - 1) * 2
    local past = tonumber(ARGV[a + 1])
    local ok = tonumber(ARGV[a + 2])
    local at = slot - past
    if past < 12 then
      local field = 'b' .. at % 12
      local s, good, bad = string.match(redis.call('HGET', model, field) or '', '^(%d+) (%d+) (%d+)$')
      if tonumber(s) ~= at then
        good, bad = 0, 0
      end
      redis.call('HSET', model, field, string.format('%.0f %.0f %.0f', at, good + ok, tonumber(bad)))
    end
  end
  if (tonumber(m[1]) or 0) > 0 and last > (tonumber(m[4]) or 0) then
    redis.call('HSET', model, 'failures', 0)
    changed(version, publish, channel)
  end
end
spend(model, input, cached, output, cost, '', requests)
spend(backend, input, cached, output, cost, '', requests)
redis.call('HSET', backend, 'score', string.format('%.6f', 1 - (1 - score) * 0.8 ^ tonumber(requests)))
redis.call('PEXPIRE', backend, model_keep)
use(model, 'quota', quota_period, now, requests)
use(model, 'budget', budget_period, now, cost)
return { 'OK', now, redis.call('GET', version) or '0' }
