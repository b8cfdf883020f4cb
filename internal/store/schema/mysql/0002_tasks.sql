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
-- tasks_look: what has to be looked at.
CREATE TABLE IF NOT EXISTS tasks (
    id         BIGINT         NOT NULL,
    name       VARBINARY(255) NOT NULL,
    queue      VARBINARY(64)  NOT NULL,
    args       MEDIUMBLOB     NOT NULL,
    state      BIGINT         NOT NULL,
    run_ms     BIGINT         NOT NULL,
    look_ms    BIGINT         NOT NULL,
    claim      BIGINT         NOT NULL,
    attempts   BIGINT         NOT NULL,
    failures   BIGINT         NOT NULL,
    revoked    BIGINT         NOT NULL,
    retries    BIGINT         NOT NULL,
    backoff_ms BIGINT         NOT NULL,
    timeout_ms BIGINT         NOT NULL,
    retain_ms  BIGINT         NOT NULL,
    created_ms BIGINT         NOT NULL,
    ended_ms   BIGINT         NOT NULL,
    result     MEDIUMBLOB     NOT NULL,
    problem    MEDIUMBLOB     NOT NULL,
    PRIMARY KEY (id),
    KEY tasks_look (state, look_ms)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What may not be applied a second time before a time.
CREATE TABLE IF NOT EXISTS tasks_keys (
    unique_key VARBINARY(255) NOT NULL,
    id         BIGINT         NOT NULL,
    until_ms   BIGINT         NOT NULL,
    PRIMARY KEY (unique_key),
    KEY tasks_keys_until (until_ms)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The ticks of schedules that were taken: the primary key makes it one run for each.
--   id  of the task; 0: the schedule began here, without a run
CREATE TABLE IF NOT EXISTS tasks_ticks (
    schedule VARBINARY(255) NOT NULL,
    tick_ms  BIGINT         NOT NULL,
    id       BIGINT         NOT NULL,
    PRIMARY KEY (schedule, tick_ms)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
