-- The record of a claim, read and written. Numbers are big-endian; a double
-- holds microseconds, fences and epochs exactly (all below 2^53).
--
-- finished, at most 28 bytes for a side of up to 7:
--   1  128 + 64 (has fingerprint) + 32 (has token) + ending: 0 completed,
--      1 stale, 1 + n parked for reason n
--   8  token      8  fingerprint      side      4  first seen, in seconds
--
-- unfinished, and parked with an outbox that is still to be sent:
--   1  A assigned, R running, F failed, C committed, K parking, P parked,
--      D done (in the history beside a finished claim only)
--   1  1 has token + 2 has fingerprint + 4 replayed + 8 eventful
--      + 16 has epoch + 32 has error
--   1  length of the side
--   8  token      8  fingerprint (zeros where there is none)      side
--      (as far as here the host writes it for a new claim)
--   4  first seen, in seconds, so that what is kept in the end is one piece
--   attempt, fence, first seen, lock until (assigned: since), epoch, tries,
--   reason, lane, error, minted numbers, outbox, number of events
--   rest: events (step, time, attempt, side, detail), oldest first. No events
--   in a running claim: it began once, when it was first seen.
local NUMBERS = '>I4I4ddddI4BBc0I4c0I4c0I4c0B'
local EVENT = '>BdI4Bc0I4c0'
local ZEROS = string.rep('\0', 8)
local HISTORY_MS = 3600000
local UNDELIVERABLE = 9
local STEP = {
  assigned = 1, begin = 2, commit = 3, published = 4, fail = 5, park = 6,
  buried = 7, abandon = 8, release = 9, replay = 10, stale = 11,
  undeliverable = 12, takeover = 13,
}
local QUIET = { [2] = true, [3] = true, [4] = true }

local function has(flags, bit)
  return flags % (bit * 2) >= bit
end

local function new_record(side, now, fingerprint, lane)
  return {
    state = 'A', side = side, attempt = 0, fence = 0, first_seen = now,
    lock_until = now, tries = 0, reason = 0, lane = lane, minted = '',
    outbox = '', count = 0, events = '', fingerprint = fingerprint,
  }
end

local function note(r, now, step, side, detail)
  local code = STEP[step]
  r.events = r.events .. struct.pack(EVENT, code, now, r.attempt, #side, side, #detail, detail)
  if r.count == 32 then
    local next = select(-1, struct.unpack(EVENT, r.events))
    r.events = string.sub(r.events, next)
  else
    r.count = r.count + 1
  end
  if r.attempt > 1 or not QUIET[code] then
    r.eventful = true
  end
end

local function identity(r)
  return (r.token or ZEROS) .. (r.fingerprint or ZEROS) .. r.side
end

local function encode(r)
  local flags = (r.token and 1 or 0) + (r.fingerprint and 2 or 0) + (r.replayed and 4 or 0)
    + (r.eventful and 8 or 0) + (r.epoch and 16 or 0) + (r.error and 32 or 0)
  local lane, error = r.lane or '', r.error or ''
  return r.state .. string.char(flags, #r.side) .. identity(r)
    .. struct.pack(NUMBERS, r.first_seen / 1000000, r.attempt, r.fence, r.first_seen,
      r.lock_until or 0, r.epoch or 0, r.tries, r.reason, #lane, lane, #error, error,
      #r.minted, r.minted, #r.outbox, r.outbox, r.count) .. r.events
end

local function decode_finished(value)
  local kind = string.byte(value)
  local ending = kind % 32
  local seconds = struct.unpack('>I4', value, #value - 3)
  local r = new_record(string.sub(value, 18, -5), seconds * 1000000)
  r.compact = true
  r.token = has(kind, 32) and string.sub(value, 2, 9) or nil
  r.fingerprint = has(kind, 64) and string.sub(value, 10, 17) or nil
  if ending <= 1 then
    r.state = 'D'
    r.stale = ending == 1
  else
    r.state = 'P'
    r.reason = ending - 1
  end
  return r
end

local function decode_long(value)
  local _, flags, length = string.byte(value, 1, 3)
  local r = { state = string.sub(value, 1, 1), side = string.sub(value, 20, 19 + length) }
  local lane, error, at
  _, r.attempt, r.fence, r.first_seen, r.lock_until, r.epoch, r.tries, r.reason, lane, error,
    r.minted, r.outbox, r.count, at = struct.unpack(NUMBERS, value, 20 + length)
  r.events = string.sub(value, at)
  r.token = has(flags, 1) and string.sub(value, 4, 11) or nil
  r.fingerprint = has(flags, 2) and string.sub(value, 12, 19) or nil
  r.epoch = has(flags, 16) and r.epoch or nil
  r.error = has(flags, 32) and error or nil
  r.lane = lane ~= '' and lane or nil
  r.replayed = has(flags, 4)
  r.eventful = has(flags, 8)
  if r.count == 0 then
    note(r, r.first_seen, 'begin', r.side, '')
  end
  return r
end

-- The record in a value, or nothing when it is none.
local function decode(value)
  local kind = string.byte(value)
  local ok, r
  if kind and kind >= 128 and #value >= 22 then
    ok, r = pcall(decode_finished, value)
  elseif kind and string.find('ARFCKPD', string.char(kind), 1, true) then
    ok, r = pcall(decode_long, value)
  end
  return ok and r or nil
end

local function bad_record()
  return redis.error_reply('BADRECORD the value under a claim key is not a claim')
end

-- Keeps a record. A finished one is compacted; what led to an eventful end is
-- kept beside it for a while.
local function keep(key, r, ms)
  local ended = r.state == 'D' or r.state == 'P'
  if not ended or r.outbox ~= '' then
    redis.call('SET', key, encode(r), 'PX', ms)
    return
  end
  if r.eventful then
    redis.call('SET', key .. ':h', encode(r), 'PX', HISTORY_MS)
  end
  local ending = r.state == 'P' and 1 + r.reason or r.stale and 1 or 0
  local kind = 128 + (r.fingerprint and 64 or 0) + (r.token and 32 or 0) + ending
  redis.call('SET', key, string.char(kind) .. identity(r)
    .. struct.pack('>I4', r.first_seen / 1000000), 'PX', ms)
end
