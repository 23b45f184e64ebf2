-- The identity becomes part of another. Arguments: the other id, most vectors it may then have, undo_maxlen.
local into = arg(1)
if not gallery_exists() then return {'unknown_gallery'} end
for _, one in ipairs({id, into}) do
  if not identity_exists(one) then return unknown_identity(one) end
end
if id == into then return {'same'} end
local pair = id < into and id .. ' ' .. into or into .. ' ' .. id
if redis.call('SISMEMBER', prefix .. 'apart', pair) == 1 then return {'apart', id, into} end
for _, list in ipairs({'vectors', 'negatives'}) do
  if #numbers_of(id, list) + #numbers_of(into, list) > tonumber(arg(2)) then return {'full', 'merge', arg(2)} end
end
local mine = redis.call('HMGET', identity_key(id), 'name', 'created_at_ms', 'next_vector')
local theirs = redis.call('HGET', identity_key(into), 'name')
local fields = {'name', mine[1] or '', 'created_at_ms', mine[2] or now_ms, 'next_vector', mine[3] or 0,
  'enrolled_at_ms', redis.call('ZSCORE', identities, id), 'seen', redis.call('ZSCORE', prefix .. 'seen', id) or '',
  'into_seen', redis.call('ZSCORE', prefix .. 'seen', into) or '', 'took_name', (mine[1] and not theirs) and 1 or 0}
local number = keep_change('merge', id, into, arg(3), fields)
local kept_apart = {}
for _, two in ipairs(redis.call('SMEMBERS', prefix .. 'apart')) do  -- who is not the one is not the other
  local a, b = string.match(two, '^(%S+) (%S+)$')
  local other = a == id and b or b == id and a
  if other then
    local new = other < into and other .. ' ' .. into or into .. ' ' .. other
    if redis.call('SADD', prefix .. 'apart', new) == 1 then kept_apart[#kept_apart + 1] = new end
  end
end
if mine[1] and not theirs then redis.call('HSET', identity_key(into), 'name', mine[1]) end
local moved, moved_negatives = absorb(id, into, number)
redis.call('HSET', prefix .. 'change:' .. number, 'moved', moved, 'moved_negatives', moved_negatives,
  'apart', table.concat(kept_apart, ','))
record('merge', id .. ' ' .. into, moved, 'change ' .. number)
return {'ok', number, redis.call('HGETALL', prefix .. 'change:' .. number)}
