-- The outbox is published. Answers 1 recorded, 4 lost.
--!include claim.lua
if r.state == 'D' and not r.stale then
  return 1
elseif r.state ~= 'C' then
  return 4
end
r.state = 'D'
r.outbox, r.minted = '', ''
note(r, now, 'published', r.side, '')
keep(key, r, keep_ms)
return 1
