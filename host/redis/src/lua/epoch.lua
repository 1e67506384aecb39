-- Are we still the leader? KEYS[3] the lease; `epoch` the one shown or ''.
if epoch ~= '' then
  local lease = redis.call('GET', KEYS[3])
  if not lease or string.sub(lease, 17) ~= epoch then
    return -2
  end
end
