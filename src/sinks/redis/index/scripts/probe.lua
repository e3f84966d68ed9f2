-- (prefix, its end)...: the numbers of those that some path begins with. Writes nothing.
local found = {}
for i = 1, #ARGV, 2 do
  local first = redis.call('ZRANGEBYLEX', names, '[' .. ARGV[i], '(' .. ARGV[i + 1], 'LIMIT', 0, 1)
  if #first > 0 then found[#found + 1] = (i - 1) / 2 end
end
return found
