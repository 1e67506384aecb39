-- Adds to totals. KEYS totals, incarnation; ARGV 1 store expected, then names
-- and counts.
--!include store.lua
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
