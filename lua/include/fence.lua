-- guard(t, owner, epoch, token, seq): t = {owner, epoch, token, seq} as stored.
-- nil: the write is the current claim's and new. 'REPLAY': it was applied
-- before, answer the same. 'NOTFOUND', 'FENCED': refuse and change nothing.
local function guard(t, owner, epoch, token, seq)
  if not t[2] then
    return 'NOTFOUND'
  end
  if t[3] == token and t[4] == seq then
    return 'REPLAY'
  end
  if t[1] ~= owner or t[2] ~= epoch or t[3] ~= token or tonumber(seq) <= tonumber(t[4]) then
    return 'FENCED'
  end
  return nil
end
