-- use(key, name, period, now, by): counts `by` in the running period of a quota
-- or budget: fields NAME_used and NAME_start. A period that has ended starts
-- anew; a clock set back does not bring an old one back.
local function use(key, name, period, now, by)
  local start = period_start(period, now)
  if start == 0 then
    return
  end
  if start > (tonumber(redis.call('HGET', key, name .. '_start')) or 0) then
    redis.call('HSET', key, name .. '_start', start, name .. '_used', 0)
  end
  redis.call('HINCRBY', key, name .. '_used', by)
end
