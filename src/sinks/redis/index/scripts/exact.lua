-- (micros, nanos, path)...: keeps the nanoseconds of times that stand in `time` already.
local paths = every(3, 3)
local times = times_of(paths)
for i, path in ipairs(paths) do
  local micros, rest = ARGV[3 * i - 2], ARGV[3 * i - 1]
  if times[i] == tonumber(micros) and rest_of(path, times[i]) < tonumber(rest) then
    redis.call('HSET', nanos, path, micros .. '.' .. rest)
    exact = true
  end
end
return 1
