-- +goose Up

-- Background jobs: what is to be done, is being done, or has ended and is kept for a while.
--   id          made by whoever applies it; grows with time
--   args        MessagePack array, as the task's function has its parameters
--   state       0 waits, 1 runs, 2 done, 3 archived (given up), 4 revoked
--   run_ms      not before
--   look_ms     when somebody must look at the row again: handed over anew while it waits, its
--               worker taken for dead while it runs, deleted when it has ended
--   claim       random, of the worker that runs it: whoever has another one writes nothing
--   attempts    times it was begun; failures: times its function has failed
--   revoked     1: whoever runs it is to stop, and it ends as revoked
--   retain_ms   how long it is kept when it has ended; 0: deleted at once
CREATE TABLE tasks (
    id         INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    queue      TEXT    NOT NULL,
    args       BLOB    NOT NULL,
    state      INTEGER NOT NULL,
    run_ms     INTEGER NOT NULL,
    look_ms    INTEGER NOT NULL,
    claim      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    revoked    INTEGER NOT NULL,
    retries    INTEGER NOT NULL,
    backoff_ms INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL,
    retain_ms  INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms   INTEGER NOT NULL,
    result     BLOB    NOT NULL,
    problem    BLOB    NOT NULL
) STRICT;

-- What has to be looked at.
CREATE INDEX tasks_look ON tasks (state, look_ms);

-- What may not be applied a second time before a time.
CREATE TABLE tasks_keys (
    unique_key TEXT    NOT NULL PRIMARY KEY,
    id         INTEGER NOT NULL,
    until_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_keys_until ON tasks_keys (until_ms);

-- The ticks of schedules that were taken: the primary key makes it one run for each.
--   id  of the task; 0: the schedule began here, without a run
CREATE TABLE tasks_ticks (
    schedule TEXT    NOT NULL,
    tick_ms  INTEGER NOT NULL,
    id       INTEGER NOT NULL,
    PRIMARY KEY (schedule, tick_ms)
) STRICT, WITHOUT ROWID;
