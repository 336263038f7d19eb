-- migrate:up

CREATE TABLE notes (
    shard        smallint     NOT NULL,
    actor        uuid         NOT NULL,
    tool         integer      NOT NULL,
    note         text         NOT NULL DEFAULT '',
    tags         text[]       NOT NULL DEFAULT '{}',
    PRIMARY KEY (shard, actor, tool)
);

CREATE TABLE api_keys (
    id           text         PRIMARY KEY,
    name         text         NOT NULL,
    digest       bytea        NOT NULL UNIQUE,
    scopes       text[]       NOT NULL,
    created_at   timestamptz  NOT NULL DEFAULT now(),
    revoked_at   timestamptz
);

CREATE TABLE users (
    name         text         PRIMARY KEY,
    role         text         NOT NULL CHECK (role IN ('editor', 'reviewer')),
    reviewer     text         CHECK ((role = 'reviewer') = (reviewer IS NOT NULL)),
    password     text         NOT NULL
);

CREATE TABLE sessions (
    digest       bytea        PRIMARY KEY,
    name         text         NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at   timestamptz  NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON notes, users TO shiplog_app;
GRANT SELECT, INSERT, UPDATE ON api_keys TO shiplog_app;
GRANT SELECT, INSERT, DELETE ON sessions TO shiplog_app;
