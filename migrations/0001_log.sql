-- migrate:up

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

-- Appends a group of casts to one shard, set at a time, and answers each.
--
-- The head's lock is taken first; the statement after it has a snapshot of its
-- own, so it reads standings exactly as the last holder of the lock left them.
-- A cast moves its standing forward when its id is newer than the standing's and
-- than every earlier one's in the group. The same rule, as a pure function, is
-- domain/votes.py.
--
-- ord is the cast's place in the arrays, from 1. id, choice and position are what
-- the answer rests on: the cast itself, or the newer one that superseded it.
CREATE FUNCTION append_casts(
    to_shard smallint, kinds text[], types text[], actors uuid[], tools integer[],
    choices text[], ids uuid[], origins text[]
) RETURNS TABLE (ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    moment timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT base, moment
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    RETURN QUERY
    WITH submitted AS (
        SELECT c.*, s.choice AS standing_choice, s.id AS standing_id, s.position AS standing_position,
               (s.id IS NULL OR c.id > s.id)
               AND coalesce(uuid_send(c.id) > max(uuid_send(c.id)) OVER earlier, true) AS forward
          FROM unnest(kinds, types, actors, tools, choices, ids, origins) WITH ORDINALITY
               AS c (kind, type, actor, tool, choice, id, origin, ord)
          LEFT JOIN standings AS s
            ON s.shard = to_shard AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
        WINDOW earlier AS (
            PARTITION BY c.kind, c.actor, c.tool ORDER BY c.ord
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), led AS (
        SELECT *, max(ord) FILTER (WHERE forward) OVER (PARTITION BY kind, actor, tool ORDER BY ord) AS leader
          FROM submitted
    ), moves AS (
        SELECT *, lag(choice, 1, standing_choice) OVER (PARTITION BY kind, actor, tool ORDER BY ord) AS before
          FROM led WHERE forward
    ), numbered AS (
        SELECT *, choice IS DISTINCT FROM before AS changed,
               base + count(*) FILTER (WHERE choice IS DISTINCT FROM before) OVER (ORDER BY ord) AS reached
          FROM moves
    ), placed AS (
        SELECT *, coalesce(max(reached) FILTER (WHERE changed) OVER (PARTITION BY kind, actor, tool ORDER BY ord),
                           standing_position, 0) AS position
          FROM numbered
    ), logged AS (
        INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, replaced, origin)
        SELECT position, moment, actor, id, tool, to_shard, type, choice, before, origin
          FROM placed WHERE changed ORDER BY ord
    ), stood AS (
        INSERT INTO standings AS s (actor, id, position, tool, shard, kind, choice)
        SELECT DISTINCT ON (kind, actor, tool) actor, id, position, tool, to_shard, kind::"char", choice
          FROM placed ORDER BY kind, actor, tool, ord DESC
        ON CONFLICT (shard, kind, actor, tool)
        DO UPDATE SET choice = excluded.choice, id = excluded.id, position = excluded.position
    ), moved AS (
        UPDATE heads AS h SET position = n.last, recorded_at = moment
          FROM (SELECT max(position) AS last FROM placed WHERE changed) AS n
         WHERE h.shard = to_shard AND n.last IS NOT NULL
    )
    SELECT c.ord,
           CASE WHEN c.id <> coalesce(p.id, c.standing_id) THEN 'superseded'
                WHEN p.changed OR e.id IS NOT NULL THEN 'counted'
                ELSE 'unchanged' END,
           coalesce(p.position, c.standing_position),
           coalesce(p.id, c.standing_id),
           CASE WHEN p.id IS NULL THEN c.standing_choice ELSE p.choice END,
           CASE WHEN p.changed AND p.id = c.id THEN p.before ELSE e.replaced END
      FROM led AS c
      LEFT JOIN placed AS p ON p.ord = c.leader
      LEFT JOIN events AS e
        ON e.shard = to_shard AND e.id = c.id
       AND e.position = CASE WHEN p.id IS NULL AND c.id = c.standing_id THEN c.standing_position END
     ORDER BY c.ord;
END $$;

-- The log is append-only for the role that Shiplog works under.
GRANT SELECT, INSERT ON events TO shiplog_app;
GRANT SELECT, INSERT, UPDATE ON standings TO shiplog_app;
GRANT SELECT, UPDATE ON heads TO shiplog_app;
