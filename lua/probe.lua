-- probe counts the listeners of a channel within a script, as presence does, so
-- that doctor can say whether this server lets a script do that.
--
-- KEYS
--   1 channel
-- ARGV
--   1 count      NUMSUB, or SHARDNUMSUB on a cluster
-- RETURNS
--   how many listen
-- ERRORS
--   whatever the server says, raised
--#include
local channel = KEYS[1]
local count = ARGV[1]
return redis.call('PUBSUB', count, channel)[2]
