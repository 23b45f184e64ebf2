-- How a replica stands; those that have been silent are forgotten. KEYS: meta, replicas. ARGV: replica, silent_ms,
-- generation, seq, JSON, the scores it offers to compare later ones with ('' for none). Replies with those in use.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local at_ms = tonumber(string.match(all[i + 1], '^(%d+) ') or 0)
  if now_ms - at_ms > tonumber(ARGV[2]) then redis.call('HDEL', KEYS[2], all[i]) end
end
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', now_ms) .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
if ARGV[6] ~= '' then redis.call('HSETNX', KEYS[1], 'score_reference', ARGV[6]) end
return redis.call('HGET', KEYS[1], 'score_reference')
