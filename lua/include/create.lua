-- create(k, t): writes a new trace and its request, and removes what an earlier
-- operation of the same ID left, so that its work is never restored. k: the
-- keys trace, request, checkpoint, result, out, unique. t: id, body, hash,
-- fields (a flat list that already holds state, entry and history), unique.
-- Begins with a write that Redis may refuse.
local function create(k, t)
  redis.call('SET', k.request, t.body)
  redis.call('UNLINK', k.checkpoint, k.result, k.out)
  redis.call('HSET', k.trace, unpack(t.fields))
  if t.unique then
    redis.call('SET', k.unique, t.id .. ' ' .. t.hash)
  end
end
