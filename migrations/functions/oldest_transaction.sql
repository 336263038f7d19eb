CREATE OR REPLACE FUNCTION oldest_transaction() RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    -- When the oldest transaction of any other client of this database began. A replay waits for older transactions
    -- before it cuts over, and shiplog_app itself may not see those of other roles.
    SELECT min(xact_start) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
$$;
