-- A record for people: {state, stale, side, reason, attempt, fence, lane, error,
-- locked until in ms, fingerprint, events}, with each event as {step, ms, side,
-- attempt, detail}.
local NAME = {}
for name, code in pairs(STEP) do
  NAME[code] = name
end

local function events(r)
  local list, at = {}, 1
  while at <= #r.events do
    local step, time, attempt, side, detail, next = struct.unpack(EVENT, r.events, at)
    list[#list + 1] = { NAME[step] or '?', time / 1000, side, attempt, detail }
    at = next
  end
  return list
end

local function describe(r, past)
  local locked = r.state == 'R' and r.lock_until / 1000 or false
  return { r.state, r.stale and 1 or 0, r.side, r.reason, r.attempt, r.fence, r.lane or false,
    r.error or past and past.error or false, locked, r.fingerprint or false, events(past or r) }
end
