-- Arguments: vectors_per_identity, identities at a time. Bounded, so that no script holds the server for long.
if gallery_exists() then return {'exists'} end
redis.call('DEL', prefix .. 'aliases', prefix .. 'apart')
for _, number in ipairs(redis.call('ZRANGE', prefix .. 'changes', 0, -1)) do
  redis.call('DEL', prefix .. 'change:' .. number)
end
redis.call('DEL', prefix .. 'changes')
local some = redis.call('ZRANGE', identities, 0, tonumber(arg(2)) - 1)
for _, identity in ipairs(some) do forget(identity, tonumber(arg(1))) end
if redis.call('EXISTS', identities) == 1 then return {'more'} end
redis.call('DEL', prefix .. 'seen', prefix .. 'sighted', prefix .. 'enrolments', prefix .. 'enrolments-order',
  prefix .. 'replicas')
return {'ok'}
