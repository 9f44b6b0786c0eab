-- follow marks an operation as followed, so that its worker writes frames and its
-- end is told in its token stream. It is nobody's claim and changes nothing that
-- the protocol compares. An operation that has ended, or whose trace is gone, is
-- left alone: an expired trace is never brought back. A process that dies before
-- or after it leaves an operation that is followed by nobody, which costs some
-- frames. Begins with a write that Redis never refuses, because who waits for an
-- answer must be let wait also while memory is full.
--
-- KEYS
--   1 trace
-- ARGV
--   1 mark       the field's value
-- RETURNS
--   {state, owner when it was marked just now, else empty}; {NOTFOUND, empty}
-- ERRORS
--   none of its own
--#include
local trace = KEYS[1]
local mark = ARGV[1]

local t = redis.call('HMGET', trace, 'state', 'followed', 'owner')
if not t[1] then
  return { 'NOTFOUND', '' }
end
if t[1] == 'COMPLETED' or t[2] then
  return { t[1], '' }
end
redis.call('HDEL', trace, '-')
redis.call('HSET', trace, 'followed', mark)
return { t[1], t[3] or '' }
