-- observe records, under the fleet's lock, what one listing of a backend said: a
-- list of models, or that it failed and how often in a row. One script, because a
-- worker that reads the record without its list would route by half of it, and
-- because a holder that has lost the lock must write nothing. The last good list
-- stays for its time while listings fail. One holding of the lock lists a backend
-- once, so the fence tells a repeat, which changes nothing. A worker that dies
-- between the listing and this leaves the record as it was: the backend is due,
-- and whoever gets the lock next lists it again.
--
-- KEYS
--   1 lock
--   2 observed   the records of all backends, by NAME DIGEST
--   3 list       the last good list of this one
--   4 backend    its hash: availability and last probe
--   5 version    grows with every change that routing must see
--   6 channel    where that is told
-- ARGV
--   1 token
--   2 fence
--   3 publish    PUBLISH, or SPUBLISH on a cluster
--   4 field      NAME DIGEST
--   5 kind       of the failure; empty: a good list; empty_list: an answer without a model
--   6 models     JSON; empty where it failed
--   7 etag       of models
--   8 count      how many they are
--   9 took       ms
--   10 keep      ms that a good list is kept
--   11 backend_keep  ms that the backend's hash is kept
-- RETURNS
--   OK or FENCED
-- ERRORS
--   none of its own
--#include clock lockguard notice
local lock = KEYS[1]
local observed = KEYS[2]
local list = KEYS[3]
local backend = KEYS[4]
local version = KEYS[5]
local channel = KEYS[6]
local token = ARGV[1]
local fence = ARGV[2]
local publish = ARGV[3]
local field = ARGV[4]
local kind = ARGV[5]
local models = ARGV[6]
local etag = ARGV[7]
local count = ARGV[8]
local took = ARGV[9]
local keep = tonumber(ARGV[10])
local backend_keep = ARGV[11]
if not lockguard(lock, token, fence) then
  return 'FENCED'
end
local now = clock()
local old = redis.call('HGET', observed, field)
local listed, since, strikes, old_etag, old_count, old_fence, old_kind =
  string.match(old or '', '^%d+ (%d+) (%d+) (%d+) (%S+) (%d+) %d+ (%d+) (%S+)$')
if old_fence == fence then
  return 'OK'
end
listed = tonumber(listed) or 0
since = tonumber(since) or 0
strikes = tonumber(strikes) or 0
old_kind = old_kind or '-'
local score = tonumber(redis.call('HGET', backend, 'score')) or 1
local gone = redis.call('EXISTS', list) == 0
local before = { old_etag, old_kind, strikes > 1 }
local answered = kind == '' or kind == 'empty_list'

if kind == '' then
  redis.call('SET', list, models, 'PX', keep)
  listed = now
  since = 0
  strikes = 0
  kind = '-'
else
  etag = old_etag or '-'
  count = old_count or '0'
  if strikes == 0 then
    since = now
  end
  strikes = strikes + 1
  if gone or now - listed > keep then
    listed = 0
    etag = '-'
    count = '0'
  end
end
redis.call('HSET', observed, field,
  string.format('%.0f %.0f %.0f %.0f %s %s %s %s %s', now, listed, since, strikes, etag, count, took, fence, kind))
redis.call('HSET', backend, 'last_probe', now, 'score', string.format('%.6f', 0.8 * score + (answered and 0.2 or 0)))
redis.call('PEXPIRE', backend, backend_keep)
if etag ~= before[1] or kind ~= before[2] or (strikes > 1) ~= before[3] then
  changed(version, publish, channel)
end
return 'OK'
