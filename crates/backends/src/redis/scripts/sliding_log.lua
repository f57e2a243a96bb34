-- Takes a cost from a sliding-window log: exact, whole or not at all.
-- KEYS: the log, a sorted set. Its members are 'time:cost', scored by the time in µs; 'sum' is scored by the sum
-- of the costs, which is far below any time.
-- ARGV: max; window in µs; cost; granule in µs (0: each instant has its own entry).
-- Answers whether it was allowed, the sum afterwards, and the reset in µs.
local log, max, window, cost, granule = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST_TIME = 1e12
local function text(number) return string.format('%.0f', number) end
local function cost_of(member) return tonumber(member:match(':(%d+)$')) or 0 end
local function time_of(member) return tonumber(member:match('^(%d+):')) or 0 end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local newest = redis.call('ZREVRANGE', log, 0, 0)[1]
local last = newest and newest ~= 'sum' and time_of(newest) or 0
if last - now > window + granule then
  -- Counted by a clock that was far ahead: it would refuse for as long.
  redis.call('DEL', log)
  last, newest = 0, nil
elseif last > now and granule == 0 then
  -- A clock set back a little must not let time pass twice.
  now = last
end

local sum = tonumber(redis.call('ZSCORE', log, 'sum') or 0)
local gone = redis.call('ZRANGEBYSCORE', log, FIRST_TIME, text(now - window))
if #gone > 0 then
  for _, member in ipairs(gone) do sum = sum - cost_of(member) end
  redis.call('ZREMRANGEBYSCORE', log, FIRST_TIME, text(now - window))
  redis.call('ZADD', log, text(sum), 'sum')
end

if sum + cost <= max then
  if cost > 0 then
    local at = granule > 0 and math.max(math.ceil(now / granule) * granule, last) or now
    local taken = cost
    if newest and last == at then
      taken = taken + cost_of(newest)
      redis.call('ZREM', log, newest)
    end
    sum = sum + cost
    redis.call('ZADD', log, text(at), text(at) .. ':' .. text(taken), text(sum), 'sum')
    redis.call('PEXPIRE', log, text(math.ceil((window + granule) / 1000)))
  end
  local oldest = redis.call('ZRANGEBYSCORE', log, FIRST_TIME, '+inf', 'LIMIT', 0, 1)[1]
  return {1, sum, oldest and math.max(time_of(oldest) + window - now, 0) or 0}
end

-- How long until enough has left; what is larger than the limit never fits.
if cost <= max then
  local left, from = sum + cost, 0
  while true do
    local oldest = redis.call('ZRANGEBYSCORE', log, FIRST_TIME, '+inf', 'LIMIT', from, 64)
    if #oldest == 0 then break end
    for _, member in ipairs(oldest) do
      left = left - cost_of(member)
      if left <= max then return {0, sum, math.max(time_of(member) + window - now, 1)} end
    end
    from = from + #oldest
  end
end
return {0, sum, window}
