-- now, age and most of tombstones, whether names are kept, (micros and fine of the rename, new
-- path, micros and nanos of its file)...: the file that has the name since the newest moment
-- counts, and of its times the newest. A file without a time leaves the name without one.
local paths = every(5, 7)
local times, list, rests, named, gone_now, tombs = times_of(paths), {}, {}, {}, {}, {}
local micros_since, fine_since = since_of(paths)
local most = -math.huge
for i, path in ipairs(paths) do
  local at = 5 * i
  local limit, limit_fine = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local own, own_rest = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local micros, takes = times[i], false
  most = math.max(most, limit)
  local rest = micros and rest_of(path, micros)
  if is_before(limit, limit_fine, micros_since[i], fine_since[i]) then
    -- Another file has the name since.
  elseif micros_since[i] == limit and fine_since[i] == limit_fine then
    takes = own and (not micros or is_before(micros, rest, own, own_rest))
  elseif micros and not is_before(micros, rest * 1000, limit, limit_fine) then
    -- The file was accessed after it had come: nothing older counts.
  elseif own then
    takes = true
  else
    gone_now[#gone_now + 1] = path
    tombs[#tombs + 1] = path
    tombs[#tombs + 1] = ARGV[at] .. '.' .. ARGV[at + 1]
  end
  if takes then
    list[#list + 1] = ARGV[at + 3]
    list[#list + 1] = path
    rests[#rests + 1] = ARGV[at + 4]
    named[#named + 1] = path
    named[#named + 1] = ARGV[at] .. '.' .. ARGV[at + 1]
  end
end
forget(gone_now)
set_times(list, rests, ARGV[4] == '1')
note(since, named, most)
return { bury(tombs, most, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])) }
