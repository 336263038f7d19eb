-- migrate:up

ALTER TABLE sessions
    ADD COLUMN opened_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN agent     text        NOT NULL DEFAULT '';
UPDATE sessions SET opened_at = expires_at - interval '12 hours';
CREATE INDEX sessions_by_name ON sessions (name);
