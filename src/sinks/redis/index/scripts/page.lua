-- micros of the last path that was seen ("" at first), that path, micros at most, how many, prefix:
-- the next paths, oldest first. Gives whether there may be more, the last path that was looked at,
-- its micros, and (path, micros, nanos)... of those that begin with the prefix. Writes nothing.

-- Whether a comes after b in the order of bytes; `<` would ask the locale.
local function is_after(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

local start = 0
if ARGV[1] ~= '' then
  start = redis.call('ZCOUNT', time, '-inf', '(' .. ARGV[1])
  local stop = start + redis.call('ZCOUNT', time, ARGV[1], ARGV[1])
  while start < stop do
    local middle = math.floor((start + stop) / 2)
    if is_after(redis.call('ZRANGE', time, middle, middle)[1], ARGV[2]) then
      stop = middle
    else
      start = middle + 1
    end
  end
end
local most, prefix = tonumber(ARGV[3]), ARGV[5]
local list = redis.call('ZRANGE', time, start, start + tonumber(ARGV[4]) - 1, 'WITHSCORES')
local found = { #list == 2 * tonumber(ARGV[4]) and 1 or 0, list[#list - 1] or '', list[#list] or '' }
for i = 1, #list, 2 do
  local path, micros = list[i], tonumber(list[i + 1])
  if micros > most then
    found[1] = 0
    break
  end
  if string.sub(path, 1, #prefix) == prefix then
    found[#found + 1] = path
    found[#found + 1] = micros
    found[#found + 1] = rest_of(path, micros)
  end
end
return found
