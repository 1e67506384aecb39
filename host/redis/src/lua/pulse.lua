-- Raises the pulse of the store that is remembered, and leaves another one or an
-- older copy as it is. KEYS incarnation; ARGV 1 the one remembered.
-- Answers the incarnation that is there then, or nothing.
local found = redis.call('GET', KEYS[1])
if not found or found < ARGV[1]
  or string.sub(found, 1, -22) ~= string.sub(ARGV[1], 1, -22) then
  return found
end
found = string.sub(found, 1, -21) .. string.format('%020.0f', string.sub(found, -20) + 1)
redis.call('SET', KEYS[1], found)
return found
