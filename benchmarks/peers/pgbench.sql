\set turn :turn + 1
\set shard 1 + :client_id % 4
\set position :turn * 1000 + :client_id
\set tool random(1, 10)
INSERT INTO equal_events (position, recorded_at, actor, id, tool, shard, type, choice, origin)
VALUES (:position, clock_timestamp(), gen_random_uuid(), uuidv7(), :tool, :shard, 'VoteCast', 'ship', 'api');
