-- Is `found` the incarnation expected, and not that of an older copy? Both are an
-- id, a colon and the pulse in 20 digits, so texts compare as the pulses do.
if ARGV[1] ~= '' and (not found or found < ARGV[1]
  or string.sub(found, 1, -22) ~= string.sub(ARGV[1], 1, -22)) then
  return -1
end
