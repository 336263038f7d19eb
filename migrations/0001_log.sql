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
