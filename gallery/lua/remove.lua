-- Argument: vectors_per_identity. Replies with what was deleted and the number of the log's line.
if not gallery_exists() then return {'unknown_gallery'} end
if not identity_exists(id) then return unknown_identity(id) end
local vectors, sightings, changes, crops = forget(id, tonumber(arg(1)))
return {'ok', vectors, sightings, changes, record('remove', id, '', ''), redis.call('HGET', meta, 'generation'), now_ms,
  crops}
