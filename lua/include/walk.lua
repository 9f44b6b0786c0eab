-- walk(from, path): validates every hop of a path of state letters and returns
-- the letter it ends in; nil when a hop is no edge of the lifecycle or a state
-- is unknown. Operations of a batch mostly go the same way, so answers are kept.
local walked = {}

local function walk(from, path)
  local way = (from or '?') .. path
  local last = walked[way]
  if last == nil then
    last = from
    for i = 1, #path do
      local to = string.sub(path, i, i)
      local after = NEXT[last]
      if not after or not NAMES[to] or not string.find(after, to, 1, true) then
        last = false
        break
      end
      last = to
    end
    walked[way] = last or false
  end
  return last or nil
end
