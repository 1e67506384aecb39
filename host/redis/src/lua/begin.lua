-- May this side run this message now?
-- KEYS claim, incarnation, lease, state, last sequence (those not needed are
-- left out at the end and are the claim's in between)
-- ARGV 1 store expected, 2 epoch, 3 token, 4 side, 5 owner if new, 6 fingerprint
-- or '', 7 lock in us, 8 keep in ms, 9 assign time-out in us; nothing more when
-- there is nothing more, else 10 lane or '', 11 sequence as 20 digits or '', 12
-- '1' to bring the state
-- Answers {1, attempt, fence, first seen in ms, error, state} granted,
-- {2, owner, state} foreign, {3, owner} assigned, 4 done, {5, tries, attempt,
-- outbox, minted} committed, {6, reason, error, attempt, first seen in ms,
-- outbox, minted} parking, {7, reason} parked, {8, us} busy, 9 conflict,
-- {10, last} stale.
--!include fence.lua
--!include clock.lua
local key, token, side, owner, fingerprint = KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lock_until, keep_ms, lane, sequence = now + ARGV[7], ARGV[8], ARGV[10] or '', ARGV[11] or ''
local last = sequence ~= '' and redis.call('GETEX', KEYS[5], 'PX', keep_ms)
local state = ARGV[12] == '1' and redis.call('HGETALL', KEYS[4])
local known

if owner == side and not (last and sequence <= last) then
  -- If it is new it is granted: one command to look and to write. The layout
  -- is that of record.lua, which is not loaded for this.
  local flags = 1 + (fingerprint ~= '' and 2 or 0) + (ARGV[2] ~= '' and 16 or 0)
  known = redis.call('SET', key, struct.pack('>c1c8c8BBc0I4ddddI4BBc0I4I4I4B',
    'R', token, fingerprint ~= '' and fingerprint or '\0\0\0\0\0\0\0\0', flags, #side, side,
    1, now, now, lock_until, tonumber(ARGV[2]) or 0, 0, 0, #lane, lane, 0, 0, 0, 0),
    'PX', keep_ms, 'NX', 'GET')
  if not known then
    if state then
      return {1, 1, now, now / 1000, false, state}
    end
    return {1, 1, now, now / 1000}
  end
else
  known = redis.call('GET', key)
end

--!include record.lua
if fingerprint == '' then fingerprint = nil end
local r
if known then
  r = decode(known)
  if not r then
    return bad_record()
  end
  if fingerprint and r.fingerprint and fingerprint ~= r.fingerprint then
    return 9
  end
  if r.side ~= side then
    if r.state ~= 'A' or now < r.lock_until + ARGV[9] then
      return {2, r.side, r.state}
    end
    r.side = side
  end
else
  r = new_record(owner, now, fingerprint, lane ~= '' and lane or nil)
  if owner ~= side then
    note(r, now, 'assigned', side, owner)
    keep(key, r, keep_ms)
    return {3, owner}
  end
end

local function granted()
  return {1, r.attempt, r.fence, r.first_seen / 1000, r.error or false, state}
end

local repeated = r.token == token
if r.state == 'D' then
  if r.stale and repeated then
    return {10, last or '0'}
  end
  return 4
elseif r.state == 'C' then
  return {5, r.tries, r.attempt, r.outbox, r.minted}
elseif r.state == 'K' then
  return {6, r.reason, r.error or false, r.attempt, r.first_seen / 1000, r.outbox, r.minted}
elseif r.state == 'P' then
  return {7, r.reason}
elseif r.state == 'R' then
  if repeated then
    return granted()
  end
  local epoch = tonumber(ARGV[2])
  local deposed = r.epoch and epoch and r.epoch < epoch
  if r.lock_until > now and not deposed then
    return {8, r.lock_until - now}
  end
end

r.token = token
if last and sequence <= last and not r.replayed then
  r.state = 'D'
  r.stale = true
  local digits = function(text) return (string.gsub(text, '^0+(%d)', '%1')) end
  note(r, now, 'stale', side, digits(sequence) .. ' is not above ' .. digits(last))
  keep(key, r, keep_ms)
  return {10, last}
end
r.attempt = r.attempt + 1
r.fence = math.max(r.fence + 1, now)
r.state = 'R'
r.lock_until = lock_until
r.epoch = tonumber(ARGV[2])
r.fingerprint = r.fingerprint or fingerprint
note(r, now, 'begin', side, '')
keep(key, r, keep_ms)
return granted()
