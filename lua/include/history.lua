-- hop(hn, path, now, created, took, extra): the field and value of the next
-- record of a trace's history, and its number. A ring of 64 records, so that a
-- long tool loop stays bounded; each under 64 bytes, so that the trace stays a
-- listpack.
local function hop(hn, path, now, created, took, extra)
  local n = (hn or 0) + 1
  local value = path .. ' ' .. (now - (created or now)) .. ' ' .. took
  if extra and extra ~= '' then
    value = value .. ' ' .. extra
  end
  return 'h' .. n % 64, value, n
end
