-- migrate:up

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
