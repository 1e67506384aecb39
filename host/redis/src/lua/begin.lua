-- May this side run this message now?
-- KEYS claim, incarnation, lease, state, last sequence, cut-over rule (those not
-- needed are left out at the end and are the claim's in between)
-- ARGV 1 store expected, 2 how the record of a new claim begins (see
-- record.lua), 3 lock in us, 4 keep in ms, 5 assign time-out in us; nothing
-- more when there is nothing more, else 6 epoch or '', 7 owner if new, 8 lane
-- or '', 9 sequence as 20 digits or '', 10 '1' to bring the state, 11 revision of
-- the rule that named the owner or nothing
-- Answers the fence alone for a new claim, {1, attempt, fence, first seen in ms,
-- error, state} granted, {2, owner, state} foreign, {3, owner} assigned, 4 done,
-- {5, tries, attempt, outbox, minted} committed, {6, reason, error, attempt,
-- first seen in ms, fence, outbox, minted} parking, {7, reason} parked, {8, us}
-- busy, 9 conflict, {10, last} stale, 11 the rule moved.
local head, keep_ms, epoch = ARGV[2], ARGV[4], ARGV[6] or ''
--!include store.lua
--!include epoch.lua
--!include clock.lua
local key, lock_until, state, last, known = KEYS[1], now + ARGV[3]
local lane, sequence, tail, fresh = '', '', nil, true
if ARGV[6] then
  lane, sequence = ARGV[8], ARGV[9]
  tail = struct.pack('>dI4BBc0I4I4I4B', tonumber(epoch) or 0, 0, 0, #lane, lane, 0, 0, 0, 0)
  state = ARGV[10] == '1' and redis.call('HGETALL', KEYS[4])
  last = sequence ~= '' and redis.call('GETEX', KEYS[5], 'PX', keep_ms)
  fresh = ARGV[7] == string.sub(head, 20) and not (last and sequence <= last)
  if ARGV[11] and redis.call('HGET', KEYS[6], 'revision') ~= ARGV[11] then
    if redis.call('EXISTS', key) == 0 then
      return 11
    end
    fresh = false
  end
end
if fresh then
  -- If it is new it is granted: one command to look and to write. The layout
  -- is that of record.lua, which is not loaded for this.
  known = redis.call('SET', key, head
    .. struct.pack('>I4I4ddd', now / 1000000, 1, now, now, lock_until)
    .. (tail or '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'),
    'PX', keep_ms, 'NX', 'GET')
  if not known then
    return state and {1, 1, now, now / 1000, false, state} or now
  end
else
  known = redis.call('GET', key)
end

--!include record.lua
local token, side = string.sub(head, 4, 11), string.sub(head, 20)
local fingerprint = has(string.byte(head, 2), 2) and string.sub(head, 12, 19) or nil
local owner = ARGV[7] or side
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
    if r.state ~= 'A' or now < r.lock_until + ARGV[5] then
      return {2, r.side, r.state}
    end
    note(r, now, 'takeover', side, r.side)
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
  return {6, r.reason, r.error or false, r.attempt, r.first_seen / 1000, r.fence, r.outbox,
    r.minted}
elseif r.state == 'P' then
  return {7, r.reason}
elseif r.state == 'R' then
  if repeated then
    r.lock_until = lock_until
    keep(key, r, keep_ms)
    return granted()
  end
  local deposed = r.epoch and epoch ~= '' and r.epoch < tonumber(epoch)
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
r.epoch = tonumber(epoch)
r.fingerprint = r.fingerprint or fingerprint
note(r, now, 'begin', side, '')
keep(key, r, keep_ms)
return granted()
