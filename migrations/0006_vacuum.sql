-- migrate:up

-- What is appended never changes: its first vacuum freezes it, and no later one
-- has to come back to a partition that is full. Positions only grow: the pages of
-- a partition's key are filled to the end. See docs/decisions/0011.
CREATE OR REPLACE FUNCTION extend_events(upto bigint) RETURNS void
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
                'CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%s) TO (%s)
                   WITH (autovacuum_freeze_min_age = 0)',
                lower_bound / span, lower_bound, lower_bound + span);
            EXECUTE format('ALTER INDEX events_%s_pkey SET (fillfactor = 100)', lower_bound / span);
        END IF;
    END LOOP;
END $$;
DO $$ DECLARE partition regclass; BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_freeze_min_age = 0)', partition);
        EXECUTE format('ALTER INDEX %s_pkey SET (fillfactor = 100)', partition);
    END LOOP;
END $$;

-- A tenth of the ballots may change before their table is vacuumed, not a fifth:
-- room on their own page keeps the next changes out of the index.
ALTER TABLE standings SET (autovacuum_vacuum_scale_factor = 0.1);
