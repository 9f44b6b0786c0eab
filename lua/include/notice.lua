-- changed(version, publish, channel): makes the fleet's version grow, tells those
-- who listen on the channel, and answers the new version. The word is a hint, so a
-- server or user that refuses to publish changes nothing of what was written.
local function changed(version, publish, channel)
  local grown = redis.call('INCR', version)
  redis.pcall(publish, channel, 'state ' .. string.format('%.0f', grown))
  return grown
end
