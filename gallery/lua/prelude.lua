-- What every write begins with. KEYS 1 to 4: meta, log, audit, identities; the keys of identities are derived from the
-- prefix (the same hash tag, so the same slot). A reply is an array whose first item says what happened.
local meta, log, audit, identities = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, who, reason, log_maxlen, audit_maxlen, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local function arg(n) return ARGV[n + 6] end

local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local function gallery_exists() return redis.call('EXISTS', meta) == 1 end
local function identity_exists(identity) return redis.call('ZSCORE', identities, identity) ~= false end
local function identity_key(identity) return prefix .. 'identity:' .. identity end
local function vector_key(identity, n) return prefix .. 'vector:' .. identity .. ':' .. n end
local function crop_key(identity, n) return prefix .. 'crop:' .. identity .. ':' .. n end
local function sightings_key(identity) return prefix .. 'sightings:' .. identity end

-- One line of the change log, numbered by meta.seq without gaps, so that a reader notices when lines were trimmed before
-- it read them; and one of the audit trail. `touched`: the identities to read again, separated by spaces.
local function record(op, touched, vectors, detail)
  local seq = redis.call('HINCRBY', meta, 'seq', 1)
  local generation = redis.call('HGET', meta, 'generation')
  redis.call('XADD', log, 'MAXLEN', log_maxlen, '*', 'seq', seq, 'generation', generation, 'op', op,
    'identity', touched, 'vectors', vectors)
  redis.call('XADD', audit, 'MAXLEN', audit_maxlen, '*', 'op', op, 'identity', touched, 'vectors', vectors,
    'who', who, 'reason', reason, 'detail', detail)
  return seq
end

-- An identity's vector numbers: "3,5" <-> {3, 5}; `list` is 'vectors' (this is that person) or 'negatives' (it is not).
local function numbers_in(text)
  local numbers = {}
  for n in string.gmatch(text or '', '%d+') do numbers[#numbers + 1] = n end
  return numbers
end
local function numbers_of(identity, list) return numbers_in(redis.call('HGET', identity_key(identity), list)) end
local function set_numbers(identity, list, numbers)
  redis.call('HSET', identity_key(identity), list, table.concat(numbers, ','))
end
local function without(numbers, gone)
  local is_gone, kept = {}, {}
  for _, n in ipairs(gone) do is_gone[n] = true end
  for _, n in ipairs(numbers) do if not is_gone[n] then kept[#kept + 1] = n end end
  return kept
end
local function touch(identity)
  redis.call('HSET', identity_key(identity), 'updated_at_ms', now_ms)
  redis.call('HINCRBY', identity_key(identity), 'revision', 1)
end

-- The identity that an id stands for now: one that was merged lives on in another.
local function resolve(identity)
  local into = redis.call('HGET', prefix .. 'aliases', identity)
  while into do
    identity = into
    into = redis.call('HGET', prefix .. 'aliases', identity)
  end
  return identity
end
local function unknown_identity(identity) return {'unknown_identity', identity, resolve(identity)} end

-- A change that can be undone, kept until `undo_maxlen` later ones.
local function keep_change(op, from, into, undo_maxlen, fields)
  local number = redis.call('HINCRBY', meta, 'changes', 1)
  redis.call('HSET', prefix .. 'change:' .. number, 'op', op, 'from', from, 'into', into, 'at_ms', now_ms, 'who', who,
    'reason', reason, unpack(fields))
  redis.call('ZADD', prefix .. 'changes', number, number)
  local surplus = redis.call('ZCARD', prefix .. 'changes') - tonumber(undo_maxlen)
  for _, old in ipairs(surplus > 0 and redis.call('ZPOPMIN', prefix .. 'changes', surplus) or {}) do
    redis.call('DEL', prefix .. 'change:' .. old)  -- ZPOPMIN also gives the scores, which are the same numbers
  end
  return number
end

-- Delete all of an identity, however damaged: its vectors also by number up to `at_least`. Returns what was deleted.
local function forget(identity, at_least)
  local vectors, crops = 0, 0
  local function delete(n)
    vectors = vectors + redis.call('DEL', vector_key(identity, n))
    crops = crops + redis.call('DEL', crop_key(identity, n))
  end
  local stored = redis.pcall('HMGET', identity_key(identity), 'vectors', 'negatives')
  if not stored.err then
    for i = 1, 2 do
      for _, n in ipairs(numbers_in(stored[i])) do delete(n) end
    end
  end
  for n = 0, at_least - 1 do delete(n) end
  local sightings = redis.pcall('XLEN', sightings_key(identity))
  redis.call('DEL', identity_key(identity), sightings_key(identity))
  redis.call('ZREM', prefix .. 'seen', identity)
  redis.call('ZREM', identities, identity)
  local changes = 0
  for _, number in ipairs(redis.call('ZRANGE', prefix .. 'changes', 0, -1)) do
    local ends = redis.call('HMGET', prefix .. 'change:' .. number, 'from', 'into')
    if ends[1] == identity or ends[2] == identity then
      redis.call('DEL', prefix .. 'change:' .. number)
      redis.call('ZREM', prefix .. 'changes', number)
      changes = changes + 1
    end
  end
  local aliases = redis.call('HGETALL', prefix .. 'aliases')
  local gone = {}
  for i = 1, #aliases, 2 do
    if resolve(aliases[i]) == identity then gone[#gone + 1] = aliases[i] end
  end
  for _, alias in ipairs(gone) do redis.call('HDEL', prefix .. 'aliases', alias) end
  for _, pair in ipairs(redis.call('SMEMBERS', prefix .. 'apart')) do
    local a, b = string.match(pair, '^(%S+) (%S+)$')
    if a == identity or b == identity then redis.call('SREM', prefix .. 'apart', pair) end
  end
  return vectors, type(sightings) == 'number' and sightings or 0, changes, crops
end
