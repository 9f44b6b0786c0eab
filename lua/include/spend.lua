-- spend(key, input, cached, output, cost, waste, requests): adds to what a model,
-- a backend, a tenant or an operation has used. Cost is in nano-USD, also under
-- the cause by which it was wasted.
local function spend(key, input, cached, output, cost, waste, requests)
  for field, by in pairs({ requests = requests, input = input, cached = cached, output = output, cost = cost }) do
    if tonumber(by) ~= 0 then
      redis.call('HINCRBY', key, field, by)
    end
  end
  if waste ~= '' and tonumber(cost) ~= 0 then
    redis.call('HINCRBY', key, 'waste_' .. waste, cost)
  end
end
