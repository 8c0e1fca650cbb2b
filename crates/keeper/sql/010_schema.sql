-- Tables of the keeper. All statements are idempotent: install runs every file in one transaction.
-- No column here draws from a sequence: nextval() would change what lastval() returns to the client.

CREATE SCHEMA IF NOT EXISTS reprieve;

-- Enabled tables and how their rows are buried.
CREATE TABLE IF NOT EXISTS reprieve.tables (
    relid        oid PRIMARY KEY,
    schema_name  text NOT NULL,      -- as last reconciled: what the ledger prints once the table is gone
    table_name   text NOT NULL,
    mode         text NOT NULL CHECK (mode IN ('mark', 'bin')),
    -- cascade: nobody asked for it; a cascade from another enabled table reaches it.
    requested    text NOT NULL CONSTRAINT tables_requested CHECK (requested IN ('auto', 'mark', 'bin', 'cascade')),
    reason       text NOT NULL,      -- why `mode` was chosen, in words a DBA reads
    -- True once every sidecar hides tombstones: only then may a DELETE mark. Until then deletes of a
    -- `mark` table are physical and captured.
    marking      boolean NOT NULL DEFAULT false,
    enabled_at   timestamptz NOT NULL DEFAULT now(),
    enabled_by   text NOT NULL DEFAULT session_user
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = 'reprieve.tables'::regclass AND conname = 'tables_requested_check') THEN
        ALTER TABLE reprieve.tables DROP CONSTRAINT tables_requested_check,
            ADD CONSTRAINT tables_requested CHECK (requested IN ('auto', 'mark', 'bin', 'cascade'));
    END IF;
END $$;

-- The ledger: one row for each client statement that deleted something.
CREATE TABLE IF NOT EXISTS reprieve.deletions (
    -- Transaction id * 1,000,000 + running number within the transaction.
    id               bigint PRIMARY KEY,
    xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
    deleted_at       timestamptz NOT NULL,   -- transaction time, the same as in the rows
    statement_at     timestamptz NOT NULL DEFAULT statement_timestamp(),
    role_name        text NOT NULL,          -- current_user of the deleting statement
    session_role     text NOT NULL,          -- session_user
    application_name text,
    client_addr      inet,
    actor            text,                   -- setting reprieve.actor
    reason           text,                   -- setting reprieve.reason
    statement        text                    -- as the client wrote it, where the proxy saw it
);
CREATE INDEX IF NOT EXISTS deletions_xid ON reprieve.deletions (xid);
CREATE INDEX IF NOT EXISTS deletions_statement_at ON reprieve.deletions (statement_at);

-- What a deletion took, table by table, and what of it was brought back or moved since.
CREATE TABLE IF NOT EXISTS reprieve.deletion_tables (
    -- No foreign key to deletions: its check reads there, and serializable transactions would depend on each other.
    deletion_id  bigint NOT NULL,
    relid        oid NOT NULL,
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    rows         bigint NOT NULL DEFAULT 0,      -- rows deleted, marked or buried
    relinked     bigint NOT NULL DEFAULT 0,      -- rows that stayed, but whose reference was nulled or defaulted
    restored     bigint NOT NULL DEFAULT 0,      -- rows brought back since
    PRIMARY KEY (deletion_id, relid)
);

ALTER TABLE reprieve.deletion_tables DROP CONSTRAINT IF EXISTS deletion_tables_deletion_id_fkey;

CREATE OR REPLACE FUNCTION reprieve.forget_deletions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM reprieve.deletion_tables t USING forgotten f WHERE t.deletion_id = f.id;
    DELETE FROM reprieve.restored r USING forgotten f WHERE r.deletion_id = f.id;
    DELETE FROM reprieve.relinked r USING forgotten f WHERE (r.link).deletion_id = f.id;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER forget_deletions AFTER DELETE ON reprieve.deletions
    REFERENCING OLD TABLE AS forgotten FOR EACH STATEMENT EXECUTE FUNCTION reprieve.forget_deletions();

-- Rows that are lost for good: by a TRUNCATE, because somebody insisted (reprieve.truncate), or because a cascade took
-- them from a table that is not enabled and may not be.
ALTER TABLE reprieve.deletion_tables ADD COLUMN IF NOT EXISTS discarded bigint NOT NULL DEFAULT 0;
-- A cascade may have taken more rows of such a table than anybody counted.
ALTER TABLE reprieve.deletion_tables ADD COLUMN IF NOT EXISTS uncounted boolean NOT NULL DEFAULT false;
-- True: when the line was written, its deletion had no other one. For guard_line(), which need not look for others then.
ALTER TABLE reprieve.deletion_tables ADD COLUMN IF NOT EXISTS is_first boolean;

-- Rows that physically left an enabled table, whole.
CREATE TABLE IF NOT EXISTS reprieve.graveyard (
    deletion_id  bigint NOT NULL,
    relid        oid NOT NULL,
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    -- The client's columns (never ours) and, in the same order, what their types' output functions
    -- printed under pinned settings; NULL for NULL.
    columns      text[] NOT NULL,
    data         text[] NOT NULL,
    -- delete: a physical DELETE; truncate; evict: a tombstone whose key was used again, or that stood
    -- in the way of the schema; disable: the table is no longer enabled; drop: the table is no more.
    cause        text NOT NULL CONSTRAINT graveyard_causes CHECK (cause IN ('delete', 'truncate', 'evict', 'disable', 'drop')),
    deleted_at   timestamptz NOT NULL,     -- when the row was deleted for the client
    buried_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = 'reprieve.graveyard'::regclass AND conname = 'graveyard_causes') THEN
        ALTER TABLE reprieve.graveyard DROP CONSTRAINT IF EXISTS graveyard_cause_check,
            ADD CONSTRAINT graveyard_causes CHECK (cause IN ('delete', 'truncate', 'evict', 'disable', 'drop'));
    END IF;
END $$;

CREATE INDEX IF NOT EXISTS graveyard_deletion ON reprieve.graveyard (deletion_id, relid);
CREATE INDEX IF NOT EXISTS graveyard_relid ON reprieve.graveyard (relid);

-- Enabled tables that were dropped with rows in them, see 088_drop_table.sql.
CREATE TABLE IF NOT EXISTS reprieve.dropped (
    relid        oid PRIMARY KEY,
    deletion_id  bigint NOT NULL,
    label        text NOT NULL,
    requested    text NOT NULL,               -- the mode that was asked for, as in reprieve.tables
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    restored_at  timestamptz
);
CREATE INDEX IF NOT EXISTS dropped_deletion ON reprieve.dropped (deletion_id);

-- How to make a dropped table again, in the order of `stage`. What is not `needed` may fail: it is reported.
CREATE TABLE IF NOT EXISTS reprieve.dropped_parts (
    relid   oid NOT NULL REFERENCES reprieve.dropped ON DELETE CASCADE,
    stage   int NOT NULL,
    what    text NOT NULL,
    sql     text NOT NULL,
    needed  boolean NOT NULL
);
CREATE INDEX IF NOT EXISTS dropped_parts_relid ON reprieve.dropped_parts (relid);

-- References that SET NULL / SET DEFAULT changed, so that UNDELETE can put them back.
CREATE TABLE IF NOT EXISTS reprieve.relinks (
    deletion_id  bigint NOT NULL,
    relid        oid NOT NULL,               -- the referencing table
    key_columns  text[] NOT NULL,            -- its primary key (or all columns, if it has none)
    key_data     text[] NOT NULL,
    columns      text[] NOT NULL,            -- the columns that were changed
    old_data     text[] NOT NULL,
    new_data     text[] NOT NULL
);
CREATE INDEX IF NOT EXISTS relinks_deletion ON reprieve.relinks (deletion_id, relid);

-- Acts of the DBA: every undelete, enable, disable.
CREATE TABLE IF NOT EXISTS reprieve.acts (
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    role_name    text NOT NULL DEFAULT session_user,
    verb         text NOT NULL,
    target       text NOT NULL,
    result       jsonb
);

-- Undeletes by number (transaction id * 1,000,000 + running number, as deletions), and whether they were taken back.
ALTER TABLE reprieve.acts ADD COLUMN IF NOT EXISTS id bigint, ADD COLUMN IF NOT EXISTS undone_at timestamptz;
CREATE UNIQUE INDEX IF NOT EXISTS acts_id ON reprieve.acts (id);

-- The rows that an undelete brought back, up to 1,000 of them in a line, so that UNDO UNDELETE finds these very rows: by their places,
-- which are theirs as long as nobody wrote to them.
CREATE TABLE IF NOT EXISTS reprieve.restored (
    act          bigint,                     -- reprieve.acts.id; NULL while the undelete runs
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    relid        oid NOT NULL,               -- the table they lie in; of a partitioned table the partition
    filenode     oid NOT NULL,               -- a table that was rewritten since has other places
    writer       xid,                        -- their xmin, and that of this line before it was numbered
    deletion_id  bigint NOT NULL,
    cause        text,                       -- as in reprieve.graveyard, if they came from there
    tids         tid[] NOT NULL,
    names        text[] NOT NULL             -- what messages call them
);
CREATE INDEX IF NOT EXISTS restored_act ON reprieve.restored (act);
CREATE INDEX IF NOT EXISTS restored_deletion ON reprieve.restored (deletion_id);

-- The references that an undelete put back: the entry of reprieve.relinks, and where its row lies.
CREATE TABLE IF NOT EXISTS reprieve.relinked (
    act          bigint,
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    leaf         oid NOT NULL,
    filenode     oid NOT NULL,
    writer       xid,
    tid          tid NOT NULL,
    link         reprieve.relinks NOT NULL
);
CREATE INDEX IF NOT EXISTS relinked_act ON reprieve.relinked (act);

-- Running sidecars and the catalog each of them has published, for two-phase enabling.
CREATE TABLE IF NOT EXISTS reprieve.proxies (
    id           text PRIMARY KEY,
    version      text NOT NULL,
    catalog_md5  text,                        -- md5 of the catalog document it serves by
    lease_until  timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS reprieve.settings (
    key    text PRIMARY KEY,                  -- keeper_version, tables.enable, tables.exclude, tables.bin, tables.mark, truncate.max_rows
    value  text NOT NULL
);
