-- migrate:up

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
