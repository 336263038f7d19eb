-- migrate:up

-- Read models are derived from the log: projections/ creates, fills and drops their tables in this schema.
CREATE SCHEMA read_models AUTHORIZATION shiplog_app;

CREATE TABLE checkpoints (
    shard        smallint     NOT NULL,
    projection   text         NOT NULL,
    position     bigint       NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, projection)
) WITH (fillfactor = 10);

CREATE TABLE definitions (
    projection   text         PRIMARY KEY,
    digest       text         NOT NULL
);

CREATE TABLE verifications (
    shard        smallint     NOT NULL,
    projection   text         NOT NULL,
    position     bigint       NOT NULL,
    digest       text         NOT NULL,
    drift        bigint,
    rows         text[]       NOT NULL DEFAULT '{}',
    verified_at  timestamptz  NOT NULL,
    PRIMARY KEY (shard, projection)
);

CREATE TABLE parked_events (
    shard        smallint     NOT NULL,
    projection   text         NOT NULL,
    position     bigint       NOT NULL,
    error        text         NOT NULL,
    parked_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, projection, position)
);

CREATE TABLE unread_types (
    shard        smallint     NOT NULL,
    type         text         NOT NULL,
    position     bigint       NOT NULL,
    met_at       timestamptz  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, type)
);

GRANT SELECT, INSERT, UPDATE, DELETE
   ON checkpoints, definitions, verifications, parked_events, unread_types TO shiplog_app;
