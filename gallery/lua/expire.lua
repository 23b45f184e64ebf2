-- Arguments: vectors_per_identity, the time in ms since which an identity must have been seen or enrolled, then ids.
if not gallery_exists() then return {'unknown_gallery'} end
local gone, cutoff_ms = {'ok'}, tonumber(arg(2))
for i = 3, #ARGV - 6 do
  local one = arg(i)
  if identity_exists(one) then  -- looked at again: it may have come back since it was chosen
    local updated = tonumber(redis.call('HGET', identity_key(one), 'updated_at_ms') or 0)
    local seen = tonumber(redis.call('ZSCORE', prefix .. 'seen', one) or 0)
    if math.max(updated, seen) < cutoff_ms then
      forget(one, tonumber(arg(1)))
      record('expire', one, '', 'last seen ' .. string.format('%.0f', math.max(updated, seen)))
      gone[#gone + 1] = one
    end
  end
end
return gone
