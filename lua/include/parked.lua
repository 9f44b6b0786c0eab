-- The parked set has a member for each operation that waits for something by its
-- name: PLACE|ID, where PLACE is TARGET|MS, the time at which it was parked. All
-- scores are 0, so that the members of a target lie together, the oldest first. The
-- trace keeps its place in the field parked. A member whose trace is not parked there
-- any more is a leftover (of a worker of an older version), and harmless: promote
-- takes it out when its target is woken.
-- place_of(target, now): the place of an operation that is parked now.
-- targets(parked, most): what is waited for, each once, in order.
local function place_of(target, now)
  return target .. '|' .. string.format('%014.0f', now)
end

local function targets(parked, most)
  local found, from = {}, '-'
  for _ = 1, tonumber(most) do
    local first = redis.pcall('ZRANGE', parked, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
    if not first then
      break
    end
    local target = string.match(first, '^(.*)|%d+|[^|]+$')
    found[#found + 1] = target
    from = '(' .. (target and target .. '}' or first)
  end
  return found
end
