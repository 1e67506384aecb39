-- Records the rules of a group if there are none yet, and gives those recorded.
-- KEYS rules, incarnation; ARGV 1 store expected, then names and values.
--!include store.lua
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i = 2, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return redis.call('HGETALL', KEYS[1])
