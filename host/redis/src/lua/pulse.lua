-- Raises the pulse. KEYS incarnation, pulse; ARGV 1 store expected, or '' for
-- any. Answers the pulse, or nothing when it is another store or none.
local id = redis.call('GET', KEYS[1])
if not id or (ARGV[1] ~= '' and id ~= ARGV[1]) then
  return false
end
return redis.call('INCR', KEYS[2])
