-- Is this the store we know? KEYS[2] incarnation; ARGV[1] the id expected or ''.
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
