-- Which of these claims still belong to the other side? Reads only.
-- KEYS 1 anything in the slot, 2 incarnation, then the claims
-- ARGV 1 store expected, 2 the side that asks, 3 assign time-out in us
-- Answers two numbers for each claim: its age in us, at least 1, or 0 when it is
-- worth asking for it; and the time in us until it may be taken over, or -1 when
-- it was begun. The layout is that of record.lua, which is not loaded for this.
--!include store.lua
--!include clock.lua
local function look(value)
  local kind, _, length = string.byte(value, 1, 3)
  local state = string.char(kind)
  local side = string.sub(value, 20, 19 + length)
  if not string.find('ARFCK', state, 1, true) or side == ARGV[2] then
    return 0, 0
  end
  local first_seen, since = struct.unpack('>dd', value, 36 + length)
  local left = -1
  if state == 'A' then
    left = since + ARGV[3] - now
    if left <= 0 then
      return 0, 0
    end
  end
  return math.max(now - first_seen, 1), left
end

local found = {}
for i = 3, #KEYS do
  local known = redis.pcall('GET', KEYS[i])
  local ok, age, left = false, 0, 0
  if type(known) == 'string' then
    ok, age, left = pcall(look, known)
  end
  found[#found + 1] = ok and age or 0
  found[#found + 1] = ok and left or 0
end
return found
