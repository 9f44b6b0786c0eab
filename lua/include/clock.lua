-- clock(): the server's wall clock in ms. int(x): a number as Redis stores it.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(x)
  return string.format('%.0f', x)
end
