-- Who leads. Answers {owner, epoch, ms}, or nothing when nobody does.
--!include lease.lua
if known then
  return {string.sub(known, 1, 16), epoch, redis.call('PTTL', key)}
end
return false
