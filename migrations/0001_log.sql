-- migrate:up

-- The log. comments.sql describes each table, and schema.sql is the result of all migrations.
-- Every key starts with shard, so each table can be distributed by it.
-- `shiplog migrate` creates the role shiplog_app before, or one for this database alone: see eventstore/roles.py.

CREATE TABLE heads (
    shard        smallint     PRIMARY KEY,
    position     bigint       NOT NULL DEFAULT 0,
    recorded_at  timestamptz  NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 10);

CREATE TABLE events (
    position     bigint       NOT NULL,
    recorded_at  timestamptz  NOT NULL,
    actor        uuid         NOT NULL,
    id           uuid         NOT NULL,
    tool         integer,
    shard        smallint     NOT NULL,
    type         text         NOT NULL,
    choice       text,
    replaced     text,
    origin       text         NOT NULL,
    data         jsonb,
    replaced_at  timestamptz,
    PRIMARY KEY (shard, position)
) PARTITION BY RANGE (position);

-- Partial indexes of editorial events: by tool, those of reviewers, and those of rulebooks and adoptions.
CREATE INDEX editorial_events_by_tool ON events (shard, tool, position) WHERE shard = 0;
CREATE INDEX events_of_panel ON events (shard, position) WHERE shard = 0 AND type = 'ReviewerSeated';
CREATE INDEX events_of_rulebooks ON events (shard, position)
 WHERE shard = 0 AND type IN ('RulebookWritten', 'RulebookAdopted', 'AdoptionScheduled', 'AdoptionCalledOff');

CREATE TABLE standings (
    actor        uuid         NOT NULL,
    id           uuid,
    position     bigint       NOT NULL,
    tool         integer      NOT NULL,
    shard        smallint     NOT NULL,
    kind         "char"       NOT NULL,
    choice       text,
    PRIMARY KEY (shard, kind, actor, tool)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.1);

CREATE TABLE slugs (
    slug         text         PRIMARY KEY,
    tool         integer      NOT NULL
);

-- The log is append-only for the role that Shiplog works under.
GRANT SELECT, INSERT ON events TO shiplog_app;
GRANT SELECT, INSERT, UPDATE ON standings TO shiplog_app;
GRANT SELECT, UPDATE ON heads TO shiplog_app;
GRANT SELECT, INSERT ON slugs TO shiplog_app;
