-- The dead letter is safe. ARGV 3 the fence of the attempt that was given up.
-- Answers 1 recorded, 4 lost.
--!include claim.lua
if r.state == 'P' then
  return 1
elseif r.state ~= 'K' or r.fence ~= tonumber(ARGV[3]) then
  return 4
end
r.state = 'P'
note(r, now, 'buried', r.side, '')
keep(key, r, keep_ms)
return 1
