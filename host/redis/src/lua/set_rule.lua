-- Sets a cut-over rule if its revision is still the expected one.
-- KEYS rule, incarnation; ARGV 1 store expected, 2 revision expected (0: there
-- is no rule), 3 channel, then the fields of the rule, without the revision.
-- Answers {1 or 0 (set or not), the rule that holds}.
--!include store.lua
local key = KEYS[1]
local revision = redis.call('HGET', key, 'revision') or '0'
if revision ~= ARGV[2] then
  return {0, redis.call('HGETALL', key)}
end
redis.call('DEL', key)
for i = 4, #ARGV, 2 do
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
end
redis.call('HSET', key, 'revision', string.format('%.0f', revision + 1))
redis.call('PUBLISH', ARGV[3], 'rule')
return {1, redis.call('HGETALL', key)}
