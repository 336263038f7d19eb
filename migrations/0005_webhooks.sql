-- migrate:up

CREATE TABLE webhooks (
    id            uuid         PRIMARY KEY,
    url           text         NOT NULL,
    description   text         NOT NULL,
    tools         integer[],
    site          text         NOT NULL,
    secret        bytea        NOT NULL,
    old_secret    bytea,
    old_until     timestamptz,
    created_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    failing_since timestamptz,
    disabled_at   timestamptz,
    reason        text,
    told_at       timestamptz  NOT NULL DEFAULT clock_timestamp(),
    told_shard    smallint     NOT NULL DEFAULT 0,
    told_number   bigint       NOT NULL DEFAULT 0
);

CREATE TABLE webhook_deliveries (
    id            uuid         PRIMARY KEY,
    webhook       uuid         NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    type          text         NOT NULL,
    tool          integer,
    caused_at     timestamptz,
    cause_shard   smallint,
    cause_number  bigint,
    payload       text         NOT NULL,
    state         text         NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts      integer      NOT NULL DEFAULT 0,
    claim         uuid,
    next_at       timestamptz  NOT NULL DEFAULT clock_timestamp(),
    status        integer,
    error         text,
    response      text         NOT NULL DEFAULT '',
    created_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (webhook, caused_at, cause_shard, cause_number, tool)
);
CREATE INDEX ON webhook_deliveries (webhook, next_at) WHERE state = 'pending';
CREATE INDEX ON webhook_deliveries (webhook, next_at) WHERE claim IS NOT NULL;
CREATE INDEX ON webhook_deliveries (webhook, created_at, id);

GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks, webhook_deliveries TO shiplog_app;
