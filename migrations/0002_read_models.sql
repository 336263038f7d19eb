-- migrate:up

-- Read models are derived: projections/ creates, fills and drops their tables
-- here. The checkpoints say how far each has folded each shard.
CREATE SCHEMA read_models AUTHORIZATION shiplog_app;

CREATE TABLE checkpoints (
    shard        smallint     NOT NULL,
    projection   text         NOT NULL,
    position     bigint       NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, projection)
) WITH (fillfactor = 10);
GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoints TO shiplog_app;

-- The definition each read model's table was built from: a changed one is built anew.
CREATE TABLE definitions (
    projection   text         PRIMARY KEY,
    digest       text         NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON definitions TO shiplog_app;
