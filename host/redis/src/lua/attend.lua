-- Says that an instance is there, or that it leaves.
-- KEYS roster, incarnation; ARGV 1 store expected, 2 the instance as 16 digits,
-- 3 channel, 4 for how many ms, left out to leave.
-- Answers {1, {instance, us, ...}}: those that are there, and for how much longer.
--!include store.lua
--!include clock.lua
local roster, who = KEYS[1], ARGV[2]
redis.call('ZREMRANGEBYSCORE', roster, '-inf', string.format('%.0f', now))
local news
if ARGV[4] then
  local us = string.format('%.0f', now + ARGV[4] * 1000)
  news = redis.call('ZADD', roster, us, who)
  if redis.call('PTTL', roster) < tonumber(ARGV[4]) then
    redis.call('PEXPIRE', roster, ARGV[4])
  end
else
  news = redis.call('ZREM', roster, who)
end
if news == 1 then
  redis.call('PUBLISH', ARGV[3], 'instance')
end
local there = redis.call('ZRANGE', roster, 0, -1, 'WITHSCORES')
for at = 2, #there, 2 do
  there[at] = there[at] - now
end
return {1, there}
