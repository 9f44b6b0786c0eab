-- lines(steps, sn, ms): splits the flat list of an advance's fields into those of the
-- checkpoint and those of the trace: of each line, its place in a ring of 32 and `ms`
-- in front of it, and sn, their count. Each has at most 64 bytes, so that the trace
-- stays a listpack.
local function lines(steps, sn, ms)
  local saved, told = {}, {}
  local n = tonumber(sn) or 0
  for i = 1, #steps, 2 do
    if steps[i] == '!line' then
      n = n + 1
      told[#told + 1] = 's' .. n % 32
      told[#told + 1] = string.sub(ms .. ' ' .. steps[i + 1], 1, 64)
    else
      saved[#saved + 1] = steps[i]
      saved[#saved + 1] = steps[i + 1]
    end
  end
  if #told > 0 then
    told[#told + 1] = 'sn'
    told[#told + 1] = n
  end
  return saved, told
end
