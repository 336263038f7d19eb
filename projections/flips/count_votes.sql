-- Adds the votes of the shards $1, after the positions $2 and up to $3, to the timelines of their tools.
-- Returns a row per tool: its timeline before this statement, and the delta. A day is counted from 1970-01-01, UTC.
WITH casts AS NOT MATERIALIZED (
    SELECT e.*, CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS day
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN public.events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
     WHERE e.type IN ('VoteCast', 'VoteRetracted')
), deltas AS MATERIALIZED (
    SELECT tool, count(*) FILTER (WHERE choice = 'ship') AS ship_in, count(*) FILTER (WHERE replaced = 'ship') AS ship_out,
           count(*) FILTER (WHERE choice = 'skip') AS skip_in, count(*) FILTER (WHERE replaced = 'skip') AS skip_out,
           max(day) AS today
      FROM casts GROUP BY tool
), before AS MATERIALIZED (
    SELECT d.tool, t.today FROM deltas AS d LEFT JOIN verdict_timelines AS t ON t.shard = 0 AND t.tool = d.tool
), counted AS (
    INSERT INTO verdict_timelines AS t (shard, tool, ship, skip, today)
    SELECT 0, tool, ship_in - ship_out, skip_in - skip_out, today FROM deltas ORDER BY tool
    ON CONFLICT (shard, tool) DO UPDATE
       SET ship = t.ship + excluded.ship, skip = t.skip + excluded.skip, today = greatest(t.today, excluded.today)
    RETURNING tool, label, takes, ship, skip, first_day, aged_count, aged_ship, aged_skip
)
SELECT c.tool, c.label, c.takes, c.ship - d.ship_in + d.ship_out AS ship, c.skip - d.skip_in + d.skip_out AS skip,
       b.today, c.first_day, c.aged_count, c.aged_ship, c.aged_skip,
       d.ship_in, d.ship_out, d.skip_in, d.skip_out, d.today AS until
  FROM deltas AS d JOIN counted AS c USING (tool) JOIN before AS b USING (tool)
