-- migrate:up

-- Which rulebook was in force at some position is folded from the log. Votes are not in this index.
CREATE INDEX events_of_rulebooks ON events (shard, position)
 WHERE shard = 0 AND type IN ('RulebookWritten', 'RulebookAdopted', 'AdoptionScheduled', 'AdoptionCalledOff');
