-- entry_id(entry): the stream ID in a trace's entry (STREAM/ID).
-- map(flat): a flat list of fields and values as a table.
-- is_pending(stream, group, consumer, id): whether that entry is in that
-- consumer's pending list.
local function entry_id(entry)
  return string.match(entry or '', '/([^/]+)$')
end

local function map(flat)
  local m = {}
  for i = 1, #flat, 2 do
    m[flat[i]] = flat[i + 1]
  end
  return m
end

local function is_pending(stream, group, consumer, id)
  local found = redis.pcall('XPENDING', stream, group, id, id, 1, consumer)
  return not found.err and #found > 0
end
