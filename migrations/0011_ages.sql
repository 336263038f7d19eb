-- migrate:up

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
