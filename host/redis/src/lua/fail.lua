-- Records a failure; the claim is kept. ARGV 5 the error.
-- Answers 1 recorded, 4 lost.
--!include attempt.lua
if r.state == 'F' then
  return 1
elseif r.state ~= 'R' then
  return 4
end
r.state = 'F'
r.error = ARGV[5]
note(r, now, 'fail', r.side, ARGV[5])
keep(key, r, keep_ms)
return 1
