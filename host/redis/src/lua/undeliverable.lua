-- The outbox has no target, once more. ARGV 3 the error, 4 how many failures
-- are the limit. Answers {1, tries} again, 2 given up, 4 lost.
--!include claim.lua
if r.state == 'K' and r.reason == UNDELIVERABLE then
  return 2
elseif r.state ~= 'C' then
  return 4
end
local tries = r.tries + 1
r.error = ARGV[3]
if tries >= tonumber(ARGV[4]) then
  r.state = 'K'
  r.reason = UNDELIVERABLE
else
  r.tries = tries
end
note(r, now, 'undeliverable', r.side, ARGV[3])
keep(key, r, keep_ms)
return r.state == 'K' and 2 or {1, tries}
