-- Records success and stores the effects, all or nothing.
-- KEYS claim, incarnation, lease, state, last sequence, then one counter for
-- each lane that messages are published in
-- ARGV 1 store expected, 2 token, 3 keep in ms; nothing more when there are no
-- effects and no epoch, else: 4 epoch or '', 5 sequence as 20 digits or '', 6
-- version of the state read or '', 7 '1' when the state belongs to the key, 8
-- outbox or '', 9 number of state changes, then of each 's', name, value or 'd',
-- name, '', then of each message the number of its counter (1 for KEYS[6]) or
-- '', all or none.
-- Answers 1 done, {2, minted} committed, 3 state moved or sequence overtaken, 4
-- lost.
local key, token, keep_ms, epoch = KEYS[1], ARGV[2], ARGV[3], ARGV[4] or ''
local known, found = unpack(redis.call('MGET', key, KEYS[2]))
--!include same.lua
--!include epoch.lua
if known and not ARGV[5] then
  local state, flags, length = string.byte(known, 1, 3)
  if state == 82 and string.sub(known, 4, 11) == token and flags % 16 < 8 then
    -- A first attempt without effects: cut the record down as record.lua
    -- would, without loading it.
    redis.call('SET', key, (flags % 4 < 2 and '\160' or '\224')
      .. string.sub(known, 4, 23 + length), 'PX', keep_ms)
    return 1
  end
end

--!include clock.lua
--!include record.lua
-- Unlike MGET, this tells a value of another type from none.
known = known or redis.call('GET', key)
if not known then
  return 4
end
local r = decode(known)
if not r then
  return bad_record()
end
if r.token ~= token then
  return 4
end
if r.state == 'C' or (r.state == 'D' and not r.stale) then
  -- A repeat. It is written again so that waiting for replicas covers it.
  redis.call('PEXPIRE', key, keep_ms)
  return r.state == 'D' and 1 or {2, r.minted}
elseif r.state ~= 'R' then
  return 4
end

local sequence, read, outbox = ARGV[5] or '', ARGV[6] or '', ARGV[8] or ''
local changes = tonumber(ARGV[9] or 0)
local last = sequence ~= '' and redis.call('GET', KEYS[5])
if read ~= '' or changes > 0 then
  local version = redis.call('HGET', KEYS[4], 'v') or '0'
  if read ~= '' and read ~= version then
    return 3
  end
end
if last and sequence <= last and not r.replayed then
  return 3
end

-- From here on everything is written. The counters go first: of all writes
-- only theirs can be refused, and a number that is never used does no harm.
if outbox ~= '' then
  local numbers = {}
  for i = 10 + changes * 3, #ARGV do
    numbers[#numbers + 1] = ARGV[i] == '' and ''
      or string.format('%.0f', redis.call('INCR', KEYS[5 + ARGV[i]]))
  end
  r.minted = table.concat(numbers, ',')
end
if changes > 0 then
  for i = 10, 7 + changes * 3, 3 do
    if ARGV[i] == 's' then
      redis.call('HSET', KEYS[4], '.' .. ARGV[i + 1], ARGV[i + 2])
    else
      redis.call('HDEL', KEYS[4], '.' .. ARGV[i + 1])
    end
  end
  redis.call('HINCRBY', KEYS[4], 'v', 1)
  if ARGV[7] == '1' then
    redis.call('PEXPIRE', KEYS[4], keep_ms)
  end
end
if sequence ~= '' and not (last and sequence <= last) then
  redis.call('SET', KEYS[5], sequence, 'PX', keep_ms)
end
r.error = nil
r.outbox = outbox
r.tries = 0
r.state = outbox == '' and 'D' or 'C'
note(r, now, 'commit', r.side, '')
keep(key, r, keep_ms)
return r.state == 'D' and 1 or {2, r.minted}
