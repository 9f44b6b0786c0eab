-- clock(): the server's wall clock in ms. As an argument of a command a number
-- keeps all its digits; put into a text it keeps 14, which last until 5138.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
