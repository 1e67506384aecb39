-- Adds to totals, once. KEYS totals, incarnation; ARGV 1 store expected, 2 the
-- field of the run, 3 the number of the addition, then names and counts; without
-- any the run is forgotten.
--!include store.lua
if #ARGV == 3 then
  redis.call('HDEL', KEYS[1], ARGV[2])
  return 1
end
local last = redis.call('HGET', KEYS[1], ARGV[2])
if last and tonumber(last) >= tonumber(ARGV[3]) then
  return 1
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
for i = 4, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
