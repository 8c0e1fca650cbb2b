-- How the reconciler notices what changed, without judging everything again.

-- User functions as last seen: tables that a new one names are judged again.
CREATE TABLE IF NOT EXISTS reprieve.seen_functions (
    oid      oid PRIMARY KEY,
    version  bigint NOT NULL
);

-- Names one version of one row of a system catalog: a changed row has another place or another writer.
CREATE OR REPLACE FUNCTION reprieve.version(place tid, writer xid) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT pg_catalog.hashtidextended(place, writer::pg_catalog.text::pg_catalog.int8) $$;

-- Of these enabled tables, everything that their triggers and their mode depend on, as one number each.
CREATE OR REPLACE FUNCTION reprieve.signatures(relids oid[]) RETURNS TABLE (relid oid, signature text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH e AS MATERIALIZED (SELECT t.relid FROM unnest(relids) AS u(relid) JOIN reprieve.tables t USING (relid)),
    facts(relid, fact) AS (
        SELECT c.oid, reprieve.version(c.ctid, c.xmin) # reprieve.version(n.ctid, n.xmin)
        FROM e JOIN pg_class c ON c.oid = e.relid JOIN pg_namespace n ON n.oid = c.relnamespace
        UNION ALL
        SELECT e.relid, reprieve.version(a.ctid, a.xmin) FROM e JOIN pg_attribute a ON a.attrelid = e.relid WHERE a.attnum > 0
        UNION ALL
        SELECT e.relid, reprieve.version(x.ctid, x.xmin)
        FROM e JOIN pg_constraint x ON x.conrelid = e.relid WHERE x.contype <> 't'
        UNION ALL
        -- Of the tables that refer to it, what matters there: owner, row security, whether it is enabled, triggers of its own.
        SELECT e.relid, reprieve.version(x.ctid, x.xmin) # hashoidextended(c.relowner,
                   coalesce(t.relid, 0)::bigint # ((c.relrowsecurity::int + 2 * c.relforcerowsecurity::int)::bigint << 40))
        FROM e JOIN pg_constraint x ON x.contype = 'f' AND x.confrelid = e.relid JOIN pg_class c ON c.oid = x.conrelid
        LEFT JOIN reprieve.tables t ON t.relid = c.oid
        UNION ALL
        SELECT e.relid, hashoidextended(g.tgfoid, g.oid::bigint)
        FROM e JOIN pg_constraint x ON x.contype = 'f' AND x.confrelid = e.relid
        JOIN pg_trigger g ON g.tgrelid = x.conrelid AND NOT g.tgisinternal
        JOIN pg_proc p ON p.oid = g.tgfoid AND p.pronamespace <> 'reprieve'::regnamespace
        UNION ALL
        SELECT e.relid, reprieve.version(i.ctid, i.xmin)
        FROM e JOIN pg_index i ON i.indrelid = e.relid WHERE i.indisunique OR i.indisexclusion
        UNION ALL
        -- Whether one is turned off does not matter: ours are turned on by themselves.
        SELECT e.relid, hashtextextended(g.tgname || g.tgtype, g.oid::bigint) # hashoidextended(g.tgfoid, g.oid::bigint)
        FROM e JOIN pg_trigger g ON g.tgrelid = e.relid WHERE NOT g.tgisinternal
        UNION ALL
        SELECT e.relid, reprieve.version(d.ctid, d.xmin)
        FROM e JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = e.relid
        WHERE d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass)
        UNION ALL
        SELECT e.relid, reprieve.version(d.ctid, d.xmin)
        FROM e JOIN pg_class c ON c.oid = e.relid JOIN pg_type y ON y.oid = c.reltype, unnest(ARRAY[y.oid, y.typarray]) AS u(type)
        JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = u.type WHERE d.deptype <> 'i'
        UNION ALL
        SELECT e.relid, reprieve.version(h.ctid, h.xmin) FROM e JOIN pg_inherits h ON h.inhrelid = e.relid
        UNION ALL
        SELECT e.relid, reprieve.version(h.ctid, h.xmin) FROM e JOIN pg_inherits h ON h.inhparent = e.relid
    )
    SELECT f.relid, sum(f.fact)::text FROM facts f GROUP BY f.relid;
END $$;

-- Every enabled table.
CREATE OR REPLACE FUNCTION reprieve.all_tables() RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT coalesce(array_agg(t.relid), '{}') FROM reprieve.tables t $$;

-- Enabled tables whose mode functions may have changed that came, went or were replaced since the last look; all functions
-- are looked at, or only these.
CREATE OR REPLACE FUNCTION reprieve.look_at_functions(among oid[]) RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed oid[];
    gone oid[];
BEGIN
    SELECT array_agg(p.oid) INTO changed
    FROM pg_proc p LEFT JOIN reprieve.seen_functions s ON s.oid = p.oid
    WHERE p.oid >= 16384 AND p.pronamespace <> 'reprieve'::regnamespace AND (among IS NULL OR p.oid = ANY (among))
      AND s.version IS DISTINCT FROM reprieve.version(p.ctid, p.xmin);
    SELECT array_agg(s.oid) INTO gone
    FROM reprieve.seen_functions s
    WHERE (among IS NULL OR s.oid = ANY (among)) AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = s.oid);
    IF changed IS NULL AND gone IS NULL THEN
        RETURN '{}';
    END IF;
    DELETE FROM reprieve.seen_functions s WHERE s.oid = ANY (gone);
    INSERT INTO reprieve.seen_functions SELECT p.oid, reprieve.version(p.ctid, p.xmin) FROM pg_proc p WHERE p.oid = ANY (changed)
    ON CONFLICT ON CONSTRAINT seen_functions_pkey DO UPDATE SET version = excluded.version;
    RETURN ARRAY(
        SELECT t.relid FROM reprieve.tables t
        WHERE t.requested <> 'bin' AND (strpos(t.reason, 'function') > 0 OR EXISTS (
            SELECT FROM pg_proc p WHERE p.oid = ANY (changed) AND reprieve.names_table(p.prosrc, t.table_name))));
END $$;

-- Enabled tables whose mode publications may have changed.
CREATE OR REPLACE FUNCTION reprieve.look_at_publications() RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seen text := (SELECT sum(v)::text FROM (
        SELECT reprieve.version(p.ctid, p.xmin) AS v FROM pg_publication p
        UNION ALL SELECT reprieve.version(r.ctid, r.xmin) FROM pg_publication_rel r) AS versions);
BEGIN
    IF seen IS NOT DISTINCT FROM reprieve.setting('seen.publications') THEN
        RETURN '{}';
    END IF;
    IF seen IS NULL THEN
        DELETE FROM reprieve.settings WHERE key = 'seen.publications';
    ELSE
        INSERT INTO reprieve.settings VALUES ('seen.publications', seen) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    END IF;
    RETURN ARRAY(
        SELECT t.relid FROM reprieve.tables t
        WHERE t.requested <> 'bin' AND (strpos(t.reason, 'publication') > 0 OR t.mode = 'mark' AND EXISTS (
            SELECT FROM pg_publication_tables p WHERE p.schemaname = t.schema_name AND p.tablename = t.table_name)));
END $$;

-- Tables that should be enabled by tables.enable, or because the root of their hierarchy is; among all, or among these.
CREATE OR REPLACE FUNCTION reprieve.newcomers(among oid[]) RETURNS TABLE (relid oid, requested text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH others AS MATERIALIZED (
        SELECT c.oid, c.relname, c.relowner, n.nspname
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384 AND (among IS NULL OR c.oid = ANY (among))
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'reprieve', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast)'
          AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = c.oid AND t.requested <> 'cascade')
    )
    SELECT c.oid, CASE WHEN reprieve.matches(c.nspname, c.relname, reprieve.setting('tables.bin')) THEN 'bin'
                       WHEN reprieve.matches(c.nspname, c.relname, reprieve.setting('tables.mark'))
                            AND NOT EXISTS (SELECT FROM reprieve.obstacles(c.oid) AS o WHERE o.hard) THEN 'mark'
                       ELSE 'auto' END
    FROM others c
    WHERE coalesce(reprieve.setting('tables.enable'), '') <> ''
      AND reprieve.matches(c.nspname, c.relname, reprieve.setting('tables.enable'))
      AND NOT reprieve.matches(c.nspname, c.relname, reprieve.setting('tables.exclude'))
      AND format('%I.%I', c.nspname, c.relname) <> ALL (string_to_array(coalesce(reprieve.setting('tables.disabled'), ''), E'\n'))
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      AND pg_has_role(c.relowner, 'USAGE')
    UNION
    SELECT c.oid, t.requested
    FROM others c JOIN pg_inherits h ON h.inhrelid = c.oid JOIN reprieve.tables t ON t.relid = h.inhparent
    WHERE NOT EXISTS (SELECT FROM reprieve.tables x WHERE x.relid = c.oid);
END $$;

-- Our columns in a table that is not ours: CREATE TABLE (LIKE t) and INHERITS copy them. Among all tables, or among these.
CREATE OR REPLACE FUNCTION reprieve.copies(among oid[]) RETURNS SETOF oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH others AS MATERIALIZED (
        SELECT c.oid FROM pg_class c
        WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND (among IS NULL OR c.oid = ANY (among))
          AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = c.oid AND t.mode = 'mark')
          AND pg_has_role(c.relowner, 'USAGE')
    ), pairs AS MATERIALIZED (
        SELECT o.oid
        FROM others o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attname = 'deleted_at'
        JOIN pg_attribute b ON b.attrelid = o.oid AND b.attname = 'deletion_id' AND b.attnum = a.attnum + 1
        WHERE a.atttypid = 'timestamptz'::regtype AND NOT a.attnotnull AND NOT a.atthasdef AND a.attislocal
          AND b.atttypid = 'int8'::regtype AND NOT b.attnotnull AND NOT b.atthasdef AND b.attislocal
    )
    SELECT p.oid FROM pairs p
    -- Only where all the other columns of some marked table came along.
    WHERE EXISTS (SELECT FROM reprieve.tables t WHERE t.mode = 'mark' AND NOT EXISTS (
        SELECT FROM pg_attribute o WHERE o.attrelid = t.relid AND o.attnum > 0 AND NOT o.attisdropped AND NOT EXISTS (
            SELECT FROM pg_attribute m WHERE m.attrelid = p.oid AND m.attname = o.attname AND m.atttypid = o.atttypid
                                         AND NOT m.attisdropped)));
END $$;
