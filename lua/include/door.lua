-- has_room(stats, limit, field): whether a count of the partition, and what this
-- call has added to it, is under the limit. take_place(field) takes the place that was
-- found; one that fails in between takes none from its neighbours.
local room = {}

local function has_room(stats, limit, field)
  if not room[field] then
    room[field] = limit - (tonumber(redis.call('HGET', stats, field)) or 0)
  end
  return room[field] > 0
end

local function take_place(field)
  room[field] = room[field] - 1
end
