-- migrate:up

-- Events that a read model (a version of it, by name) could not fold: its checkpoint went past them.
CREATE TABLE parked_events (
    shard         smallint     NOT NULL,
    projection    text         NOT NULL,
    position      bigint       NOT NULL,
    error         text         NOT NULL,
    parked_at     timestamptz  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, projection, position)
);

-- Types in the log that no read model of the software that folded them has heard of, and where each was met first.
CREATE TABLE unread_types (
    shard         smallint     NOT NULL,
    type          text         NOT NULL,
    position      bigint       NOT NULL,
    met_at        timestamptz  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, type)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON parked_events, unread_types TO shiplog_app;
