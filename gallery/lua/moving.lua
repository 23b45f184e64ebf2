-- Part of merge, split and undo: vectors and sightings change hands.

-- Move vectors to another identity under its next numbers. Returns "3>7,5>8".
local function move(from, into, list, numbers)
  local said, theirs = {}, numbers_of(into, list)
  for _, n in ipairs(numbers) do
    local new = string.format('%.0f', redis.call('HINCRBY', identity_key(into), 'next_vector', 1) - 1)
    if redis.call('EXISTS', vector_key(from, n)) == 1 then
      redis.call('RENAME', vector_key(from, n), vector_key(into, new))
    end
    if redis.call('EXISTS', crop_key(from, n)) == 1 then redis.call('RENAME', crop_key(from, n), crop_key(into, new)) end
    theirs[#theirs + 1], said[#said + 1] = new, n .. '>' .. new
  end
  set_numbers(into, list, theirs)
  set_numbers(from, list, without(numbers_of(from, list), numbers))
  return table.concat(said, ',')
end

-- A stream takes entries in the order of their ids only: both are read, sorted and written anew.
local function as_sortable(at)
  local ms, n = string.match(at, '^(%d+)-(%d+)$')
  return string.format('%020s', ms) .. string.format('%020s', n)
end
local function rewrite_sightings(identity, entries)
  table.sort(entries, function(a, b) return as_sortable(a[1]) < as_sortable(b[1]) end)
  redis.call('DEL', sightings_key(identity))
  local last
  for _, entry in ipairs(entries) do
    local at = entry[1]
    if last and as_sortable(at) <= as_sortable(last) then at = string.match(last, '^%d+') .. '-*' end
    last = redis.call('XADD', sightings_key(identity), at, unpack(entry[2]))
  end
end

-- All of `from` goes to `into`; `from` lives on as another name of it. `mark` is put on its sightings, to find them by.
local function absorb(from, into, mark)
  local moved = move(from, into, 'vectors', numbers_of(from, 'vectors'))
  local moved_negatives = move(from, into, 'negatives', numbers_of(from, 'negatives'))
  local theirs = redis.call('XRANGE', sightings_key(from), '-', '+')
  if #theirs > 0 then
    local all = redis.call('XRANGE', sightings_key(into), '-', '+')
    for _, entry in ipairs(theirs) do
      entry[2][#entry[2] + 1], entry[2][#entry[2] + 2] = 'merged', mark
      all[#all + 1] = entry
    end
    rewrite_sightings(into, all)
  end
  local seen = redis.call('ZSCORE', prefix .. 'seen', from)
  if seen then redis.call('ZADD', prefix .. 'seen', 'GT', seen, into) end
  redis.call('ZREM', prefix .. 'seen', from)
  redis.call('ZREM', identities, from)
  redis.call('DEL', identity_key(from), sightings_key(from))
  redis.call('HSET', prefix .. 'aliases', from, into)
  touch(into)
  return moved, moved_negatives
end
