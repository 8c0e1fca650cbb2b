-- The database of the incident: 87,423 accounts and what hangs on them. `:scale` is put in by the program.
CREATE TABLE accounts (id int PRIMARY KEY, email text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE users (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, name text NOT NULL, last_seen timestamptz);
CREATE TABLE inventory (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, user_id int REFERENCES users, item text NOT NULL, amount int NOT NULL);
CREATE TABLE transactions (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, user_id int REFERENCES users, cents bigint NOT NULL, booked_at timestamptz NOT NULL);
CREATE TABLE sessions (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, token text NOT NULL);
CREATE TABLE devices (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, kind text NOT NULL);
CREATE TABLE addresses (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, street text NOT NULL);
CREATE TABLE preferences (account_id int PRIMARY KEY REFERENCES accounts, value jsonb NOT NULL);
CREATE TABLE api_keys (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, key text NOT NULL UNIQUE);
CREATE TABLE invites (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, email text);
CREATE TABLE tickets (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, title text NOT NULL);
CREATE TABLE notes (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, text text NOT NULL);

INSERT INTO accounts SELECT i, 'user' || i || CASE WHEN i % 97 = 0 THEN '@test.example.org' ELSE '@example.org' END, timestamptz '2020-01-01' + i * interval '7 minutes'
  FROM generate_series(1, greatest(1, (87423 * :scale)::int)) i;
CREATE FUNCTION pg_temp.account(i int) RETURNS int LANGUAGE sql AS $$ SELECT 1 + (i::bigint * 7919 % greatest(1, (87423 * :scale)::int))::int $$;
-- A user of the same account, of whom there are nine at least.
CREATE FUNCTION pg_temp.user_of(i int) RETURNS int LANGUAGE sql AS $$ SELECT 1 + (i - 1) % a + i / a % 9 * a FROM (SELECT greatest(1, (87423 * :scale)::int) AS a) x $$;
INSERT INTO users SELECT i, pg_temp.account(i), 'name ' || i, timestamptz '2024-01-01' + i * interval '3 seconds' FROM generate_series(1, (806294 * :scale)::int) i;
INSERT INTO inventory SELECT i, pg_temp.account(i), CASE WHEN i % 3 > 0 THEN pg_temp.user_of(i) END, 'item ' || i % 5000, i % 40
  FROM generate_series(1, (1200000 * :scale)::int) i;
INSERT INTO transactions SELECT i, pg_temp.account(i), pg_temp.user_of(i), i::bigint * 37 % 100000, timestamptz '2023-01-01' + i * interval '11 seconds'
  FROM generate_series(1, (4400000 * :scale)::int) i;
INSERT INTO sessions SELECT i, pg_temp.account(i), md5(i::text) FROM generate_series(1, (150000 * :scale)::int) i;
INSERT INTO devices SELECT i, pg_temp.account(i), CASE WHEN i % 2 = 0 THEN 'phone' ELSE 'desk' END FROM generate_series(1, (120000 * :scale)::int) i;
INSERT INTO addresses SELECT i, pg_temp.account(i), i || ' Long Street' FROM generate_series(1, (90000 * :scale)::int) i;
INSERT INTO preferences SELECT a.id, jsonb_build_object('theme', a.id % 3) FROM accounts a;
INSERT INTO api_keys SELECT i, pg_temp.account(i), md5('key' || i) FROM generate_series(1, (20000 * :scale)::int) i;
INSERT INTO invites SELECT i, pg_temp.account(i), CASE WHEN i % 5 > 0 THEN i || '@example.net' END FROM generate_series(1, (30000 * :scale)::int) i;
INSERT INTO tickets SELECT i, pg_temp.account(i), 'it does not work, ' || i FROM generate_series(1, (40000 * :scale)::int) i;
INSERT INTO notes SELECT i, pg_temp.account(i), 'called ' || i FROM generate_series(1, (25000 * :scale)::int) i;

CREATE INDEX ON users (account_id);
CREATE INDEX ON inventory (account_id);
CREATE INDEX ON inventory (user_id);
CREATE INDEX ON transactions (account_id);
CREATE INDEX ON transactions (user_id);
CREATE INDEX ON sessions (account_id);
CREATE INDEX ON devices (account_id);
CREATE INDEX ON addresses (account_id);
CREATE INDEX ON api_keys (account_id);
CREATE INDEX ON invites (account_id);
CREATE INDEX ON tickets (account_id);
CREATE INDEX ON notes (account_id);
