-- Reads rows of the board.
-- ARGV[4] how many; ARGV[5] "": the first, or the UID of the player around whom
-- Answers {state, epoch, the first row's number from 0 or -1: no such player, {member, ...}, {value, ...}}; where the index is not
-- whole, or the player not there, without rows

if state ~= 2 then return {state, epoch or ''} end
local n, first = tonumber(ARGV[4]), 0
if ARGV[5] ~= '' then
	local v = redis.call('HGET', who, ARGV[5])
	if not v then return {state, epoch, -1} end
	local before = redis.call('ZRANK', order, member((split(v)), ARGV[5]))
	first = math.max(0, math.min(before - math.floor(n / 2), count - n))
end
local entries = redis.call('ZRANGE', order, first, first + n - 1)
if #entries == 0 then return {state, epoch, first, {}, {}} end
local uids = {}
for i = 1, #entries do
	uids[i] = string.sub(entries[i], 18)
end
return {state, epoch, first, entries, redis.call('HMGET', who, unpack(uids))}
