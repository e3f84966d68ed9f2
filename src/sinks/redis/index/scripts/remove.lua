-- rule, (micros, nanos, path)...: removes paths whose time is not after the given one ("until"), or
-- is the given one ("exactly"). What was renamed to such a path later is let alone.
local exactly, gone, paths = ARGV[1] == 'exactly', {}, every(3, 4)
local times, moved = times_of(paths), not exactly and moves_of(paths) or {}
for i, path in ipairs(paths) do
  local micros, limit, limit_rest = times[i], tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local rest = micros and rest_of(path, micros)
  local later = micros and is_later(micros, rest, limit, limit_rest) or (moved[i] or limit) > limit
  local other = exactly and (micros ~= limit or rest ~= limit_rest)
  -- What has no time is taken out of `names` as well.
  if not micros or not later and not other then gone[#gone + 1] = path end
end
forget(gone)
return #gone
