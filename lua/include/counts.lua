-- moved(queue, from, to) notes that an operation changed state (letters, '' for
-- none); write_counts(stats) adds the sums of a call to the partition's counts:
-- waiting:QUEUE, running:QUEUE, delayed:QUEUE.
local CLASS = {
  R = 'delayed:', W = 'delayed:', P = 'delayed:', Q = 'waiting:', L = 'waiting:',
  C = 'running:', G = 'running:', I = 'running:', T = 'running:', O = 'running:', D = 'running:', V = 'running:',
}
local deltas = {}

local function count(field, by)
  deltas[field] = (deltas[field] or 0) + by
end

local function moved(queue, from, to)
  if CLASS[from] == CLASS[to] then
    return
  end
  if CLASS[from] then
    count(CLASS[from] .. queue, -1)
  end
  if CLASS[to] then
    count(CLASS[to] .. queue, 1)
  end
end

local function write_counts(stats)
  for field, by in pairs(deltas) do
    if by ~= 0 then
      redis.call('HINCRBY', stats, field, by)
    end
  end
end
