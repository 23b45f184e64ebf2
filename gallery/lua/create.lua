-- Arguments: dimension, epoch, threshold, storage, generation.
if gallery_exists() then return {'exists'} end
if redis.call('EXISTS', identities) == 1 then return {'leftovers'} end
redis.call('HSET', meta, 'schema', 2, 'dimension', arg(1), 'epoch', arg(2), 'threshold', arg(3), 'storage', arg(4),
  'generation', arg(5), 'seq', 0, 'created_at_ms', now_ms)
record('create', '', '', arg(2))
redis.call('PERSIST', log)
redis.call('PERSIST', audit)
return {'ok'}
