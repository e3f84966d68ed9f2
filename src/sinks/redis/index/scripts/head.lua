-- The keys of one partition; each script begins with these lines.
-- time: path -> microseconds of the last access. names: the same paths, in the order of their
-- bytes. nanos: path -> "micros.nanos", for times that are no whole microseconds. since: path ->
-- "micros.fine": since when the name has its file, where the file's time is older than that. gone,
-- old: the same for names that have no time: what was removed, or has another name. `old` is what
-- `gone` was before. newest: the newest microseconds in these three.
-- fine is a thousand times the nanoseconds, and which change of the name it was at that time.
local time, names, nanos, since, gone, old, newest = unpack(KEYS)
local exact = redis.call('EXISTS', nanos) == 1

-- Every so many arguments from the given one on, say.
local function every(step, first)
  local list = {}
  for i = first, #ARGV, step do list[#list + 1] = ARGV[i] end
  return list
end

-- Whether one time is before another.
local function is_before(micros, fine, limit, limit_fine)
  return micros < limit or micros == limit and fine < limit_fine
end

-- The microseconds of each of the paths, or false. One call for all is much cheaper than one each.
local function times_of(paths)
  if #paths == 0 then return {} end
  local micros = redis.call('ZMSCORE', time, unpack(paths))
  for i = 1, #paths do micros[i] = micros[i] and tonumber(micros[i]) end
  return micros
end

-- The nanoseconds after the microseconds of a path's time.
local function rest_of(path, micros)
  if not exact then return 0 end
  local kept = redis.call('HGET', nanos, path)
  if not kept then return 0 end
  local whole, rest = string.match(kept, '^(-?%d+)%.(%d+)$')
  if whole and tonumber(whole) == micros then return tonumber(rest) end
  return 0
end

-- Since when each of the paths has its file: micros and fine. Before all times, where that is not
-- known.
local function since_of(paths)
  local micros, fine = {}, {}
  for i = 1, #paths do micros[i], fine[i] = -math.huge, 0 end
  for _, key in ipairs({ since, gone, old }) do
    if #paths > 0 and redis.call('EXISTS', key) == 1 then
      local kept = redis.call('HMGET', key, unpack(paths))
      for i = 1, #paths do
        if kept[i] then
          local whole, more = string.match(kept[i], '^(-?%d+)%.(%d+)$')
          whole, more = tonumber(whole), tonumber(more)
          if is_before(micros[i], fine[i], whole, more) then micros[i], fine[i] = whole, more end
        end
      end
    end
  end
  return micros, fine
end

-- Gives paths new times: ("micros", path)..., and the nanoseconds of each.
local function set_times(list, rests, keep_names)
  if #list == 0 then return end
  redis.call('ZADD', time, unpack(list))
  for i = 1, #rests do
    local path = list[2 * i]
    if rests[i] ~= '0' then
      redis.call('HSET', nanos, path, list[2 * i - 1] .. '.' .. rests[i])
      exact = true
    elseif exact then
      redis.call('HDEL', nanos, path)
    end
  end
  if not keep_names then return end
  for i = 1, #list, 2 do list[i] = '0' end
  redis.call('ZADD', names, unpack(list))
end

-- Takes paths out of what has times.
local function forget(paths)
  if #paths == 0 then return end
  redis.call('ZREM', time, unpack(paths))
  redis.call('ZREM', names, unpack(paths))
  if exact then redis.call('HDEL', nanos, unpack(paths)) end
  redis.call('HDEL', since, unpack(paths))
end

-- Notes since when names have their files: (path, "micros.fine")..., and the newest micros.
local function note(key, list, most)
  if #list == 0 then return end
  redis.call('HSET', key, unpack(list))
  local known = redis.call('GET', newest)
  if not known or tonumber(known) < most then
    redis.call('SET', newest, string.format('%.0f', most))
  end
end

-- Leaves tombstones, as `note` has them. They are kept for `age` seconds at least after `now`,
-- twice as long at most, unless there are more than `most`. Gives whether the older ones went, and
-- how many of them were younger than that.
local function bury(list, micros, now, age, most)
  if #list == 0 then return 0, 0 end
  local went, early = 0, 0
  local born = redis.call('HGET', gone, '')
  if born then
    local lived, many = now - tonumber(born), redis.call('HLEN', gone) > most
    if lived >= age or many then
      if lived < age then early = math.max(redis.call('HLEN', old) - 1, 0) end
      redis.call('UNLINK', old)
      redis.call('RENAME', gone, old)
      born, went = false, 1
    end
  end
  if not born then redis.call('HSET', gone, '', now) end
  note(gone, list, micros)
  return went, early
end
