-- Gives the message up. ARGV 5 the reason as a number, 6 its name, 7 the last
-- error, left out when there is none. Answers 1 recorded, 4 lost.
--!include attempt.lua
local reason = tonumber(ARGV[5])
if r.state == 'K' and r.reason == reason then
  return 1
elseif r.state ~= 'R' then
  return 4
end
r.state = 'K'
r.reason = reason
r.error = ARGV[7] or r.error
note(r, now, 'park', r.side, ARGV[6])
keep(key, r, keep_ms)
return 1
