-- Records successes without effects. First attempts that run under the token
-- shown are finished; the others are left to `commit`.
-- KEYS claims, then incarnation
-- ARGV 1 store expected, 2 keep in ms, then the token of each claim
-- Answers {1, number of each claim that was left}.
local count, keep_ms, answer = #KEYS - 1, ARGV[2], { 1 }
local known = redis.call('MGET', unpack(KEYS))
local found = known[count + 1]
--!include same.lua
for i = 1, count do
  local record = known[i]
  local state, flags, length
  if record then
    state, flags, length = string.byte(record, 1, 3)
  end
  if state == 82 and string.sub(record, 4, 11) == ARGV[i + 2] and flags % 16 < 8 then
    -- As in commit.lua.
    redis.call('SET', KEYS[i], (flags % 4 < 2 and '\160' or '\224')
      .. string.sub(record, 4, 23 + length), 'PX', keep_ms)
  else
    answer[#answer + 1] = i
  end
end
return answer
