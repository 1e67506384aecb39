-- A claim as it stands. Answers a description, or 4 when there is none.
--!include claim.lua
--!include describe.lua
local past = r.compact and redis.call('GET', key .. ':h')
past = past and decode(past)
if past and past.token ~= r.token then
  past = nil
end
return describe(r, past)
