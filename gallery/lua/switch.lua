-- From here on another network's embeddings are the gallery's. Arguments: the seq that was looked at, the epoch, the
-- threshold and the calibration for it ('' for none) where the gallery has not been of this epoch before.
if not gallery_exists() then return {'unknown_gallery'} end
local was = redis.call('HMGET', meta, 'seq', 'epoch', 'threshold', 'calibration')
local old, new = was[2], arg(2)
if was[1] ~= arg(1) then return {'changed', ''} end
local before = redis.call('HMGET', meta, 'threshold:' .. new, 'calibration:' .. new)
local threshold, calibration = before[1] or arg(3), before[1] and (before[2] or '') or arg(4)
redis.call('HSET', meta, 'epoch', new, 'threshold', threshold, 'threshold:' .. old, was[3])
redis.call('HDEL', meta, 'calibration', 'calibration:' .. old, 'threshold:' .. new, 'calibration:' .. new,
  'score_reference')
if was[4] then redis.call('HSET', meta, 'calibration:' .. old, was[4]) end
if calibration ~= '' then redis.call('HSET', meta, 'calibration', calibration) end
record('epoch', '', '', old .. ' -> ' .. new)
return {'ok', old}
