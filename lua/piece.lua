-- piece reads a piece of a long foreign entry that is pending with the caller, and
-- renews it, so that no sweep takes it meanwhile. An entry that is too long, or that
-- ended everybody who took it over, is not read but told of: its values are cut. Who
-- takes one over notes first that it tries, so that an entry which kills its readers
-- before there is a claim that could count it is set aside too. A replay changes
-- nothing.
--
-- KEYS
--   1 stream
--   2 tries      of long foreign entries
-- ARGV
--   1 group      the consumer group
--   2 consumer   the caller
--   3 short      the stream's name in a trace's entry: stream:QUEUE
--   4 entry      the stream ID
--   5 from       bytes of the text that the caller has
--   6 bytes      of a piece
--   7 most       bytes of the longest entry that is read
--   8 try        number of this taking over; 0 where the caller read it first
-- RETURNS
--   {bytes of the entry, bytes of the text, piece}; the text is LENGTH:FIELD
--   LENGTH:VALUE... without spaces, of an entry over most with values cut to 256 bytes;
--   {} when the entry is gone or not the caller's
-- ERRORS
--   none of its own
--#include entry weigh
local stream = KEYS[1]
local tries = KEYS[2]
local group = ARGV[1]
local consumer = ARGV[2]
local short = ARGV[3]
local entry = ARGV[4]
local from = tonumber(ARGV[5])
local bytes = tonumber(ARGV[6])
local most = tonumber(ARGV[7])
local try = tonumber(ARGV[8])

local there = redis.call('XRANGE', stream, entry, entry)[1]
if not there or not is_pending(stream, group, consumer, entry) then
  return {}
end
redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
if try > 0 then
  redis.call('HSET', tries, short .. '/' .. entry, try)
  redis.call('PEXPIRE', tries, 86400000)
end
local weight, text, some = weigh(there), {}, {}
for i, v in ipairs(there[2]) do
  if weight > most then
    v = string.sub(v, 1, 256)
    if i > 200 then
      break
    end
  end
  some[#some + 1] = #v .. ':' .. v
  if #some == 200 then -- an embedded Redis joins no more than some thousand at once
    text[#text + 1] = table.concat(some)
    some = {}
  end
end
text = table.concat(text) .. table.concat(some)
return { weight, #text, string.sub(text, from + 1, from + bytes) }
