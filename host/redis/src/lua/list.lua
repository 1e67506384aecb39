-- Which of these claims are unfinished, or in one state?
-- KEYS 1 anything in the slot, 2 incarnation, then the claims
-- ARGV 1 store expected, 2 the letter of the state or '' for all unfinished ones
-- Answers {number of the claim, description}, ...; what is no claim is left out.
--!include store.lua
--!include record.lua
--!include describe.lua
local found = {}
for i = 3, #KEYS do
  local known = redis.pcall('GET', KEYS[i])
  local r = type(known) == 'string' and decode(known)
  if r then
    local unfinished = r.state ~= 'D' and r.state ~= 'P'
    if ARGV[2] == r.state or (ARGV[2] == '' and unfinished) then
      local ok, view = pcall(describe, r)
      if ok then
        found[#found + 1] = { i - 2, view }
      end
    end
  end
end
return found
