-- session changes what a session sticks to, by compare-and-set on its active
-- member and, where the caller knows it, on its generation, which grows with
-- every bind and move and never repeats: two processes that fail over together
-- switch once, and a late one finds the winner's choice. The home never changes.
-- The answer is the session in force. A repeat with the same nonce answers alike. A
-- worker that dies before it leaves the session as it was: the next one moves it.
--
-- KEYS
--   1 session
-- ARGV
--   1 what       bind, move, back (a return home), served, drop
--   2 from       the active member that the caller knows; empty: not compared
--   3 to
--   4 home       of a bind
--   5 most       switches since the last served request; -1 unbounded
--   6 life       ms after the last use
--   7 gen        that the caller knows; 0: not compared
--   8 nonce      of this change
-- RETURNS
--   {1 if this call changed it else 0, now, home, active, switches, idle_since,
--   gen}; home empty: there is no session
-- ERRORS
--   none of its own
--#include clock
local session = KEYS[1]
local what = ARGV[1]
local from = ARGV[2]
local to = ARGV[3]
local home = ARGV[4]
local most = tonumber(ARGV[5])
local life = ARGV[6]
local gen = ARGV[7]
local nonce = ARGV[8]
local now = clock()

local s = redis.call('HMGET', session, 'home', 'active', 'switches', 'idle_since', 'gen', 'nonce')
local switches = tonumber(s[3]) or 0
local function answer(changed, home, active, switches, idle_since, gen)
  return { changed, now, home or '', active or '', switches or 0, idle_since or 0, gen or 0 }
end

if s[6] == nonce then
  return answer(1, s[1], s[2], switches, s[4], s[5])
end
local next_gen = math.max((tonumber(s[5]) or 0) + 1, now)
if not s[1] then
  if what ~= 'bind' then
    return answer(0, nil, nil, 0, 0, s[5])
  end
  redis.call('HSET', session, 'home', home, 'active', to, 'switches', 0, 'idle_since', now, 'gen', next_gen, 'nonce', nonce)
  redis.call('PEXPIRE', session, life)
  return answer(1, home, to, 0, now, next_gen)
end
local same = (from == '' or from == s[2]) and (gen == '0' or gen == s[5])
if what == 'bind' or not same then
  return answer(0, s[1], s[2], switches, s[4], s[5])
end
if what == 'served' then
  redis.call('HSET', session, 'switches', 0, 'idle_since', now, 'nonce', nonce)
  redis.call('PEXPIRE', session, life)
  return answer(1, s[1], s[2], 0, now, s[5])
elseif what == 'drop' then
  -- The generation outlives it for a minute, for changes that are still under way.
  redis.call('HDEL', session, 'home', 'active', 'switches', 'idle_since')
  redis.call('HSET', session, 'nonce', nonce)
  redis.call('PEXPIRE', session, 60000)
  return answer(1, nil, nil, 0, 0, s[5])
end
if what == 'move' then
  if to == s[2] or most >= 0 and switches + 1 > most then
    return answer(0, s[1], s[2], switches, s[4], s[5])
  end
  switches = switches + 1
end
redis.call('HSET', session, 'active', to, 'switches', switches, 'gen', next_gen, 'nonce', nonce)
redis.call('PEXPIRE', session, life)
return answer(1, s[1], to, switches, s[4], next_gen)
