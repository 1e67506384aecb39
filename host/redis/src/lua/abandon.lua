-- Undoes a begin whose handler was never called. Answers 1 recorded, 4 lost.
--!include attempt.lua
if r.state == 'F' then
  return 1
elseif r.state ~= 'R' then
  return 4
end
r.state = 'F'
r.attempt = math.max(r.attempt - 1, 0)
note(r, now, 'abandon', r.side, '')
keep(key, r, keep_ms)
return 1
