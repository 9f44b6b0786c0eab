-- each(n, k, keys, a, args, one): calls one(k, a) for n operations whose slots
-- follow KEYS[k] and ARGV[a], `keys` and `args` of them each (args 0: the
-- operation's first slot holds its width), and returns the answers in order. An
-- operation that raises answers a code word and leaves its neighbours alone.
local function each(n, k, keys, a, args, one)
  local answers = {}
  for i = 1, tonumber(n) do
    local ok, answer = pcall(one, k, a)
    if not ok then
      local text = type(answer) == 'table' and answer.err or tostring(answer)
      answer = 'ERROR'
      for _, code in ipairs({'OOM', 'WRONGTYPE', 'NOPERM'}) do
        if string.find(text, code, 1, true) then
          answer = code
        end
      end
    end
    answers[i] = answer
    k = k + keys
    a = a + (args > 0 and args or tonumber(ARGV[a + 1]))
  end
  return answers
end
