-- whether names are kept, (micros, nanos, turn, path)...: accesses that may be older than the file
-- which has the name now; those that are count for nothing. Turn is how many changes of the name
-- there were at that time before.
local paths = every(4, 5)
local times, list, rests, named, known_since = times_of(paths), {}, {}, {}, {}
local most = -math.huge
local micros_since, fine_since = since_of(paths)
for i, path in ipairs(paths) do
  local text, rest = ARGV[4 * i - 2], ARGV[4 * i - 1]
  local micros, fine = tonumber(text), tonumber(rest) * 1000 + tonumber(ARGV[4 * i])
  local known = times[i]
  local newer = not known or is_before(known, rest_of(path, known), micros, tonumber(rest))
  if newer and not is_before(micros, fine, micros_since[i], fine_since[i]) then
    list[#list + 1] = text
    list[#list + 1] = path
    rests[#rests + 1] = rest
    if ARGV[4 * i] ~= '0' then
      -- Its time alone does not tell that it came after those changes.
      most = math.max(most, micros)
      named[#named + 1] = path
      named[#named + 1] = text .. '.' .. string.format('%.0f', fine)
    elseif micros > micros_since[i] then
      known_since[#known_since + 1] = path
    end
  end
end
set_times(list, rests, ARGV[1] == '1')
note(since, named, most)
-- What was accessed since it has its name needs no word of when that was.
if #known_since > 0 then redis.call('HDEL', since, unpack(known_since)) end
return #rests
