-- migrate:up

-- Which tool a slug names. Written with the event that names it.
CREATE TABLE slugs (
    slug         text         PRIMARY KEY,
    tool         integer      NOT NULL
);
GRANT SELECT, INSERT ON slugs TO shiplog_app;

-- The house shard is read by tool when something about that tool is decided.
CREATE INDEX events_of_house ON events (shard, tool, position) WHERE shard = 0;

-- Private words beside a bookmark: outside the log, gone when their owner says so.
CREATE TABLE notes (
    shard        smallint     NOT NULL,
    actor        uuid         NOT NULL,
    tool         integer      NOT NULL,
    note         text         NOT NULL DEFAULT '',
    tags         text[]       NOT NULL DEFAULT '{}',
    PRIMARY KEY (shard, actor, tool)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO shiplog_app;

-- A key is stored as a keyed hash; what it was is shown once.
CREATE TABLE api_keys (
    id           uuid         PRIMARY KEY,
    name         text         NOT NULL,
    digest       bytea        NOT NULL UNIQUE,
    scopes       text[]       NOT NULL,
    created_at   timestamptz  NOT NULL DEFAULT now(),
    revoked_at   timestamptz
);
GRANT SELECT, INSERT, UPDATE ON api_keys TO shiplog_app;

CREATE TABLE users (
    name         text         PRIMARY KEY,
    role         text         NOT NULL CHECK (role IN ('editor', 'reviewer')),
    reviewer     text         CHECK ((role = 'reviewer') = (reviewer IS NOT NULL)),
    password     text         NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON users TO shiplog_app;

CREATE TABLE sessions (
    digest       bytea        PRIMARY KEY,
    name         text         NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at   timestamptz  NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
GRANT SELECT, INSERT, DELETE ON sessions TO shiplog_app;
