-- Argument: the name. A provisional identity is thereby an ordinary one.
if not gallery_exists() then return {'unknown_gallery'} end
id = resolve(id)
if not identity_exists(id) then return unknown_identity(id) end
redis.call('HSET', identity_key(id), 'name', arg(1))
touch(id)
record('name', id, '', '')
return {'ok', id}
