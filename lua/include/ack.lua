-- ack(stream, id) notes an entry that is done with; write_acks(group) removes
-- all of them from their pending lists and their streams. Neither command is
-- ever refused for memory.
local acks = {}

local function ack(stream, id)
  local ids = acks[stream]
  if not ids then
    ids = {}
    acks[stream] = ids
  end
  ids[#ids + 1] = id
end

local function write_acks(group)
  for stream, ids in pairs(acks) do
    redis.call('XACK', stream, group, unpack(ids))
    redis.call('XDEL', stream, unpack(ids))
  end
end
