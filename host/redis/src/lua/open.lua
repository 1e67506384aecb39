-- Which store is this? KEYS incarnation, the ids that it stands for; ARGV 1 the
-- incarnation to give it, or '', 2 '1' to give it in any case, else only where it
-- has none, then ids that it stands for besides the one it had.
-- Answers {incarnation (see same.lua), ids}, or nothing when it has none.
local found = redis.call('GET', KEYS[1])
if ARGV[1] ~= '' and (ARGV[2] == '1' or not found) then
  local ids = {}
  for i = 3, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
  if found then
    ids[#ids + 1] = string.sub(found, 1, -22)
  end
  if #ids > 0 then
    redis.call('SADD', KEYS[2], unpack(ids))
  end
  found = ARGV[1]
  redis.call('SET', KEYS[1], found)
end
return found and { found, redis.call('SMEMBERS', KEYS[2]) }
