-- Enters rows that were read from SQL since begin: each player at most once.
-- ARGV[4] the number of this write; ARGV[5] the tick and ARGV[6] the epoch that begin gave; ARGV[7] "1": these were the last; then by
-- fours: UID, score as in order, member, value with that tick
-- Answers {state, epoch}: state 0 also when the epoch is another, whose beginning the rows may be older than

if broken or epoch ~= ARGV[6] then return {0, epoch or ''} end
local since = tonumber(ARGV[5])
local uids = {}
for i = 8, #ARGV, 4 do
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
	local i = 4 + 4 * k
	local v, now, new = there[k], ARGV[i + 3], true
	if v or got[k] then
		local came, score, given, name = split(now)
		local oldTick, oldName
		if v then
			local oldCame, oldScore
			oldCame, oldScore, oldTick, oldName = split(v)
			new = better(came, score, oldCame, oldScore)
			if new then
				redis.call('ZREM', order, member(oldCame, uid))
			else
				came, score = oldCame, oldScore
			end
		else
			oldTick, oldName = string.match(got[k], '^(%d+) (.*)$')
		end
		-- A name that was given since begin is newer than the row, or the same.
		if tonumber(oldTick) > since or oldName == name then
			name, given = oldName, oldTick
		end
		now = value(came, score, given, name)
	end
	if new then
		entries[#entries + 1] = ARGV[i + 1]
		entries[#entries + 1] = ARGV[i + 2]
	end
	if now ~= v then
		values[#values + 1] = uid
		values[#values + 1] = now
	end
end
if #entries > 0 then redis.call('ZADD', order, unpack(entries)) end
if #values > 0 then redis.call('HSET', who, unpack(values)) end
redis.call('HSET', meta, 'count', redis.call('ZCARD', order), ARGV[1], number())
if ARGV[7] == '1' then
	redis.call('HSET', meta, 'whole', '1')
	state = 2
end
return {state, epoch}
