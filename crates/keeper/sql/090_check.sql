-- CHECK INTEGRITY: whether rows, ledger and triggers agree. It changes nothing and takes no locks but those of
-- reading; rows deleted while it runs may be counted on one side only, so run it again before you worry.

-- References of live rows that lead to no live row. Not what a native foreign key forbids anyway, so only
-- foreign keys of or to marked tables.
CREATE OR REPLACE FUNCTION reprieve.check_references()
RETURNS TABLE(severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    k reprieve.foreign_keys;
    found record;
BEGIN
    FOR k IN SELECT * FROM reprieve.foreign_keys f WHERE reprieve.has_marks(f.conrelid) OR reprieve.has_marks(f.confrelid)
              ORDER BY f.con LOOP
        IF reprieve.untrusted_index(k.conrelid) IS NOT NULL OR reprieve.untrusted_index(k.confrelid) IS NOT NULL THEN
            RETURN QUERY SELECT 'notice', 'references that were not checked', reprieve.qualified(k.conrelid), NULL::bigint,
                format('foreign key %I to %s: to read the tables would run code of their owner', k.conname, reprieve.qualified(k.confrelid));
            CONTINUE;
        END IF;
        -- Rows whose parent is a tombstone, and rows whose parent is nowhere, in one reading: of the rows of the parent, live ones and
        -- tombstones, one at most has the key.
        FOR found IN EXECUTE format(
                'SELECT buried, count(*) AS n, string_agg(name, '', '') FILTER (WHERE i <= 3) AS examples FROM ('
                'SELECT %s AS name, p.ctid IS NOT NULL AS buried, row_number() OVER (PARTITION BY p.ctid IS NOT NULL) AS i'
                ' FROM %s c LEFT JOIN %s p ON %s WHERE %s AND %s AND (p.ctid IS NULL%s)) x GROUP BY 1 ORDER BY 1 DESC',
                reprieve.row_name(k.conrelid, 'c'), reprieve.from_clause(k.conrelid), reprieve.from_clause(k.confrelid),
                reprieve.key_match(k.con, 'p', 'c'), reprieve.refers(k.con, 'c'),
                CASE WHEN reprieve.has_marks(k.conrelid) THEN 'c.deleted_at IS NULL' ELSE 'true' END,
                CASE WHEN reprieve.has_marks(k.confrelid) THEN ' OR p.deleted_at IS NOT NULL' ELSE '' END) LOOP
            RETURN QUERY SELECT 'error', CASE WHEN found.buried THEN 'live rows under a deleted parent' ELSE 'orphans' END,
                reprieve.qualified(k.conrelid), found.n,
                format('foreign key %I to %s; for example %s', k.conname, reprieve.qualified(k.confrelid), found.examples);
        END LOOP;
    END LOOP;
END $$;

-- Rows in the bin, per deletion and table: tombstones of marked tables and the graveyard. Without a deletion: a table that could
-- not be read.
CREATE OR REPLACE FUNCTION reprieve.check_bin() RETURNS TABLE(deletion_id bigint, relid oid, tombstones bigint, graves bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    t oid;
BEGIN
    -- The root is asked for once for each table, not once for each row.
    RETURN QUERY
    WITH buried AS MATERIALIZED (SELECT g.deletion_id, g.relid, count(*) AS n FROM reprieve.graveyard g GROUP BY 1, 2),
         roots AS MATERIALIZED (SELECT r.relid, reprieve.root_of(r.relid) AS root FROM (SELECT DISTINCT b.relid FROM buried b) r)
    SELECT b.deletion_id, r.root, 0::bigint, sum(b.n)::bigint FROM buried b JOIN roots r USING (relid) GROUP BY 1, 2;
    FOR t IN SELECT e.relid FROM reprieve.tables e WHERE reprieve.has_marks(e.relid) LOOP
        BEGIN
            RETURN QUERY EXECUTE format('SELECT t.deletion_id, %s::oid, count(*), 0::bigint FROM %s t WHERE t.deletion_id IS NOT NULL GROUP BY 1',
                                        t, reprieve.from_clause(t));
        EXCEPTION WHEN OTHERS THEN
            -- check_halves() says why.
            RETURN QUERY SELECT NULL::bigint, t, 0::bigint, 0::bigint;
        END;
    END LOOP;
END $$;

-- Tombstones, graveyard and ledger against each other.
CREATE OR REPLACE FUNCTION reprieve.check_ledger()
RETURNS TABLE(severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH bin AS MATERIALIZED (
        SELECT b.deletion_id, b.relid, sum(b.tombstones)::bigint AS tombstones, sum(b.graves)::bigint AS graves
          FROM reprieve.check_bin() b GROUP BY 1, 2
    ), roots AS MATERIALIZED (
        SELECT r.relid, reprieve.root_of(r.relid) AS root FROM (SELECT DISTINCT d.relid FROM reprieve.deletion_tables d) r
    ), ledger AS MATERIALIZED (
        SELECT d.deletion_id, r.root AS relid, min(format('%I.%I', d.schema_name, d.table_name)) AS label,
               sum(d.rows)::bigint AS rows, sum(d.restored)::bigint AS restored,
               sum(d.discarded)::bigint AS discarded
          FROM reprieve.deletion_tables d JOIN roots r USING (relid) GROUP BY 1, 2
    )
    SELECT 'error', CASE WHEN b.tombstones > 0 THEN 'tombstones that no deletion in the ledger took'
                         ELSE 'graveyard rows that no deletion in the ledger took' END,
           coalesce(reprieve.qualified(b.relid), b.relid::text), sum(b.tombstones + b.graves)::bigint,
           format('%s deletion(s), for example %s', count(*), min(b.deletion_id))
      FROM bin b WHERE b.deletion_id IS NOT NULL AND NOT EXISTS (SELECT FROM ledger l JOIN reprieve.deletions d ON d.id = l.deletion_id
                                    WHERE l.deletion_id = b.deletion_id AND l.relid = b.relid)
     GROUP BY b.relid, b.tombstones > 0
    UNION ALL
    SELECT CASE WHEN c.oid IS NULL THEN 'notice' ELSE 'error' END, 'the ledger counts other rows than there are', x.label,
           abs(x.off), format('deletion %s: the ledger says %s deleted and %s restored; %s tombstone(s) and %s row(s) in the graveyard%s',
                         x.deletion_id, x.rows, x.restored, x.tombstones, x.graves,
                         CASE WHEN c.oid IS NULL THEN '; the table is no more' ELSE '' END)
      FROM (SELECT l.*, coalesce(b.tombstones, 0) AS tombstones, coalesce(b.graves, 0) AS graves,
                   l.rows - l.restored - l.discarded - coalesce(b.tombstones, 0) - coalesce(b.graves, 0) AS off
              FROM ledger l LEFT JOIN bin b USING (deletion_id, relid)) x
      LEFT JOIN pg_class c ON c.oid = x.relid
     WHERE x.off <> 0 AND NOT EXISTS (SELECT FROM bin b WHERE b.relid = x.relid AND b.deletion_id IS NULL)
$$;

-- The triggers that should be installed on enabled tables, one name or another.
CREATE OR REPLACE FUNCTION reprieve.wanted_triggers() RETURNS TABLE(relid oid, names text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.relid, ARRAY['~reprieve_' || n.name]
      FROM reprieve.tables t
      CROSS JOIN LATERAL unnest(ARRAY['begin_delete', 'capture', 'begin_truncate', 'truncate', 'truncated']
          || CASE t.mode WHEN 'mark' THEN ARRAY['begin_mark', 'after_mark', 'evict'] ELSE '{}' END) AS n(name)
    UNION ALL
    SELECT f.conrelid, ARRAY['~reprieve_live_' || f.con || s.suffix]
      FROM reprieve.foreign_keys f CROSS JOIN unnest(ARRAY['', '_update']) AS s(suffix) WHERE reprieve.has_marks(f.confrelid)
    UNION ALL
    -- Where the native action takes or moves tombstones along, nothing needs to get them out of its way.
    SELECT f.confrelid, ARRAY['~reprieve_unhang_' || f.con || s.suffix]
      FROM reprieve.foreign_keys f JOIN pg_constraint x ON x.oid = f.con
      JOIN (VALUES ('', false), ('_update', true)) AS s(suffix, updates)
        ON CASE WHEN s.updates THEN x.confupdtype ELSE x.confdeltype END <> 'c'
     WHERE reprieve.has_marks(f.conrelid)
    UNION ALL
    SELECT l.parent, CASE WHEN l.action IN ('n', 'd') THEN ARRAY['~reprieve_remember_' || l.conoid]
                          WHEN l.action = 'c' THEN ARRAY['~reprieve_lose_' || l.conoid]
                          ELSE ARRAY[l.name, '~reprieve_still_' || l.conoid] END
      FROM reprieve.links l JOIN reprieve.tables t ON t.relid = l.parent
     WHERE l.action IN ('n', 'd') OR l.action = 'c' AND NOT EXISTS (SELECT FROM reprieve.tables c WHERE c.relid = l.child)
        OR l.action = 'a' AND l.is_deferrable AND t.mode = 'mark'
$$;

-- What should be installed on enabled tables and is not, does not fire, is not what the keeper made, or knows an older schema.
CREATE OR REPLACE FUNCTION reprieve.check_triggers()
RETURNS TABLE(severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH ours AS MATERIALIZED (
        SELECT g.oid, g.tgrelid, g.tgname, g.tgenabled, p.pronamespace = 'reprieve'::regnamespace AS is_ours,
               g.tgparentid <> 0 OR obj_description(g.oid, 'pg_trigger') IS NOT NULL AS is_signed
          FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid WHERE NOT g.tgisinternal
    ), judged AS (
        SELECT w.relid, w.names[1] AS name,
               CASE WHEN NOT EXISTS (SELECT FROM ours g WHERE g.tgrelid = w.relid AND g.tgname = ANY (w.names)
                                      AND (g.tgenabled IN ('O', 'A') OR reprieve.stays_off(g.oid)))
                    THEN 'triggers missing or disabled'
                    WHEN NOT EXISTS (SELECT FROM ours g WHERE g.tgrelid = w.relid AND g.tgname = ANY (w.names) AND g.is_ours AND g.is_signed)
                    THEN 'triggers that are not as the keeper made them' END AS finding
          FROM reprieve.wanted_triggers() w JOIN pg_class c ON c.oid = w.relid
        UNION ALL
        SELECT coalesce(r.parent, l.parent), coalesce(r.name, l.name), 'foreign keys that changed since the triggers were made'
          FROM reprieve.links l FULL JOIN reprieve.read_links(NULL) r ON r.conoid = l.conoid WHERE l IS DISTINCT FROM r
        UNION ALL
        SELECT t.relid, k.index_oid::regclass::text, 'keys that no trigger watches'
          FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'r' CROSS JOIN LATERAL reprieve.keys(t.relid) k
         WHERE reprieve.has_marks(t.relid) AND NOT EXISTS (
               SELECT FROM pg_proc p WHERE p.pronamespace = 'reprieve'::regnamespace AND p.proname = 'evict_' || t.relid
                  AND strpos(p.prosrc, k.condition) > 0)
    )
    SELECT 'error', j.finding, coalesce(reprieve.qualified(j.relid), j.relid::text), count(*),
           string_agg(quote_ident(j.name), ', ' ORDER BY j.name) || ': SELECT reprieve.reconcile_v1() makes them again'
      FROM judged j WHERE j.finding IS NOT NULL GROUP BY j.relid, j.finding
    UNION ALL
    SELECT 'error', 'no index that makes deletion_id a key column', reprieve.qualified(t.relid), 1::bigint,
           'deletes do not lock like deletes, and deletions are searched for slowly'
      FROM reprieve.tables t
     WHERE reprieve.has_marks(t.relid) AND NOT EXISTS (
           SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = t.relid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
              AND i.indexprs IS NULL AND a.attname = 'deletion_id')
$$;

-- Roles that read a marked table but cannot read our columns, and roles to whom our columns are granted by name
-- for more than reading.
CREATE OR REPLACE FUNCTION reprieve.check_grants()
RETURNS TABLE(severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH entry AS (
        SELECT t.relid, x.grantee, x.privilege_type, NULL::name AS attname
          FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid CROSS JOIN LATERAL aclexplode(c.relacl) x
         WHERE reprieve.has_marks(t.relid)
        UNION ALL
        SELECT t.relid, x.grantee, x.privilege_type, a.attname
          FROM reprieve.tables t JOIN pg_attribute a ON a.attrelid = t.relid AND a.attnum > 0 AND NOT a.attisdropped
         CROSS JOIN LATERAL aclexplode(a.attacl) x
         WHERE reprieve.has_marks(t.relid)
    ), judged AS (
        SELECT DISTINCT e.relid, e.grantee,
               CASE WHEN coalesce(e.attname, '') IN ('deleted_at', 'deletion_id')
                    THEN CASE WHEN e.privilege_type <> 'SELECT' THEN 'our columns are granted for more than reading' END
                    WHEN e.privilege_type IN ('SELECT', 'UPDATE', 'DELETE') AND NOT (
                         CASE e.grantee WHEN 0 THEN EXISTS (
                                  SELECT FROM entry o WHERE o.relid = e.relid AND o.grantee = 0 AND o.privilege_type = 'SELECT'
                                     AND coalesce(o.attname, 'deleted_at') = 'deleted_at')
                              ELSE has_column_privilege(e.grantee, e.relid, 'deleted_at', 'SELECT')
                               AND has_column_privilege(e.grantee, e.relid, 'deletion_id', 'SELECT') END)
                    THEN 'roles that use the table cannot read our columns' END AS finding
          FROM entry e
    )
    SELECT CASE WHEN j.finding ~ '^our' THEN 'warning' ELSE 'error' END, j.finding, reprieve.qualified(j.relid), count(*),
           string_agg(CASE j.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(j.grantee)) END, ', ')
      FROM judged j WHERE j.finding IS NOT NULL GROUP BY j.relid, j.finding
$$;

-- Rows with one of our columns set and the other not.
CREATE OR REPLACE FUNCTION reprieve.check_halves()
RETURNS TABLE(severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    t oid;
    n bigint;
    examples text;
BEGIN
    FOR t IN SELECT e.relid FROM reprieve.tables e WHERE reprieve.has_marks(e.relid) ORDER BY 1 LOOP
        BEGIN
            EXECUTE format('SELECT count(*), string_agg(name, '', '') FILTER (WHERE i <= 3) FROM (SELECT %s AS name, row_number() OVER () AS i'
                           ' FROM %s t WHERE (t.deleted_at IS NULL) <> (t.deletion_id IS NULL)) x',
                           reprieve.row_name(t, 't'), reprieve.from_clause(t)) INTO n, examples;
        EXCEPTION WHEN OTHERS THEN
            n := 0;
            RETURN QUERY SELECT 'warning', 'a table that could not be read', reprieve.qualified(t), NULL::bigint,
                format('%s; a function in its indexes may need a search path', SQLERRM);
        END;
        IF n > 0 THEN
            RETURN QUERY SELECT 'error', 'rows half deleted', reprieve.qualified(t), n,
                'one of deleted_at and deletion_id is set and the other is not; for example ' || examples;
        END IF;
    END LOOP;
END $$;

-- CHECK INTEGRITY. No row means that all is well.
CREATE OR REPLACE FUNCTION reprieve.check_v1()
RETURNS TABLE(severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off AS $$
BEGIN
    PERFORM reprieve.require_admin('CHECK INTEGRITY');
    RETURN QUERY SELECT * FROM (
        SELECT * FROM reprieve.check_references()
        UNION ALL SELECT * FROM reprieve.check_halves()
        UNION ALL SELECT * FROM reprieve.check_ledger()
        UNION ALL SELECT * FROM reprieve.check_triggers()
        UNION ALL SELECT * FROM reprieve.check_grants()
        UNION ALL SELECT * FROM reprieve.check_seals()) f
     ORDER BY array_position(ARRAY['error', 'warning', 'notice'], f.severity), f.table_name, f.finding, f.detail;
END $$;
