-- entries reads entries of a stream that the caller has taken over without their
-- fields: long ones do not travel, because a reply with many of them is longer than a
-- slow link carries within the client's time-out. Of those it says how often their
-- taking over was begun. It only reads.
--
-- KEYS
--   1 stream
--   2 tries      of long foreign entries
-- ARGV
--   1 long       bytes from which an entry does not travel
--   2 short      the stream's name in a trace's entry: stream:QUEUE
--   3 n          entries
--   per entry, a +
--   1 entry      the stream ID
-- RETURNS
--   the entries that are there: {ID, fields}, or {ID, bytes, tries} of a long one
-- ERRORS
--   none of its own
--#include weigh
local stream = KEYS[1]
local tries = KEYS[2]
local long = tonumber(ARGV[1])
local short = ARGV[2]
local n = tonumber(ARGV[3])
local found = {}
for i = 1, n do
  local a = 3 + i - 1
  local entry = ARGV[a + 1]
  local there = redis.call('XRANGE', stream, entry, entry)[1]
  if there then
    local e = travelling(there, long)
    if type(e[2]) == 'number' then
      e[3] = tonumber(redis.call('HGET', tries, short .. '/' .. entry)) or 0
    end
    found[#found + 1] = e
  end
end
return found
