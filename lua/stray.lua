-- stray gives a lifetime to what an operation left whose trace is gone (somebody
-- deleted it): nothing else would ever remove its request, checkpoint or result.
-- Check and lifetime are one step, because the ID may be used again between
-- them; creating a trace takes the lifetime away. Never refused for memory, and a
-- repeat changes nothing.
--
-- KEYS
--   per key, k +
--   1 key
--   2 trace      of the same ID
-- ARGV
--   1 n          keys, 1 to 100
--   2 lifetime   ms
--   3 act        1 gives it; 0 counts only
-- RETURNS
--   how many had no trace and no lifetime
-- ERRORS
--   none of its own
--#include
local n = tonumber(ARGV[1])
local lifetime = ARGV[2]
local act = ARGV[3] == '1'
local found = 0
for i = 1, n do
  local k = (i - 1) * 2
  local key = KEYS[k + 1]
  local trace = KEYS[k + 2]
  if redis.call('EXISTS', trace) == 0 and redis.call('PTTL', key) == -1 then
    found = found + 1
    if act then
      redis.call('PEXPIRE', key, lifetime)
    end
  end
end
return found
