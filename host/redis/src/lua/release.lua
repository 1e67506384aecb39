-- An operator's release of an unfinished claim. ARGV 3 the side that owns it
-- from now on or '' to forget the claim, 4 '1' to release a running one.
-- Answers 1 released, {2, us} locked, {3, state} refused, 4 not found.
--!include claim.lua
if r.state ~= 'R' and r.state ~= 'A' and r.state ~= 'F' then
  return {3, r.state}
elseif r.state == 'R' and r.lock_until > now and ARGV[4] ~= '1' then
  return {2, r.lock_until - now}
end
if ARGV[3] == '' then
  redis.call('DEL', key)
  return 1
end
note(r, now, 'release', r.side, ARGV[3])
r.state = 'A'
r.side = ARGV[3]
r.attempt = 0
r.token, r.error = nil, nil
r.lock_until = now
keep(key, r, keep_ms)
return 1
