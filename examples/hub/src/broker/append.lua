-- Numbers a message, keeps it, and sends it to the nodes. In one step, so the order on the channel is the order of the numbers.
--
-- A program that is no node publishes with this as well:
--     redis-cli --eval append.lua 'hub:{TOPIC}' , KEY FROM DATA EPOCH HISTORY WINDOW
-- KEY: of its choice, or empty. FROM: empty. EPOCH: a random number below 2^53, used if the topic is new. HISTORY: how many messages are
-- kept, as --history of the nodes. WINDOW: for how many milliseconds a key is known.
local stream, meta, keys = KEYS[1], KEYS[1] .. ':meta', KEYS[1] .. ':key:'
local key, from, data, epoch, history, window = unpack(ARGV)
if redis.call('HSETNX', meta, 'epoch', epoch) == 0 then
    epoch = redis.call('HGET', meta, 'epoch')
else
    -- Redis may have thrown away the one key and not the other, if it was short of memory.
    redis.call('DEL', stream)
end
if key ~= '' then
    local before = redis.call('GET', keys .. key)
    if before then
        return { epoch, before, 1 }
    end
end
local offset = redis.call('HINCRBY', meta, 'last', 1)
redis.call('XADD', stream, 'MAXLEN', '~', history, offset .. '-0', 'key', key, 'from', from, 'data', data)
if key ~= '' then
    redis.call('SET', keys .. key, offset, 'PX', window)
end
redis.call('PUBLISH', stream, 'm ' .. epoch .. ' ' .. offset .. ' ' .. #key .. ' ' .. #from .. '\n' .. key .. from .. data)
return { epoch, tostring(offset), 0 }
