-- What sidecars watch: rows of each enabled table over time, what was lost of it lately, orphans, tombstones, rehearsals. One sidecar at
-- a time samples (`monitor_leader`, for as long as its connection lives), every one shows what was sampled. Each function below
-- is a transaction of its own, takes a bounded time and leaves a bounded number of rows.

-- When it was looked at, and what was visible then: whatever became visible since is new, however long its transaction ran.
CREATE TABLE IF NOT EXISTS reprieve.monitor_ticks (
    at        timestamptz PRIMARY KEY,
    snapshot  pg_snapshot NOT NULL,
    pause     interval NOT NULL       -- when the next one is to be expected
);

-- Whose connection samples. No lock: an application sees each one in pg_locks.
CREATE TABLE IF NOT EXISTS reprieve.monitor_leader (
    is_only  boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    pid      int NOT NULL,
    began    timestamptz NOT NULL     -- the connection, not the lead: another one may get its pid
);

-- Rows of a table over time: all samples of two hours, one for each hour of 30 days.
CREATE TABLE IF NOT EXISTS reprieve.monitor_rows (
    relid       oid NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    live        bigint NOT NULL,      -- what a client would count
    is_exact    boolean NOT NULL,     -- counted, or PostgreSQL's estimate less what the ledger says lies in the table as tombstones
    tombstones  bigint NOT NULL,
    graves      bigint NOT NULL,      -- above 100,000 an estimate
    dead        bigint NOT NULL,      -- row versions that VACUUM has not reclaimed
    bytes       bigint NOT NULL,      -- with indexes and TOAST
    took        interval NOT NULL,
    PRIMARY KEY (relid, at)
);

-- What lies in the bin of each table, as the ledger counts it.
CREATE TABLE IF NOT EXISTS reprieve.monitor_bin (
    relid   oid PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    rows    bigint NOT NULL,
    oldest  timestamptz,
    took    interval NOT NULL
);

-- Rows lost in the window that ended with the last tick, and deleted in its last minute.
CREATE TABLE IF NOT EXISTS reprieve.monitor_losses (
    relid       oid NOT NULL,
    label       text NOT NULL,
    role_name   text NOT NULL,
    lost        bigint NOT NULL,      -- deleted and not brought back
    deletions   bigint NOT NULL,
    per_minute  bigint NOT NULL,
    first_at    timestamptz NOT NULL, -- when the first of these statements began
    base        bigint,               -- rows of the table when the window began; NULL: not known yet
    PRIMARY KEY (relid, role_name)
);

-- The last sample of each foreign key.
CREATE TABLE IF NOT EXISTS reprieve.monitor_keys (
    con       oid PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    rows      bigint NOT NULL,        -- references looked at
    orphans   bigint NOT NULL,        -- of these, without a live parent
    is_whole  boolean NOT NULL,       -- all of the table was looked at
    found_at  timestamptz,            -- when an orphan was seen last
    found     bigint,                 -- how many, then
    took      interval NOT NULL
);

-- Tables for which the configured limit of loss does not hold.
CREATE TABLE IF NOT EXISTS reprieve.monitor_limits (
    relid    oid PRIMARY KEY,
    percent  numeric                  -- NULL: never
);

-- What is wrong, and since when. What is over stays until it was told.
CREATE TABLE IF NOT EXISTS reprieve.monitor_findings (
    finding      text NOT NULL,
    place        text NOT NULL,
    severity     text NOT NULL CHECK (severity IN ('critical', 'warning', 'notice')),
    since        timestamptz NOT NULL DEFAULT now(),
    seen         timestamptz NOT NULL DEFAULT now(),
    how_bad      text NOT NULL,
    value        float8 NOT NULL,
    what_to_do   text NOT NULL,
    role_name    text,                -- of a loss: who deleted most, and when that began
    began        timestamptz,
    is_over      boolean NOT NULL DEFAULT false,
    told         text NOT NULL DEFAULT '' CHECK (told IN ('', 'raised', 'over')),
    PRIMARY KEY (finding, place)
);

-- Takes the lead if nobody has it. True if the caller's connection has it.
CREATE OR REPLACE FUNCTION reprieve.monitor_lead_v1() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    since timestamptz := (SELECT a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) a);
    leader reprieve.monitor_leader := (SELECT m FROM reprieve.monitor_leader m);
BEGIN
    IF leader.pid IS NULL OR leader.pid <> pg_backend_pid() OR leader.began <> since THEN
        INSERT INTO reprieve.monitor_leader AS m (pid, began) VALUES (pg_backend_pid(), since)
        ON CONFLICT ON CONSTRAINT monitor_leader_pkey DO UPDATE SET pid = excluded.pid, began = excluded.began
         -- The start of another role's connection may be hidden from us.
         WHERE NOT EXISTS (SELECT FROM pg_stat_get_activity(m.pid) a WHERE a.pid = m.pid AND coalesce(a.backend_start, m.began) = m.began);
        RETURN FOUND;
    END IF;
    RETURN true;
END $$;

-- Rows in the graveyard of a table: counted up to 100,000, above that from the statistics.
CREATE OR REPLACE FUNCTION reprieve.monitor_graves(relids oid[]) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint := (SELECT count(*) FROM (SELECT FROM reprieve.graveyard g WHERE g.relid = ANY (relids) LIMIT 100001) AS few);
BEGIN
    IF n > 100000 THEN
        n := greatest(n, (SELECT (c.reltuples * coalesce(sum(f.frequency), 0))::bigint
            FROM pg_class c, pg_stats s, unnest(s.most_common_vals::text::oid[], s.most_common_freqs) AS f(value, frequency)
            WHERE c.oid = 'reprieve.graveyard'::regclass AND s.schemaname = 'reprieve' AND s.tablename = 'graveyard' AND s.attname = 'relid'
              AND f.value = ANY (relids) GROUP BY c.reltuples));
    END IF;
    RETURN n;
END $$;

-- Tells the guards that a table's rows are nearly all tombstones, or are not any more.
CREATE OR REPLACE FUNCTION reprieve.follow_crowd(relation oid, live bigint, tombstones bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known boolean := EXISTS (SELECT FROM reprieve.crowded c WHERE c.relid = relation);
BEGIN
    IF NOT known AND tombstones > 10 * live THEN
        INSERT INTO reprieve.crowded (relid) VALUES (relation);
    ELSIF known AND tombstones < 5 * live THEN
        DELETE FROM reprieve.crowded c WHERE c.relid = relation;
    ELSE
        RETURN;
    END IF;
    DELETE FROM reprieve.crowded c WHERE NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = c.relid);
    PERFORM reprieve.make_guard_line();
END $$;

-- Samples one table. Small ones are counted, of others PostgreSQL's estimate is taken: nothing is read of them.
CREATE OR REPLACE FUNCTION reprieve.monitor_table_v1(relation oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    began timestamptz := clock_timestamp();
    members oid[] := reprieve.members_of(relation);
    physical record;
    in_bin bigint;
    live bigint;
    tombstones bigint;
    graves bigint := reprieve.monitor_graves(members);
    is_exact boolean := false;
BEGIN
    SELECT sum(CASE WHEN pg_stat_get_live_tuples(c.oid) > 0 THEN pg_stat_get_live_tuples(c.oid) ELSE greatest(c.reltuples, 0) END)::bigint AS rows,
           sum(pg_stat_get_dead_tuples(c.oid))::bigint AS dead, sum(pg_relation_size(c.oid))::bigint AS heap, sum(pg_total_relation_size(c.oid))::bigint AS bytes
      INTO physical FROM pg_class c WHERE c.oid = ANY (members) AND c.relkind = 'r';
    IF physical.rows IS NULL THEN
        RETURN false;
    END IF;
    IF physical.heap <= 8388608 AND reprieve.untrusted_index(relation) IS NULL THEN
        is_exact := true;
        EXECUTE format('SELECT count(*) FILTER (WHERE %1$s), count(*) FILTER (WHERE NOT (%1$s)) FROM %2$s t',
                       reprieve.live_sql(relation, 't'), reprieve.from_clause(relation)) INTO live, tombstones;
    ELSE
        SELECT greatest(b.rows - graves, 0) INTO in_bin FROM reprieve.monitor_bin b WHERE b.relid = reprieve.root_of(relation);
        tombstones := CASE WHEN reprieve.has_marks(relation) THEN coalesce(in_bin, 0) ELSE 0 END;
        live := greatest(physical.rows - tombstones, 0);
    END IF;
    INSERT INTO reprieve.monitor_rows (relid, live, is_exact, tombstones, graves, dead, bytes, took)
    VALUES (relation, live, is_exact, tombstones, graves, physical.dead, physical.bytes, clock_timestamp() - began);
    PERFORM reprieve.follow_crowd(relation, live, tombstones);
    DELETE FROM reprieve.monitor_rows r WHERE r.relid = relation AND (r.at < now() - interval '30 days' OR r.at < now() - interval '2 hours'
        AND EXISTS (SELECT FROM reprieve.monitor_rows o WHERE o.relid = relation AND o.at < r.at AND o.at >= date_trunc('hour', r.at)));
    RETURN true;
END $$;

-- Adds up the ledger: what lies in the bin of each table, and since when.
CREATE OR REPLACE FUNCTION reprieve.monitor_bin_v1() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    DELETE FROM reprieve.monitor_bin;
    WITH sums AS MATERIALIZED (
        SELECT e.relid, sum(e.rows - e.restored - e.discarded) AS rows, min(e.deletion_id) FILTER (WHERE e.rows > e.restored + e.discarded) AS oldest
          FROM reprieve.deletion_tables e GROUP BY 1)
    INSERT INTO reprieve.monitor_bin (relid, rows, oldest, took)
    SELECT reprieve.root_of(s.relid), sum(s.rows), min(d.statement_at), clock_timestamp() - began
      FROM sums s LEFT JOIN reprieve.deletions d ON d.id = s.oldest GROUP BY 1;
    -- One row at least: when it was last done.
    INSERT INTO reprieve.monitor_bin (relid, rows, took) VALUES (0, 0, clock_timestamp() - began) ON CONFLICT DO NOTHING;
END $$;

-- Looks at one foreign key: at all references of a small table, else at those on about a hundred of its pages, other ones each time.
CREATE OR REPLACE FUNCTION reprieve.monitor_key_v1(constraint_id oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    began timestamptz := clock_timestamp();
    k reprieve.foreign_keys;
    pages float8;
    seen record;
BEGIN
    SELECT f.* INTO k FROM reprieve.foreign_keys f WHERE f.con = constraint_id;
    IF k.con IS NULL OR reprieve.untrusted_index(k.conrelid) IS NOT NULL OR reprieve.untrusted_index(k.confrelid) IS NOT NULL THEN
        DELETE FROM reprieve.monitor_keys m WHERE m.con = constraint_id;
        RETURN false;
    END IF;
    SELECT sum(pg_relation_size(m)) / current_setting('block_size')::int INTO pages FROM unnest(reprieve.members_of(k.conrelid)) AS m;
    EXECUTE format(
        'SELECT count(*) AS rows, count(*) FILTER (WHERE p.found IS NULL) AS orphans FROM (SELECT * FROM %s c%s WHERE %s AND %s LIMIT 10000) c'
        ' LEFT JOIN LATERAL (SELECT true AS found FROM %s p WHERE %s AND %s LIMIT 1) p ON true',
        reprieve.from_clause(k.conrelid), CASE WHEN pages > 100 THEN format(' TABLESAMPLE SYSTEM (%s)', 10000 / pages) ELSE '' END,
        reprieve.refers(k.con, 'c'), CASE WHEN reprieve.has_marks(k.conrelid) THEN 'c.deleted_at IS NULL' ELSE 'true' END,
        reprieve.from_clause(k.confrelid), reprieve.key_match(k.con, 'p', 'c'),
        CASE WHEN reprieve.has_marks(k.confrelid) THEN 'p.deleted_at IS NULL' ELSE 'true' END) INTO seen;
    INSERT INTO reprieve.monitor_keys AS m (con, rows, orphans, is_whole, found_at, found, took)
    VALUES (k.con, seen.rows, seen.orphans, pages <= 100 AND seen.rows < 10000, CASE WHEN seen.orphans > 0 THEN clock_timestamp() END,
            seen.orphans, clock_timestamp() - began)
    ON CONFLICT ON CONSTRAINT monitor_keys_pkey DO UPDATE
    SET at = excluded.at, rows = excluded.rows, orphans = excluded.orphans, is_whole = excluded.is_whole, took = excluded.took,
        found_at = coalesce(excluded.found_at, CASE WHEN NOT excluded.is_whole THEN m.found_at END),
        found = CASE WHEN excluded.orphans > 0 THEN excluded.orphans ELSE m.found END;
    RETURN true;
END $$;

-- What is to be sampled next, the most overdue first: tables and the bin each minute, foreign keys each ten minutes, and nothing before
-- it has rested twenty times as long as it took.
CREATE OR REPLACE FUNCTION reprieve.monitor_due_v1(most int) RETURNS TABLE (kind text, id oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT x.kind, x.id FROM (
        SELECT 'bin' AS kind, 0::oid AS id, max(b.at + greatest(b.took * 20, interval '1 minute')) AS at FROM reprieve.monitor_bin b
        UNION ALL
        SELECT 'table', t.relid, r.at + greatest(r.took * 20, interval '1 minute')
          FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid
          LEFT JOIN LATERAL (SELECT s.at, s.took FROM reprieve.monitor_rows s WHERE s.relid = t.relid ORDER BY s.at DESC LIMIT 1) r ON true
        UNION ALL
        SELECT 'key', f.con, k.at + greatest(k.took * 20, interval '10 minutes')
          FROM (SELECT l.conoid AS con FROM reprieve.links l JOIN pg_constraint x ON x.oid = l.conoid AND x.conparentid = 0
                 WHERE reprieve.has_marks(l.parent) OR reprieve.has_marks(l.child)) f
          LEFT JOIN reprieve.monitor_keys k ON k.con = f.con) x
     WHERE x.at IS NULL OR x.at <= clock_timestamp() ORDER BY x.at NULLS FIRST, x.kind LIMIT most
$$;
