-- reserved(member): what a reservation, TOKEN:TOKENS:COST:SLOT, says: tokens, cost in
-- nano-USD, and the slot of the window that its tokens are counted in.
local function reserved(member)
  local tokens, cost, slot = string.match(member, '^[^:]*:(%d+):(%d+):(%d+)$')
  return tonumber(tokens) or 0, tonumber(cost) or 0, tonumber(slot) or 0
end
