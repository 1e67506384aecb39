-- Writes a claim again as it is, so that waiting for replicas covers it.
-- KEYS claim, incarnation; ARGV 1 store expected, 2 keep in ms. Answers 1.
--!include store.lua
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('PEXPIRE', KEYS[1], left)
end
return 1
