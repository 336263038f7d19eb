-- Adds the votes of the shards $1, after the positions $2 and up to $3, to the days of their tools' timelines.
-- Returns a row per tool: the days of the casts, and the votes added and removed on each, as arrays.
-- A day is counted from 1970-01-01, UTC.
WITH casts AS NOT MATERIALIZED (
    SELECT e.*, CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS day,
           CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS replaced_day
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN public.events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
     WHERE e.type IN ('VoteCast', 'VoteRetracted')
), changes AS (
    SELECT tool, day, choice, NULL AS replaced FROM casts WHERE choice IS NOT NULL
     UNION ALL
    SELECT tool, replaced_day, NULL, replaced FROM casts WHERE replaced IS NOT NULL
), deltas AS MATERIALIZED (
    SELECT tool, day, count(*) FILTER (WHERE choice = 'ship') AS ship_in,
           count(*) FILTER (WHERE replaced = 'ship') AS ship_out, count(*) FILTER (WHERE choice = 'skip') AS skip_in,
           count(*) FILTER (WHERE replaced = 'skip') AS skip_out
      FROM changes GROUP BY tool, day
), dated AS (
    INSERT INTO timeline_days AS d (shard, tool, day, ship, skip)
    SELECT 0, tool, day, ship_in - ship_out, skip_in - skip_out FROM deltas ORDER BY tool, day
    ON CONFLICT (shard, tool, day) DO UPDATE SET ship = d.ship + excluded.ship, skip = d.skip + excluded.skip
)
SELECT tool, array_agg(day), array_agg(ship_in), array_agg(skip_in), array_agg(ship_out), array_agg(skip_out)
  FROM deltas GROUP BY tool
