-- Comments on tables and columns. Applied after the migrations, and again whenever this file changes.

-- The log

COMMENT ON TABLE heads IS
'The last position of each shard. Shard 0 has editorial events, the others have votes and bookmarks. An append holds
the row''s lock until it commits, so positions have no gaps, follow the order of commits, and recorded_at never decreases
within a shard.';

COMMENT ON TABLE events IS
'The log: append-only, and the only source of every read model. Partitioned by position; extend_events creates the
partitions. The order of the columns, wide fixed ones first, keeps a vote at 103 bytes.';
COMMENT ON COLUMN events.actor IS 'A pseudonym: a keyed hash of a cookie, or of the voter that a client names.';
COMMENT ON COLUMN events.id IS 'UUIDv7, chosen by the client or by the server. Of two casts on a ballot the newer id counts.';
COMMENT ON COLUMN events.choice IS 'What a vote, bookmark or take chose; null when it was retracted.';
COMMENT ON COLUMN events.replaced IS 'What was chosen before; null when nothing was replaced.';
COMMENT ON COLUMN events.replaced_at IS
'When the replaced vote or bookmark was recorded; null when nothing was replaced, and in shard 0. It makes
the number of votes by the day of their casts a sum of deltas. See docs/decisions/0019.';
COMMENT ON COLUMN events.origin IS 'The source of the request: web, the id of an API key, or a role.';
COMMENT ON COLUMN events.data IS 'The body of an editorial event; null for votes and bookmarks.';

COMMENT ON TABLE standings IS
'The current state of each person''s ballot (kind v) or bookmark (kind b) for a tool, written by the statement that
appends its event. Retracting sets choice to null and keeps the row, so that an older id cannot bring a choice back.';
COMMENT ON COLUMN standings.id IS
'The newest id; null when it equals the id of the event at position, which saves 16 bytes a ballot.';
COMMENT ON COLUMN standings.position IS 'The event that set the choice; 0 when there is none.';

COMMENT ON TABLE slugs IS 'The tool that each slug names. Written with the event that lists the tool.';

-- Read models

COMMENT ON SCHEMA read_models IS
'Tables derived from the log. projections/ creates, fills and drops them, so they are not migrated.';

COMMENT ON TABLE checkpoints IS 'How far each read model has folded each shard.';

COMMENT ON TABLE definitions IS
'The digest of the definition that a read model''s table was built from. shiplog migrate rebuilds a read model whose
definition has changed.';

COMMENT ON TABLE verifications IS 'The last recount of each read model in each shard, compared with its table.';
COMMENT ON COLUMN verifications.drift IS 'Rows that differ; null when the recount could not be finished.';
COMMENT ON COLUMN verifications.rows IS 'The first hundred rows that differ, as text.';

COMMENT ON TABLE parked_events IS 'Events that a version of a read model could not fold and skipped.';

COMMENT ON TABLE unread_types IS
'Event types in the log that no read model of the running release knows, and the first position of each.';

-- People

COMMENT ON TABLE notes IS 'Private notes and tags of bookmarks. They are not in the log, so deleting a row is final.';

COMMENT ON TABLE api_keys IS 'API keys. A key is shown once, when it is created.';
COMMENT ON COLUMN api_keys.id IS 'k1, k2 and so on: short, because it is stored as the origin of every event sent with the key.';
COMMENT ON COLUMN api_keys.digest IS 'A keyed hash of the key.';

COMMENT ON TABLE users IS 'Editors and reviewers, who log in with a password.';
COMMENT ON COLUMN users.reviewer IS 'The slug of the reviewer whose takes a user with the role reviewer publishes.';
COMMENT ON COLUMN users.password IS 'An argon2id hash.';

COMMENT ON TABLE sessions IS 'Sessions of users who are logged in.';
COMMENT ON COLUMN sessions.agent IS 'What the browser said it was, for the list of one''s own sessions.';
COMMENT ON COLUMN sessions.digest IS 'A keyed hash of the session''s token.';

-- Jobs

COMMENT ON TABLE replays IS
'Rebuilds of read models from the log, each into a table beside the live one. One at a time for each read model.';
COMMENT ON COLUMN replays.hold IS 'Whether an equal result waits for an editor instead of being cut over at once.';
COMMENT ON COLUMN replays.joined_at IS 'When the new version reached the position of the live one and began to advance with it.';
COMMENT ON COLUMN replays.position IS 'The position of every shard at which the two versions were compared.';
COMMENT ON COLUMN replays.digest IS 'The digest of the new version at that position.';
COMMENT ON COLUMN replays.replaces IS 'The digest of the live version at that position.';
COMMENT ON COLUMN replays.reason IS 'Why the new version was accepted although the two differed.';

COMMENT ON TABLE replay_ranges IS
'The ranges of the log that a replay folds: the positions after one up to and including another.';

COMMENT ON TABLE trials IS
'Trials of a rulebook: the log, up to a position, judged by another rulebook than the one in force. One at a time for
each rulebook.';
COMMENT ON COLUMN trials.rulebook IS 'The digest of the rulebook.';
COMMENT ON COLUMN trials.position IS 'The position of every shard up to which the log is judged.';
COMMENT ON COLUMN trials.attempts IS 'The number of times a worker started it; a trial fails after five.';
COMMENT ON COLUMN trials.begun_at IS 'When the last attempt started.';
COMMENT ON COLUMN trials.done IS 'The number of events read so far, of total.';
COMMENT ON COLUMN trials.against IS 'The digest of the rulebook it is compared with: the one in force.';
COMMENT ON COLUMN trials.totals IS 'The sums of the result, for lists of trials.';

-- Webhooks

COMMENT ON TABLE webhooks IS 'Endpoints that receive flips as signed messages.';
COMMENT ON COLUMN webhooks.tools IS 'The tools whose flips are sent; null for all.';
COMMENT ON COLUMN webhooks.site IS 'The base URL of links in messages.';
COMMENT ON COLUMN webhooks.secret IS 'The signing secret, encrypted under a key derived from SHIPLOG_SECRET.';
COMMENT ON COLUMN webhooks.old_secret IS 'The secret before the last rotation, which signs as well until old_until.';
COMMENT ON COLUMN webhooks.failing_since IS 'The first failed attempt since the last success.';
COMMENT ON COLUMN webhooks.told_at IS
'With told_shard and told_number, the sort key of the last flip that was considered for this webhook: its cursor in the
flip log, which only moves forward.';

COMMENT ON TABLE webhook_deliveries IS
'Messages to webhooks, sent or to be sent. While claim is set and next_at is in the future, a worker is sending it.';
COMMENT ON COLUMN webhook_deliveries.caused_at IS
'With cause_shard and cause_number, the event that caused the flip; null for a ping.';
COMMENT ON COLUMN webhook_deliveries.response IS 'The beginning of the last response body.';

-- Bookkeeping of shiplog migrate

COMMENT ON TABLE schema_migrations IS 'The numbered migrations that were applied.';
COMMENT ON TABLE repeatable_migrations IS
'The functions and comments that were applied, with the SHA-256 of each file. A changed file is applied again.';
