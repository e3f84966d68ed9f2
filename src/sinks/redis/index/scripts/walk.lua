-- what ("clear" or "move"), order ("names" or "scan"), prefix, its end, cursor ("" at first), how
-- many, micros, fine: the next paths beneath a directory that had their files before that time.
-- They are removed, or given with their times as (path, micros, nanos)... after the next cursor,
-- which is "" at the end.
local prefix, cursor, limit, limit_fine = ARGV[3], ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[8])
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
local found, gone_now, times = { cursor }, {}, times_of(paths)
local micros_since, fine_since = since_of(paths)
for i, path in ipairs(paths) do
  local micros = times[i]
  local rest = micros and rest_of(path, micros)
  if not micros then
    gone_now[#gone_now + 1] = path
  elseif not is_before(micros, rest * 1000, limit, limit_fine)
    or not is_before(micros_since[i], fine_since[i], limit, limit_fine) then
    -- It came after the directory had gone.
  elseif ARGV[1] == 'clear' then
    gone_now[#gone_now + 1] = path
  else
    found[#found + 1] = path
    found[#found + 1] = micros
    found[#found + 1] = rest
  end
end
forget(gone_now)
return found
