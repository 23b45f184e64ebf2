-- Embeddings by another network, beside those in use. Arguments: its epoch, the identity's revision and creation as they
-- were looked at, then number and bytes of each, in pairs. No reader sees them before `switch`, so the log has no line.
if not gallery_exists() then return {'unknown_gallery'} end
local looked = redis.call('HMGET', identity_key(id), 'revision', 'created_at_ms')
if (looked[1] or '0') ~= arg(2) or looked[2] ~= arg(3) then return {'changed', id} end
local staged = 0
for i = 4, #ARGV - 6, 2 do
  if redis.call('EXISTS', vector_key(id, arg(i))) == 1 then
    redis.call('HSET', vector_key(id, arg(i)), 'embedding:' .. arg(1), arg(i + 1))
    staged = staged + 1
  end
end
return {'ok', id, staged}
