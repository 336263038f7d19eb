-- The 14 migrations of before the squash, as a database of that time has applied them. Only tests read this.
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);

-- 0001_log.sql

-- The log, the heads that order it, and the standings that decide what is news.
-- Every key starts with shard, so each table can be distributed by it.

DO $$ BEGIN
    CREATE ROLE shiplog_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- roles belong to the cluster: another database has made it
END $$;
GRANT shiplog_app TO CURRENT_USER;

-- One row per shard. Whoever appends holds this row's lock, so positions are
-- gapless, in commit order, and recorded_at never goes back within a shard.
CREATE TABLE heads (
    shard        smallint     PRIMARY KEY,
    position     bigint       NOT NULL DEFAULT 0,
    recorded_at  timestamptz  NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 10);

-- Column order keeps a vote at 107 bytes: wide fixed columns first, text last.
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
    PRIMARY KEY (shard, position)
) PARTITION BY RANGE (position);

-- What each person's ballot ('v') or bookmark ('b') for a tool says now.
-- choice is null after a retraction: the row stays, so that an older id stays old.
CREATE TABLE standings (
    actor        uuid         NOT NULL,
    id           uuid         NOT NULL,
    position     bigint       NOT NULL,
    tool         integer      NOT NULL,
    shard        smallint     NOT NULL,
    kind         "char"       NOT NULL,
    choice       text,
    PRIMARY KEY (shard, kind, actor, tool)
) WITH (fillfactor = 90);

-- A partition of events holds this many positions of every shard.
CREATE FUNCTION extend_events(upto bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    span CONSTANT bigint := 4194304;
    lower_bound bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('shiplog extend_events'));
    FOR lower_bound IN SELECT n * span FROM generate_series(0, upto / span) AS n
    LOOP
        IF to_regclass(format('events_%s', lower_bound / span)) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%s) TO (%s)',
                lower_bound / span, lower_bound, lower_bound + span);
        END IF;
    END LOOP;
END $$;
SELECT extend_events(4194304);

-- Appends a group of casts to one shard, set at a time, and answers each, in the order given.
-- A ballot stands at most once in a group.
--
-- The head's lock is taken first; the statement after it has a snapshot of its
-- own, so it reads standings exactly as the last holder of the lock left them.
-- A cast moves its standing forward when its id is newer. The same rule, as a
-- pure function, is domain/voting/votes.py.
--
-- id, choice and position are what the answer rests on: the cast itself, or the
-- newer one that superseded it. The newest id sent again is answered from its event.
CREATE FUNCTION append_casts(
    to_shard smallint, kinds text[], types text[], actors uuid[], tools integer[],
    choices text[], ids uuid[], origins text[]
) RETURNS TABLE (outcome text, "position" bigint, id uuid, choice text, replaced text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    moment timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT base, moment
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    RETURN QUERY
    WITH compared AS MATERIALIZED (
        SELECT c.*, s.id AS standing_id, s.position AS standing_position, s.choice AS before, news.forward, news.changed,
               base + count(*) FILTER (WHERE news.changed) OVER (ORDER BY c.ord) AS reached
          FROM unnest(kinds, types, actors, tools, choices, ids, origins) WITH ORDINALITY
               AS c (kind, type, actor, tool, choice, id, origin, ord)
          LEFT JOIN standings AS s
            ON s.shard = to_shard AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
         CROSS JOIN LATERAL (
               SELECT s.id IS NULL OR c.id > s.id AS forward,
                      (s.id IS NULL OR c.id > s.id) AND c.choice IS DISTINCT FROM s.choice AS changed) AS news
    ), logged AS (
        INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, replaced, origin)
        SELECT reached, moment, actor, id, tool, to_shard, type, choice, before, origin
          FROM compared WHERE changed
    ), first AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, id, CASE WHEN changed THEN reached ELSE 0 END, tool, to_shard, kind::"char", choice
          FROM compared WHERE standing_id IS NULL
    ), again AS (
        UPDATE standings AS s
           SET choice = c.choice, id = c.id, position = CASE WHEN changed THEN reached ELSE standing_position END
          FROM compared AS c
         WHERE c.standing_id IS NOT NULL AND c.forward
           AND s.shard = to_shard AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
    ), moved AS (
        UPDATE heads AS h SET position = n.last, recorded_at = moment
          FROM (SELECT max(reached) AS last FROM compared) AS n
         WHERE h.shard = to_shard AND n.last > base
    )
    SELECT CASE WHEN NOT c.forward AND c.id <> c.standing_id THEN 'superseded'
                WHEN c.changed OR e.id IS NOT NULL THEN 'counted'
                ELSE 'unchanged' END,
           CASE WHEN c.changed THEN c.reached ELSE coalesce(c.standing_position, 0) END,
           CASE WHEN c.forward THEN c.id ELSE c.standing_id END,
           CASE WHEN c.forward THEN c.choice ELSE c.before END,
           CASE WHEN c.changed THEN c.before ELSE e.replaced END
      FROM compared AS c
      LEFT JOIN events AS e
        ON e.shard = to_shard AND e.id = c.id
       AND e.position = CASE WHEN c.id = c.standing_id THEN c.standing_position END
     ORDER BY c.ord;
END $$;

-- The log is append-only for the role that Shiplog works under.
GRANT SELECT, INSERT ON events TO shiplog_app;
GRANT SELECT, INSERT, UPDATE ON standings TO shiplog_app;
GRANT SELECT, UPDATE ON heads TO shiplog_app;
INSERT INTO schema_migrations (version) VALUES ('0001');

-- 0002_read_models.sql

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
INSERT INTO schema_migrations (version) VALUES ('0002');

-- 0003_people_and_keys.sql

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
INSERT INTO schema_migrations (version) VALUES ('0003');

-- 0004_append.sql

-- A ballot mostly stands as its event says, id included: then id is null here, and 16 bytes are saved.
ALTER TABLE standings ALTER COLUMN id DROP NOT NULL;
ALTER TABLE standings SET (fillfactor = 100);

-- Appends a group of casts to one shard, set at a time. A ballot stands at most once in a group.
--
-- The head's lock is taken first; the statement after it has a snapshot of its
-- own, so it reads standings exactly as the last holder of the lock left them.
-- A cast moves its standing forward when its id is newer. The same rule, as a
-- pure function, is domain/voting/votes.py.
--
-- The first row answers for all: ord 0, and the position before the group. Then
-- a row for each cast whose ballot was not blank, or stayed so; every other cast
-- counted, replaced nothing, and took the next position in the group's order.
-- id, choice and position are what the answer rests on: the cast itself, or the
-- newer one that superseded it. The newest id sent again is answered from its event.
--
-- Each look-up is a LATERAL with OFFSET 0, and no scan but by index is open to it:
-- a plan made while the tables were empty stays right when they are full.
DROP FUNCTION append_casts;
CREATE FUNCTION append_casts(
    to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]
) RETURNS TABLE (ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    moment timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT base, moment
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    RETURN QUERY
    WITH compared AS MATERIALIZED (
        SELECT c.*, s.*, news.*,
               base + count(*) FILTER (WHERE news.changed) OVER (ROWS UNBOUNDED PRECEDING) AS reached
          FROM unnest(kinds, actors, tools, choices, ids, origins) WITH ORDINALITY
               AS c (kind, actor, tool, choice, id, origin, ord)
          LEFT JOIN LATERAL (
               SELECT coalesce(s.id, e.id) AS newest, s.position AS stood_at, s.choice AS before,
                      CASE WHEN e.id = coalesce(s.id, e.id) THEN e.id END AS counted, e.replaced AS counted_over
                 FROM standings AS s
                 LEFT JOIN events AS e ON e.shard = s.shard AND e.position = s.position
                WHERE s.shard = to_shard AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
               OFFSET 0) AS s ON true
         CROSS JOIN LATERAL (
               SELECT s.newest IS NULL OR c.id > s.newest AS forward,
                      (s.newest IS NULL OR c.id > s.newest) AND c.choice IS DISTINCT FROM s.before AS changed) AS news
    ), logged AS (
        INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, replaced, origin)
        SELECT reached, moment, actor, id, tool, to_shard,
               CASE kind WHEN 'v' THEN CASE WHEN choice IS NULL THEN 'VoteRetracted' ELSE 'VoteCast' END
                         WHEN 'b' THEN CASE WHEN choice IS NULL THEN 'BookmarkDropped' ELSE 'BookmarkSaved' END END,
               choice, before, origin
          FROM compared WHERE changed
    ), first AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, CASE WHEN NOT changed THEN id END, CASE WHEN changed THEN reached ELSE 0 END,
               tool, to_shard, kind::"char", choice
          FROM compared WHERE newest IS NULL
    ), again AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, CASE WHEN NOT changed THEN id END, CASE WHEN changed THEN reached ELSE stood_at END,
               tool, to_shard, kind::"char", choice
          FROM compared WHERE newest IS NOT NULL AND forward
        ON CONFLICT (shard, kind, actor, tool)
        DO UPDATE SET id = excluded.id, position = excluded.position, choice = excluded.choice
    ), moved AS (
        UPDATE heads AS h SET position = n.last, recorded_at = moment
          FROM (SELECT max(reached) AS last FROM compared) AS n
         WHERE h.shard = to_shard AND n.last > base
    )
    SELECT 0::bigint, NULL::text, base, NULL::uuid, NULL::text, NULL::text, false
    UNION ALL
    SELECT c.ord,
           CASE WHEN NOT c.forward AND c.id <> c.newest THEN 'superseded'
                WHEN c.changed OR c.id = c.counted THEN 'counted'
                ELSE 'unchanged' END,
           CASE WHEN c.changed THEN c.reached ELSE coalesce(c.stood_at, 0) END,
           CASE WHEN c.forward THEN c.id ELSE c.newest END,
           CASE WHEN c.forward THEN c.choice ELSE c.before END,
           CASE WHEN c.changed THEN c.before WHEN c.id = c.counted THEN c.counted_over END,
           c.changed
      FROM compared AS c
     WHERE c.newest IS NOT NULL OR NOT c.changed;
END $$;
INSERT INTO schema_migrations (version) VALUES ('0004');

-- 0005_short_key_names.sql

-- A key's id stands in every event that came by it, so new ones are short: k1, k2, ...
ALTER TABLE api_keys ALTER COLUMN id TYPE text;
INSERT INTO schema_migrations (version) VALUES ('0005');

-- 0006_vacuum.sql

-- What is appended never changes: its first vacuum freezes it, and no later one
-- has to come back to a partition that is full. Positions only grow: the pages of
-- a partition's key are filled to the end. See docs/decisions/0011.
CREATE OR REPLACE FUNCTION extend_events(upto bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    span CONSTANT bigint := 4194304;
    lower_bound bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('shiplog extend_events'));
    FOR lower_bound IN SELECT n * span FROM generate_series(0, upto / span) AS n
    LOOP
        IF to_regclass(format('events_%s', lower_bound / span)) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%s) TO (%s)
                   WITH (autovacuum_freeze_min_age = 0)',
                lower_bound / span, lower_bound, lower_bound + span);
            EXECUTE format('ALTER INDEX events_%s_pkey SET (fillfactor = 100)', lower_bound / span);
        END IF;
    END LOOP;
END $$;
DO $$ DECLARE partition regclass; BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_freeze_min_age = 0)', partition);
        EXECUTE format('ALTER INDEX %s_pkey SET (fillfactor = 100)', partition);
    END LOOP;
END $$;

-- A tenth of the ballots may change before their table is vacuumed, not a fifth:
-- room on their own page keeps the next changes out of the index.
ALTER TABLE standings SET (autovacuum_vacuum_scale_factor = 0.1);
INSERT INTO schema_migrations (version) VALUES ('0006');

-- 0007_panel_as_of.sql

-- The panel as it sat at some position is folded from the log. Votes are not in this index.
CREATE INDEX events_of_panel ON events (shard, position) WHERE shard = 0 AND type = 'ReviewerSeated';
INSERT INTO schema_migrations (version) VALUES ('0007');

-- 0008_replay.sql

-- A replay rebuilds one read model beside the live one. One at a time for each.
CREATE TABLE replays (
    id            uuid         PRIMARY KEY,
    projection    text         NOT NULL,
    state         text         NOT NULL DEFAULT 'running' CHECK (state IN
                  ('running', 'paused', 'equal', 'different', 'cut-over', 'rolled-back', 'cancelled')),
    hold          boolean      NOT NULL DEFAULT false,
    source        text         NOT NULL DEFAULT 'postgres' CHECK (source IN ('postgres', 'segments')),
    started_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    resumed_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    joined_at     timestamptz,
    ended_at      timestamptz,
    position      text,
    digest        text,
    replaces      text,
    drift         bigint,
    rows          text[]       NOT NULL DEFAULT '{}',
    reason        text
);
CREATE UNIQUE INDEX ON replays (projection) WHERE ended_at IS NULL;

-- What of the log a replay folds, range by range: after a position, up to another.
CREATE TABLE replay_ranges (
    shard         smallint     NOT NULL,
    replay        uuid         NOT NULL,
    after         bigint       NOT NULL,
    upto          bigint       NOT NULL,
    folded_at     timestamptz,
    PRIMARY KEY (shard, replay, after)
);

-- The last recount of each read model in each shard, beside what it kept. Drift is null while unknown.
CREATE TABLE verifications (
    shard         smallint     NOT NULL,
    projection    text         NOT NULL,
    position      bigint       NOT NULL,
    digest        text         NOT NULL,
    drift         bigint,
    rows          text[]       NOT NULL DEFAULT '{}',
    verified_at   timestamptz  NOT NULL,
    PRIMARY KEY (shard, projection)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON replays, replay_ranges, verifications TO shiplog_app;

-- The app's role is not shown when the transactions of others began, and has to wait for old ones.
CREATE FUNCTION oldest_transaction() RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT min(xact_start) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
$$;
INSERT INTO schema_migrations (version) VALUES ('0008');

-- 0009_parked.sql

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
INSERT INTO schema_migrations (version) VALUES ('0009');

-- 0010_blank_ballots.sql

-- Appends a group of casts to one shard, set at a time, where no ballot is likely to stand yet.
--
-- Every cast then counts and takes the next position in the group's order, so nothing has to be looked up first: the key
-- of standings says whether it was so. If a ballot does stand, or a cast takes one back, none of this is kept, and
-- append_casts decides the group. The answer is the same either way; see there.
CREATE FUNCTION append_first_casts(
    to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]
) RETURNS TABLE (ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    moment timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT base, moment
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    IF array_position(choices, NULL) IS NULL THEN
        BEGIN
            INSERT INTO standings (actor, position, tool, shard, kind, choice)
            SELECT actor, base + ord, tool, to_shard, kind::"char", choice
              FROM unnest(kinds, actors, tools, choices) WITH ORDINALITY AS c (kind, actor, tool, choice, ord);

            INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, origin)
            SELECT base + ord, moment, actor, id, tool, to_shard,
                   CASE kind WHEN 'v' THEN 'VoteCast' WHEN 'b' THEN 'BookmarkSaved' END, choice, origin
              FROM unnest(kinds, actors, tools, choices, ids, origins) WITH ORDINALITY
                   AS c (kind, actor, tool, choice, id, origin, ord);

            UPDATE heads AS h SET position = base + cardinality(ids), recorded_at = moment WHERE h.shard = to_shard;
            RETURN QUERY SELECT 0::bigint, NULL::text, base, NULL::uuid, NULL::text, NULL::text, false;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            NULL; -- a ballot stands
        END;
    END IF;
    RETURN QUERY SELECT * FROM append_casts(to_shard, kinds, actors, tools, choices, ids, origins);
END $$;
INSERT INTO schema_migrations (version) VALUES ('0010');

-- 0011_ages.sql

-- When what an event of a person replaces was recorded; null where nothing is replaced, and in the house. With it, votes
-- by the day on which they were cast are sums of deltas, as tallies are. See docs/decisions/0019.
ALTER TABLE events ADD COLUMN replaced_at timestamptz;

-- As 0004 has it, and the event of a ballot that stands, which it reads anyway, gives replaced_at.
CREATE OR REPLACE FUNCTION append_casts(
    to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]
) RETURNS TABLE (ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    moment timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT base, moment
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    RETURN QUERY
    WITH compared AS MATERIALIZED (
        SELECT c.*, s.*, news.*,
               base + count(*) FILTER (WHERE news.changed) OVER (ROWS UNBOUNDED PRECEDING) AS reached
          FROM unnest(kinds, actors, tools, choices, ids, origins) WITH ORDINALITY
               AS c (kind, actor, tool, choice, id, origin, ord)
          LEFT JOIN LATERAL (
               SELECT coalesce(s.id, e.id) AS newest, s.position AS stood_at, s.choice AS before,
                      CASE WHEN e.id = coalesce(s.id, e.id) THEN e.id END AS counted, e.replaced AS counted_over,
                      CASE WHEN s.choice IS NOT NULL THEN e.recorded_at END AS before_at
                 FROM standings AS s
                 LEFT JOIN events AS e ON e.shard = s.shard AND e.position = s.position
                WHERE s.shard = to_shard AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
               OFFSET 0) AS s ON true
         CROSS JOIN LATERAL (
               SELECT s.newest IS NULL OR c.id > s.newest AS forward,
                      (s.newest IS NULL OR c.id > s.newest) AND c.choice IS DISTINCT FROM s.before AS changed) AS news
    ), logged AS (
        INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, replaced, origin, replaced_at)
        SELECT reached, moment, actor, id, tool, to_shard,
               CASE kind WHEN 'v' THEN CASE WHEN choice IS NULL THEN 'VoteRetracted' ELSE 'VoteCast' END
                         WHEN 'b' THEN CASE WHEN choice IS NULL THEN 'BookmarkDropped' ELSE 'BookmarkSaved' END END,
               choice, before, origin, before_at
          FROM compared WHERE changed
    ), first AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, CASE WHEN NOT changed THEN id END, CASE WHEN changed THEN reached ELSE 0 END,
               tool, to_shard, kind::"char", choice
          FROM compared WHERE newest IS NULL
    ), again AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, CASE WHEN NOT changed THEN id END, CASE WHEN changed THEN reached ELSE stood_at END,
               tool, to_shard, kind::"char", choice
          FROM compared WHERE newest IS NOT NULL AND forward
        ON CONFLICT (shard, kind, actor, tool)
        DO UPDATE SET id = excluded.id, position = excluded.position, choice = excluded.choice
    ), moved AS (
        UPDATE heads AS h SET position = n.last, recorded_at = moment
          FROM (SELECT max(reached) AS last FROM compared) AS n
         WHERE h.shard = to_shard AND n.last > base
    )
    SELECT 0::bigint, NULL::text, base, NULL::uuid, NULL::text, NULL::text, false
    UNION ALL
    SELECT c.ord,
           CASE WHEN NOT c.forward AND c.id <> c.newest THEN 'superseded'
                WHEN c.changed OR c.id = c.counted THEN 'counted'
                ELSE 'unchanged' END,
           CASE WHEN c.changed THEN c.reached ELSE coalesce(c.stood_at, 0) END,
           CASE WHEN c.forward THEN c.id ELSE c.newest END,
           CASE WHEN c.forward THEN c.choice ELSE c.before END,
           CASE WHEN c.changed THEN c.before WHEN c.id = c.counted THEN c.counted_over END,
           c.changed
      FROM compared AS c
     WHERE c.newest IS NOT NULL OR NOT c.changed;
END $$;

-- What an older event replaces is said by the one before it on the same ballot. Only ballots that ever replaced something are looked at.
UPDATE events AS e SET replaced_at = b.before_at
  FROM (SELECT shard, position, replaced,
               lag(recorded_at) OVER (PARTITION BY shard, actor, tool, left(type, 4) ORDER BY position) AS before_at
          FROM events AS every
         WHERE shard > 0 AND (shard, actor, tool) IN (
               SELECT shard, actor, tool FROM events WHERE shard > 0 AND replaced IS NOT NULL)) AS b
 WHERE b.replaced IS NOT NULL AND e.shard = b.shard AND e.position = b.position;
INSERT INTO schema_migrations (version) VALUES ('0011');

-- 0012_rulebooks.sql

-- Which rulebook was in force at some position is folded from the log. Votes are not in this index.
CREATE INDEX events_of_rulebooks ON events (shard, position)
 WHERE shard = 0 AND type IN ('RulebookWritten', 'RulebookAdopted', 'AdoptionScheduled', 'AdoptionCalledOff');
INSERT INTO schema_migrations (version) VALUES ('0012');

-- 0013_trials.sql

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
INSERT INTO schema_migrations (version) VALUES ('0013');

-- 0014_webhooks.sql

-- Who is told of flips. Secrets are encrypted under a key derived from SHIPLOG_SECRET. `tools` is null where all are meant.
-- `told_*` is the place of the last flip that was looked at for this webhook. It only ever moves on.
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

-- What is to be sent, or was. While `claim` is set and `next_at` is ahead, a worker has it in hand.
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
INSERT INTO schema_migrations (version) VALUES ('0014');
