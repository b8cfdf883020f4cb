-- The players and all that is theirs, and who wrote it. Written twice, here for SQLite and in
-- ../mysql for MySQL and MariaDB: same tables, same columns, same order.
--
-- All times are milliseconds since 1970, UTC, unless a column says otherwise. A uid is an unsigned
-- number of 64 bits, kept as the signed one with the same bits. STRICT: text where text is declared
-- and bytes where BLOB is, so that a value that MySQL would take otherwise fails here as well. No
-- column has a default: whoever writes a row says all of it.

-- +goose Up

-- One row a player, made at the first login.
--   items    JSON object, item to count; {} when there are none
--   seen_ms  last login
--   version  counts the processes that took the player over; a write names the version it
--            loaded, so that two processes never write old state over new
CREATE TABLE players (
    uid        INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    level      INTEGER NOT NULL,
    gold       INTEGER NOT NULL,
    items      BLOB    NOT NULL,
    created_ms INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

-- Who was here since a time: the daily reward.
CREATE INDEX players_seen ON players (seen_ms);

-- Names that players chose, case-folded: the primary key makes them unique without regard to
-- case. Names made from the uid are not here.
CREATE TABLE names (
    name_key TEXT    NOT NULL PRIMARY KEY,
    uid      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The name that a player has chosen, which the next one gives up.
CREATE INDEX names_uid ON names (uid);

-- Cloud saves, one row a key.
--   value    MessagePack, as the client sent it
--   version  counts the writes of this key from 1
-- With rowids: values are large, and the primary key stays small beside them.
CREATE TABLE saves (
    uid        INTEGER NOT NULL,
    save_key   TEXT    NOT NULL,
    value      BLOB    NOT NULL,
    version    INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (uid, save_key)
) STRICT;

-- Mail with what can be claimed from it.
--   source      who sent it and why, one per player and reason: sending twice makes one mail
--   items       JSON object, item to count
CREATE TABLE mail (
    uid        INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    source     TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    gold       INTEGER NOT NULL,
    items      BLOB    NOT NULL,
    sent_ms    INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (uid, id)
) STRICT, WITHOUT ROWID;

-- What makes sending twice one mail.
CREATE UNIQUE INDEX mail_source ON mail (uid, source);

-- What can be deleted.
CREATE INDEX mail_expires ON mail (expires_ms);

-- What was claimed, one row a mail: the primary key makes it once, whatever is tried again.
CREATE TABLE claims (
    uid        INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    claimed_ms INTEGER NOT NULL,
    PRIMARY KEY (uid, id)
) STRICT, WITHOUT ROWID;

-- The best score of each player on each board.
--   came  when, in microseconds since 1970: of equal scores the one that came first is ahead
CREATE TABLE ranks (
    uid   INTEGER NOT NULL,
    board TEXT    NOT NULL,
    score INTEGER NOT NULL,
    came  INTEGER NOT NULL,
    PRIMARY KEY (uid, board)
) STRICT, WITHOUT ROWID;

-- A board in its order, to load it.
CREATE INDEX ranks_order ON ranks (board, score, came);

-- One row for each run of a process that has written here.
--   writer  random, made at the start
--   seq     of its last transaction that committed: how a process learns whether a COMMIT
--           whose answer it did not get took effect
CREATE TABLE writers (
    writer INTEGER NOT NULL PRIMARY KEY,
    seq    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL
) STRICT;
