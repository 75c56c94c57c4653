"""The steps of a run's log in Redis, a Lua script each: nothing comes between a step's check and its act.

Their keys are those of `redis_log.RedisLog`: state, log, bell, readers. Times are milliseconds by Redis's own clock.
"""

from __future__ import annotations

TIME = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""
HOME = """
local told = redis.pcall('INFO', 'server')
local home = type(told) == 'string' and string.match(told, 'run_id:(%w+)') or ''
"""
"""Names the Redis process: another one may have lost epochs that were given out."""
THOUSAND = 1000
"""An epoch's remainder counts the producers. After a restart of Redis the rest is its time, so no id is given twice."""
CREATE = (
    TIME
    + HOME
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'epoch', 1, 'seq', 0, 'until', now + ARGV[1], 'request', ARGV[3], 'home', home)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
)
APPEND = (
    TIME
    + """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return -1 end
local last = tonumber(redis.call('HGET', KEYS[1], 'seq'))
local seq = tonumber(ARGV[2])
if seq > last + 1 then return last end
for i = 6, #ARGV, 2 do
    if seq > last then
        redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. seq, ARGV[i], ARGV[i + 1])
        last = seq
    end
    seq = seq + 1
end
redis.call('HSET', KEYS[1], 'seq', last, 'until', now + ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then
    redis.call('HSET', KEYS[1], 'final', 1, 'until', 0)
    redis.call('XADD', KEYS[3], 'MAXLEN', 8, '*', 'for', 'final')
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
end
return last
"""
)
KEEP = (
    TIME
    + """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {} end
redis.call('HSET', KEYS[1], 'until', now + ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
local others = redis.call('ZCARD', KEYS[4])
if redis.call('ZSCORE', KEYS[4], ARGV[4]) then others = others - 1 end
return {redis.call('HEXISTS', KEYS[1], 'stop'), others}
"""
)
LOOK = (
    TIME
    + """
local is = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'until', 'final')
if not is[1] then return {} end
if ARGV[2] ~= '0' then
    redis.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', KEYS[4], ARGV[2])
end
return {tonumber(is[1]), tonumber(is[2]), tonumber(is[3]) - now, tonumber(is[4] or 0)}
"""
)
TAKE = (
    TIME
    + HOME
    + """
local is = redis.call('HMGET', KEYS[1], 'seq', 'until', 'final', 'request', 'stop', 'epoch', 'home')
if not is[1] or is[3] or tonumber(is[2]) > now then return {} end
local epoch = tonumber(is[6]) + 1
if is[7] ~= home then
    epoch = math.max(epoch, math.floor(now / 1000) % 900000 * ARGV[3] + epoch % ARGV[3])
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'until', now + ARGV[1], 'home', home)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[2]) end
return {epoch, tonumber(is[1]), is[4], tonumber(is[5] or 0)}
"""
)
STOP = (
    TIME
    + """
local is = redis.call('HMGET', KEYS[1], 'until', 'final')
if not is[1] or is[2] then return 1 end
redis.call('HSET', KEYS[1], 'stop', 1)
redis.call('XADD', KEYS[3], 'MAXLEN', 8, '*', 'for', 'stop')
redis.call('PEXPIRE', KEYS[3], redis.call('PTTL', KEYS[1]))
return tonumber(is[1]) > now and 1 or 0
"""
)
LEAVE = """
if redis.call('ZREM', KEYS[4], ARGV[1]) == 1 and redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('XADD', KEYS[3], 'MAXLEN', 8, '*', 'for', 'left')
    redis.call('PEXPIRE', KEYS[3], redis.call('PTTL', KEYS[1]))
end
"""
RELEASE = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', 0) end
"""
SCRIPTS = {
    "create": CREATE,
    "append": APPEND,
    "keep": KEEP,
    "look": LOOK,
    "take": TAKE,
    "stop": STOP,
    "leave": LEAVE,
    "release": RELEASE,
}
