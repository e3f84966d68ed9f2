-- now, age and most of tombstones, (micros, fine, directory)...: the same for directories and all
-- that lies in them. `newest` counts how often something was added. Gives that, and what `bury`
-- does.
local list, paths = {}, every(3, 6)
local micros_since, fine_since = since_of(paths)
for i, path in ipairs(paths) do
  local limit, limit_fine = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if is_before(micros_since[i], fine_since[i], limit, limit_fine) then
    list[#list + 1] = path
    list[#list + 1] = ARGV[3 * i + 1] .. '.' .. ARGV[3 * i + 2]
  end
end
local version = redis.call('GET', newest)
local went, early = bury(list, 0, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
version = (tonumber(version) or 0) + (#list > 0 and 1 or 0)
redis.call('SET', newest, version)
return { version, went, early }
