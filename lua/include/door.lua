-- has_room(stats, limit, field): whether a count of the partition, and what this
-- call has added to it, is under the limit. A queue that is not counted yet has no room
-- when the partition has 1,000, each with three counts at most. take_place(field) takes
-- the place that was found; one that fails in between takes none from its neighbours.
-- refusal(field): the answer where there is no room.
local QUEUES = 1000
local room = {}
local crowded = {}

local function has_room(stats, limit, field)
  if not room[field] then
    local counted = redis.call('HGET', stats, field)
    room[field] = limit - (tonumber(counted) or 0)
    -- HLEN would need a right that users of the version before do not have.
    if not counted and #redis.call('HGETALL', stats) >= 2 * 3 * QUEUES then
      local queue = string.match(field, ':(.*)$')
      local known = redis.call('HMGET', stats, 'waiting:' .. queue, 'running:' .. queue, 'delayed:' .. queue)
      if not (known[1] or known[2] or known[3]) then
        room[field], crowded[field] = 0, true
      end
    end
  end
  return room[field] > 0
end

local function take_place(field)
  room[field] = room[field] - 1
end

local function refusal(field)
  return crowded[field] and 'MANYQUEUES' or 'QUEUEFULL'
end
