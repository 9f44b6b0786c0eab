-- board sets or takes down marks of workers on the fleet's board, by the server's
-- clock, which is why it is a script. A mark holds until a time; nobody has to take
-- it down, so that a worker which dies leaves none for ever: what is over is tidied
-- by others, and only here, where it can be seen to be over. Run again it sets the
-- same marks a little longer; a caller that dies before has set none.
--
-- KEYS
--   1 board      the marks
-- ARGV
--   1 n          marks, 1 to 100
--   per mark, a +
--   1 mark       "deaf OWNER" or "busy OWNER"
--   2 lasts      ms from now; 0 takes it down if its time is over
-- RETURNS
--   now, ms
-- ERRORS
--   none of its own
--#include clock
local board = KEYS[1]
local n = tonumber(ARGV[1])
local now = clock()
for i = 1, n do
  local a = 1 + (i - 1) * 2
  local mark = ARGV[a + 1]
  local lasts = tonumber(ARGV[a + 2])
  if lasts > 0 then
    redis.call('HSET', board, mark, string.format('%.0f', now + lasts))
  elseif (tonumber(redis.call('HGET', board, mark) or '') or 0) <= now then
    redis.call('HDEL', board, mark)
  end
end
return now
