-- tick finds what is due in a partition, once per interval for the whole fleet:
-- delayed operations, deadlines, what parked ones wait for, and per stream the first entry that has been
-- idle for a lease. It only finds; promote and putback act. XPENDING IDLE is the
-- gate because it costs a fraction of an XAUTOCLAIM pass over young entries. A
-- partition with nothing waiting, running or delayed is looked at in every tenth
-- interval only, so that an idle fleet is quiet. Begins with a write that Redis
-- never refuses.
--
-- KEYS
--   1 tick       exists while an interval lasts
--   2 stats      the partition's counts
--   3 delayed    operations that wait for a time
--   4 deadlines  operations with a deadline
--   5 parked     operations that wait for something by its name
--   6 dead       the dead-letter stream
--   per stream, k +
--   1 stream
-- ARGV
--   1 interval   ms
--   2 group      the consumer group
--   3 lease      ms
--   4 most       due operations of each kind to name
--   5 n          streams
-- RETURNS
--   {1, now, counts as a flat list, due in delayed, due in deadlines, list of
--   {stream number, first idle ID}, what is waited for, dead
--   letters}; {0, now} when another had this interval
-- ERRORS
--   none of its own
--#include clock parked
local tick = KEYS[1]
local stats = KEYS[2]
local delayed = KEYS[3]
local deadlines = KEYS[4]
local parked = KEYS[5]
local dead = KEYS[6]
local interval = tonumber(ARGV[1])
local group = ARGV[2]
local lease = ARGV[3]
local most = ARGV[4]
local n = tonumber(ARGV[5])

redis.call('HDEL', stats, '-')
if not redis.call('SET', tick, '1', 'NX', 'PX', interval) then
  redis.call('PEXPIRE', tick, interval, 'LT') -- a clock that was set back has made it longer
  return { 0, clock() }
end
local now = clock()
local counts = redis.call('HGETALL', stats)
local open = 0
for i = 1, #counts, 2 do
  if string.find(counts[i], ':', 1, true) then
    open = open + math.max(tonumber(counts[i + 1]) or 0, 0)
  end
end
if open == 0 and math.floor(now / interval) % 10 ~= 0 then
  return { 1, now, counts, {}, {}, {}, {}, 0 }
end

local idle = {}
for i = 1, n do
  local k = 6 + i - 1
  local stream = KEYS[k + 1]
  local found = redis.pcall('XPENDING', stream, group, 'IDLE', lease, '-', '+', 1)
  if not found.err and found[1] then
    idle[#idle + 1] = { i, found[1][1] }
  end
end
local letters = redis.pcall('XLEN', dead)
local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)
local expired = redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, most)
return { 1, now, counts, due, expired, idle, targets(parked, most), type(letters) == 'number' and letters or 0 }
