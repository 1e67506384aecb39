-- Which store is this? KEYS incarnation, pulse; ARGV 1 the id to give it if it
-- has none, or ''. Answers {id, pulse}, or nothing when it has none.
local id = redis.call('GET', KEYS[1])
if not id then
  if ARGV[1] == '' then
    return false
  end
  id = ARGV[1]
  redis.call('SET', KEYS[1], id)
  redis.call('DEL', KEYS[2])
end
return {id, redis.call('GET', KEYS[2]) or '0'}
