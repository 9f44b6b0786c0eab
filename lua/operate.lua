-- operate is what a person does to a model: disable it until it is enabled, or
-- reset what it is cold by (circuit, cooldown, quarantine), its backend's too.
-- Only here do deadlines shrink. The circuit's epoch grows, so that results of
-- calls that began before say nothing of it. Repeating it is harmless, so whoever
-- did not hear the answer, or died, says it again.
--
-- KEYS
--   1 model      the model's hash
--   2 backend    its backend's hash
--   3 version    grows with every change that routing must see
--   4 channel    where that is told
-- ARGV
--   1 what       enable, disable or reset
--   2 model_keep  ms that an enabled model is kept
--   3 publish    PUBLISH, or SPUBLISH on a cluster
-- RETURNS
--   {OK, now, version}
-- ERRORS
--   none of its own
--#include clock notice
local model = KEYS[1]
local backend = KEYS[2]
local version = KEYS[3]
local channel = KEYS[4]
local what = ARGV[1]
local model_keep = ARGV[2]
local publish = ARGV[3]
redis.call('HGET', backend, 'score')
if what == 'disable' then
  redis.call('HSET', model, 'disabled', '1')
  redis.call('PERSIST', model)
elseif what == 'enable' then
  redis.call('HSET', model, 'disabled', '0')
  redis.call('PEXPIRE', model, model_keep)
else
  redis.call('HINCRBY', model, 'epoch', 1)
  redis.call('HSET', model, 'circuit', '', 'failures', 0, 'failed_at', 0, 'failed_kind', '', 'opened', 0, 'open_until', 0, 'cooldown_until', 0,
    'quarantine_until', 0, 'quarantine_kind', '', 'quarantine_credential', '', 'quarantine_at', 0, 'probe_token', '', 'probe_owner', '', 'probe_until', 0,
    'limited', '')
  for i = 0, 11 do
    redis.call('HDEL', model, 'b' .. i)
  end
  redis.call('HDEL', backend, 'cooldown_until', 'quarantine_until', 'quarantine_kind', 'quarantine_credential',
    'refused_model', 'refused_until', 'refused_credential')
end
return { 'OK', clock(), changed(version, publish, channel) }
