-- Reads the messages after an offset: { epoch, last, oldest id or false, messages }.
local stream, meta = KEYS[1], KEYS[1] .. ':meta'
local after, most, epoch = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HSETNX', meta, 'epoch', epoch) == 0 then
    epoch = redis.call('HGET', meta, 'epoch')
else
    -- Redis may have thrown away the one key and not the other, if it was short of memory.
    redis.call('DEL', stream)
end
local last = redis.call('HGET', meta, 'last') or '0'
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
local messages = {}
if tonumber(after) < tonumber(last) and tonumber(most) > 0 then
    messages = redis.call('XRANGE', stream, '(' .. after .. '-0', '+', 'COUNT', most)
end
return { epoch, last, oldest[1] and oldest[1][1] or false, messages }
