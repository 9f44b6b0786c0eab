-- unlist forgets what is known of backends: their lists and records, so that each
-- of them is listed anew. Record and list go together. It can spare what was looked
-- at since a time, which it checks itself: a cycle that tidies and one that lists
-- do not cross. A repeat finds nothing left to remove.
--
-- KEYS
--   1 observed   the records of all backends, by NAME DIGEST
--   2 version    grows with every change that routing must see
--   3 channel    where that is told
--   per record, k +
--   1 list       its list
-- ARGV
--   1 n          records
--   2 publish    PUBLISH, or SPUBLISH on a cluster
--   3 before     ms; one that was looked at since stays
--   per record, a +
--   1 field      NAME DIGEST
-- RETURNS
--   how many records were removed
-- ERRORS
--   none of its own
--#include notice
local observed = KEYS[1]
local version = KEYS[2]
local channel = KEYS[3]
local n = tonumber(ARGV[1])
local publish = ARGV[2]
local before = tonumber(ARGV[3])
local removed = 0
for i = 1, n do
  local k = 3 + i - 1
  local a = 3 + i - 1
  local list = KEYS[k + 1]
  local field = ARGV[a + 1]
  local tried = string.match(redis.call('HGET', observed, field) or '', '^(%d+) ')
  if (tonumber(tried) or 0) < before then
    removed = removed + redis.call('HDEL', observed, field)
    redis.call('UNLINK', list)
  end
end
if removed > 0 then
  changed(version, publish, channel)
end
return removed
