-- what ("file" or "tree"), whether names are kept, (micros and nanos of the rename, new path,
-- micros and nanos of its file)...: a renamed file brings its time with it, and replaces the file
-- that had the name, unless that was used after the rename. Without a time of its own the name
-- has none.
-- A file's rename is remembered, so that the same one, when it comes again, takes nothing away.
local tree, paths = ARGV[1] == 'tree', every(5, 5)
local times, gone, kept = times_of(paths), {}, {}
for i, path in ipairs(paths) do
  local at = 5 * i - 2
  local limit, limit_rest = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local own, own_rest = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  local stays = micros and is_later(micros, rest, limit, limit_rest)
  if not tree and tonumber(redis.call('ZSCORE', moves, path) or nil) == limit then
    stays = stays or not own or micros and not is_later(own, own_rest, micros, rest)
  elseif tree and micros then
    stays = stays or not is_later(own, own_rest, micros, rest)
  end
  if not stays and own then
    kept[#kept + 1] = ARGV[at + 3]
    kept[#kept + 1] = path
    if own_rest > 0 then
      redis.call('HSET', nanos, path, ARGV[at + 3] .. '.' .. ARGV[at + 4])
      exact = true
    elseif exact then
      redis.call('HDEL', nanos, path)
    end
  elseif not stays then
    gone[#gone + 1] = path
  end
  if not tree then redis.call('ZADD', moves, 'GT', ARGV[at], path) end
end
forget(gone)
if #kept > 0 then
  redis.call('ZADD', time, unpack(kept))
  if ARGV[2] == '1' then
    for i = 1, #kept, 2 do kept[i] = '0' end
    redis.call('ZADD', names, unpack(kept))
  end
end
if not tree then redis.call('ZREMRANGEBYRANK', moves, 0, -1025) end
return #kept / 2
