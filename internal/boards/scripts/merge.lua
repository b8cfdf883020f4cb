-- Enters rows that were read from SQL since begin: each player at most once.
-- ARGV[4] the number of this write; ARGV[5] the tick that begin gave; ARGV[6] "1": these were the last; then by fours: UID, score as in
-- order, CAME, NAME
-- Answers {state, epoch}: state 0 also when the epoch is another, whose beginning the rows may be older than

if broken or epoch ~= ARGV[2] then return {0, epoch or ''} end
local since = tonumber(ARGV[5])
local uids = {}
for i = 7, #ARGV, 4 do
	uids[#uids + 1] = ARGV[i]
end
local there, got = {}, {}
if #uids > 0 then
	there = redis.call('HMGET', who, unpack(uids))
	if redis.call('EXISTS', renamed) == 1 then
		got = redis.call('HMGET', renamed, unpack(uids))
	end
end
local entries, values = {}, {}
for k, uid in ipairs(uids) do
	local i = 3 + 4 * k
	local score, came, name = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
	local v, given, new = there[k], ARGV[5], true
	local oldTick, oldName
	if v then
		local oldCame
		oldCame, oldTick, oldName = split(v)
		local oldScore = tonumber(redis.call('ZSCORE', order, member(oldCame, uid)))
		new = better(tonumber(score), came, oldScore, oldCame)
		if new then
			redis.call('ZREM', order, member(oldCame, uid))
		else
			came = oldCame
		end
	elseif got[k] then
		oldTick, oldName = string.match(got[k], '^(%d+) (.*)$')
	end
	-- A name that was given since begin is newer than the row, or the same.
	if oldTick and (tonumber(oldTick) > since or oldName == name) then
		name, given = oldName, oldTick
	end
	if new then
		entries[#entries + 1] = score
		entries[#entries + 1] = member(came, uid)
	end
	local now = value(came, given, name)
	if now ~= v then
		values[#values + 1] = uid
		values[#values + 1] = now
	end
end
if #entries > 0 then redis.call('ZADD', order, unpack(entries)) end
if #values > 0 then redis.call('HSET', who, unpack(values)) end
redis.call('HSET', meta, 'count', redis.call('ZCARD', order), ARGV[1], ARGV[4])
if ARGV[6] == '1' then
	redis.call('HSET', meta, 'whole', '1')
	state = 2
end
return {state, epoch}
