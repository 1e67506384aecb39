-- Is this the store we know? KEYS[2] incarnation; ARGV[1] the one expected or ''.
local found = ARGV[1] ~= '' and redis.call('GET', KEYS[2])
--!include same.lua
