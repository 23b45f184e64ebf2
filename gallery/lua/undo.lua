-- Argument: the number of the change.
local number = arg(1)
if not gallery_exists() then return {'unknown_gallery'} end
local change, fields = {}, redis.call('HGETALL', prefix .. 'change:' .. number)
for i = 1, #fields, 2 do change[fields[i]] = fields[i + 1] end
if not change.op then return {'unknown_change', number} end
local from, into = change.from, change.into
for _, later in ipairs(redis.call('ZRANGE', prefix .. 'changes', '(' .. number, '+inf', 'BYSCORE')) do
  local its = redis.call('HMGET', prefix .. 'change:' .. later, 'op', 'from', 'into')
  local moves = its[1] == 'merge' or its[1] == 'split'
  local shares = its[2] == from or its[2] == into or its[3] == from or its[3] == into
  if moves and shares then return {'later', later, its[1]} end
end

-- What is still there of what was moved goes back under its old number.
local function give_back(list, moved)
  local left, theirs, mine = numbers_of(into, list), {}, {}
  for old, new in string.gmatch(moved or '', '(%d+)>(%d+)') do
    if redis.call('EXISTS', vector_key(into, new)) == 1 then
      redis.call('RENAME', vector_key(into, new), vector_key(from, old))
      mine[#mine + 1] = old
    end
    if redis.call('EXISTS', crop_key(into, new)) == 1 then redis.call('RENAME', crop_key(into, new), crop_key(from, old)) end
    theirs[#theirs + 1] = new
  end
  set_numbers(into, list, without(left, theirs))
  set_numbers(from, list, mine)
end

local touched = into
if change.op == 'merge' then
  redis.call('HSET', identity_key(from), 'created_at_ms', change.created_at_ms, 'next_vector', change.next_vector)
  if change.name ~= '' then redis.call('HSET', identity_key(from), 'name', change.name) end
  give_back('vectors', change.moved)
  give_back('negatives', change.moved_negatives)
  redis.call('ZADD', identities, change.enrolled_at_ms, from)
  redis.call('HDEL', prefix .. 'aliases', from)
  if change.took_name == '1' and redis.call('HGET', identity_key(into), 'name') == change.name then
    redis.call('HDEL', identity_key(into), 'name')
  end
  for pair in string.gmatch(change.apart or '', '[^,]+') do redis.call('SREM', prefix .. 'apart', pair) end
  local mine, theirs = {}, {}
  for _, entry in ipairs(redis.call('XRANGE', sightings_key(into), '-', '+')) do
    local marks = entry[2]
    if marks[#marks - 1] == 'merged' and marks[#marks] == number then
      marks[#marks], marks[#marks - 1] = nil, nil
      mine[#mine + 1] = entry
    else
      theirs[#theirs + 1] = entry
    end
  end
  if #mine > 0 then
    rewrite_sightings(from, mine)
    rewrite_sightings(into, theirs)
  end
  if change.seen ~= '' then
    redis.call('ZADD', prefix .. 'seen', change.seen, from)
    if redis.call('ZSCORE', prefix .. 'seen', into) == change.seen then  -- nobody saw it since
      redis.call('ZREM', prefix .. 'seen', into)
      if change.into_seen ~= '' then redis.call('ZADD', prefix .. 'seen', change.into_seen, into) end
    end
  end
  touch(from)
  touch(into)
  touched = from .. ' ' .. into
elseif change.op == 'split' then
  absorb(into, from, 'split ' .. number)
  touched = from .. ' ' .. into
elseif change.op == 'negative' then
  local gone = numbers_in(change.moved)
  for _, n in ipairs(gone) do redis.call('DEL', vector_key(into, n), crop_key(into, n)) end
  set_numbers(into, 'negatives', without(numbers_of(into, 'negatives'), gone))
  touch(into)
elseif change.op == 'apart' then
  redis.call('SREM', prefix .. 'apart', change.moved)
end
redis.call('DEL', prefix .. 'change:' .. number)
redis.call('ZREM', prefix .. 'changes', number)
record('undo', touched, change.moved or '', change.op .. ' ' .. number)
return {'ok', number, fields}
