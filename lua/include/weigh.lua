-- weigh(entry): the bytes of an entry's fields and values.
-- travelling(entry, most): the entry as it travels: {ID, fields}, or {ID, bytes} of one
-- that is longer than most. An own entry always travels whole.
local function weigh(entry)
  local sum = 0
  for _, v in ipairs(entry[2]) do
    sum = sum + #v
  end
  return sum
end

local function travelling(entry, most)
  local sum = weigh(entry)
  return sum > most and { entry[1], sum } or entry
end
