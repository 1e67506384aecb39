-- Tries to become leader. KEYS 3 the last epoch; ARGV 3 time to live in ms.
-- Answers {1, epoch} ours, {2, ms} another has it. Asking again as the same
-- owner is the same question.
--!include lease.lua
if ours then
  redis.call('PEXPIRE', key, ARGV[3])
  return {1, epoch}
elseif known then
  return {2, redis.call('PTTL', key)}
end
--!include clock.lua
epoch = math.max((redis.call('GET', KEYS[3]) or 0) + 1, now)
local text = string.format('%.0f', epoch)
redis.call('SET', KEYS[3], text)
redis.call('SET', key, ARGV[2] .. text, 'PX', ARGV[3])
return {1, epoch}
