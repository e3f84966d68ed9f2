-- new name ("" to remove), order ("names" or "scan"), prefix, its end, cursor ("" at first), how
-- many, micros, nanos: the next paths beneath a directory whose time is not after the given one.
-- They are removed, or given with their times as (path, micros, nanos)... after the next cursor,
-- which is "" at the end. Where another directory has got the name since, there are none. Where the
-- new name lies beneath the old one, what begins with it is in its place already.
local prefix, cursor, limit, limit_rest = ARGV[3], ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[8])
if (moves_of({ prefix })[1] or limit) > limit then return { '' } end
if cursor == '' and ARGV[1] ~= '' then remember({ ARGV[7], ARGV[1] }) end
local paths = {}
if ARGV[2] == 'names' then
  local from = cursor == '' and '[' .. prefix or '(' .. cursor
  paths = redis.call('ZRANGEBYLEX', names, from, '(' .. ARGV[4], 'LIMIT', 0, ARGV[6])
  cursor = #paths == tonumber(ARGV[6]) and paths[#paths] or ''
else
  local part = redis.call('ZSCAN', time, cursor == '' and '0' or cursor, 'COUNT', ARGV[6])
  cursor = part[1] == '0' and '' or part[1]
  for i = 1, #part[2], 2 do
    local path = part[2][i]
    if string.sub(path, 1, #prefix) == prefix then paths[#paths + 1] = path end
  end
end
local inner = ARGV[1] ~= '' and string.sub(ARGV[1], 1, #prefix) == prefix
local found, gone, times, moved = { cursor }, {}, times_of(paths), moves_of(paths)
for i, path in ipairs(paths) do
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  if not micros then
    gone[#gone + 1] = path
  elseif inner and string.sub(path, 1, #ARGV[1]) == ARGV[1] then
    -- It was carried there before.
  elseif is_later(micros, rest, limit, limit_rest) or (moved[i] or limit) > limit then
    -- It came after the directory had gone.
  elseif ARGV[1] == '' then
    gone[#gone + 1] = path
  else
    found[#found + 1] = path
    found[#found + 1] = micros
    found[#found + 1] = rest
  end
end
forget(gone)
return found
