-- Keeps a link or an absence in its bucket, unless a newer version or a later expiry of the same stands there.
-- KEYS: the bucket; the key of a long value.
-- ARGV: field; kind (L: a link, E: a link whose body goes to the second key, A: an absence); version;
--       life in ms; body.
-- Times are by this server's clock, in quarters of a second since 2025: they fit 32 bits until 2059.
local HEADER, EPOCH_MS, TICK_MS, MINUTE, SWEEP = '\130', 1735689600000, 250, 240, 3600
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000) - EPOCH_MS
local now = math.floor(now_ms / TICK_MS)
local version = tonumber(ARGV[3])
local expiry = math.floor((now_ms + ARGV[4]) / TICK_MS)

-- Kind, version and expiry of a stored value; nothing for what is not ours.
local function read(value)
  local kind = value and value:byte(1)
  if kind == 0xA1 and #value >= 6 then return 'L', value:byte(2), (struct.unpack('>I4', value, 3)) end
  if kind == 0xA4 and #value >= 9 then return 'L', struct.unpack('>I4I4', value, 2) end
  if kind == 0xC4 and #value == 9 then return 'E', struct.unpack('>I4I4', value, 2) end
  if kind == 0xB0 and #value == 5 then return 'A', 0, (struct.unpack('>I4', value, 2)) end
end

local old_kind, old_version, old_expiry = read(redis.call('HGET', KEYS[1], ARGV[1]))
if old_kind and old_expiry > now then
  if old_version > version or (old_version == version and old_expiry >= expiry) then return 0 end
end

local value
if ARGV[2] == 'A' then
  value = struct.pack('>BI4', 0xB0, expiry)
elseif ARGV[2] == 'E' then
  value = struct.pack('>BI4I4', 0xC4, version, expiry)
  redis.call('SET', KEYS[2], struct.pack('>BI4I4', 0xA4, version, expiry) .. ARGV[5], 'PX', ARGV[4])
elseif version < 256 then
  value = struct.pack('>BBI4', 0xA1, version, expiry) .. ARGV[5]
else
  value = struct.pack('>BI4I4', 0xA4, version, expiry) .. ARGV[5]
end
if old_kind == 'E' and ARGV[2] ~= 'E' then redis.call('UNLINK', KEYS[2]) end
redis.call('HSET', KEYS[1], ARGV[1], value)

-- The bucket lives as long as the last of it, rounded up so that most writes leave that alone.
local header = redis.call('HGET', KEYS[1], HEADER)
local deadline, sweep_at = 0, now + SWEEP
if header and #header == 8 then deadline, sweep_at = struct.unpack('>I4I4', header) end
local changed = deadline <= expiry or not header
if changed then deadline = (math.floor(expiry / MINUTE) + 1) * MINUTE end
if now >= sweep_at or sweep_at > now + SWEEP then
  changed, sweep_at = true, now + SWEEP
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] ~= HEADER then
      local kind, _, ends = read(all[i + 1])
      if not kind or ends <= now then redis.call('HDEL', KEYS[1], all[i]) end
    end
  end
end
if changed then
  redis.call('HSET', KEYS[1], HEADER, struct.pack('>I4I4', deadline, sweep_at))
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', EPOCH_MS + deadline * TICK_MS))
end
return 1
