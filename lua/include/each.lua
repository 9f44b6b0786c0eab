-- raise(answer): raises again what the server refuses to everybody (a replica, too
-- few replicas, a full disk), else returns the error's text.
-- The client must see it, look for the master and ask again. It was true before
-- the first write, so nothing is half done.
local function raise(answer)
  local text = type(answer) == 'table' and answer.err or type(answer) == 'string' and answer or ''
  for _, code in ipairs({'READONLY', 'NOREPLICAS', 'MISCONF'}) do
    if string.find(text, code, 1, true) then
      -- A text gets ERR in front; with the dash go-redis still knows it for READONLY. Never a table of
      -- our own, as error({err = text}): Redis 7.0.15 crashes of it.
      error(type(answer) == 'string' and '-' .. answer or answer, 0)
    end
  end
  return text
end

-- code(text): the code word of an error's text.
local function code(text)
  for _, word in ipairs({'OOM', 'WRONGTYPE', 'NOPERM'}) do
    if string.find(text, word, 1, true) then
      return word
    end
  end
  return 'ERROR'
end

-- each(n, k, keys, a, args, one): calls one(k, a) for n operations whose slots
-- follow KEYS[k] and ARGV[a], `keys` and `args` of them each (args 0: the
-- operation's first slot holds its width), and returns the answers in order. An
-- operation that raises answers a code word and leaves its neighbours alone.
local function each(n, k, keys, a, args, one)
  local answers = {}
  for i = 1, tonumber(n) do
    local ok, answer = pcall(one, k, a)
    if not ok then
      answer = code(raise(answer))
    end
    answers[i] = answer
    k = k + keys
    a = a + (args > 0 and args or tonumber(ARGV[a + 1]))
  end
  return answers
end
