-- (micros, nanos, path)...: the times of paths that are not after the given ones, each as micros
-- and nanos; two nils for others, and for paths to which another file was renamed since.
local found, paths = {}, every(3, 3)
local times, moved = times_of(paths), moves_of(paths)
for i, path in ipairs(paths) do
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  local limit, limit_rest = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local later = micros and is_later(micros, rest, limit, limit_rest) or (moved[i] or limit) > limit
  found[#found + 1] = micros and not later and micros
  found[#found + 1] = micros and not later and rest
end
return found
