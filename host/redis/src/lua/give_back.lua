-- Gives a lease back if it is ours, and tells those who watch. ARGV 3 the
-- channel. Answers as renew.
--!include lease.lua
if ours then
  redis.call('DEL', key)
  redis.call('PUBLISH', ARGV[3], 'lease')
  return {1, epoch}
elseif known then
  return {2, redis.call('PTTL', key)}
end
return {3}
