-- migrate:up

-- A trial folds the log up to a position per shard under another rulebook. One at a time for each rulebook.
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
GRANT SELECT, INSERT, UPDATE, DELETE ON trials TO shiplog_app;
