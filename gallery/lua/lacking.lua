-- Which vectors have no embedding by a network yet; reads only. KEYS 1: meta. ARGV: prefix, the network's epoch, then ids.
-- Replies with JSON: of each identity that is there its id, revision, time of creation, how many of its vectors have one,
-- the numbers of those to embed from their crops, and of those in use without a crop number and time of enrolment.
local prefix, epoch = ARGV[1], ARGV[2]
local used = redis.call('HGET', KEYS[1], 'epoch')
local found = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local one = redis.pcall('HMGET', prefix .. 'identity:' .. id, 'revision', 'created_at_ms', 'vectors', 'negatives')
  if not one.err and one[2] then
    local ready, crops, without = 0, {}, {}
    for list = 3, 4 do
      for n in string.gmatch(one[list] or '', '%d+') do
        local key = prefix .. 'vector:' .. id .. ':' .. n
        local vector = redis.pcall('HMGET', key, 'epoch', 'enrolled_at_ms')
        if vector.err then
          -- damaged: no reader uses it
        elseif vector[1] == epoch or redis.call('HEXISTS', key, 'embedding:' .. epoch) == 1 then
          ready = ready + 1
        elseif redis.call('EXISTS', prefix .. 'crop:' .. id .. ':' .. n) == 1 then
          crops[#crops + 1] = n
        elseif vector[1] == used or redis.call('HEXISTS', key, 'embedding:' .. used) == 1 then
          without[#without + 1] = {n, vector[2] or '0'}
        end
      end
    end
    found[#found + 1] = {id, one[1] or '0', one[2], ready, crops, without}
  end
end
return cjson.encode(found)
