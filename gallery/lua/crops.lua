-- Arguments: for how long in ms, then number and encrypted bytes of each crop, in pairs. A crop belongs to a vector.
if not gallery_exists() then return {'unknown_gallery'} end
id = resolve(id)
local kept = {}
for i = 2, #ARGV - 6, 2 do
  if redis.call('EXISTS', vector_key(id, arg(i))) == 1 then  -- it may have been removed since
    redis.call('SET', crop_key(id, arg(i)), arg(i + 1), 'PX', arg(1))
    kept[#kept + 1] = arg(i)
  end
end
if #kept > 0 then record('crops', id, table.concat(kept, ','), '') end
return {'ok', id, #kept}
