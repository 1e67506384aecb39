-- Extends a lease that is still ours. ARGV 3 time to live in ms.
-- Answers {1, epoch} ours, {2, ms} another has it, {3} nobody has it.
--!include lease.lua
if ours then
  redis.call('PEXPIRE', key, ARGV[3])
  return {1, epoch}
elseif known then
  return {2, redis.call('PTTL', key)}
end
return {3}
