-- The keys of one partition; each script begins with these lines.
-- time: path -> microseconds. names: the same paths, in the order of their bytes. nanos: path ->
-- "micros.nanos", for times that are no whole microseconds. moves: new name -> microseconds of the
-- last renames, so that events that come again do not meet the file that came later. brought: new
-- name -> the time that came with it.
local time, names, nanos, moves, brought = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local exact = redis.call('EXISTS', nanos) == 1

-- The microseconds of each of the paths, or false. One call for all is much cheaper than one each.
local function times_of(paths)
  if #paths == 0 then return {} end
  local micros = redis.call('ZMSCORE', time, unpack(paths))
  for i = 1, #paths do micros[i] = micros[i] and tonumber(micros[i]) end
  return micros
end

-- When each of the paths was last the new name of a file, or false.
local function moves_of(paths)
  if #paths == 0 or redis.call('EXISTS', moves) == 0 then return {} end
  local micros = redis.call('ZMSCORE', moves, unpack(paths))
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

-- Whether one time is after another.
local function is_later(micros, rest, limit, limit_rest)
  return micros > limit or micros == limit and rest > limit_rest
end

local function forget(paths)
  if #paths == 0 then return end
  redis.call('ZREM', time, unpack(paths))
  redis.call('ZREM', names, unpack(paths))
  if exact then redis.call('HDEL', nanos, unpack(paths)) end
end

-- Remembers when paths got other files or directories: some thousand, the newest.
local function remember(pairs_of)
  if #pairs_of == 0 then return end
  redis.call('ZADD', moves, 'GT', unpack(pairs_of))
  local old = redis.call('ZRANGE', moves, 0, -1025)
  if #old == 0 then return end
  redis.call('ZREM', moves, unpack(old))
  redis.call('HDEL', brought, unpack(old))
end

-- Every third argument from the given one on, say.
local function every(step, first)
  local list = {}
  for i = first, #ARGV, step do list[#list + 1] = ARGV[i] end
  return list
end
