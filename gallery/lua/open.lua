-- Several crops of an identity at once. Arguments: what for, then the vectors' numbers. One line of the audit trail.
if not gallery_exists() then return {'unknown_gallery'} end
if not identity_exists(id) then return unknown_identity(id) end
local found, numbers = {'ok'}, {}
for i = 2, #ARGV - 6 do
  local crop = redis.call('GET', crop_key(id, arg(i)))
  if crop then
    numbers[#numbers + 1] = arg(i)
    found[#found + 1], found[#found + 2] = arg(i), crop
  end
end
if #numbers > 0 then
  redis.call('XADD', audit, 'MAXLEN', audit_maxlen, '*', 'op', 'open crops', 'identity', id, 'vectors',
    table.concat(numbers, ','), 'who', who, 'reason', reason, 'detail', arg(1))
end
return found
