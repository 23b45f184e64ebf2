"""The writes, as Lua scripts: each is one atomic step, on keys of one hash slot.

Every script gets the gallery's `meta`, `log`, `audit` and `identities` as KEYS 1 to 4; the keys of identities are
derived from the prefix (the same hash tag, so the same slot). A reply is an array whose first item says what happened.
The log is numbered by `meta.seq` without gaps, so that a reader notices when entries were trimmed before it read them.
"""

__all__ = ["CREATE", "DROP", "ENROL", "PURGE", "REMOVE", "SET_THRESHOLD", "SIGHTINGS"]

# ARGV 1 to 5 of every script that logs: prefix, who, log_maxlen, audit_maxlen, identity id ('' where none).
_PRELUDE = """
local meta, log, audit, identities = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, who, log_maxlen, audit_maxlen, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function record(op, vectors, detail)
  local seq = redis.call('HINCRBY', meta, 'seq', 1)
  local generation = redis.call('HGET', meta, 'generation')
  redis.call('XADD', log, 'MAXLEN', log_maxlen, '*', 'seq', seq, 'generation', generation, 'op', op,
    'identity', id, 'vectors', vectors)
  redis.call('XADD', audit, 'MAXLEN', audit_maxlen, '*', 'op', op, 'identity', id, 'vectors', vectors,
    'who', who, 'detail', detail)
end
local function forget(identity, upto)
  for n = 0, upto - 1 do redis.call('DEL', prefix .. 'vector:' .. identity .. ':' .. n) end
  redis.call('DEL', prefix .. 'identity:' .. identity, prefix .. 'sightings:' .. identity)
  redis.call('ZREM', prefix .. 'seen', identity)
  redis.call('ZREM', identities, identity)
end
local function vectors_of(identity, at_least)
  local stored = redis.pcall('HGET', prefix .. 'identity:' .. identity, 'next_vector')
  if type(stored) == 'table' then stored = nil end  -- a damaged identity goes too
  return math.max(tonumber(stored or 0) or 0, at_least)
end
"""

# ARGV 6...: dimension, epoch, threshold, storage, generation
CREATE = (
    _PRELUDE
    + """
if redis.call('EXISTS', meta) == 1 then return {'exists'} end
if redis.call('EXISTS', identities) == 1 then return {'leftovers'} end
redis.call('HSET', meta, 'schema', 1, 'dimension', ARGV[6], 'epoch', ARGV[7], 'threshold', ARGV[8], 'storage', ARGV[9],
  'generation', ARGV[10], 'seq', 0, 'created_at_ms', now_ms)
record('create', '', ARGV[7])
redis.call('PERSIST', log)
redis.call('PERSIST', audit)
return {'ok'}
"""
)

# ARGV 6...: event id, name ('' leaves it), polarity, dtype, dimension, epoch, max_identities, vectors_per_identity,
# events_maxlen, then the vectors' bytes
ENROL = (
    _PRELUDE
    + """
local enrolments, order = prefix .. 'enrolments', prefix .. 'enrolments-order'
local event, name, polarity, dtype, dimension, epoch = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local max_identities, max_vectors, events_maxlen = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local first_vector = 15
local known = redis.call('HMGET', meta, 'dimension', 'epoch')
if not known[1] then return {'unknown_gallery'} end
local done = redis.call('HGET', enrolments, event)
if done then return {'replayed', done} end
if known[1] ~= dimension then return {'dimension', known[1]} end
if known[2] ~= epoch then return {'epoch', known[2]} end
local count = #ARGV - first_vector + 1
local key = prefix .. 'identity:' .. id
local is_new = not redis.call('ZSCORE', identities, id)
if is_new and redis.call('ZCARD', identities) >= max_identities then
  return {'full', 'max_identities', max_identities}
end
local start = tonumber(redis.call('HGET', key, 'next_vector') or 0)
if start + count > max_vectors then return {'full', 'vectors_per_identity', max_vectors} end
local numbers = {}
for i = 0, count - 1 do
  numbers[#numbers + 1] = start + i
  redis.call('HSET', prefix .. 'vector:' .. id .. ':' .. (start + i), 'embedding', ARGV[first_vector + i],
    'dtype', dtype, 'epoch', epoch, 'polarity', polarity, 'enrolled_at_ms', now_ms)
end
local listed = table.concat(numbers, ',')
redis.call('ZADD', identities, 'NX', now_ms, id)
if is_new then redis.call('HSET', key, 'created_at_ms', now_ms) end
if name ~= '' then redis.call('HSET', key, 'name', name) end
redis.call('HSET', key, 'updated_at_ms', now_ms, 'next_vector', start + count)
redis.call('HSET', enrolments, event, id .. ' ' .. listed)
redis.call('RPUSH', order, event)
while redis.call('LLEN', order) > events_maxlen do
  redis.call('HDEL', enrolments, redis.call('LPOP', order))
end
record('enrol', listed, polarity .. ' ' .. event)
return {'ok', id .. ' ' .. listed}
"""
)

# ARGV 6: vectors_per_identity
REMOVE = (
    _PRELUDE
    + """
if redis.call('EXISTS', meta) == 0 then return {'unknown_gallery'} end
if not redis.call('ZSCORE', identities, id) then return {'unknown_identity'} end
forget(id, vectors_of(id, tonumber(ARGV[6])))
record('remove', '', '')
return {'ok'}
"""
)

# ARGV 6: threshold
SET_THRESHOLD = (
    _PRELUDE
    + """
if redis.call('EXISTS', meta) == 0 then return {'unknown_gallery'} end
redis.call('HSET', meta, 'threshold', ARGV[6])
record('threshold', '', ARGV[6])
return {'ok'}
"""
)

# ARGV 6...: log_retention_s, audit_retention_s. From here on no reader sees the gallery; PURGE frees the rest.
DROP = (
    _PRELUDE
    + """
if redis.call('EXISTS', meta) == 0 then return {'unknown_gallery'} end
record('drop', '', '')
redis.call('DEL', meta)
redis.call('EXPIRE', log, ARGV[6])
redis.call('EXPIRE', audit, ARGV[7])
return {'ok'}
"""
)

# ARGV 6...: vectors_per_identity, identities at a time. Bounded, so that no script holds the server for long.
PURGE = (
    _PRELUDE
    + """
if redis.call('EXISTS', meta) == 1 then return {'exists'} end
local some = redis.call('ZRANGE', identities, 0, tonumber(ARGV[7]) - 1)
for _, identity in ipairs(some) do forget(identity, vectors_of(identity, tonumber(ARGV[6]))) end
if redis.call('EXISTS', identities) == 1 then return {'more'} end
redis.call('DEL', prefix .. 'seen', prefix .. 'sighted', prefix .. 'enrolments', prefix .. 'enrolments-order')
return {'ok'}
"""
)

# ARGV 6...: sightings_maxlen, events_maxlen, then for each sighting: identity id, event id, seen_at_ms, JSON.
# Sightings are no change of the gallery: they do not go through the log, which they would flood.
SIGHTINGS = (
    _PRELUDE
    + """
if redis.call('EXISTS', meta) == 0 then return {'unknown_gallery'} end
local sighted, seen = prefix .. 'sighted', prefix .. 'seen'
local recorded, duplicates, unknown = 0, 0, 0
for i = 8, #ARGV, 4 do
  local identity, event, at_ms, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if not redis.call('ZSCORE', identities, identity) then
    unknown = unknown + 1
  elseif redis.call('ZADD', sighted, 'NX', now_ms, event) == 0 then
    duplicates = duplicates + 1
  else
    recorded = recorded + 1
    redis.call('XADD', prefix .. 'sightings:' .. identity, 'MAXLEN', '~', ARGV[6], '*', 'sighting', body)
    redis.call('ZADD', seen, 'GT', at_ms, identity)
  end
end
redis.call('ZREMRANGEBYRANK', sighted, 0, -(tonumber(ARGV[7]) + 1))
return {'ok', recorded, duplicates, unknown}
"""
)
