CREATE OR REPLACE FUNCTION append_casts(
    to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]
) RETURNS TABLE (ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
-- Appends a batch of casts to one shard, set at a time. A ballot occurs at most once in a batch.
--
-- The first statement locks the shard's head. The second has a snapshot of its own, so it reads standings exactly as
-- the previous holder of the lock committed them. A cast replaces its ballot if its id is newer; domain/voting/votes.py
-- states the same rule as a pure function.
--
-- The first row returned has ord 0 and the position before the batch. Then there is a row for each cast that met a ballot,
-- or that changed nothing. Every other cast counted, replaced nothing, and took the next position, in the order of the
-- batch. A row's id, choice and position are those of the cast, or of the newer cast that superseded it. The newest id
-- of a ballot, sent again, is answered from its event. The newest id and the id of the event, both of the current
-- choice, are a conflict with any other choice; older ids are not kept (docs/decisions/0033).
--
-- Each look-up is LATERAL with OFFSET 0, and only index scans are enabled, so that a plan cached while the tables were
-- empty stays fast when they are full.
#variable_conflict use_column
DECLARE
    batch_start bigint;
    batch_time timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT batch_start, batch_time
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    RETURN QUERY
    WITH compared AS MATERIALIZED (
        SELECT c.*, ballot.*, effect.*,
               batch_start + count(*) FILTER (WHERE effect.changed) OVER (ROWS UNBOUNDED PRECEDING) AS new_position
          FROM unnest(kinds, actors, tools, choices, ids, origins) WITH ORDINALITY
               AS c (kind, actor, tool, choice, id, origin, ord)
          LEFT JOIN LATERAL (
               SELECT coalesce(s.id, e.id) AS ballot_id, s.position AS ballot_position, s.choice AS ballot_choice,
                      CASE WHEN s.choice IS NOT NULL THEN e.recorded_at END AS ballot_since,
                      e.id AS event_id, e.replaced AS event_replaced
                 FROM standings AS s
                 LEFT JOIN events AS e ON e.shard = s.shard AND e.position = s.position
                WHERE s.shard = to_shard AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
               OFFSET 0) AS ballot ON true
         CROSS JOIN LATERAL (
               SELECT ballot_id IS NULL OR c.id > ballot_id AS newer,
                      (ballot_id IS NULL OR c.id > ballot_id) AND c.choice IS DISTINCT FROM ballot_choice AS changed,
                      c.id IN (ballot_id, event_id) AND c.choice IS DISTINCT FROM ballot_choice AS conflicts
               ) AS effect
    ), inserted_events AS (
        INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, replaced, origin, replaced_at)
        SELECT new_position, batch_time, actor, id, tool, to_shard,
               CASE kind WHEN 'v' THEN CASE WHEN choice IS NULL THEN 'VoteRetracted' ELSE 'VoteCast' END
                         WHEN 'b' THEN CASE WHEN choice IS NULL THEN 'BookmarkDropped' ELSE 'BookmarkSaved' END END,
               choice, ballot_choice, origin, ballot_since
          FROM compared WHERE changed
    ), new_ballots AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, CASE WHEN NOT changed THEN id END, CASE WHEN changed THEN new_position ELSE 0 END,
               tool, to_shard, kind::"char", choice
          FROM compared WHERE ballot_id IS NULL
    ), replaced_ballots AS (
        INSERT INTO standings (actor, id, position, tool, shard, kind, choice)
        SELECT actor, CASE WHEN NOT changed THEN id END, CASE WHEN changed THEN new_position ELSE ballot_position END,
               tool, to_shard, kind::"char", choice
          FROM compared WHERE ballot_id IS NOT NULL AND newer
        ON CONFLICT (shard, kind, actor, tool)
        DO UPDATE SET id = excluded.id, position = excluded.position, choice = excluded.choice
    ), moved_head AS (
        UPDATE heads AS h SET position = batch.last_position, recorded_at = batch_time
          FROM (SELECT max(new_position) AS last_position FROM compared) AS batch
         WHERE h.shard = to_shard AND batch.last_position > batch_start
    )
    SELECT 0::bigint, NULL::text, batch_start, NULL::uuid, NULL::text, NULL::text, false
    UNION ALL
    SELECT c.ord,
           CASE WHEN c.conflicts THEN 'conflict'
                WHEN NOT c.newer AND c.id <> c.ballot_id THEN 'superseded'
                WHEN c.changed OR c.id = c.event_id THEN 'counted'
                ELSE 'unchanged' END,
           CASE WHEN c.changed THEN c.new_position ELSE coalesce(c.ballot_position, 0) END,
           CASE WHEN c.newer THEN c.id ELSE c.ballot_id END,
           CASE WHEN c.newer THEN c.choice ELSE c.ballot_choice END,
           CASE WHEN c.changed THEN c.ballot_choice
                WHEN c.id = c.event_id AND c.id = c.ballot_id AND NOT c.conflicts THEN c.event_replaced END,
           c.changed
      FROM compared AS c
     WHERE c.ballot_id IS NOT NULL OR NOT c.changed;
END $$;
