-- what ("file" or "tree"), whether names are kept, (micros and nanos of the rename, new path,
-- micros and nanos of its file)...: a renamed file brings its time with it, and replaces the file
-- that had the name, unless that was used after the rename. Without a time of its own the name
-- has none.
-- A file's rename is remembered, and what it brought: when it comes again, though the old name has
-- nothing any more, it brings the same; and one before it changes nothing.
local tree, paths = ARGV[1] == 'tree', every(5, 5)
local times, moved, gone, kept, done = times_of(paths), moves_of(paths), {}, {}, {}

-- The time of the renamed file, now or when the same rename came first: two texts, or nil.
local function own_of(path, again, micros, rest)
  local kept_then = again and redis.call('HGET', brought, path)
  if not kept_then then return micros ~= '' and micros or nil, rest end
  local whole, more = string.match(kept_then, '^(-?%d+)%.(%d+)$')
  local later = micros ~= '' and
    is_later(tonumber(micros), tonumber(rest), tonumber(whole), tonumber(more))
  if later then return micros, rest end
  return whole, more
end

for i, path in ipairs(paths) do
  local at = 5 * i - 2
  local limit, limit_rest = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local again = not tree and moved[i] == limit
  local own, own_rest = own_of(path, again, ARGV[at + 3], ARGV[at + 4])
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  local stays = (moved[i] or limit) > limit or
    micros and is_later(micros, rest, limit, limit_rest) or
    tree and micros and not is_later(tonumber(own), tonumber(own_rest), micros, rest)
  if not stays and own then
    kept[#kept + 1] = own
    kept[#kept + 1] = path
    if own_rest ~= '0' then
      redis.call('HSET', nanos, path, own .. '.' .. own_rest)
      exact = true
    elseif exact then
      redis.call('HDEL', nanos, path)
    end
  elseif not stays then
    gone[#gone + 1] = path
  end
  if not tree and (moved[i] or limit) <= limit then
    done[#done + 1] = ARGV[at]
    done[#done + 1] = path
    if own then
      redis.call('HSET', brought, path, own .. '.' .. own_rest)
    else
      redis.call('HDEL', brought, path)
    end
  end
end
forget(gone)
if #kept > 0 then
  redis.call('ZADD', time, unpack(kept))
  if ARGV[2] == '1' then
    for i = 1, #kept, 2 do kept[i] = '0' end
    redis.call('ZADD', names, unpack(kept))
  end
end
remember(done)
return #kept / 2
