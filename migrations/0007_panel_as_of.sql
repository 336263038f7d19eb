-- migrate:up

-- The panel as it sat at some position is folded from the log. Votes are not in this index.
CREATE INDEX events_of_panel ON events (shard, position) WHERE shard = 0 AND type = 'ReviewerSeated';
