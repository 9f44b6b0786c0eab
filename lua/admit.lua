-- admit lets one call of a model begin, or says why not and until when: it takes
-- the half-open circuit's one probe lease, counts the call in the windows of
-- requests and tokens, and reserves its tokens and its cost, all or nothing.
-- Reaching a limit is allowed, passing it is not. The same owner and key are
-- answered alike and counted once. A worker that dies afterwards leaves lease and
-- reservation to their expiry: the next admission, given or refused, takes back what
-- has expired, 1,000 calls at a time. The request stays counted, for it may have been
-- made. What a limit, a budget or a quota refuses is noted on the model's hash, for
-- people to see; the next admission takes the note away.
--
-- KEYS
--   1 model      the model's hash
--   2 backend    its backend's hash
--   3 version    grows with every change that routing must see
--   4 seen       of this call's key
--   5 holds      the model's reservations by expiry
--   6 channel    where a new version is told
-- ARGV
--   1 token      of this call and its owner
--   2 owner      who holds a probe, for people
--   3 lease      ms that probe and reservation hold, unless hold prolongs them
--   4 tokens     to reserve
--   5 cost       to reserve, nano-USD
--   6 rpm        requests per minute; 0 no limit
--   7 tpm        tokens per minute; 0 no limit
--   8 concurrent  calls at a time; 0 no limit
--   9 budget     nano-USD per period; 0 none
--   10 budget_period
--   11 quota     requests per period; 0 none
--   12 quota_period
--   13 credential  hash of the caller's credential
--   14 model_keep  ms that the model is kept
--   15 window    of rpm and tpm, ms; in 12 buckets and one more, so that none passes
--   16 publish   PUBLISH, or SPUBLISH on a cluster
-- RETURNS
--   {OK, now, version, reservation, until, probe 0 or 1, epoch}; {NO, now, version,
--   reason, until}, until 0: never by itself
-- ERRORS
--   none of its own
--#include clock notice period reserved use
local model = KEYS[1]
local backend = KEYS[2]
local version = KEYS[3]
local seen = KEYS[4]
local holds = KEYS[5]
local channel = KEYS[6]
local token = ARGV[1]
local owner = ARGV[2]
local lease = tonumber(ARGV[3])
local tokens = tonumber(ARGV[4])
local cost = tonumber(ARGV[5])
local rpm = tonumber(ARGV[6])
local tpm = tonumber(ARGV[7])
local concurrent = tonumber(ARGV[8])
local budget = tonumber(ARGV[9])
local budget_period = ARGV[10]
local quota = tonumber(ARGV[11])
local quota_period = ARGV[12]
local credential = ARGV[13]
local model_keep = ARGV[14]
local window = tonumber(ARGV[15])
local publish = ARGV[16]
local now = clock()

local m = redis.call('HMGET', model, 'circuit', 'epoch', 'open_until', 'probe_token', 'probe_until', 'cooldown_until',
  'quarantine_until', 'disabled', 'held_cost', 'budget_used', 'budget_start', 'quota_used', 'quota_start', 'quarantine_credential', 'limited')
local b = redis.call('HMGET', backend, 'cooldown_until', 'quarantine_until', 'quarantine_credential')
local function num(v) return tonumber(v) or 0 end
local current = redis.call('GET', version) or '0'
local epoch = m[2] or '0'

-- The same call again, while it holds.
local admitted = redis.call('GET', seen)
local probe, until_ms, member = string.match(admitted or '', '^D?A (%d) (%d+) (.*)$')
if member and string.match(member, '^[^:]*') == token and tonumber(until_ms) > now then
  return { 'OK', now, current, member, until_ms, tonumber(probe), epoch }
end
local done = string.sub(admitted or '', 1, 1) == 'D' and 'D' or ''

local function no(reason, at)
  return { 'NO', now, current, reason, at }
end

-- full refuses by what is declared of the model, and notes REASON UNTIL SHOWN. What no
-- time ends is a matter of that call, and shown for a while only. A server that refuses
-- the note, being out of memory, changes nothing of the answer.
local function full(reason, at)
  local note = string.format('%s %.0f %.0f', reason, at, at > 0 and at or now + 600000)
  if note ~= m[15] then
    redis.pcall('HSET', model, 'limited', note)
    if m[8] ~= '1' then
      redis.pcall('PEXPIRE', model, model_keep)
    end
  end
  return no(reason, at)
end

-- What crashed workers held goes back, also where this call is then refused: else their
-- money would refuse every call that could give it back.
local gone = redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, 1000)
local held_cost = num(m[9])
for _, member in ipairs(gone) do
  local _, money = reserved(member)
  held_cost = math.max(held_cost - money, 0)
end
if #gone > 0 then
  redis.call('ZREMRANGEBYRANK', holds, 0, #gone - 1)
end
if redis.call('ZCARD', holds) == 0 then
  held_cost = 0
end
if held_cost ~= num(m[9]) then
  redis.call('HSET', model, 'held_cost', held_cost)
end
local running = redis.call('ZCOUNT', holds, string.format('(%.0f', now), '+inf')

-- used(start, sum, period): what the running period has used.
local function used(start, sum, period)
  return num(start) >= period_start(period, now) and num(sum) or 0
end

-- next_start: the period behind this one begins 31 days after its start at the latest.
local function next_start(period)
  local start = period_start(period, now)
  local length = ({ hourly = 3600000, daily_utc = DAY, weekly = 7 * DAY })[period]
  return length and start + length or period_start(period, start + 31 * DAY + DAY / 2)
end

if budget > 0 then
  local spent = used(m[11], m[10], budget_period)
  if cost > budget then
    return full('budget_exceeded', 0)
  elseif spent + cost > budget then
    return full('budget_exceeded', next_start(budget_period))
  elseif spent + held_cost + cost > budget then -- the calls under way may leave some of it
    return full('budget_exceeded', now + 1000)
  end
end
if quota > 0 and used(m[13], m[12], quota_period) + 1 > quota then
  return full('quota_exhausted', next_start(quota_period))
end
local cold = math.max(num(m[6]), num(b[1]))
if cold > now then
  return no('quota_exhausted', cold)
end
local ours = not m[14] or m[14] == '' or m[14] == credential
local barred = math.max(ours and num(m[7]) or 0, b[3] == credential and num(b[2]) or 0)
if barred > now then
  return no('error_threshold', barred)
end
probe = 0
if m[1] and m[1] ~= '' then
  if num(m[3]) > now then
    return no('error_threshold', num(m[3]))
  elseif m[4] and m[4] ~= '' and m[4] ~= token and num(m[5]) > now then
    return no('error_threshold', num(m[5]))
  end
  probe = 1
end

-- The windows: 13 buckets, so that a full window is always covered.
local width = window / 12
local slot = math.floor(now / width)
local requests, sum = 0, 0
local here, here_sum = 0, 0
local old = {}
for i = slot - 12, slot do
  local s, r, t = string.match(redis.call('HGET', model, 'w' .. i % 13) or '', '^(%d+) (%d+) (%d+)$')
  if tonumber(s) == i then
    requests = requests + r
    sum = sum + t
    old[#old + 1] = { i, tonumber(r), tonumber(t) }
    if i == slot then
      here, here_sum = tonumber(r), tonumber(t)
    end
  end
end

-- freed(n, more): when enough of the oldest buckets have left the window.
local function freed(n, more)
  for _, bucket in ipairs(old) do
    more = more - bucket[n]
    if more <= 0 then
      return (bucket[1] + 13) * width
    end
  end
  return now + window
end

if tpm > 0 then
  if tokens > tpm then
    return full('token_limit', 0)
  elseif sum + tokens > tpm then
    return full('token_limit', freed(3, sum + tokens - tpm))
  end
end
if rpm > 0 and requests + 1 > rpm then
  return full('request_limit', freed(2, requests + 1 - rpm))
end
if concurrent > 0 and running + 1 > concurrent then -- who gives a place back brings one of these back
  return full('request_limit', now + 10000)
end
if m[8] == '1' then
  return no('manual', 0)
end

until_ms = now + lease
if m[15] and m[15] ~= '' then
  redis.call('HDEL', model, 'limited')
end
member = string.format('%s:%.0f:%.0f:%.0f', token, tokens, cost, slot)
if rpm + tpm + concurrent + budget + quota > 0 then
  redis.call('ZADD', holds, until_ms, member)
  redis.call('PEXPIRE', holds, model_keep) -- as long as the sum of its costs
  redis.call('HSET', model, 'w' .. slot % 13, string.format('%.0f %.0f %.0f', slot, here + 1, here_sum + tokens),
    'held_cost', held_cost + cost)
  use(model, 'quota', quota_period, now, 1)
end
local ttl = done == 'D' and redis.call('PTTL', seen) or 0
redis.call('SET', seen, done .. string.format('A %d %.0f ', probe, until_ms) .. member, 'PX', math.max(lease + 60000, ttl))
if probe == 1 then
  redis.call('HSET', model, 'probe_token', token, 'probe_owner', owner, 'probe_until', until_ms)
  current = changed(version, publish, channel)
end
redis.call('PEXPIRE', model, model_keep) -- it is not disabled: that had been refused
return { 'OK', now, current, member, until_ms, probe, epoch }
