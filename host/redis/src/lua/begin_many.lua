-- May this side run these messages now? Claims that are new are granted, all
-- under one fence; the others are left to `begin`.
-- KEYS claims, then incarnation
-- ARGV 1 store expected, 2 lock in us, 3 keep in ms, then of each claim how its
-- record begins (see record.lua)
-- Answers {fence, number of each claim that was left}.
local count = #KEYS - 1
local found = ARGV[1] ~= '' and redis.call('GET', KEYS[count + 1])
--!include same.lua
--!include clock.lua
local keep_ms, answer = ARGV[3], { now }
local tail = struct.pack('>I4I4ddd', now / 1000000, 1, now, now, now + ARGV[2])
  .. '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
for i = 1, count do
  -- A value of another type is an error here, thus left as well.
  if redis.pcall('SET', KEYS[i], ARGV[i + 3] .. tail, 'PX', keep_ms, 'NX', 'GET') then
    answer[#answer + 1] = i
  end
end
return answer
