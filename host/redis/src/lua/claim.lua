-- The record of a claim, or the answer that there is none, for steps that do
-- not depend on who takes them.
-- KEYS claim, incarnation
-- ARGV 1 store expected, 2 keep in ms
--!include store.lua
--!include clock.lua
--!include record.lua
local key, keep_ms = KEYS[1], ARGV[2]
local known = redis.call('GET', key)
if not known then
  return 4
end
local r = decode(known)
if not r then
  return bad_record()
end
