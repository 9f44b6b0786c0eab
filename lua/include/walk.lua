-- walk(from, path): validates every hop of a path of state letters and returns
-- the letter it ends in; nil when a hop is no edge of the lifecycle or a state
-- is unknown.
local function walk(from, path)
  for i = 1, #path do
    local to = string.sub(path, i, i)
    local after = NEXT[from]
    if not after or not NAMES[to] or not string.find(after, to, 1, true) then
      return nil
    end
    from = to
  end
  return from
end
