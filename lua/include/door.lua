-- has_room(stats, limit, field): whether a count of the partition, and what this
-- call has added to it, is under the limit. It takes the place that it finds.
local room = {}

local function has_room(stats, limit, field)
  if not room[field] then
    room[field] = limit - (tonumber(redis.call('HGET', stats, field)) or 0)
  end
  if room[field] <= 0 then
    return false
  end
  room[field] = room[field] - 1
  return true
end
