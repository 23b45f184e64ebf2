-- After a switch: what is in use becomes the field `embedding`, what was so stands beside it. Readers get the same before
-- and after, so the log has no line. Arguments: 'keep', or 'forget' what other networks made, which nobody may then read
-- any more (the log has a line of it, once); then ids.
if not gallery_exists() then return {'unknown_gallery'} end
local epoch, moved = redis.call('HGET', meta, 'epoch'), 0
if arg(1) == 'forget' then
  local fields = {}
  for _, field in ipairs(redis.call('HKEYS', meta)) do
    if string.match(field, '^threshold:') or string.match(field, '^calibration:') then fields[#fields + 1] = field end
  end
  if #fields > 0 then
    redis.call('HDEL', meta, unpack(fields))
    record('forget', '', '', epoch .. ' only')
  end
end
for i = 2, #ARGV - 6 do
  for _, list in ipairs({'vectors', 'negatives'}) do
    for _, n in ipairs(numbers_of(arg(i), list)) do
      local key = vector_key(arg(i), n)
      local held = redis.call('HMGET', key, 'epoch', 'embedding', 'embedding:' .. epoch)
      if held[3] then
        redis.call('HSET', key, 'embedding', held[3], 'epoch', epoch)
        redis.call('HDEL', key, 'embedding:' .. epoch)
        if held[1] and held[2] then redis.call('HSET', key, 'embedding:' .. held[1], held[2]) end
        moved = moved + 1
      end
      if arg(1) == 'forget' then
        for _, field in ipairs(redis.call('HKEYS', key)) do
          if string.sub(field, 1, 10) == 'embedding:' then redis.call('HDEL', key, field) end
        end
      end
    end
  end
end
return {'ok', moved}
