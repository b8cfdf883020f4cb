-- The players and all that is theirs, and who wrote it. Written twice, here for MySQL and MariaDB
-- and in ../sqlite for SQLite: same tables, same columns, same order.
--
-- All times are milliseconds since 1970, UTC, unless a column says otherwise. A uid is an unsigned
-- number of 64 bits, kept as the signed one with the same bits. Keys that are text are VARBINARY,
-- which compares them byte for byte. No column has a default: whoever writes a row says all of it.
--
-- DDL commits at once here, so a migration can be cut in the middle: each statement makes a table
-- with its indexes, or finds it made, and the next start does the rest.

-- +goose Up

-- One row a player, made at the first login.
--   name     up to 24 characters if chosen, 26 if made from the uid
--   items    JSON object, item to count; {} when there are none
--   seen_ms  last login
--   version  counts the processes that took the player over; a write names the version it
--            loaded, so that two processes never write old state over new
-- players_seen: who was here since a time, for the daily reward.
CREATE TABLE IF NOT EXISTS players (
    uid        BIGINT      NOT NULL,
    name       VARCHAR(32) NOT NULL,
    level      BIGINT      NOT NULL,
    gold       BIGINT      NOT NULL,
    items      MEDIUMBLOB  NOT NULL,
    created_ms BIGINT      NOT NULL,
    seen_ms    BIGINT      NOT NULL,
    version    BIGINT      NOT NULL,
    PRIMARY KEY (uid),
    KEY players_seen (seen_ms)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Names that players chose, case-folded: the primary key makes them unique without regard to
-- case. Names made from the uid are not here.
-- names_uid: the name that a player has chosen, which the next one gives up.
CREATE TABLE IF NOT EXISTS names (
    name_key VARBINARY(255) NOT NULL,
    uid      BIGINT         NOT NULL,
    PRIMARY KEY (name_key),
    KEY names_uid (uid)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Cloud saves, one row a key.
--   save_key  up to 64 characters of up to 4 bytes
--   value     MessagePack, as the client sent it
--   version   counts the writes of this key from 1
CREATE TABLE IF NOT EXISTS saves (
    uid        BIGINT         NOT NULL,
    save_key   VARBINARY(256) NOT NULL,
    value      MEDIUMBLOB     NOT NULL,
    version    BIGINT         NOT NULL,
    updated_ms BIGINT         NOT NULL,
    PRIMARY KEY (uid, save_key)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Mail with what can be claimed from it.
--   source      who sent it and why, one per player and reason: sending twice makes one mail
--   items       JSON object, item to count
-- mail_source: what makes sending twice one mail. mail_expires: what can be deleted.
CREATE TABLE IF NOT EXISTS mail (
    uid        BIGINT        NOT NULL,
    id         BIGINT        NOT NULL,
    source     VARBINARY(64) NOT NULL,
    title      VARCHAR(200)  NOT NULL,
    gold       BIGINT        NOT NULL,
    items      MEDIUMBLOB    NOT NULL,
    sent_ms    BIGINT        NOT NULL,
    expires_ms BIGINT        NOT NULL,
    PRIMARY KEY (uid, id),
    UNIQUE KEY mail_source (uid, source),
    KEY mail_expires (expires_ms)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What was claimed, one row a mail: the primary key makes it once, whatever is tried again.
CREATE TABLE IF NOT EXISTS claims (
    uid        BIGINT NOT NULL,
    id         BIGINT NOT NULL,
    claimed_ms BIGINT NOT NULL,
    PRIMARY KEY (uid, id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The best score of each player on each board.
--   came  when, in microseconds since 1970: of equal scores the one that came first is ahead
-- ranks_order: a board in its order, to load it.
CREATE TABLE IF NOT EXISTS ranks (
    uid   BIGINT        NOT NULL,
    board VARBINARY(64) NOT NULL,
    score BIGINT        NOT NULL,
    came  BIGINT        NOT NULL,
    PRIMARY KEY (uid, board),
    KEY ranks_order (board, score, came)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row for each run of a process that has written here.
--   writer  random, made at the start
--   seq     of its last transaction that committed: how a process learns whether a COMMIT
--           whose answer it did not get took effect
CREATE TABLE IF NOT EXISTS writers (
    writer BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    at_ms  BIGINT NOT NULL,
    PRIMARY KEY (writer)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
