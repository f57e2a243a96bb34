-- Creates links: one a request, or BULK of them. Bodies differ from request to request.
local bulk = tonumber(os.getenv("BULK") or "1")
local key = os.getenv("TERSE_KEY")
local made, thread = 0, 0
local function link(n)
  return string.format('{"target":"https://example.com/articles/%08d/some-page-of-it"}', n)
end
function setup(t) t:set("number", thread); thread = thread + 1 end
function request()
  local body
  if bulk == 1 then
    body = link(number * 100000000 + made)
    made = made + 1
  else
    local links = {}
    for i = 1, bulk do links[i] = link(number * 100000000 + made); made = made + 1 end
    body = '{"links":[' .. table.concat(links, ",") .. "]}"
  end
  local path = bulk == 1 and "/api/v1/links" or "/api/v1/links/bulk"
  return wrk.format("POST", path, { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json" }, body)
end
function done(summary)
  io.write(string.format("RESULT requests=%d errors=%d seconds=%.3f bytes=%d\n", summary.requests,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    summary.duration / 1e6, summary.bytes))
end
