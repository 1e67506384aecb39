-- The lease of a consumer: who has it, under which epoch.
-- KEYS lease, incarnation; ARGV 1 store expected, 2 owner as 16 digits
--!include store.lua
local key = KEYS[1]
local known = redis.call('GET', key)
local ours = known and string.sub(known, 1, 16) == ARGV[2]
local epoch = known and tonumber(string.sub(known, 17))
