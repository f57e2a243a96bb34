-- Follows codes from the file CODES, Zipf(1.0) by line: the k-th is asked for 1/k as often as the first.
local codes = {}
for line in io.lines(os.getenv("CODES")) do codes[#codes + 1] = "/" .. line end
local scale = math.log(#codes + 1)
function init() math.randomseed(tonumber(os.getenv("SEED") or "1")) end
function request()
  -- The inverse of the continuous 1/x law: close enough to Zipf, and cheap for the client.
  local k = math.floor(math.exp(math.random() * scale))
  if k > #codes then k = #codes end
  return wrk.format("GET", codes[k])
end
function done(summary)
  io.write(string.format("RESULT requests=%d errors=%d seconds=%.3f bytes=%d\n", summary.requests,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration / 1e6, summary.bytes))
end
