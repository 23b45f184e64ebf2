-- Two identities are two people, whatever their vectors say. Arguments: the other id, undo_maxlen.
if not gallery_exists() then return {'unknown_gallery'} end
for _, one in ipairs({id, arg(1)}) do
  if not identity_exists(one) then return unknown_identity(one) end
end
if id == arg(1) then return {'same'} end
local pair = id < arg(1) and id .. ' ' .. arg(1) or arg(1) .. ' ' .. id
if redis.call('SADD', prefix .. 'apart', pair) == 0 then return {'ok', 0} end
local number = keep_change('apart', id, arg(1), arg(2), {'moved', pair})
record('apart', pair, '', 'change ' .. number)
return {'ok', number, redis.call('HGETALL', prefix .. 'change:' .. number)}
