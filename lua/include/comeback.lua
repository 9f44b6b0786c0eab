-- comeback(delayed, parked, trace, stream, name, id, t, state, now): gives an entry in
-- a stream (by its key, and by its name in a trace) to an operation that waits for a
-- time. t: its state, created, hn, queue and parked; state: its letter, R or W. It
-- begins with a write that Redis never refuses.
local function comeback(delayed, parked, trace, stream, name, id, t, state, now)
  redis.call('HDEL', trace, 'parked')
  local entry = redis.call('XADD', stream, '*', 't', id)
  local hf, hv, hn = hop(t[3], 'Q', now, t[2], 0, '')
  redis.call('HSET', trace, 'state', 'QUEUED', 'entry', name .. ':' .. t[4] .. '/' .. entry, 'hn', hn, hf, hv)
  redis.call('ZREM', delayed, id)
  if t[5] then
    redis.call('ZREM', parked, t[5] .. '|' .. id)
  end
  moved(t[4], state, 'Q')
end
