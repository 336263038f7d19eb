-- migrate:up

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

CREATE TABLE replay_ranges (
    shard         smallint     NOT NULL,
    replay        uuid         NOT NULL,
    after         bigint       NOT NULL,
    upto          bigint       NOT NULL,
    folded_at     timestamptz,
    PRIMARY KEY (shard, replay, after)
);

CREATE TABLE trials (
    id            uuid         PRIMARY KEY,
    rulebook      text         NOT NULL,
    position      text         NOT NULL,
    state         text         NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    started_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    attempts      smallint     NOT NULL DEFAULT 0,
    begun_at      timestamptz,
    ended_at      timestamptz,
    done          bigint       NOT NULL DEFAULT 0,
    total         bigint       NOT NULL DEFAULT 0,
    against       text,
    totals        jsonb,
    result        jsonb,
    error         text
);
CREATE UNIQUE INDEX ON trials (rulebook) WHERE state = 'running';
CREATE INDEX ON trials (started_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON replays, replay_ranges, trials TO shiplog_app;
