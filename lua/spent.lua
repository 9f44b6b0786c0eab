-- spent adds to the costs of an operation or a tenant what a worker has counted
-- by itself. A repeat under the same key adds nothing. A worker that dies before it
-- loses these counts.
--
-- KEYS
--   1 costs      of the operation or tenant
--   2 seen       of this batch's key
-- ARGV
--   1 requests   in all
--   2 input      tokens
--   3 cached     tokens
--   4 output     tokens
--   5 cost       nano-USD
--   6 keep       ms that seen is kept
--   7 cost_keep  ms that the costs are kept
-- RETURNS
--   OK or REPLAY
-- ERRORS
--   none of its own
--#include spend
local costs = KEYS[1]
local seen = KEYS[2]
local requests = ARGV[1]
local input = ARGV[2]
local cached = ARGV[3]
local output = ARGV[4]
local cost = ARGV[5]
local keep = ARGV[6]
local cost_keep = ARGV[7]
redis.call('HGET', costs, 'cost')
if redis.call('GET', seen) then
  return 'REPLAY'
end
redis.call('SET', seen, 'D', 'PX', keep)
spend(costs, input, cached, output, cost, '', requests)
redis.call('PEXPIRE', costs, cost_keep)
return 'OK'
