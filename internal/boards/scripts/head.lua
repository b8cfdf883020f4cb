-- Every script of this folder begins with this text. A script is one step for everybody else: no other command runs within it.
--
-- KEYS, which hold the board's name in braces, so that a cluster keeps them on one node:
--   order  sorted set   member "CAME UID", both padded with zeros, so that equal scores stand by came, then by uid;
--                       its score is the board's, negated where the highest leads, so that the first is always the lowest
--   who    hash         UID to "CAME SCORE TICK NAME", with the score as in order
--   meta   hash         epoch   which life of the index this is: a loss, once noticed, ends one and begins another
--                       whole   there: everything from SQL is in it
--                       count   how many players
--                       tick    counts the writes that gave names; a TICK in `who` says which one gave that name
--                       w:...   of each process the number of its last write
--   renamed hash        UID to "TICK NAME" of players who got a name while they were not in the index: their row may be on its way
--                       from SQL, with the name from before; it expires
-- ARGV[1] the caller's field in meta; ARGV[2] the epoch it knows; ARGV[3] the number of its last write that was acknowledged in that epoch
--
-- An answer begins with a number, 2: the index is whole, 1: it lacks rows, 0: it has lost something and nothing was done; and the epoch.

local order, who, meta, renamed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local had = redis.call('HMGET', meta, 'epoch', 'whole', 'count', 'tick', ARGV[1])
local epoch, whole, tick = had[1], had[2], had[4] or '0'
local count = redis.call('ZCARD', order)

-- What a script that writes leaves in the caller's field: one that comes late, after others, does not take the number back.
local function number() return string.format('%.0f', math.max(tonumber(had[5] or '0'), tonumber(ARGV[4]))) end

-- A part of the keys is gone (evicted, deleted).
local torn = count ~= tonumber(had[3] or '0') or count ~= redis.call('HLEN', who)
-- Redis has come back as it was some time ago (from a dump, or a replica that had not heard of everything).
local behind = epoch == ARGV[2] and tonumber(had[5] or '0') < tonumber(ARGV[3])
local broken = torn or behind or not epoch
local state = broken and 0 or whole and 2 or 1

local function member(came, uid) return came .. ' ' .. uid end
local function value(came, score, tick, name) return came .. ' ' .. score .. ' ' .. tick .. ' ' .. name end
-- CAME, SCORE, TICK and NAME of a value.
local function split(v) return string.match(v, '^(%d+) (%-?%d+) (%d+) (.*)$') end
local function better(came, score, oldCame, oldScore)
	score, oldScore = tonumber(score), tonumber(oldScore)
	return score < oldScore or score == oldScore and tonumber(came) < tonumber(oldCame)
end
