-- Argument: the vector's number. A look at a crop goes into the audit trail; the gallery is not changed by it.
if not gallery_exists() then return {'unknown_gallery'} end
id = resolve(id)
if not identity_exists(id) then return unknown_identity(id) end
local crop = redis.call('GET', crop_key(id, arg(1)))
if not crop then return {'no_crop', id} end
redis.call('XADD', audit, 'MAXLEN', audit_maxlen, '*', 'op', 'show crop', 'identity', id, 'vectors', arg(1), 'who', who,
  'reason', reason, 'detail', '')
return {'ok', id, crop}
