-- read takes entries for the free slots of a worker without blocking: the resume
-- streams first, then the queues by their shares, then what is left over in
-- order; of a queue with a limit no more than that over both of its streams. It is
-- one script because XREADGROUP's COUNT is per stream: three commands would bring
-- three times what there is room for. What was read by a process that dies before
-- it claims is put back by a sweep; a replay reads further entries. Long foreign
-- entries do not travel, and where some may be it reads a few at a time, so that neither
-- the reply nor the work grows with their bytes.
--
-- KEYS
--   k +
--   1 stream     resume streams first, then queues, in the order of preference
-- ARGV
--   1 n          streams
--   2 group      the consumer group
--   3 consumer   the caller
--   4 room       entries wanted in all
--   5 long       bytes from which an entry does not travel
--   6 enough     bytes after which it reads no more
--   per stream, a +
--   1 share      entries of the first pass; the second takes what room is left
--   2 queue      number of its queue, the same for its resume stream
--   3 most       entries of that queue in all
--   4 step       entries that it reads at a time
-- RETURNS
--   a list of {stream number, entries} as XREADGROUP lists them, of a long entry its
--   bytes instead of its fields; a last {0, text} is the error of a stream that was left
--   out, as others' entries were delivered
-- ERRORS
--   NOGROUP: nothing was delivered, and some stream has no group
--#include weigh
local n = tonumber(ARGV[1])
local group = ARGV[2]
local consumer = ARGV[3]
local room = tonumber(ARGV[4])
local long = tonumber(ARGV[5])
local enough = tonumber(ARGV[6])
local got, empty, refused = {}, {}, nil
local shares, queues, left, steps = {}, {}, {}, {}

for i = 1, n do
  local a = 6 + (i - 1) * 4
  local share = ARGV[a + 1]
  local queue = ARGV[a + 2]
  local most = ARGV[a + 3]
  local step = ARGV[a + 4]
  shares[i], queues[i], left[queue], steps[i] = tonumber(share), queue, tonumber(most), tonumber(step)
end

local function take(i, most)
  most = math.min(most, room, left[queues[i]])
  local k = i - 1
  local stream = KEYS[k + 1]
  local taken = {}
  while #taken < most and not empty[i] and enough > 0 do
    local count = math.min(most - #taken, steps[i])
    local reply = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
    local entries = {}
    if reply and reply.err then
      refused = reply
    else
      entries = reply and reply[1] and reply[1][2] or {}
    end
    empty[i] = #entries < count
    for _, e in ipairs(entries) do
      enough = enough - weigh(e)
      taken[#taken + 1] = travelling(e, long)
    end
  end
  if #taken > 0 then
    room = room - #taken
    left[queues[i]] = left[queues[i]] - #taken
    got[#got + 1] = { i, taken }
  end
end

for i = 1, n do
  take(i, shares[i])
end
for i = 1, n do
  take(i, room)
end
if refused and #got > 0 then
  got[#got + 1] = { 0, refused.err }
end
return #got == 0 and refused or got
