-- DROP TABLE of an enabled table, DROP SCHEMA and DROP OWNED: the rows go to the graveyard, and what the table was made of is
-- remembered, so that UNDELETE DELETION makes it again and fills it. Setting tables.on_drop: keep (the default), refuse or allow.
-- Needs event triggers.

-- The options of a sequence, as CREATE SEQUENCE takes them.
CREATE OR REPLACE FUNCTION reprieve.sequence_options(sequence oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
                  CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
    FROM pg_sequence s WHERE s.seqrelid = sequence
$$;

-- Statements that put a sequence where it is now.
CREATE OR REPLACE FUNCTION reprieve.sequence_place(sequence oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place text;
BEGIN
    EXECUTE format('SELECT format(''SELECT setval(%%L, %%s, %%L)'', %L, s.last_value, s.is_called) FROM %s AS s',
                   reprieve.qualified(sequence), reprieve.qualified(sequence)) INTO place;
    RETURN place;
END $$;

-- CREATE TABLE with the client's columns, defaults, NOT NULL and identity; constraints come later.
CREATE OR REPLACE FUNCTION reprieve.create_table_sql(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT format('CREATE %sTABLE %s (%s)%s%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, reprieve.qualified(relid),
        (SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                    (SELECT 'COLLATE ' || a.attcollation::regcollation FROM pg_type y WHERE y.oid = a.atttypid AND y.typcollation <> a.attcollation),
                    CASE WHEN a.attidentity <> '' THEN
                             (SELECT format('GENERATED %s AS IDENTITY (SEQUENCE NAME %s %s)', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
                                            reprieve.qualified(d.objid), reprieve.sequence_options(d.objid))
                              FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                                AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i' LIMIT 1)
                         WHEN a.attgenerated <> '' THEN
                             format('GENERATED ALWAYS AS (%s) %s', pg_get_expr(f.adbin, f.adrelid), CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END)
                         WHEN f.adbin IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(f.adbin, f.adrelid) END,
                    -- From PostgreSQL 18 on it has a name.
                    CASE WHEN a.attnotnull THEN concat_ws(' ', (SELECT format('CONSTRAINT %I', x.conname) FROM pg_constraint x
                        WHERE x.conrelid = a.attrelid AND x.contype = 'n' AND x.conkey = ARRAY[a.attnum]), 'NOT NULL') END), ', ' ORDER BY a.attnum)
         FROM pg_attribute a LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
         WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped
           AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND reprieve.has_marks(relid))),
        CASE c.relkind WHEN 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(relid) ELSE '' END,
        coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''))
    FROM pg_class c WHERE c.oid = relid
$$;

-- GRANTs that make an access control list again.
CREATE OR REPLACE FUNCTION reprieve.grants_sql(acl aclitem[], target text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('GRANT %s%s TO %s%s', g.privilege_type, target, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                  CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM aclexplode(acl) AS g
$$;

-- What a table is made of, as statements. Its rows are not among it.
CREATE OR REPLACE FUNCTION reprieve.parts_of(relid oid) RETURNS TABLE (stage int, what text, sql text, needed boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
    target text := reprieve.qualified($1);
    c pg_class;
BEGIN
    SELECT * INTO c FROM pg_class k WHERE k.oid = $1;
    RETURN QUERY SELECT 5, 'schema ' || c.relnamespace::regnamespace,
        format('CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %I', c.relnamespace::regnamespace, pg_get_userbyid(n.nspowner)), true
    FROM pg_namespace n WHERE n.oid = c.relnamespace;
    RETURN QUERY SELECT 8, 'type ' || y.oid::regtype, CASE y.typtype
        WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', y.oid::regtype,
                             (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = y.oid))
        ELSE concat_ws(' ', format('CREATE DOMAIN %s AS %s', y.oid::regtype, format_type(y.typbasetype, y.typtypmod)), 'DEFAULT ' || y.typdefault,
                       CASE WHEN y.typnotnull THEN 'NOT NULL' END,
                       (SELECT string_agg(format('CONSTRAINT %I %s', x.conname, pg_get_constraintdef(x.oid)), ' ')
                        FROM pg_constraint x WHERE x.contypid = y.oid AND x.contype = 'c')) END, false
    FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND y.typtype IN ('e', 'd') AND y.oid >= 16384;
    RETURN QUERY SELECT 9, 'type ' || y.oid::regtype, format('ALTER TYPE %s OWNER TO %I', y.oid::regtype, pg_get_userbyid(y.typowner)), false
    FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND y.typtype IN ('e', 'd') AND y.oid >= 16384;
    RETURN QUERY SELECT p.stage, 'sequence ' || reprieve.qualified(d.objid), p.sql, true
    FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid, LATERAL (VALUES
        (10, CASE d.deptype WHEN 'a' THEN format('CREATE SEQUENCE %s AS %s %s', reprieve.qualified(d.objid),
             (SELECT format_type(q.seqtypid, NULL) FROM pg_sequence q WHERE q.seqrelid = d.objid), reprieve.sequence_options(d.objid)) END),
        (21, CASE d.deptype WHEN 'a' THEN format('ALTER SEQUENCE %s OWNED BY %s.%I', reprieve.qualified(d.objid), target, a.attname) END),
        (41, CASE s.relkind WHEN 'S' THEN reprieve.sequence_place(d.objid) END)) AS p(stage, sql)
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid > 0
      AND d.deptype IN ('a', 'i') AND p.sql IS NOT NULL;
    RETURN QUERY SELECT 20, 'table ' || target, reprieve.create_table_sql($1), true;
    -- At once: indexes are built, and what they call is run, with the rights of the owner.
    RETURN QUERY SELECT 22, 'owner', format('ALTER TABLE %s OWNER TO %I', target, pg_get_userbyid(c.relowner)), true;
    RETURN QUERY SELECT 30, 'parent ' || reprieve.qualified(h.inhparent),
        CASE WHEN c.relispartition THEN format('ALTER TABLE %s ATTACH PARTITION %s %s', reprieve.qualified(h.inhparent), target, pg_get_expr(c.relpartbound, $1))
             ELSE format('ALTER TABLE %s INHERIT %s', target, reprieve.qualified(h.inhparent)) END, true
    FROM pg_inherits h WHERE h.inhrelid = $1;
    -- A child must have its parent's checks before it can be one.
    RETURN QUERY SELECT CASE WHEN x.contype = 'f' THEN 70 WHEN x.contype = 'c' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = $1) THEN 25 ELSE 45 END, format('constraint %I', x.conname),
                        format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, x.conname, pg_get_constraintdef(x.oid)), x.contype IN ('p', 'u', 'x')
    FROM pg_constraint x WHERE x.conrelid = $1 AND x.contype IN ('p', 'u', 'x', 'c', 'f') AND x.conparentid = 0 AND (x.coninhcount = 0 OR x.contype = 'c');
    RETURN QUERY SELECT 50, 'index ' || reprieve.qualified(i.indexrelid), pg_get_indexdef(i.indexrelid), i.indisunique
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = $1 AND NOT x.relispartition AND x.relname <> reprieve.index_name($1)
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'));
    RETURN QUERY SELECT 61, 'right', g, false FROM reprieve.grants_sql(c.relacl, format(' ON %s', target)) AS g;
    RETURN QUERY SELECT 61, 'right', g, false FROM pg_attribute a, reprieve.grants_sql(a.attacl, format(' (%I) ON %s', a.attname, target)) AS g
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND reprieve.has_marks($1));
    RETURN QUERY SELECT 62, 'comment', format('COMMENT ON %s IS %L',
        CASE d.objsubid WHEN 0 THEN 'TABLE ' || target ELSE format('COLUMN %s.%I', target, a.attname) END, d.description), false
    FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
    WHERE d.classoid = 'pg_class'::regclass AND d.objoid = $1;
    RETURN QUERY SELECT 80, format('constraint %I of %s', x.conname, reprieve.qualified(x.conrelid)),
                        format('ALTER TABLE %s ADD CONSTRAINT %I %s', reprieve.qualified(x.conrelid), x.conname, pg_get_constraintdef(x.oid)), false
    FROM pg_constraint x WHERE x.confrelid = $1 AND x.conrelid <> $1 AND x.contype = 'f' AND x.conparentid = 0;
    RETURN QUERY SELECT p.* FROM reprieve.code_parts_of($1) AS p;
END $$;

-- Row security, rules, triggers, and views that read it.
CREATE OR REPLACE FUNCTION reprieve.code_parts_of(relid oid) RETURNS TABLE (stage int, what text, sql text, needed boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT 65, 'row security', format('ALTER TABLE %s %s ROW LEVEL SECURITY', reprieve.qualified(relid), v.word), false
    FROM pg_class c, LATERAL (VALUES (c.relrowsecurity, 'ENABLE'), (c.relforcerowsecurity, 'FORCE')) AS v(is_on, word) WHERE c.oid = relid AND v.is_on
    UNION ALL
    SELECT 66, format('policy %I', p.polname), format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, reprieve.qualified(relid),
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) AS r),
        ' USING (' || pg_get_expr(p.polqual, relid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, relid) || ')'), false
    FROM pg_policy p WHERE p.polrelid = relid
    UNION ALL
    SELECT 67, format('rule %I', r.rulename), pg_get_ruledef(r.oid), false FROM pg_rewrite r WHERE r.ev_class = relid AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT 68, format('trigger %I', g.tgname), pg_get_triggerdef(g.oid), false
    FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
    WHERE g.tgrelid = relid AND NOT g.tgisinternal AND g.tgparentid = 0 AND f.pronamespace <> 'reprieve'::regnamespace
    UNION ALL
    SELECT 69, format('trigger %I', g.tgname),
           format('ALTER TABLE %s %s TRIGGER %I', reprieve.qualified(relid),
                  CASE g.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, g.tgname), false
    FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
    WHERE g.tgrelid = relid AND NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgenabled <> 'O' AND f.pronamespace <> 'reprieve'::regnamespace
    UNION ALL
    SELECT 90 + v.depth, 'view ' || reprieve.qualified(v.oid), p.sql, false
    FROM (WITH RECURSIVE readers AS (
              SELECT relid AS oid, 0 AS depth
              UNION
              SELECT w.ev_class, readers.depth + 3 FROM readers
              JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = readers.oid AND d.classid = 'pg_rewrite'::regclass AND d.deptype = 'n'
              JOIN pg_rewrite w ON w.oid = d.objid AND w.rulename = '_RETURN' AND w.ev_class <> readers.oid
              WHERE readers.depth < 100
          ) SELECT oid, max(depth) AS depth FROM readers WHERE oid <> relid GROUP BY oid) AS v
    JOIN pg_class c ON c.oid = v.oid, LATERAL (
        SELECT 0, format(CASE c.relkind WHEN 'm' THEN 'CREATE MATERIALIZED VIEW %s AS %s WITH NO DATA' ELSE 'CREATE VIEW %s AS %s' END,
                         reprieve.qualified(v.oid), rtrim(reprieve.pg_get_viewdef(v.oid), ';'))
        UNION ALL SELECT 1, format('ALTER TABLE %s OWNER TO %I', reprieve.qualified(v.oid), pg_get_userbyid(c.relowner))
        -- As its owner: whoever makes it with its rows runs its query.
        UNION ALL SELECT 2, format('REFRESH MATERIALIZED VIEW %s', reprieve.qualified(v.oid)) WHERE c.relkind = 'm' AND c.relispopulated
        UNION ALL SELECT 2, g FROM reprieve.grants_sql(c.relacl, format(' ON %s', reprieve.qualified(v.oid))) AS g) AS p(behind, sql)
    WHERE c.relkind IN ('v', 'm')
$$;

-- Copies of rows of tables that were not dropped after all: the statement named another one, or spared this one.
CREATE OR REPLACE FUNCTION reprieve.forget_kept(among oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT d.relid, d.deletion_id FROM reprieve.dropped d JOIN pg_class c ON c.oid = d.relid
                WHERE d.xid = pg_current_xact_id() AND (among IS NULL OR d.relid = ANY (among)) LOOP
        DELETE FROM reprieve.graveyard g WHERE g.relid = item.relid AND g.cause = 'drop';
        DELETE FROM reprieve.deletion_tables t WHERE t.deletion_id = item.deletion_id AND t.relid = item.relid;
        DELETE FROM reprieve.dropped d WHERE d.relid = item.relid;
        DELETE FROM reprieve.deletions d WHERE d.id = item.deletion_id
            AND NOT EXISTS (SELECT FROM reprieve.deletion_tables t WHERE t.deletion_id = d.id)
            AND NOT EXISTS (SELECT FROM reprieve.dropped o WHERE o.deletion_id = d.id);
    END LOOP;
END $$;

-- Keeps what a table holds, and what it is made of, under a deletion of this statement. Tombstones keep their own deletion.
-- `path` is for read_source().
CREATE OR REPLACE FUNCTION reprieve.keep_table(relid oid, statement text, path text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET row_security = off AS $$
#variable_conflict use_variable
DECLARE
    policy text := coalesce(nullif(reprieve.setting('tables.on_drop'), ''), 'keep');
    label text := reprieve.qualified(relid);
    marked boolean := reprieve.has_marks(relid);
    is_root boolean := (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = relid);
    live bigint;
    tombstones bigint := 0;
    id bigint;
    source text;
BEGIN
    PERFORM reprieve.forget_kept(ARRAY[relid]);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', label);
    source := reprieve.read_source(relid, path);
    EXECUTE format('SELECT count(*) FROM %s o WHERE %s', source, reprieve.live_sql(relid, 'o')) INTO live;
    IF marked THEN
        EXECUTE format('SELECT count(*) FROM %s o WHERE o.deletion_id IS NOT NULL', source) INTO tombstones;
    END IF;
    IF policy = 'refuse' AND live > 0 THEN
        RAISE EXCEPTION 'DROP of soft-delete table % with % rows is refused', label, live
            USING ERRCODE = 'RV001', HINT = 'Delete the rows first, or change tables.on_drop (keep, refuse, allow).';
    ELSIF policy = 'allow' THEN
        INSERT INTO reprieve.acts (verb, target, result)
        VALUES ('drop not kept', label, jsonb_build_object('rows', live, 'tombstones', tombstones));
        PERFORM reprieve.end_read(relid);
        RETURN;
    ELSIF live + tombstones = 0 AND NOT is_root THEN
        PERFORM set_config('reprieve.empty', concat_ws(' ', current_setting('reprieve.empty', true), relid), true), reprieve.end_read(relid);
        RETURN;
    END IF;
    IF NOT reprieve.truncate_fits(relid, source, 'DROP') THEN
        PERFORM reprieve.discard(relid, marked, source), reprieve.end_read(relid);
        RETURN;
    END IF;
    -- Tables of one statement share a deletion.
    SELECT d.deletion_id INTO id FROM reprieve.dropped d JOIN reprieve.deletions n ON n.id = d.deletion_id
    WHERE d.xid = pg_current_xact_id() AND n.statement_at = statement_timestamp() LIMIT 1;
    IF id IS NULL THEN
        PERFORM set_config('reprieve.deletion', '', true);
        id := reprieve.begin_deletion_v1(statement);
        PERFORM reprieve.open_ledger(id);
        PERFORM set_config('reprieve.deletion', '', true);
    END IF;
    INSERT INTO reprieve.dropped (relid, deletion_id, label, requested)
    SELECT t.relid, id, label, t.requested FROM reprieve.tables t WHERE t.relid = relid;
    INSERT INTO reprieve.dropped_parts SELECT relid, p.stage, p.what, p.sql, p.needed FROM reprieve.parts_of(relid) AS p;
    EXECUTE reprieve.bury_sql(relid, source || ' o', 'drop') USING id, 'drop'::text;
    PERFORM reprieve.count_deletion(id, relid, live, 0), reprieve.end_read(relid);
END $$;

-- Names that DROP statements of this kind give, one by one. The text may also be that of a stack of calls, in which statements of
-- functions stand. Comments are read and skipped: what is named in one of the two readings and stays is forgotten again.
CREATE OR REPLACE FUNCTION reprieve.dropped_names(text text, kind text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH grammar AS (SELECT '(?:"(?:[^"]|"")+"|[[:alnum:]_$]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[[:alnum:]_$]+))*' AS name)
    SELECT DISTINCT n[1]
    FROM grammar, (VALUES (text), (regexp_replace(regexp_replace(text, '/\*.*?\*/', ' ', 'g'), '--[^\n]*', ' ', 'g'))) AS t(reading),
         regexp_matches(t.reading, format('\mdrop\s+%s\s+(?:if\s+exists\s+|by\s+)?(%s(?:\s*,\s*%2$s)*)', kind, name), 'gi') AS m,
         regexp_matches(m[1], format('(%s)', name), 'g') AS n
$$;

-- Event trigger: before DROP TABLE, DROP SCHEMA and DROP OWNED. Runs as the client, with its search path, which says what the
-- names mean; so everything here is qualified.
CREATE OR REPLACE FUNCTION reprieve.on_drop_start() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
    statement pg_catalog.text := pg_catalog.current_query();
    stack pg_catalog.text;
    named pg_catalog.text;
    tables pg_catalog.oid[];
    relation pg_catalog.oid;
BEGIN
    IF NOT reprieve.may_keep_v1() THEN
        RETURN;
    END IF;
    GET DIAGNOSTICS stack = PG_CONTEXT;
    named := pg_catalog.concat_ws(E'\n', statement, stack);
    IF tg_tag OPERATOR(pg_catalog.=) 'DROP TABLE' THEN
        tables := ARRAY(SELECT reprieve.relation_named_v1(n) FROM reprieve.dropped_names(named, 'table') AS n);
    ELSE
        tables := reprieve.tables_within_v1(named, tg_tag);
    END IF;
    PERFORM pg_catalog.set_config('reprieve.role', current_user, true);
    FOREACH relation IN ARRAY reprieve.to_keep_v1(tables) LOOP
        PERFORM reprieve.keep_v1(relation, statement, pg_catalog.current_setting('search_path'));
    END LOOP;
END $$;

-- NULL where nothing bears the name, or it is none. Runs with the client's search path.
CREATE OR REPLACE FUNCTION reprieve.relation_named_v1(name text) RETURNS oid
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN pg_catalog.to_regclass(name)::pg_catalog.oid;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION reprieve.may_keep_v1() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(current_setting('reprieve.reconciling', true), '') = '' AND EXISTS (SELECT FROM reprieve.tables)
$$;

-- Enabled tables in the schemas, or of the roles, that the statement names.
CREATE OR REPLACE FUNCTION reprieve.tables_within_v1(statement text, tag text) RETURNS oid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT ARRAY(
        SELECT c.oid FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid
        JOIN reprieve.dropped_names(statement, CASE tag WHEN 'DROP SCHEMA' THEN 'schema' ELSE 'owned' END) AS n
          ON CASE WHEN tag = 'DROP SCHEMA' THEN quote_ident(c.relnamespace::regnamespace::text) IN (n, lower(n)) OR c.relnamespace::regnamespace::text IN (n, lower(n))
                  ELSE quote_ident(pg_get_userbyid(c.relowner)) IN (n, lower(n))
                       OR pg_get_userbyid(c.relowner) = CASE WHEN lower(n) = 'session_user' OR current_setting('role') = 'none' THEN session_user
                                                             ELSE current_setting('role') END
                          AND lower(n) IN ('current_user', 'session_user', 'current_role') END)
$$;

-- Of these, with their partitions and the children that go with them, those that are enabled and that the session may drop.
CREATE OR REPLACE FUNCTION reprieve.to_keep_v1(relations oid[]) RETURNS oid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE family AS (
        SELECT r.oid FROM unnest(relations) AS r(oid)
        UNION SELECT h.inhrelid FROM pg_inherits h JOIN family ON h.inhparent = family.oid
    )
    SELECT coalesce(array_agg(c.oid ORDER BY c.oid), '{}') FROM family JOIN pg_class c ON c.oid = family.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN reprieve.tables t ON t.relid = c.oid
    WHERE pg_has_role(session_user, c.relowner, 'MEMBER') OR pg_has_role(session_user, n.nspowner, 'MEMBER')
$$;

-- May be called by anybody, so it does nothing but in a DROP of what the session may drop: what is kept for a table that stays
-- is forgotten again.
DROP FUNCTION IF EXISTS reprieve.keep_v1(oid, text);
CREATE OR REPLACE FUNCTION reprieve.keep_v1(relation oid, statement text, path text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
    IF current_query() !~* '\mdrop\s' OR relation <> ALL (reprieve.to_keep_v1(ARRAY[relation])) THEN
        RETURN;
    END IF;
    statement := left(statement, 2000);
    BEGIN
        PERFORM reprieve.keep_table(relation, statement, NULL);
    EXCEPTION WHEN SQLSTATE 'RV001' OR query_canceled OR lock_not_available OR deadlock_detected THEN
        RAISE;
    WHEN OTHERS OR assert_failure THEN
        -- A function in an index that finds what it calls by the search path, or minds who runs it.
        PERFORM reprieve.keep_table(relation, statement, path);
    END;
EXCEPTION WHEN SQLSTATE 'RV001' OR query_canceled OR lock_not_available OR deadlock_detected THEN
    RAISE;
WHEN OTHERS OR assert_failure THEN
    RAISE EXCEPTION 'the rows of table % could not be kept: %', reprieve.qualified(relation), SQLERRM
        USING ERRCODE = 'RV003', HINT = 'To drop it without: set tables.on_drop to allow.';
END $$;

-- Notes which of these enabled tables were dropped without anybody looking what was in them: by a function in SQL, or under a name that
-- nobody read.
CREATE OR REPLACE FUNCTION reprieve.note_unseen_drops(relations oid[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO reprieve.acts (verb, target, result)
    SELECT 'drop not seen', format('%I.%I', t.schema_name, t.table_name), jsonb_build_object('statement', left(current_query(), 2000))
    FROM reprieve.tables t
    WHERE t.relid = ANY (relations) AND NOT EXISTS (SELECT FROM reprieve.dropped d WHERE d.relid = t.relid)
      AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relid)
      AND t.relid::text <> ALL (string_to_array(coalesce(current_setting('reprieve.empty', true), ''), ' '))
      AND coalesce(nullif(reprieve.setting('tables.on_drop'), ''), 'keep') <> 'allow'
$$;

-- Takes away the rights that default privileges of the keeper's role gave on a table that it has made.
CREATE OR REPLACE FUNCTION reprieve.revoke_gifts(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given record;
BEGIN
    FOR given IN SELECT DISTINCT g.grantee FROM pg_class c, aclexplode(c.relacl) AS g WHERE c.oid = relid AND g.grantee <> c.relowner LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', reprieve.qualified(relid),
                       CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(given.grantee)) END);
    END LOOP;
END $$;

-- Makes the tables again that these deletions dropped, and tells them apart from their old selves no more. Returns what could
-- not be made again, or NULL if no table was dropped.
CREATE OR REPLACE FUNCTION reprieve.undrop(ids bigint[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    item record;
    fresh oid;
    notes text := '';
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.dropped d WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL) THEN
        RETURN NULL;
    END IF;
    FOR part IN SELECT d.label, p.* FROM reprieve.dropped d JOIN reprieve.dropped_parts p USING (relid)
                WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL AND p.stage < 60 ORDER BY p.stage, d.relid LOOP
        notes := concat_ws('; ', nullif(notes, ''), reprieve.make_part(part.label, part.what, part.sql, part.needed));
    END LOOP;
    FOR item IN SELECT * FROM reprieve.dropped d WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL ORDER BY d.relid LOOP
        fresh := item.label::regclass;
        PERFORM reprieve.revoke_gifts(fresh);
        UPDATE reprieve.graveyard g SET relid = fresh WHERE g.relid = item.relid;
        UPDATE reprieve.deletion_tables t SET relid = fresh WHERE t.relid = item.relid;
        UPDATE reprieve.relinks r SET relid = fresh WHERE r.relid = item.relid;
    END LOOP;
    RETURN notes;
END $$;

-- The rest, once the rows are back: rights, foreign keys, code, views; and soft delete as it was.
CREATE OR REPLACE FUNCTION reprieve.undrop_rest(ids bigint[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    item record;
    notes text := '';
BEGIN
    FOR part IN SELECT d.label, p.* FROM reprieve.dropped d JOIN reprieve.dropped_parts p USING (relid)
                WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL AND p.stage >= 60 ORDER BY p.stage, d.relid LOOP
        notes := concat_ws('; ', nullif(notes, ''), reprieve.make_part(part.label, part.what, part.sql, part.needed));
    END LOOP;
    FOR item IN SELECT * FROM reprieve.dropped d WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL ORDER BY d.relid LOOP
        PERFORM reprieve.enable_v1(item.label::regclass, CASE item.requested WHEN 'cascade' THEN 'auto' ELSE item.requested END);
        UPDATE reprieve.dropped d SET restored_at = now() WHERE d.relid = item.relid;
    END LOOP;
    RETURN notes;
END $$;

-- NULL, or what could not be made and why. What is there already is as good.
CREATE OR REPLACE FUNCTION reprieve.make_part(label text, what text, sql text, needed boolean) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = 'error' AS $$
BEGIN
    EXECUTE sql;
    RETURN NULL;
EXCEPTION
    WHEN duplicate_object OR invalid_table_definition THEN
        IF needed THEN
            RAISE;
        END IF;
        RETURN NULL;
    WHEN OTHERS THEN
        IF needed THEN
            RAISE EXCEPTION 'table % cannot be made again: %', label, SQLERRM USING ERRCODE = SQLSTATE, DETAIL = sql;
        END IF;
        RETURN CASE WHEN SQLSTATE = '42P07' THEN NULL ELSE format('%s of %s was not made again: %s', what, label, SQLERRM) END;
END $$;
