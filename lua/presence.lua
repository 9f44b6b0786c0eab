-- presence says which workers are there: how many listen to each control channel
-- by Redis's own count, and what stands on the board. It is one script so that
-- count and board are of one moment, and because a client of a cluster would ask
-- any node, while a script runs where the channels are. It writes nothing, so a
-- caller that dies at any point leaves nothing behind.
--
-- KEYS
--   1 board      what workers say of themselves: "deaf OWNER", "busy OWNER", until ms
--   per channel, k +
--   1 channel
-- ARGV
--   1 n          channels, 1 to 1000
--   2 count      the subcommand that counts: NUMSUB, on a cluster SHARDNUMSUB
-- RETURNS
--   {now, a count per channel, the board as a flat list}
-- ERRORS
--   none of its own; a server or proxy may refuse to count
--#include clock
local board = KEYS[1]
local n = tonumber(ARGV[1])
local count = ARGV[2]
local ask = { 'PUBSUB', count }
for i = 1, n do
  local k = 1 + i - 1
  local channel = KEYS[k + 1]
  ask[#ask + 1] = channel
end
local found = redis.call(unpack(ask))
local counts = {}
for i = 2, #found, 2 do
  counts[#counts + 1] = found[i]
end
return { clock(), counts, redis.call('HGETALL', board) }
