-- Arguments: what is set, for the trail; then field and value of `meta`, in pairs; an empty value removes the field.
if not gallery_exists() then return {'unknown_gallery'} end
local said = {}
for i = 2, #ARGV - 6, 2 do
  if arg(i + 1) == '' then redis.call('HDEL', meta, arg(i)) else redis.call('HSET', meta, arg(i), arg(i + 1)) end
  if #arg(i + 1) < 100 then said[#said + 1] = arg(i) .. '=' .. arg(i + 1) end
end
record(arg(1), '', '', table.concat(said, ' '))
return {'ok'}
