-- The durable schema, as `shiplog migrate` creates it. Written by `make schema`; a test compares the two.
-- extend_events adds the partitions of events, and projections/ the tables of read_models.

DO $$ BEGIN
    CREATE ROLE shiplog_app;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- roles belong to the cluster: another database has created it
END $$;
ALTER ROLE shiplog_app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
GRANT shiplog_app TO CURRENT_USER WITH INHERIT TRUE GRANTED BY CURRENT_USER;

CREATE TABLE schema_migrations (
    version character varying NOT NULL
);
COMMENT ON TABLE schema_migrations IS 'The numbered migrations that were applied.';
ALTER TABLE ONLY schema_migrations ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

CREATE TABLE repeatable_migrations (
    file text NOT NULL,
    digest text NOT NULL
);
COMMENT ON TABLE repeatable_migrations IS 'The functions and comments that were applied, with the SHA-256 of each file. A changed file is applied again.';
ALTER TABLE ONLY repeatable_migrations ADD CONSTRAINT repeatable_migrations_pkey PRIMARY KEY (file);

CREATE TABLE heads (
    shard smallint NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    recorded_at timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL
)
WITH (fillfactor='10');
COMMENT ON TABLE heads IS 'The last position of each shard. Shard 0 has editorial events, the others have votes and bookmarks. An append holds
the row''s lock until it commits, so positions have no gaps, follow the order of commits, and recorded_at never decreases
within a shard.';
ALTER TABLE ONLY heads ADD CONSTRAINT heads_pkey PRIMARY KEY (shard);
GRANT SELECT,UPDATE ON TABLE heads TO shiplog_app;

CREATE TABLE events (
    "position" bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    actor uuid NOT NULL,
    id uuid NOT NULL,
    tool integer,
    shard smallint NOT NULL,
    type text NOT NULL,
    choice text,
    replaced text,
    origin text NOT NULL,
    data jsonb,
    replaced_at timestamp with time zone
)
PARTITION BY RANGE ("position");
COMMENT ON TABLE events IS 'The log: append-only, and the only source of every read model. Partitioned by position; extend_events creates the
partitions. The order of the columns, wide fixed ones first, keeps a vote at 103 bytes.';
COMMENT ON COLUMN events.actor IS 'A pseudonym: a keyed hash of a cookie, or of the voter that a client names.';
COMMENT ON COLUMN events.id IS 'UUIDv7, chosen by the client or by the server. Of two casts on a ballot the newer id counts.';
COMMENT ON COLUMN events.choice IS 'What a vote, bookmark or take chose; null when it was retracted.';
COMMENT ON COLUMN events.replaced IS 'What was chosen before; null when nothing was replaced.';
COMMENT ON COLUMN events.origin IS 'The source of the request: web, the id of an API key, or a role.';
COMMENT ON COLUMN events.data IS 'The body of an editorial event; null for votes and bookmarks.';
COMMENT ON COLUMN events.replaced_at IS 'When the replaced vote or bookmark was recorded; null when nothing was replaced, and in shard 0. It makes
the number of votes by the day of their casts a sum of deltas. See docs/decisions/0019.';
ALTER TABLE ONLY events ADD CONSTRAINT events_pkey PRIMARY KEY (shard, "position");
CREATE INDEX editorial_events_by_tool ON ONLY events USING btree (shard, tool, "position") WHERE (shard = 0);
CREATE INDEX events_of_panel ON ONLY events USING btree (shard, "position") WHERE ((shard = 0) AND (type = 'ReviewerSeated'::text));
CREATE INDEX events_of_rulebooks ON ONLY events USING btree (shard, "position") WHERE ((shard = 0) AND (type = ANY (ARRAY['RulebookWritten'::text, 'RulebookAdopted'::text, 'AdoptionScheduled'::text, 'AdoptionCalledOff'::text])));
GRANT SELECT,INSERT ON TABLE events TO shiplog_app;

CREATE TABLE standings (
    actor uuid NOT NULL,
    id uuid,
    "position" bigint NOT NULL,
    tool integer NOT NULL,
    shard smallint NOT NULL,
    kind "char" NOT NULL,
    choice text
)
WITH (fillfactor='100', autovacuum_vacuum_scale_factor='0.1');
COMMENT ON TABLE standings IS 'The current state of each person''s ballot (kind v) or bookmark (kind b) for a tool, written by the statement that
appends its event. Retracting sets choice to null and keeps the row, so that an older id cannot bring a choice back.';
COMMENT ON COLUMN standings.id IS 'The newest id; null when it equals the id of the event at position, which saves 16 bytes a ballot.';
COMMENT ON COLUMN standings."position" IS 'The event that set the choice; 0 when there is none.';
ALTER TABLE ONLY standings ADD CONSTRAINT standings_pkey PRIMARY KEY (shard, kind, actor, tool);
GRANT SELECT,INSERT,UPDATE ON TABLE standings TO shiplog_app;

CREATE TABLE slugs (
    slug text NOT NULL,
    tool integer NOT NULL
);
COMMENT ON TABLE slugs IS 'The tool that each slug names. Written with the event that lists the tool.';
ALTER TABLE ONLY slugs ADD CONSTRAINT slugs_pkey PRIMARY KEY (slug);
GRANT SELECT,INSERT ON TABLE slugs TO shiplog_app;

CREATE SCHEMA read_models;
ALTER SCHEMA read_models OWNER TO shiplog_app;
COMMENT ON SCHEMA read_models IS 'Tables derived from the log. projections/ creates, fills and drops them, so they are not migrated.';

CREATE TABLE checkpoints (
    shard smallint NOT NULL,
    projection text NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='10');
COMMENT ON TABLE checkpoints IS 'How far each read model has folded each shard.';
ALTER TABLE ONLY checkpoints ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (shard, projection);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE checkpoints TO shiplog_app;

CREATE TABLE definitions (
    projection text NOT NULL,
    digest text NOT NULL
);
COMMENT ON TABLE definitions IS 'The digest of the definition that a read model''s table was built from. shiplog migrate rebuilds a read model whose
definition has changed.';
ALTER TABLE ONLY definitions ADD CONSTRAINT definitions_pkey PRIMARY KEY (projection);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE definitions TO shiplog_app;

CREATE TABLE verifications (
    shard smallint NOT NULL,
    projection text NOT NULL,
    "position" bigint NOT NULL,
    digest text NOT NULL,
    drift bigint,
    rows text[] DEFAULT '{}'::text[] NOT NULL,
    verified_at timestamp with time zone NOT NULL
);
COMMENT ON TABLE verifications IS 'The last recount of each read model in each shard, compared with its table.';
COMMENT ON COLUMN verifications.drift IS 'Rows that differ; null when the recount could not be finished.';
COMMENT ON COLUMN verifications.rows IS 'The first hundred rows that differ, as text.';
ALTER TABLE ONLY verifications ADD CONSTRAINT verifications_pkey PRIMARY KEY (shard, projection);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE verifications TO shiplog_app;

CREATE TABLE parked_events (
    shard smallint NOT NULL,
    projection text NOT NULL,
    "position" bigint NOT NULL,
    error text NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE parked_events IS 'Events that a version of a read model could not fold and skipped.';
ALTER TABLE ONLY parked_events ADD CONSTRAINT parked_events_pkey PRIMARY KEY (shard, projection, "position");
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE parked_events TO shiplog_app;

CREATE TABLE unread_types (
    shard smallint NOT NULL,
    type text NOT NULL,
    "position" bigint NOT NULL,
    met_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE unread_types IS 'Event types in the log that no read model of the running release knows, and the first position of each.';
ALTER TABLE ONLY unread_types ADD CONSTRAINT unread_types_pkey PRIMARY KEY (shard, type);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE unread_types TO shiplog_app;

CREATE TABLE notes (
    shard smallint NOT NULL,
    actor uuid NOT NULL,
    tool integer NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL
);
COMMENT ON TABLE notes IS 'Private notes and tags of bookmarks. They are not in the log, so deleting a row is final.';
ALTER TABLE ONLY notes ADD CONSTRAINT notes_pkey PRIMARY KEY (shard, actor, tool);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE notes TO shiplog_app;

CREATE TABLE api_keys (
    id text NOT NULL,
    name text NOT NULL,
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone
);
COMMENT ON TABLE api_keys IS 'API keys. A key is shown once, when it is created.';
COMMENT ON COLUMN api_keys.id IS 'k1, k2 and so on: short, because it is stored as the origin of every event sent with the key.';
COMMENT ON COLUMN api_keys.digest IS 'A keyed hash of the key.';
ALTER TABLE ONLY api_keys ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY api_keys ADD CONSTRAINT api_keys_digest_key UNIQUE (digest);
GRANT SELECT,INSERT,UPDATE ON TABLE api_keys TO shiplog_app;

CREATE TABLE users (
    name text NOT NULL,
    role text NOT NULL,
    reviewer text,
    password text NOT NULL,
    CONSTRAINT users_check CHECK (((role = 'reviewer'::text) = (reviewer IS NOT NULL))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['editor'::text, 'reviewer'::text])))
);
COMMENT ON TABLE users IS 'Editors and reviewers, who log in with a password.';
COMMENT ON COLUMN users.reviewer IS 'The slug of the reviewer whose takes a user with the role reviewer publishes.';
COMMENT ON COLUMN users.password IS 'An argon2id hash.';
ALTER TABLE ONLY users ADD CONSTRAINT users_pkey PRIMARY KEY (name);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE users TO shiplog_app;

CREATE TABLE sessions (
    digest bytea NOT NULL,
    name text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    agent text DEFAULT ''::text NOT NULL
);
COMMENT ON TABLE sessions IS 'Sessions of users who are logged in.';
COMMENT ON COLUMN sessions.digest IS 'A keyed hash of the session''s token.';
COMMENT ON COLUMN sessions.agent IS 'What the browser said it was, for the list of one''s own sessions.';
ALTER TABLE ONLY sessions ADD CONSTRAINT sessions_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY sessions ADD CONSTRAINT sessions_name_fkey FOREIGN KEY (name) REFERENCES users(name) ON DELETE CASCADE;
CREATE INDEX sessions_by_expiry ON sessions USING btree (expires_at);
CREATE INDEX sessions_by_name ON sessions USING btree (name);
GRANT SELECT,INSERT,DELETE ON TABLE sessions TO shiplog_app;

CREATE TABLE replays (
    id uuid NOT NULL,
    projection text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    hold boolean DEFAULT false NOT NULL,
    source text DEFAULT 'postgres'::text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    resumed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    joined_at timestamp with time zone,
    ended_at timestamp with time zone,
    "position" text,
    digest text,
    replaces text,
    drift bigint,
    rows text[] DEFAULT '{}'::text[] NOT NULL,
    reason text,
    CONSTRAINT replays_source_check CHECK ((source = ANY (ARRAY['postgres'::text, 'segments'::text]))),
    CONSTRAINT replays_state_check CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'equal'::text, 'different'::text, 'cut-over'::text, 'rolled-back'::text, 'cancelled'::text])))
);
COMMENT ON TABLE replays IS 'Rebuilds of read models from the log, each into a table beside the live one. One at a time for each read model.';
COMMENT ON COLUMN replays.hold IS 'Whether an equal result waits for an editor instead of being cut over at once.';
COMMENT ON COLUMN replays.joined_at IS 'When the new version reached the position of the live one and began to advance with it.';
COMMENT ON COLUMN replays."position" IS 'The position of every shard at which the two versions were compared.';
COMMENT ON COLUMN replays.digest IS 'The digest of the new version at that position.';
COMMENT ON COLUMN replays.replaces IS 'The digest of the live version at that position.';
COMMENT ON COLUMN replays.reason IS 'Why the new version was accepted although the two differed.';
ALTER TABLE ONLY replays ADD CONSTRAINT replays_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX replays_projection_idx ON replays USING btree (projection) WHERE (ended_at IS NULL);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE replays TO shiplog_app;

CREATE TABLE replay_ranges (
    shard smallint NOT NULL,
    replay uuid NOT NULL,
    after bigint NOT NULL,
    upto bigint NOT NULL,
    folded_at timestamp with time zone
);
COMMENT ON TABLE replay_ranges IS 'The ranges of the log that a replay folds: the positions after one up to and including another.';
ALTER TABLE ONLY replay_ranges ADD CONSTRAINT replay_ranges_pkey PRIMARY KEY (shard, replay, after);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE replay_ranges TO shiplog_app;

CREATE TABLE trials (
    id uuid NOT NULL,
    rulebook text NOT NULL,
    "position" text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    begun_at timestamp with time zone,
    ended_at timestamp with time zone,
    done bigint DEFAULT 0 NOT NULL,
    total bigint DEFAULT 0 NOT NULL,
    against text,
    totals jsonb,
    result jsonb,
    error text,
    CONSTRAINT trials_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);
COMMENT ON TABLE trials IS 'Trials of a rulebook: the log, up to a position, judged by another rulebook than the one in force. One at a time for
each rulebook.';
COMMENT ON COLUMN trials.rulebook IS 'The digest of the rulebook.';
COMMENT ON COLUMN trials."position" IS 'The position of every shard up to which the log is judged.';
COMMENT ON COLUMN trials.attempts IS 'The number of times a worker started it; a trial fails after five.';
COMMENT ON COLUMN trials.begun_at IS 'When the last attempt started.';
COMMENT ON COLUMN trials.done IS 'The number of events read so far, of total.';
COMMENT ON COLUMN trials.against IS 'The digest of the rulebook it is compared with: the one in force.';
COMMENT ON COLUMN trials.totals IS 'The sums of the result, for lists of trials.';
ALTER TABLE ONLY trials ADD CONSTRAINT trials_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX trials_rulebook_idx ON trials USING btree (rulebook) WHERE (state = 'running'::text);
CREATE INDEX trials_started_at_idx ON trials USING btree (started_at);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE trials TO shiplog_app;

CREATE TABLE webhooks (
    id uuid NOT NULL,
    url text NOT NULL,
    description text NOT NULL,
    tools integer[],
    site text NOT NULL,
    secret bytea NOT NULL,
    old_secret bytea,
    old_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    failing_since timestamp with time zone,
    disabled_at timestamp with time zone,
    reason text,
    told_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    told_shard smallint DEFAULT 0 NOT NULL,
    told_number bigint DEFAULT 0 NOT NULL
);
COMMENT ON TABLE webhooks IS 'Endpoints that receive flips as signed messages.';
COMMENT ON COLUMN webhooks.tools IS 'The tools whose flips are sent; null for all.';
COMMENT ON COLUMN webhooks.site IS 'The base URL of links in messages.';
COMMENT ON COLUMN webhooks.secret IS 'The signing secret, encrypted under a key derived from SHIPLOG_SECRET.';
COMMENT ON COLUMN webhooks.old_secret IS 'The secret before the last rotation, which signs as well until old_until.';
COMMENT ON COLUMN webhooks.failing_since IS 'The first failed attempt since the last success.';
COMMENT ON COLUMN webhooks.told_at IS 'With told_shard and told_number, the sort key of the last flip that was considered for this webhook: its cursor in the
flip log, which only moves forward.';
ALTER TABLE ONLY webhooks ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE webhooks TO shiplog_app;

CREATE TABLE webhook_deliveries (
    id uuid NOT NULL,
    webhook uuid NOT NULL,
    type text NOT NULL,
    tool integer,
    caused_at timestamp with time zone,
    cause_shard smallint,
    cause_number bigint,
    payload text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    claim uuid,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    status integer,
    error text,
    response text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT webhook_deliveries_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text])))
);
COMMENT ON TABLE webhook_deliveries IS 'Messages to webhooks, sent or to be sent. While claim is set and next_at is in the future, a worker is sending it.';
COMMENT ON COLUMN webhook_deliveries.caused_at IS 'With cause_shard and cause_number, the event that caused the flip; null for a ping.';
COMMENT ON COLUMN webhook_deliveries.response IS 'The beginning of the last response body.';
ALTER TABLE ONLY webhook_deliveries ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY webhook_deliveries ADD CONSTRAINT webhook_deliveries_webhook_caused_at_cause_shard_cause_numb_key UNIQUE (webhook, caused_at, cause_shard, cause_number, tool);
ALTER TABLE ONLY webhook_deliveries ADD CONSTRAINT webhook_deliveries_webhook_fkey FOREIGN KEY (webhook) REFERENCES webhooks(id) ON DELETE CASCADE;
CREATE INDEX webhook_deliveries_webhook_next_at_idx ON webhook_deliveries USING btree (webhook, next_at) WHERE (state = 'pending'::text);
CREATE INDEX webhook_deliveries_webhook_next_at_idx1 ON webhook_deliveries USING btree (webhook, next_at) WHERE (claim IS NOT NULL);
CREATE INDEX webhook_deliveries_webhook_created_at_id_idx ON webhook_deliveries USING btree (webhook, created_at, id);
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE webhook_deliveries TO shiplog_app;

CREATE FUNCTION append_casts(to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]) RETURNS TABLE(ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
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

CREATE FUNCTION append_new_casts(to_shard smallint, kinds text[], actors uuid[], tools integer[], choices text[], ids uuid[], origins text[]) RETURNS TABLE(ord bigint, outcome text, "position" bigint, id uuid, choice text, replaced text, changed boolean)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
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

CREATE FUNCTION extend_events(upto bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public'
    AS $$
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

CREATE FUNCTION oldest_transaction() RETURNS timestamp with time zone
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    AS $$
    -- When the oldest transaction of any other client of this database began. A replay waits for older transactions
    -- before it cuts over, and shiplog_app itself may not see those of other roles.
    SELECT min(xact_start) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
$$;
