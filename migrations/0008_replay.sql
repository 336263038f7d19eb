-- migrate:up

-- A replay rebuilds one read model beside the live one. One at a time for each.
CREATE TABLE replays (
    id            uuid         PRIMARY KEY,
    projection    text         NOT NULL,
    state         text         NOT NULL DEFAULT 'running' CHECK (state IN
                  ('running', 'paused', 'equal', 'different', 'cut-over', 'rolled-back', 'cancelled')),
    hold          boolean      NOT NULL DEFAULT false,
    source        text         NOT NULL DEFAULT 'postgres' CHECK (source IN ('postgres', 'segments')),
    started_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    resumed_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    joined_at     timestamptz,
    ended_at      timestamptz,
    position      text,
    digest        text,
    replaces      text,
    drift         bigint,
    rows          text[]       NOT NULL DEFAULT '{}',
    reason        text
);
CREATE UNIQUE INDEX ON replays (projection) WHERE ended_at IS NULL;

-- What of the log a replay folds, range by range: after a position, up to another.
CREATE TABLE replay_ranges (
    shard         smallint     NOT NULL,
    replay        uuid         NOT NULL,
    after         bigint       NOT NULL,
    upto          bigint       NOT NULL,
    folded_at     timestamptz,
    PRIMARY KEY (shard, replay, after)
);

-- The last recount of each read model in each shard, beside what it kept. Drift is null while unknown.
CREATE TABLE verifications (
    shard         smallint     NOT NULL,
    projection    text         NOT NULL,
    position      bigint       NOT NULL,
    digest        text         NOT NULL,
    drift         bigint,
    rows          text[]       NOT NULL DEFAULT '{}',
    verified_at   timestamptz  NOT NULL,
    PRIMARY KEY (shard, projection)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON replays, replay_ranges, verifications TO shiplog_app;

-- The app's role is not shown when the transactions of others began, and has to wait for old ones.
CREATE FUNCTION oldest_transaction() RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT min(xact_start) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
$$;
