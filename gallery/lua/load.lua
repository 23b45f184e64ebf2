-- Identities whole, as they stand at one moment; reads only. KEYS 1: meta. ARGV: prefix, 'brief' or 'full', the epoch
-- whose embeddings are wanted, then ids.
-- Replies with JSON, an array for each identity that is there, and with all of their embeddings' bytes, one after another.
-- An epoch that is the one wanted is `true`, and a positive vector that is as it should be is, in brief, its number
-- alone: of a million nearly all are, and writing out and reading the rest takes longer than the vectors themselves.
local prefix, brief, epoch = ARGV[1], ARGV[2] == 'brief', ARGV[3]
local meta = redis.call('HMGET', KEYS[1], 'storage', 'dimension')
local storage = meta[1]
local size = (tonumber(meta[2] or 0) or 0) * (storage == 'float16' and 2 or 4)
local found, bytes = {}, {}

local function described(id, n)
  local key = prefix .. 'vector:' .. id .. ':' .. n
  local v = redis.pcall('HMGET', key, 'embedding', 'dtype', 'epoch', 'polarity')
  if v.err then return {n, -1, v.err} end
  if v[3] ~= epoch then
    local beside = redis.call('HGET', key, 'embedding:' .. epoch)
    if beside then v[1], v[3] = beside, epoch end
  end
  if v[1] then bytes[#bytes + 1] = v[1] end
  if brief and v[1] and #v[1] == size and v[2] == storage and v[3] == epoch and v[4] == 'positive' then return n end
  local more = redis.call('HMGET', key, 'quality', 'enrolled_at_ms')
  return {n, v[1] and #v[1] or -1, v[2], v[3] == epoch or v[3], v[4], more[1], more[2]}
end

for i = 4, #ARGV do
  local id = ARGV[i]
  local one = redis.pcall('HMGET', prefix .. 'identity:' .. id, 'name', 'created_at_ms', 'updated_at_ms', 'revision',
    'vectors', 'negatives')
  if not one.err and one[2] then
    local vectors = {}
    for list = 5, 6 do
      for n in string.gmatch(one[list] or '', '%d+') do vectors[#vectors + 1] = described(id, n) end
    end
    found[#found + 1] = {id, one[1], one[2], one[3], one[4], vectors}
  end
end
return {cjson.encode(found), table.concat(bytes)}
