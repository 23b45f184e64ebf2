-- Some vectors of an identity become another one. Arguments: their numbers, the new id, its name, undo_maxlen.
local numbers, new, name = numbers_in(arg(1)), arg(2), arg(3)
if not gallery_exists() then return {'unknown_gallery'} end
if not identity_exists(id) then return unknown_identity(id) end
if identity_exists(new) or resolve(new) ~= new then return {'taken', new} end
local positives, negatives = numbers_of(id, 'vectors'), numbers_of(id, 'negatives')
local of_it = without(numbers, without(numbers, positives))
local of_it_negative = without(numbers, without(numbers, negatives))
if #of_it + #of_it_negative ~= #numbers or #of_it == 0 or #of_it == #positives then
  return {'not_a_part', table.concat(positives, ',')}
end
redis.call('ZADD', identities, now_ms, new)
redis.call('HSET', identity_key(new), 'created_at_ms', now_ms, 'next_vector', 0)
if name ~= '' then redis.call('HSET', identity_key(new), 'name', name) end
local moved = move(id, new, 'vectors', of_it)
local moved_negatives = move(id, new, 'negatives', of_it_negative)
touch(id)
touch(new)
local number = keep_change('split', id, new, arg(4), {'moved', moved, 'moved_negatives', moved_negatives})
record('split', id .. ' ' .. new, moved, 'change ' .. number)
return {'ok', number, redis.call('HGETALL', prefix .. 'change:' .. number)}
