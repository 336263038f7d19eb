CREATE OR REPLACE FUNCTION extend_events(upto bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
-- Creates the partitions of events that are missing, from position 0 to the one that holds ``upto``. A partition
-- holds the same 4,194,304 positions of every shard.
--
-- Events never change, so vacuum freezes rows at once, and a full partition needs no further vacuum. Positions only grow,
-- so the pages of a partition's key are filled completely. See docs/decisions/0011.
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
