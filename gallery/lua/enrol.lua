-- Arguments: event id, name ('' leaves it), polarity, dtype, dimension, epoch, max_identities, vectors of this polarity
-- an identity may have, events_maxlen, undo_maxlen, the revision that was looked at ('' for any), the numbers to drop;
-- then quality and bytes of each vector, in pairs.
local enrolments, order = prefix .. 'enrolments', prefix .. 'enrolments-order'
local event, name, polarity, dtype, dimension, epoch = arg(1), arg(2), arg(3), arg(4), arg(5), arg(6)
local max_identities, limit, events_maxlen, undo_maxlen = tonumber(arg(7)), tonumber(arg(8)), tonumber(arg(9)), arg(10)
local looked_at, drop, first = arg(11), numbers_in(arg(12)), 13
local list = polarity == 'positive' and 'vectors' or 'negatives'
local known = redis.call('HMGET', meta, 'dimension', 'epoch')
if not known[1] then return {'unknown_gallery'} end
local done = redis.call('HGET', enrolments, event)
if done then return {'replayed', done} end
if known[1] ~= dimension then return {'dimension', known[1]} end
if known[2] ~= epoch then return {'epoch', known[2]} end
id = resolve(id)
local key = identity_key(id)
local is_new = not identity_exists(id)
if is_new and redis.call('ZCARD', identities) >= max_identities then
  return {'full', 'max_identities', max_identities}
end
local revision = redis.call('HGET', key, 'revision') or '0'
if looked_at ~= '' and looked_at ~= revision then return {'changed', id, revision} end
local numbers = without(numbers_of(id, list), drop)
local count = (#ARGV - 6 - first + 1) / 2
if #numbers + count > limit then return {'crowded', id, revision} end
for _, n in ipairs(drop) do redis.call('DEL', vector_key(id, n), crop_key(id, n)) end
local next_vector = tonumber(redis.call('HGET', key, 'next_vector') or 0)
local added = {}
for i = 0, count - 1 do
  local n = string.format('%.0f', next_vector + i)
  added[#added + 1], numbers[#numbers + 1] = n, n
  redis.call('HSET', vector_key(id, n), 'embedding', arg(first + 2 * i + 1), 'dtype', dtype, 'epoch', epoch,
    'polarity', polarity, 'quality', arg(first + 2 * i), 'enrolled_at_ms', now_ms)
end
redis.call('ZADD', identities, 'NX', now_ms, id)
if is_new then redis.call('HSET', key, 'created_at_ms', now_ms) end
if name ~= '' then redis.call('HSET', key, 'name', name) end
redis.call('HSET', key, 'next_vector', next_vector + count)
set_numbers(id, list, numbers)
touch(id)
local listed = table.concat(added, ',')
redis.call('HSET', enrolments, event, id .. ' ' .. listed)
redis.call('RPUSH', order, event)
while redis.call('LLEN', order) > events_maxlen do
  redis.call('HDEL', enrolments, redis.call('LPOP', order))
end
if polarity == 'negative' then keep_change('negative', '', id, undo_maxlen, {'moved', listed}) end
record(polarity == 'positive' and 'enrol' or 'negative', id, listed, event)
return {'ok', id .. ' ' .. listed}
