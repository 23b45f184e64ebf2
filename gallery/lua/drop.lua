-- Arguments: log_retention_s, audit_retention_s. From here on no reader sees the gallery; purge frees the rest.
if not gallery_exists() then return {'unknown_gallery'} end
record('drop', '', '', '')
redis.call('DEL', meta)
redis.call('EXPIRE', log, arg(1))
redis.call('EXPIRE', audit, arg(2))
return {'ok'}
