CREATE TABLE read_models.flips (
    shard           smallint     NOT NULL,
    recorded_at     timestamptz  NOT NULL,
    cause_shard     smallint     NOT NULL,
    cause_position  bigint       NOT NULL,
    tool            integer      NOT NULL,
    event           text         NOT NULL,
    before          text         NOT NULL,
    after           text         NOT NULL,
    rulebook        text         NOT NULL,
    PRIMARY KEY (shard, recorded_at, cause_shard, cause_position, tool)
);
CREATE INDEX ON read_models.flips (shard, tool, recorded_at, cause_shard, cause_position);
CREATE TABLE read_models.verdict_timelines (
    shard           smallint     NOT NULL,
    tool            integer      NOT NULL,
    label           text         NOT NULL DEFAULT 'Unreviewed',
    ship            bigint       NOT NULL DEFAULT 0,
    skip            bigint       NOT NULL DEFAULT 0,
    today           integer,
    takes           jsonb        NOT NULL DEFAULT '[]',
    first_day       integer,
    aged_count      bigint,
    aged_ship       numeric,
    aged_skip       numeric,
    PRIMARY KEY (shard, tool)
) WITH (fillfactor = 70);
CREATE TABLE read_models.timeline_days (
    shard           smallint     NOT NULL,
    tool            integer      NOT NULL,
    day             integer      NOT NULL,
    ship            bigint       NOT NULL,
    skip            bigint       NOT NULL,
    PRIMARY KEY (shard, tool, day)
) WITH (fillfactor = 70);
CREATE TABLE read_models.flips_frontier (
    shard           smallint     PRIMARY KEY,
    position        bigint       NOT NULL DEFAULT 0,
    counted         bigint       NOT NULL DEFAULT 0,
    dated           bigint       NOT NULL DEFAULT 0,
    recorded_at     timestamptz  NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 10);
