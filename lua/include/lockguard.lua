-- lockguard(lock, token, fence): whether a write under the fleet's lock may go
-- on. A lock that has expired refuses, even when nobody has taken it since.
local function lockguard(lock, token, fence)
  local l = redis.call('HMGET', lock, 'token', 'fence')
  return l[1] == token and l[2] == fence
end
