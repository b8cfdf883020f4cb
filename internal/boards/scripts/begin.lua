-- Notices a loss, begins a new epoch then, and says hello: what the caller writes from now on is missed if it is lost.
-- ARGV[4] the number of this write; ARGV[5] an epoch that nobody has used; ARGV[6] "1": the caller knows that rows are missing
-- Answers {state, epoch, tick}

if torn then
	redis.call('UNLINK', order, who, meta, renamed)
	tick = '0'
end
if broken or ARGV[6] == '1' then
	epoch, whole = ARGV[5], false
	redis.call('HDEL', meta, 'whole')
	redis.call('HSET', meta, 'epoch', epoch)
end
redis.call('HSET', meta, ARGV[1], number())
return {whole and 2 or 1, epoch, tick}
