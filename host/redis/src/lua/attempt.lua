-- The record of the attempt that takes a step, or the answer that it is lost.
-- KEYS claim, incarnation, lease
-- ARGV 1 store expected, 2 token, 3 keep in ms, 4 epoch or ''
local epoch = ARGV[4] or ''
--!include store.lua
--!include epoch.lua
--!include clock.lua
--!include record.lua
local key, keep_ms = KEYS[1], ARGV[3]
local known = redis.call('GET', key)
local r = known and decode(known)
if known and not r then
  return bad_record()
end
if not r or r.token ~= ARGV[2] then
  return 4
end
