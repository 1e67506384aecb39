-- The record of the attempt that takes a step, or the answer that it is lost.
-- KEYS claim, incarnation, lease
-- ARGV 1 store expected, 2 epoch, 3 token, 4 keep in ms
--!include fence.lua
--!include clock.lua
--!include record.lua
local key, keep_ms = KEYS[1], ARGV[4]
local known = redis.call('GET', key)
local r = known and decode(known)
if known and not r then
  return bad_record()
end
if not r or r.token ~= ARGV[3] then
  return 4
end
