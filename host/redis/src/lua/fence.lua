-- Is this the store we know, and are we still the leader? Shared by every step
-- of an attempt: KEYS[2] incarnation, KEYS[3] lease; ARGV[1] the id expected or
-- '', ARGV[2] the epoch shown or ''.
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
if ARGV[2] ~= '' then
  local lease = redis.call('GET', KEYS[3])
  if not lease or string.sub(lease, 17) ~= ARGV[2] then
    return -2
  end
end
