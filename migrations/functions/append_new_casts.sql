CREATE OR REPLACE FUNCTION append_new_casts(
    to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]
) RETURNS TABLE (ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
-- Appends a batch of casts to one shard, set at a time, that are expected to be the first on their ballots.
--
-- Every cast then counts and takes the next position, in the order of the batch, so nothing has to be looked up first:
-- if a ballot exists, its insert violates the key of standings. In that case, or if a cast is a retraction, this attempt
-- is undone and append_casts decides the batch. Both return the same rows; append_casts describes them.
#variable_conflict use_column
DECLARE
    batch_start bigint;
    batch_time timestamptz;
BEGIN
    SELECT h.position, greatest(h.recorded_at, clock_timestamp()) INTO STRICT batch_start, batch_time
      FROM heads AS h WHERE h.shard = to_shard FOR NO KEY UPDATE;

    IF array_position(choices, NULL) IS NULL THEN
        BEGIN
            INSERT INTO standings (actor, position, tool, shard, kind, choice)
            SELECT actor, batch_start + ord, tool, to_shard, kind::"char", choice
              FROM unnest(kinds, actors, tools, choices) WITH ORDINALITY AS c (kind, actor, tool, choice, ord);

            INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, origin)
            SELECT batch_start + ord, batch_time, actor, id, tool, to_shard,
                   CASE kind WHEN 'v' THEN 'VoteCast' WHEN 'b' THEN 'BookmarkSaved' END, choice, origin
              FROM unnest(kinds, actors, tools, choices, ids, origins) WITH ORDINALITY
                   AS c (kind, actor, tool, choice, id, origin, ord);

            UPDATE heads AS h SET position = batch_start + cardinality(ids), recorded_at = batch_time
             WHERE h.shard = to_shard;
            RETURN QUERY SELECT 0::bigint, NULL::text, batch_start, NULL::uuid, NULL::text, NULL::text, false;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            NULL;  -- a ballot exists
        END;
    END IF;
    RETURN QUERY SELECT * FROM append_casts(to_shard, kinds, actors, tools, choices, ids, origins);
END $$;
