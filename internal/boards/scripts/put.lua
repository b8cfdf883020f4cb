-- Enters players' bests and gives names, in the order in which they come.
-- ARGV[4] the number of this write; then by fives: UID, score as in order, CAME, NAME, and "rank" for a best whose rank is waited for,
-- "best" for one whose is not, "name" for a name alone
-- Answers {state, epoch, and for each the number of players before, -1 where nobody waits}

if broken then return {0, epoch or ''} end
tick = string.format('%.0f', tonumber(tick) + 1)
local answer = {state, epoch}
for i = 5, #ARGV, 5 do
	local uid, score, came, name, kind = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
	local v, rank = redis.call('HGET', who, uid), -1
	local oldCame, oldScore
	if v then oldCame, oldScore = split(v) end
	if kind == 'name' then
		if v then
			redis.call('HSET', who, uid, value(oldCame, oldScore, tick, name))
		else
			redis.call('HSET', renamed, uid, tick .. ' ' .. name)
			redis.call('EXPIRE', renamed, 3600)
		end
	else
		if not v or better(came, score, oldCame, oldScore) then
			if v then redis.call('ZREM', order, member(oldCame, uid)) end
			redis.call('ZADD', order, score, member(came, uid))
			redis.call('HSET', who, uid, value(came, score, tick, name))
			oldCame = came
		end
		if kind == 'rank' then rank = redis.call('ZRANK', order, member(oldCame, uid)) end
	end
	answer[#answer + 1] = rank
end
redis.call('HSET', meta, 'count', redis.call('ZCARD', order), 'tick', tick, ARGV[1], number())
return answer
