-- Feeds wrk with webhooks that were signed beforehand, each sent once, and ends it when the last one is answered.
--   wrk … -- HEAD BODY REQUESTS
-- HEAD      the request line and headers of every request, without the two that differ
-- BODY      pieces of the body, separated by a byte 1; the issue's number stands between them
-- REQUESTS  a line for each request: delivery id, signature, number (always as long, so that all bodies are)

local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
  int getpid(void);
  int kill(int process, int signal);
]])
local MONOTONIC, INTERRUPT, NEVER_MS = 1, 2, 3600000

local head, pieces, lines = "", {}, {}
local allowed, sent, answered, started, statuses = 0, 0, 0, nil, {}
local threads = {}

local function now()
  local moment = ffi.new("moment")
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

local function content(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  head = content(arguments[1])
  for piece in (content(arguments[2]) .. "\1"):gmatch("([^\1]*)\1") do
    pieces[#pieces + 1] = piece
  end
  for line in io.lines(arguments[3]) do
    lines[#lines + 1] = { line:match("(%S+) (%S+) (%S+)") }
  end
end

-- wrk asks for requests until it ends; what would come after the last one waits
function delay()
  if allowed == #lines then
    return NEVER_MS
  end
  allowed = allowed + 1
  started = started or now()
  return 0
end

function request()
  -- wrk looks at one request before it begins, and does not send it
  local line = lines[1]
  if allowed > 0 then
    sent = sent + 1
    line = lines[sent]
  end
  local body = table.concat(pieces, line[3])
  return table.concat({
    head,
    "x-github-delivery: ", line[1], "\r\nx-hub-signature-256: sha256=", line[2],
    "\r\ncontent-length: ", #body, "\r\n\r\n", body,
  })
end

function response(status)
  answered = answered + 1
  statuses[status] = (statuses[status] or 0) + 1
  if answered == #lines then
    seconds = now() - started
    counts = {}
    for key, count in pairs(statuses) do
      counts[#counts + 1] = ('"%d":%d'):format(key, count)
    end
    counts = table.concat(counts, ",")
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), INTERRUPT) -- wakes wrk from its sleep; it then counts and calls done
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(
    ('RESULT {"seconds":%f,"statuses":{%s},"p50_ms":%f,"p99_ms":%f,"max_ms":%f,"errors":%d}\n'):format(
      threads[1]:get("seconds") or 0,
      threads[1]:get("counts") or "",
      latency:percentile(50) / 1000,
      latency:percentile(99) / 1000,
      latency.max / 1000,
      errors.connect + errors.read + errors.write + errors.timeout
    )
  )
end
