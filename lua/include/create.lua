-- create(k, t): writes a new trace and its request, and removes what an earlier
-- operation of the same ID left, so that its work is never restored (a minted ID,
-- without a hash, has no earlier one). k: the
-- keys trace, request, checkpoint, result, out, unique. t: id, body, hash,
-- fields (a flat list that already holds state, entry and history), unique.
-- Begins with a write that Redis may refuse.
local function create(k, t)
  redis.call('SET', k.request, t.body)
  if t.hash ~= '' then
    redis.call('UNLINK', k.checkpoint, k.result, k.out)
  end
  redis.call('HSET', k.trace, unpack(t.fields))
  if t.unique then
    redis.call('SET', k.unique, t.id .. ' ' .. t.hash)
  end
end
