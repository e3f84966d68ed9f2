-- (micros, nanos, path)...: the times of paths that are not after the given ones, each as micros
-- and nanos; two nils for others.
local found, paths = {}, every(3, 3)
local times = times_of(paths)
for i, path in ipairs(paths) do
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  local later = micros and is_later(micros, rest, tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]))
  found[#found + 1] = micros and not later and micros
  found[#found + 1] = micros and not later and rest
end
return found
