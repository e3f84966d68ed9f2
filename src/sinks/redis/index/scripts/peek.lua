-- (micros, fine, path)...: the times of the files that had these names before these times, each as
-- micros and nanos; two nils where that is not known, or there is none.
local found, paths = {}, every(3, 3)
local times = times_of(paths)
local micros_since, fine_since = since_of(paths)
for i, path in ipairs(paths) do
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  local limit, limit_fine = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local had = micros and is_before(micros, rest * 1000, limit, limit_fine)
    and is_before(micros_since[i], fine_since[i], limit, limit_fine)
  found[#found + 1] = had and micros
  found[#found + 1] = had and rest
end
return found
