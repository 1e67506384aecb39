-- Re-opens a given-up claim. Answers 1 re-opened, {3, state} refused, 4 not found.
--!include claim.lua
if r.state == 'F' and r.replayed then
  return 1
elseif r.state ~= 'K' and r.state ~= 'P' then
  return {3, r.state}
end
if r.compact then
  -- What compaction left out, where it is still remembered.
  local past = redis.call('GET', key .. ':h')
  past = past and decode(past)
  if past and past.token == r.token and past.state == r.state then
    r = past
  end
end
if r.reason == UNDELIVERABLE then
  r.state = 'C'
  r.tries = 0
else
  r.state = 'F'
  r.attempt = 0
end
r.reason = 0
r.fence = math.max(r.fence + 1, now)
r.token = nil
r.replayed = true
note(r, now, 'replay', r.side, '')
keep(key, r, keep_ms)
return 1
