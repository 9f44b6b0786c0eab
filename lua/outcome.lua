-- outcome records how one call of a model ended, for the whole fleet: counters,
-- the breaker with its error rate, cooldown, quarantine, and the settlement of
-- what the call had reserved. One script, because a worker that reads half of it
-- would route by it. A repeat under the same key counts nothing and only gives
-- back what is still reserved. A worker that dies before it leaves the counters
-- as they were, and the reservation and the probe to their expiry.
--
-- KEYS
--   1 model      the model's hash
--   2 backend    its backend's hash
--   3 version    grows with every change that routing must see
--   4 seen       of this call's key
--   5 holds      the model's reservations by expiry
--   6 op         the operation's costs; the model's key when not counted
--   7 tenant     the tenant's costs; the model's key when not counted
--   8 channel    where a new version is told
-- ARGV
--   1 class      ok, fail or neutral: what it says to the breaker
--   2 faulty     1: counts as an error; 0
--   3 kind       of the failure
--   4 epoch      of the circuit that the call began under
--   5 token      of its probe
--   6 cooldown   of the model, ms from now; 0 none
--   7 pause      of the whole backend, ms from now; 0 none
--   8 quarantine  of the model, ms from now; 0 none
--   9 bar        quarantine of the backend where not the model alone is refused; 0 none
--   10 credential  hash of the credential that a quarantine is about
--   11 unlisted  1: the backend's listing refuses the credential too; 0
--   12 input     tokens
--   13 cached    tokens
--   14 output    tokens
--   15 cost      nano-USD
--   16 waste     cause, or empty
--   17 reservation  as admit gave it, or empty
--   18 quota_period
--   19 budget_period
--   20 streak    consecutive failures that open the circuit
--   21 least     calls in the window before its rate may open it
--   22 window    ms, in 12 buckets
--   23 base      ms that the first opening lasts
--   24 cap       ms that one lasts at most
--   25 jitter    permille of the time that are added
--   26 keep      ms that seen is kept
--   27 cost_keep  ms that the operation's costs are kept
--   28 model_keep  ms that model, backend and the tenant's costs are kept
--   29 publish   PUBLISH, or SPUBLISH on a cluster
--   30 began     server ms at which the call began, about; 0 unknown
-- RETURNS
--   {OK or REPLAY, now, version}
-- ERRORS
--   none of its own
--#include clock notice period reserved spend use
local model = KEYS[1]
local backend = KEYS[2]
local version = KEYS[3]
local seen = KEYS[4]
local holds = KEYS[5]
local op = KEYS[6]
local tenant = KEYS[7]
local channel = KEYS[8]
local class = ARGV[1]
local faulty = ARGV[2]
local kind = ARGV[3]
local epoch = tonumber(ARGV[4])
local token = ARGV[5]
local cooldown = tonumber(ARGV[6])
local pause = tonumber(ARGV[7])
local quarantine = tonumber(ARGV[8])
local bar = tonumber(ARGV[9])
local credential = ARGV[10]
local unlisted = ARGV[11]
local input = ARGV[12]
local cached = ARGV[13]
local output = ARGV[14]
local cost = ARGV[15]
local waste = ARGV[16]
local reservation = ARGV[17]
local quota_period = ARGV[18]
local budget_period = ARGV[19]
local streak = tonumber(ARGV[20])
local least = tonumber(ARGV[21])
local window = tonumber(ARGV[22])
local base = tonumber(ARGV[23])
local cap = tonumber(ARGV[24])
local jitter = tonumber(ARGV[25])
local keep = ARGV[26]
local cost_keep = ARGV[27]
local model_keep = ARGV[28]
local publish = ARGV[29]
local began = tonumber(ARGV[30])
local now = clock()

local m = redis.call('HMGET', model, 'failures', 'opened', 'circuit', 'epoch', 'open_until', 'probe_token',
  'cooldown_until', 'quarantine_until', 'held_cost', 'disabled', 'failed_at', 'failed_kind')
local failures = tonumber(m[1]) or 0
local opened = tonumber(m[2]) or 0
local circuit = m[3] or ''
local stored = tonumber(m[4]) or 0
local open_until = tonumber(m[5]) or 0
local probe = m[6] or ''
local slot = math.floor(now / (window / 12))
local held_score = reservation ~= '' and redis.call('ZSCORE', holds, reservation)
local replay = string.sub(redis.call('GET', seen) or '', 1, 1) == 'D'
local b = redis.call('HMGET', backend, 'score', 'cooldown_until', 'quarantine_until', 'quarantine_credential',
  'refused_model', 'refused_until', 'refused_credential')
local dirty = false
for _, costs in ipairs({ op, tenant }) do
  redis.call('HGET', costs, 'cost') -- another type is found before anything is written
end

-- settle gives back what was reserved; the tokens that were really used stay.
local function settle(used)
  local tokens, money, at = reserved(reservation)
  redis.call('ZREM', holds, reservation)
  redis.call('HSET', model, 'held_cost', math.max((tonumber(m[9]) or 0) - money, 0))
  local field = 'w' .. at % 13
  local s, requests, sum = string.match(redis.call('HGET', model, field) or '', '^(%d+) (%d+) (%d+)$')
  if tonumber(s) == at then
    redis.call('HSET', model, field, string.format('%.0f %s %.0f', at, requests, math.max(tonumber(sum) - tokens + used, 0)))
  end
end

local function release()
  redis.call('HSET', model, 'probe_token', '', 'probe_owner', '', 'probe_until', 0)
  dirty = true
end

if replay then
  if held_score then
    settle(0)
  end
  if probe ~= '' and probe == token then
    release()
    changed(version, publish, channel)
  end
  return { 'REPLAY', now, redis.call('GET', version) or '0' }
end

redis.call('SET', seen, class == 'ok' and 'DK' or 'D', 'PX', keep)
redis.call('HSET', model, 'last_request', now)
if m[10] ~= '1' then
  redis.call('PEXPIRE', model, model_keep)
end
if held_score then
  settle(input + output)
end

-- The breaker. A result of an older circuit moves nothing. A failure of a call that was
-- under way when the last one of its kind counted is of the same moment; an interrupted
-- stream is of the crash that others see as a broken connection.
local moment = kind == 'stream_interrupted' and 'provider' or kind
local same = class == 'fail' and circuit == '' and epoch == stored and began > 0 and kind ~= 'timeout'
  and began < (tonumber(m[11]) or 0) and moment == m[12]

local function open()
  opened = opened + 1
  local time = math.min(base * 2 ^ math.min(opened - 1, 30), cap)
  open_until = math.max(open_until, now + math.floor(time + time * jitter / 1000))
  redis.call('HSET', model, 'circuit', 'open', 'opened', opened, 'epoch', stored + 1, 'open_until', open_until)
  release()
end

local function close()
  redis.call('HSET', model, 'circuit', '', 'opened', 0, 'epoch', stored + 1, 'failures', 0, 'failed_at', 0, 'failed_kind', '')
  for i = 0, 11 do
    redis.call('HDEL', model, 'b' .. i)
  end
  release()
end

local function bucket(field)
  local s, ok, bad = string.match(redis.call('HGET', model, field) or '', '^(%d+) (%d+) (%d+)$')
  return tonumber(s) or -100, tonumber(ok) or 0, tonumber(bad) or 0
end

local function closed()
  local at = 'b' .. slot % 12
  local s, ok, bad = bucket(at)
  if s ~= slot then
    ok, bad = 0, 0
  end
  if class == 'ok' then
    redis.call('HSET', model, at, string.format('%.0f %.0f %.0f', slot, ok + 1, bad), 'failures', 0)
    dirty = dirty or failures > 0
    return
  end
  if same then
    redis.call('HSET', model, at, string.format('%.0f %.0f %.0f', slot, ok, bad + 1))
    return
  end
  redis.call('HSET', model, at, string.format('%.0f %.0f %.0f', slot, ok, bad + 1), 'failures', failures + 1,
    'failed_at', now, 'failed_kind', moment)
  dirty = dirty or failures == 0
  local all, wrong = 0, 0
  for i = 0, 11 do
    local s, ok, bad = bucket('b' .. i)
    if s > slot - 12 and s <= slot then
      all = all + ok + bad
      wrong = wrong + bad
    end
  end
  if failures + 1 >= streak or all >= least and 2 * wrong >= all then
    open()
  end
end

if epoch == stored then
  if circuit == '' then
    if class ~= 'neutral' then
      closed()
    end
  elseif probe ~= '' and probe == token then
    if class == 'ok' then
      close()
    elseif class == 'fail' then
      redis.call('HSET', model, 'failures', failures + 1)
      open()
    else
      release()
    end
  end
end

-- grow(key, field, old, by): deadlines only grow.
local function grow(key, field, old, by)
  if by > 0 and now + by > (tonumber(old) or 0) then
    redis.call('HSET', key, field, now + by)
    dirty = true
    return true
  end
end

grow(model, 'cooldown_until', m[7], cooldown)
grow(backend, 'cooldown_until', b[2], pause)
if grow(model, 'quarantine_until', m[8], quarantine) then
  redis.call('HSET', model, 'quarantine_kind', kind, 'quarantine_credential', credential, 'quarantine_at', now)
end

-- A refused credential may be the model's matter: a key that may not use it. It is the
-- backend's when the listing is refused too, or another model while the first refusal
-- stands and no model has answered since.
local refused = b[5] and b[5] ~= '' and b[7] == credential
if bar > 0 then
  local other = refused and b[5] ~= model and (tonumber(b[6]) or 0) > now
  local old = b[4] == credential and b[3] or 0
  if (unlisted == '1' or other) and grow(backend, 'quarantine_until', old, bar) then
    redis.call('HSET', backend, 'quarantine_kind', kind, 'quarantine_credential', credential)
  end
  redis.call('HSET', backend, 'refused_model', model, 'refused_until', now + bar, 'refused_credential', credential)
elseif refused and class == 'ok' then
  redis.call('HDEL', backend, 'refused_model', 'refused_until', 'refused_credential')
end

-- What was counted.
if faulty == '1' then
  redis.call('HINCRBY', model, 'errors', 1)
  redis.call('HSET', model, 'last_failure', now)
end
spend(model, input, cached, output, cost, waste, 1)
spend(backend, input, cached, output, cost, waste, 1)
redis.call('PEXPIRE', backend, model_keep)
if class ~= 'neutral' and not same then
  local score = tonumber(b[1]) or 1
  redis.call('HSET', backend, 'score', string.format('%.6f', 0.8 * score + (class == 'ok' and 0.2 or 0)))
end
if op ~= model then
  spend(op, input, cached, output, cost, waste, 1)
  redis.call('PEXPIRE', op, cost_keep)
end
if tenant ~= model then
  spend(tenant, input, cached, output, cost, waste, 1)
  redis.call('PEXPIRE', tenant, model_keep)
end
if reservation == '' then
  use(model, 'quota', quota_period, now, 1)
end
use(model, 'budget', budget_period, now, cost)
if dirty then
  changed(version, publish, channel)
end
return { 'OK', now, redis.call('GET', version) or '0' }
