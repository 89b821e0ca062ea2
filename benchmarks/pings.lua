-- For wrk: pings of 256 sessions, each 10 s of content after the one before it, so that the rules have nothing to report.
-- wrk -s pings.lua URL -- SEED: loads with different seeds are of different sessions.
local SESSIONS, sids, counts, at = 256, {}, {}, 0

function init(args)
  for i = 1, SESSIONS do
    sids[i], counts[i] = string.format("%08x%056x", tonumber(args[1]), i), 0
  end
end

local headers = {
  ["Content-Type"] = "application/json", ["Accept"] = "*/*", ["Origin"] = "https://tv.example",
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", ["Accept-Language"] = "en-US,en;q=0.9",
}
local form = '{"playerTime":{"playhead":%d,"ts":%d},"eventType":"ping","qoeData":{"media.qoe.bitrate":3200,'
  .. '"media.qoe.droppedFrames":0,"media.qoe.framesPerSecond":25,"media.qoe.timeToStart":1000}}'

function request()
  at = at % SESSIONS + 1
  counts[at] = counts[at] + 1
  local body = string.format(form, counts[at] * 10, 1700000000000 + counts[at] * 10000)
  return wrk.format("POST", "/api/v1/sessions/" .. sids[at] .. "/events", headers, body)
end
