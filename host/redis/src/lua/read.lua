-- A whole hash (flags, totals, a cut-over rule) as it is.
-- KEYS hash, incarnation; ARGV 1 store expected.
--!include store.lua
return redis.call('HGETALL', KEYS[1])
