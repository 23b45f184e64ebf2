-- Arguments: sightings_maxlen, events_maxlen, then for each sighting: identity id, event id, seen_at_ms, JSON.
-- Sightings are no change of the gallery: they do not go through the log, which they would flood.
if not gallery_exists() then return {'unknown_gallery'} end
local sighted, seen = prefix .. 'sighted', prefix .. 'seen'
local recorded, duplicates, unknown = 0, 0, 0
for i = 3, #ARGV - 6, 4 do
  local identity, event, at_ms, body = resolve(arg(i)), arg(i + 1), arg(i + 2), arg(i + 3)
  if not identity_exists(identity) then
    unknown = unknown + 1
  elseif redis.call('ZADD', sighted, 'NX', now_ms, event) == 0 then
    duplicates = duplicates + 1
  else
    recorded = recorded + 1
    redis.call('XADD', sightings_key(identity), 'MAXLEN', '~', arg(1), '*', 'sighting', body)
    redis.call('ZADD', seen, 'GT', at_ms, identity)
  end
end
redis.call('ZREMRANGEBYRANK', sighted, 0, -(tonumber(arg(2)) + 1))
return {'ok', recorded, duplicates, unknown}
