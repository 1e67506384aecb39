-- Sets or deletes a flag, and tells those who watch.
-- KEYS flags, incarnation; ARGV 1 store expected, 2 channel, 3 name, 4 value,
-- left out to delete.
--!include store.lua
if ARGV[4] then
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
else
  redis.call('HDEL', KEYS[1], ARGV[3])
end
redis.call('PUBLISH', ARGV[2], 'flag')
return 1
