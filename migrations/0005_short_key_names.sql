-- migrate:up

-- A key's id stands in every event that came by it, so new ones are short: k1, k2, ...
ALTER TABLE api_keys ALTER COLUMN id TYPE text;
