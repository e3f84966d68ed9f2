-- now, age and most of tombstones, whether to leave them, (micros, fine, path, micros and nanos
-- that the path is thought to have: "" for none, "*" for any)...: the files that had these names
-- before these times have them no more. Gives what `bury` does, and then (number, micros,
-- nanos)... of those whose times were others; they are let alone. Where none are left, it was just
-- seen that the files had their names before.
local paths, buries = every(5, 7), ARGV[4] == '1'
local times, gone_now, tombs, others = times_of(paths), {}, {}, {}
local micros_since, fine_since = since_of(buries and paths or {})
local most = -math.huge
for i, path in ipairs(paths) do
  local at = 5 * i
  local limit, limit_fine = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local micros, thought = times[i], ARGV[at + 3]
  most = math.max(most, limit)
  local rest = micros and rest_of(path, micros)
  local older = not micros or is_before(micros, rest * 1000, limit, limit_fine)
  if older and (not buries or is_before(micros_since[i], fine_since[i], limit, limit_fine)) then
    local same = tonumber(thought) == micros and tonumber(ARGV[at + 4]) == rest
    if micros and thought ~= '*' and not same then
      others[#others + 1] = i
      others[#others + 1] = micros
      others[#others + 1] = rest
    else
      -- What has no time is taken out of `names` as well.
      gone_now[#gone_now + 1] = path
      if buries then
        tombs[#tombs + 1] = path
        tombs[#tombs + 1] = ARGV[at] .. '.' .. ARGV[at + 1]
      end
    end
  end
end
forget(gone_now)
local went, early = bury(tombs, most, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
return { went, early, unpack(others) }
