-- Identities whole, as they stand at one moment; reads only. KEYS 1: meta. ARGV: prefix, then ids.
-- Replies with JSON, an array for each identity that is there, and with all of their embeddings' bytes, one after another.
-- An epoch that is the gallery's own is `true`, to keep the answer short.
local prefix, epoch = ARGV[1], redis.call('HGET', KEYS[1], 'epoch')
local found, bytes = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local one = redis.pcall('HMGET', prefix .. 'identity:' .. id, 'name', 'created_at_ms', 'updated_at_ms', 'revision',
    'vectors', 'negatives')
  if not one.err and one[2] then
    local vectors = {}
    for list = 5, 6 do
      for n in string.gmatch(one[list] or '', '%d+') do
        local v = redis.pcall('HMGET', prefix .. 'vector:' .. id .. ':' .. n, 'embedding', 'dtype', 'epoch', 'polarity',
          'quality', 'enrolled_at_ms')
        if v.err then
          vectors[#vectors + 1] = {n, -1, v.err}
        else
          if v[1] then bytes[#bytes + 1] = v[1] end
          vectors[#vectors + 1] = {n, v[1] and #v[1] or -1, v[2], v[3] == epoch or v[3], v[4], v[5], v[6]}
        end
      end
    end
    found[#found + 1] = {id, one[1], one[2], one[3], one[4], vectors}
  end
end
return {cjson.encode(found), table.concat(bytes)}
