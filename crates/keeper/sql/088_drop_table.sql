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

-- What a part belongs to and is skipped with, if that could not be made or is there already.
ALTER TABLE reprieve.dropped_parts ADD COLUMN IF NOT EXISTS thing text;
-- Of a view that leaves out tombstones itself: how it is made where its tables are marked.
ALTER TABLE reprieve.dropped_parts ADD COLUMN IF NOT EXISTS marked_sql text;

-- GRANTs that make an access control list again; none where it is the default one. `grantable` is what stands behind ON.
DROP FUNCTION IF EXISTS reprieve.grants_sql(aclitem[], text);
CREATE OR REPLACE FUNCTION reprieve.rights_sql(acl aclitem[], owner oid, grantable text) RETURNS TABLE (step int, sql text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- The owner may have taken rights away, from itself or from all.
    SELECT 0, format('REVOKE ALL ON %s FROM PUBLIC, %I', grantable, pg_get_userbyid(owner)) WHERE acl IS NOT NULL
    UNION ALL
    SELECT 1, format('GRANT %s ON %s TO %s%s', g.privilege_type, grantable, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                     CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM aclexplode(acl) AS g
$$;

-- GRANTs of columns.
CREATE OR REPLACE FUNCTION reprieve.column_rights_sql(relid oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('GRANT %s (%I) ON %s TO %s%s', g.privilege_type, a.attname, reprieve.qualified(relid),
                  CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                  CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_attribute a, aclexplode(a.attacl) AS g
    WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped
      AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND reprieve.has_marks(relid))
$$;

-- COMMENTs on these objects, of one catalog, and on their columns.
CREATE OR REPLACE FUNCTION reprieve.comments_sql(catalog regclass, objects oid[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT format('COMMENT ON %s %s IS %L', CASE WHEN d.objsubid > 0 THEN 'COLUMN' WHEN o.type = 'table constraint' THEN 'CONSTRAINT'
                      WHEN o.type = 'statistics object' THEN 'STATISTICS' ELSE upper(o.type) END, o.identity, d.description)
    FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
    WHERE d.classoid = catalog AND d.objoid = ANY (objects)
$$;

-- Types that a table's columns are made of: enums, domains, composites and ranges. Those that others are made of lie deeper.
CREATE OR REPLACE FUNCTION reprieve.types_of(relid oid) RETURNS TABLE (type oid, depth int)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE used AS (
        SELECT a.atttypid AS type, 0 AS depth FROM pg_attribute a WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT n.type, used.depth + 1 FROM used JOIN pg_type y ON y.oid = used.type, LATERAL (
            SELECT y.typelem WHERE y.typcategory = 'A'
            UNION ALL SELECT y.typbasetype
            UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = y.oid
            UNION ALL SELECT r.rngtypid FROM pg_range r WHERE (to_jsonb(r) ->> 'rngmultitypid')::oid = y.oid
            UNION ALL SELECT a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                      WHERE c.oid = y.typrelid AND c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped) AS n(type)
        WHERE n.type >= 16384 AND used.depth < 40
    )
    SELECT y.oid, max(used.depth) FROM used JOIN pg_type y ON y.oid = used.type LEFT JOIN pg_class c ON c.oid = y.typrelid
    WHERE y.oid >= 16384 AND (y.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = y.oid AND d.deptype = 'e')
    GROUP BY y.oid
$$;

CREATE OR REPLACE FUNCTION reprieve.create_type_sql(type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT CASE y.typtype
        WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', y.oid::regtype,
                             (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = y.oid))
        WHEN 'c' THEN format('CREATE TYPE %s AS (%s)', y.oid::regtype,
                             (SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                                         (SELECT 'COLLATE ' || a.attcollation::regcollation FROM pg_type b WHERE b.oid = a.atttypid AND b.typcollation <> a.attcollation)),
                                     ', ' ORDER BY a.attnum)
                              FROM pg_attribute a WHERE a.attrelid = y.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
        WHEN 'r' THEN (SELECT format('CREATE TYPE %s AS RANGE (%s)', y.oid::regtype, concat_ws(', ', 'SUBTYPE = ' || format_type(r.rngsubtype, NULL),
                                 (SELECT format('SUBTYPE_OPCLASS = %s.%I', o.opcnamespace::regnamespace, o.opcname) FROM pg_opclass o WHERE o.oid = r.rngsubopc),
                                 'COLLATION = ' || nullif(r.rngcollation, 0)::regcollation, 'CANONICAL = ' || nullif(r.rngcanonical, 0)::regproc,
                                 'SUBTYPE_DIFF = ' || nullif(r.rngsubdiff, 0)::regproc,
                                 'MULTIRANGE_TYPE_NAME = ' || (to_jsonb(r) ->> 'rngmultitypid')::oid::regtype))
                       FROM pg_range r WHERE r.rngtypid = y.oid)
        ELSE concat_ws(' ', format('CREATE DOMAIN %s AS %s', y.oid::regtype, format_type(y.typbasetype, y.typtypmod)),
                       (SELECT 'COLLATE ' || y.typcollation::regcollation FROM pg_type b WHERE b.oid = y.typbasetype AND b.typcollation <> y.typcollation),
                       'DEFAULT ' || y.typdefault, CASE WHEN y.typnotnull THEN 'NOT NULL' END,
                       (SELECT string_agg(format('CONSTRAINT %I %s', x.conname, pg_get_constraintdef(x.oid)), ' ')
                        FROM pg_constraint x WHERE x.contypid = y.oid AND x.contype = 'c')) END
    FROM pg_type y WHERE y.oid = type
$$;

-- Schemas, types and sequences that a table needs and that are no part of it: whatever of it is there stays as it is.
CREATE OR REPLACE FUNCTION reprieve.needs_of(relid oid) RETURNS TABLE (stage int, what text, sql text, needed boolean, thing text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH types AS (
        SELECT y.*, t.depth FROM reprieve.types_of(relid) AS t JOIN pg_type y ON y.oid = t.type
    ), sequences AS (
        SELECT DISTINCT s.* FROM pg_attrdef f
        JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
        WHERE f.adrelid = $1 AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = s.oid
                                               AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i'))
    ), schemas AS (
        SELECT n.* FROM pg_namespace n
        WHERE n.oid IN (SELECT c.relnamespace FROM pg_class c WHERE c.oid = $1 UNION SELECT typnamespace FROM types UNION SELECT relnamespace FROM sequences)
    ), parts AS (
        SELECT p.stage, format('schema %I', n.nspname) AS thing, p.sql FROM schemas n, LATERAL (
            SELECT -100, format('CREATE SCHEMA %I AUTHORIZATION %I', n.nspname, pg_get_userbyid(n.nspowner))
            UNION ALL SELECT -99 + r.step, r.sql FROM reprieve.rights_sql(n.nspacl, n.nspowner, format('SCHEMA %I', n.nspname)) AS r
            UNION ALL SELECT -97, c FROM reprieve.comments_sql('pg_namespace', ARRAY[n.oid]) AS c) AS p(stage, sql)
        UNION ALL
        SELECT p.stage, 'type ' || y.oid::regtype, p.sql FROM types y, LATERAL (
            SELECT 0 - y.depth, reprieve.create_type_sql(y.oid)
            UNION ALL SELECT 1, format('ALTER TYPE %s OWNER TO %I', y.oid::regtype, pg_get_userbyid(y.typowner))
            UNION ALL SELECT 2 + r.step, r.sql FROM reprieve.rights_sql(y.typacl, y.typowner, format('TYPE %s', y.oid::regtype)) AS r
            UNION ALL SELECT 4, c FROM reprieve.comments_sql('pg_type', ARRAY[y.oid]) AS c) AS p(stage, sql)
        UNION ALL
        SELECT p.stage, 'sequence ' || reprieve.qualified(s.oid), p.sql FROM sequences s, LATERAL (
            SELECT 10, format('CREATE SEQUENCE %s AS %s %s', reprieve.qualified(s.oid),
                              (SELECT format_type(q.seqtypid, NULL) FROM pg_sequence q WHERE q.seqrelid = s.oid), reprieve.sequence_options(s.oid))
            UNION ALL SELECT 11, format('ALTER SEQUENCE %s OWNER TO %I', reprieve.qualified(s.oid), pg_get_userbyid(s.relowner))
            UNION ALL SELECT 12, reprieve.sequence_place(s.oid)
            UNION ALL SELECT 13 + r.step, r.sql FROM reprieve.rights_sql(s.relacl, s.relowner, 'SEQUENCE ' || reprieve.qualified(s.oid)) AS r
            UNION ALL SELECT 15, c FROM reprieve.comments_sql('pg_class', ARRAY[s.oid]) AS c) AS p(stage, sql)
    )
    SELECT stage, thing, sql, stage = -100, thing FROM parts
$$;

-- What a table is made of, as statements. Its rows are not among it.
DROP FUNCTION IF EXISTS reprieve.parts_of(oid);
CREATE FUNCTION reprieve.parts_of(relid oid) RETURNS TABLE (stage int, what text, sql text, needed boolean, thing text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
    target text := reprieve.qualified($1);
    sequences oid[] := ARRAY(SELECT d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1
                               AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'));
    c pg_class;
BEGIN
    SELECT * INTO c FROM pg_class k WHERE k.oid = $1;
    RETURN QUERY SELECT n.* FROM reprieve.needs_of($1) AS n;
    RETURN QUERY SELECT p.stage, 'sequence ' || reprieve.qualified(d.objid), p.sql, true, NULL
    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid, LATERAL (VALUES
        (10, CASE d.deptype WHEN 'a' THEN format('CREATE SEQUENCE %s AS %s %s', reprieve.qualified(d.objid),
             (SELECT format_type(q.seqtypid, NULL) FROM pg_sequence q WHERE q.seqrelid = d.objid), reprieve.sequence_options(d.objid)) END),
        (21, CASE d.deptype WHEN 'a' THEN format('ALTER SEQUENCE %s OWNED BY %s.%I', reprieve.qualified(d.objid), target, a.attname) END),
        (41, reprieve.sequence_place(d.objid))) AS p(stage, sql)
    WHERE d.classid = 'pg_class'::regclass AND d.objid = ANY (sequences) AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1
      AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') AND p.sql IS NOT NULL;
    RETURN QUERY SELECT 20, 'table ' || target, reprieve.create_table_sql($1), true, NULL;
    -- At once: indexes are built, and what they call is run, with the rights of the owner.
    RETURN QUERY SELECT 22, 'owner', format('ALTER TABLE %s OWNER TO %I', target, pg_get_userbyid(c.relowner)), true, NULL;
    RETURN QUERY SELECT 30, 'parent ' || reprieve.qualified(h.inhparent),
        CASE WHEN c.relispartition THEN format('ALTER TABLE %s ATTACH PARTITION %s %s', reprieve.qualified(h.inhparent), target, pg_get_expr(c.relpartbound, $1))
             ELSE format('ALTER TABLE %s INHERIT %s', target, reprieve.qualified(h.inhparent)) END, true, NULL
    FROM pg_inherits h WHERE h.inhrelid = $1;
    -- A child must have its parent's checks before it can be one.
    RETURN QUERY SELECT CASE WHEN x.contype = 'f' THEN 70 WHEN x.contype = 'c' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = $1) THEN 25 ELSE 45 END, format('constraint %I', x.conname),
                        format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, x.conname, pg_get_constraintdef(x.oid)), x.contype IN ('p', 'u', 'x'), NULL
    FROM pg_constraint x WHERE x.conrelid = $1 AND x.contype IN ('p', 'u', 'x', 'c', 'f') AND x.conparentid = 0 AND (x.coninhcount = 0 OR x.contype = 'c');
    RETURN QUERY SELECT 50, 'index ' || reprieve.qualified(i.indexrelid),
                        -- PostgreSQL prints the index of a partitioned table without those of its partitions.
                        replace(pg_get_indexdef(i.indexrelid), format(' INDEX %I ON ONLY ', x.relname), format(' INDEX %I ON ', x.relname)), i.indisunique, NULL
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = $1 AND NOT x.relispartition AND x.relname <> reprieve.index_name($1)
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'));
    RETURN QUERY SELECT 60 + r.step, 'right', r.sql, false, NULL FROM reprieve.rights_sql(c.relacl, c.relowner, target) AS r;
    RETURN QUERY SELECT 61, 'right', g, false, NULL FROM reprieve.column_rights_sql($1) AS g;
    RETURN QUERY SELECT 60 + r.step, 'right on sequence ' || reprieve.qualified(s.oid), r.sql, false, NULL
    FROM pg_class s, reprieve.rights_sql(s.relacl, s.relowner, 'SEQUENCE ' || reprieve.qualified(s.oid)) AS r WHERE s.oid = ANY (sequences);
    RETURN QUERY SELECT 62, 'replica identity', format('ALTER TABLE %s REPLICA IDENTITY %s', target, CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
            -- As it is when its index was dropped.
            ELSE coalesce((SELECT format('USING INDEX %I', x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                           WHERE i.indrelid = $1 AND i.indisreplident), 'NOTHING') END), false, NULL
    WHERE c.relreplident <> 'd';
    RETURN QUERY SELECT 80, format('constraint %I of %s', x.conname, reprieve.qualified(x.conrelid)),
                        format('ALTER TABLE %s ADD CONSTRAINT %I %s', reprieve.qualified(x.conrelid), x.conname, pg_get_constraintdef(x.oid)), false, NULL
    FROM pg_constraint x WHERE x.confrelid = $1 AND x.conrelid <> $1 AND x.contype = 'f' AND x.conparentid = 0;
    RETURN QUERY SELECT p.* FROM reprieve.code_parts_of($1) AS p;
    RETURN QUERY SELECT 85, 'comment', o, false, NULL FROM (
        SELECT reprieve.comments_sql('pg_class', sequences || $1)
        UNION ALL SELECT reprieve.comments_sql('pg_constraint', ARRAY(SELECT x.oid FROM pg_constraint x WHERE $1 IN (x.conrelid, x.confrelid)))) AS t(o);
    RETURN QUERY SELECT p.* FROM reprieve.views_of($1) AS p;
    RETURN QUERY SELECT 2000, l.what, format('DO %L', format('BEGIN RAISE EXCEPTION ''it is not kept'' USING DETAIL = %L; END', l.what)), false, NULL FROM reprieve.lost_with($1) AS l(what);
END $$;

CREATE OR REPLACE FUNCTION reprieve.qualified_statistics(object oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%I.%I', n.nspname, s.stxname) FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.oid = object
$$;

-- What hangs on a table or on a view of it: indexes of a view, statistics, rules and triggers, each with its comments.
CREATE OR REPLACE FUNCTION reprieve.attached_to(relid oid) RETURNS TABLE (step int, what text, sql text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH triggers AS (
        SELECT g.* FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
        WHERE g.tgrelid = relid AND NOT g.tgisinternal AND g.tgparentid = 0 AND f.pronamespace <> 'reprieve'::regnamespace
    ), firing(kind, name, state) AS (
        SELECT 'TRIGGER', tgname, tgenabled FROM triggers WHERE tgenabled <> 'O'
        UNION ALL SELECT 'RULE', rulename, ev_enabled FROM pg_rewrite WHERE ev_class = relid AND rulename <> '_RETURN' AND ev_enabled <> 'O'
    )
    SELECT 0, 'statistics ' || reprieve.qualified_statistics(s.oid), p.sql FROM pg_statistic_ext s, LATERAL (VALUES
        (pg_get_statisticsobjdef(s.oid))) AS p(sql) WHERE s.stxrelid = relid
    UNION ALL
    SELECT 1, 'statistics ' || reprieve.qualified_statistics(s.oid),
           format('ALTER STATISTICS %s OWNER TO %I', reprieve.qualified_statistics(s.oid), pg_get_userbyid(s.stxowner)) FROM pg_statistic_ext s WHERE s.stxrelid = relid
    UNION ALL
    SELECT 0, format('rule %I', r.rulename), pg_get_ruledef(r.oid) FROM pg_rewrite r WHERE r.ev_class = relid AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT 0, format('trigger %I', g.tgname), pg_get_triggerdef(g.oid) FROM triggers g
    UNION ALL
    SELECT 1, format('%s %I', lower(f.kind), f.name),
           format('ALTER TABLE %s %s %s %I', reprieve.qualified(relid),
                  CASE f.state WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, f.kind, f.name)
    FROM firing f
    UNION ALL
    SELECT 2, 'comment', c FROM (
        SELECT reprieve.comments_sql('pg_trigger', ARRAY(SELECT g.oid FROM triggers g))
        UNION ALL SELECT reprieve.comments_sql('pg_class', ARRAY(SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = relid))
        UNION ALL SELECT reprieve.comments_sql('pg_rewrite', ARRAY(SELECT r.oid FROM pg_rewrite r WHERE r.ev_class = relid))
        UNION ALL SELECT reprieve.comments_sql('pg_policy', ARRAY(SELECT p.oid FROM pg_policy p WHERE p.polrelid = relid))
        UNION ALL SELECT reprieve.comments_sql('pg_statistic_ext', ARRAY(SELECT s.oid FROM pg_statistic_ext s WHERE s.stxrelid = relid))) AS t(c)
$$;

-- Row security, rules, triggers and statistics.
DROP FUNCTION IF EXISTS reprieve.code_parts_of(oid);
CREATE FUNCTION reprieve.code_parts_of(relid oid) RETURNS TABLE (stage int, what text, sql text, needed boolean, thing text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT 65, 'row security', format('ALTER TABLE %s %s ROW LEVEL SECURITY', reprieve.qualified(relid), v.word), false, NULL
    FROM pg_class c, LATERAL (VALUES (c.relrowsecurity, 'ENABLE'), (c.relforcerowsecurity, 'FORCE')) AS v(is_on, word) WHERE c.oid = relid AND v.is_on
    UNION ALL
    SELECT 66, format('policy %I', p.polname), format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, reprieve.qualified(relid),
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) AS r),
        ' USING (' || pg_get_expr(p.polqual, relid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, relid) || ')'), false, NULL
    FROM pg_policy p WHERE p.polrelid = relid
    UNION ALL
    SELECT CASE WHEN a.step = 2 THEN 85 ELSE 67 + a.step END, a.what, a.sql, false, NULL FROM reprieve.attached_to(relid) AS a
$$;

-- Views that read a table, each behind those that it reads.
CREATE OR REPLACE FUNCTION reprieve.views_of(relid oid) RETURNS TABLE (stage int, what text, sql text, needed boolean, thing text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH RECURSIVE readers AS (
        SELECT relid AS oid, 0 AS depth
        UNION
        SELECT w.ev_class, readers.depth + 1 FROM readers
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = readers.oid AND d.classid = 'pg_rewrite'::regclass AND d.deptype = 'n'
        JOIN pg_rewrite w ON w.oid = d.objid AND w.rulename = '_RETURN' AND w.ev_class <> readers.oid
        WHERE readers.depth < 100
    ), views AS (
        SELECT c.*, reprieve.qualified(c.oid) AS name, v.depth FROM pg_class c
        JOIN (SELECT oid, max(depth) AS depth FROM readers WHERE oid <> relid GROUP BY oid) AS v USING (oid) WHERE c.relkind IN ('v', 'm')
    )
    SELECT 90 + 10 * v.depth + p.step, coalesce(p.what || ' of ', '') || 'view ' || v.name, p.sql, false, 'view ' || v.name
    FROM views v, LATERAL (
        SELECT 0, NULL, format('CREATE %s %s%s AS %s%s', CASE v.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, v.name,
                         ' WITH (' || array_to_string(v.reloptions, ', ') || ')', rtrim(reprieve.pg_get_viewdef(v.oid), ';'),
                         CASE v.relkind WHEN 'm' THEN ' WITH NO DATA' END)
        UNION ALL SELECT 1, 'owner', format('ALTER TABLE %s OWNER TO %I', v.name, pg_get_userbyid(v.relowner))
        UNION ALL SELECT 2, format('default of %I', a.attname), format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', v.name, a.attname, pg_get_expr(f.adbin, f.adrelid))
                  FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum WHERE f.adrelid = v.oid
        UNION ALL SELECT 2, format('index %I', x.relname), pg_get_indexdef(x.oid) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = v.oid
        -- As its owner: whoever makes it with its rows runs its query.
        UNION ALL SELECT 3, 'rows', format('REFRESH MATERIALIZED VIEW %s', v.name) WHERE v.relkind = 'm' AND v.relispopulated
        UNION ALL SELECT 4 + r.step, 'right', r.sql FROM reprieve.rights_sql(v.relacl, v.relowner, v.name) AS r
        UNION ALL SELECT 5, 'right', g FROM reprieve.column_rights_sql(v.oid) AS g
        UNION ALL SELECT 6 + a.step, a.what, a.sql FROM reprieve.attached_to(v.oid) AS a
        UNION ALL SELECT 8, 'comment', c FROM reprieve.comments_sql('pg_class', ARRAY[v.oid]) AS c) AS p(step, what, sql)
$$;

-- What a DROP ... CASCADE of a table takes along and nobody keeps: it is named when the table comes back.
CREATE OR REPLACE FUNCTION reprieve.lost_with(relid oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        SELECT 'pg_class'::regclass::oid AS class, relid AS oid
        UNION ALL SELECT 'pg_type'::regclass, unnest(ARRAY[y.oid, y.typarray]) FROM pg_class c JOIN pg_type y ON y.oid = c.reltype WHERE c.oid = relid
        UNION ALL SELECT d.classid, d.objid FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = relid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    )
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM gone JOIN pg_depend d ON d.refclassid = gone.class AND d.refobjid = gone.oid AND d.deptype = 'n'
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    LEFT JOIN pg_proc o ON d.classid = 'pg_proc'::regclass AND o.oid = d.objid
    WHERE f.adrelid <> relid OR p.polrelid <> relid OR o.pronamespace <> 'reprieve'::regnamespace
       OR d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass AND d.objid <> relid
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
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
    IF policy <> 'allow' THEN
        PERFORM reprieve.note_old_snapshot('drop', relid);
    END IF;
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
    ELSIF live + tombstones = 0 AND NOT is_root AND NOT EXISTS (SELECT FROM reprieve.graveyard g WHERE g.relid = relid) THEN
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
    INSERT INTO reprieve.dropped_parts SELECT relid, p.stage, p.what, p.sql, p.needed, p.thing FROM reprieve.parts_of(relid) AS p;
    UPDATE reprieve.dropped_parts p SET marked_sql = replace(p.sql, v.printed, v.stored)
      FROM (SELECT 'view ' || reprieve.qualified(c.oid) AS thing, rtrim(reprieve.pg_get_viewdef(c.oid), ';') AS printed, rtrim(pg_get_viewdef(c.oid), ';') AS stored
              FROM pg_class c WHERE c.relkind IN ('v', 'm')
               AND c.oid IN (SELECT to_regclass(substr(d.thing, 6)) FROM reprieve.dropped_parts d WHERE d.relid = $1 AND d.thing LIKE 'view %')) AS v
     WHERE p.relid = $1 AND p.thing = v.thing AND p.sql LIKE 'CREATE %VIEW %' AND v.printed <> v.stored;
    EXECUTE reprieve.bury_sql(relid, source || ' o', 'drop') USING id, 'drop'::text;
    PERFORM reprieve.count_deletion(id, relid, live, 0), reprieve.end_read(relid);
END $$;

-- Names that DROP statements of this kind give, one by one. The text may also be that of a stack of calls, in which statements of
-- functions stand. Comments are read and skipped: what is named in one of the two readings and stays is forgotten again.
CREATE OR REPLACE FUNCTION reprieve.dropped_names(text text, kind text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH grammar AS (SELECT '(?:"(?:[^"]|"")+"|(?:[[:alnum:]_$]|[^\x01-\x7f])+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|(?:[[:alnum:]_$]|[^\x01-\x7f])+))*' AS name)
    SELECT DISTINCT n[1]
    FROM grammar, (VALUES (text), (regexp_replace(regexp_replace(text, '/\*.*?\*/', ' ', 'g'), '--[^\n]*', ' ', 'g'))) AS t(reading),
         regexp_matches(t.reading, format('\mdrop\s+%s\s+(?:if\s+exists\s+|by\s+)?(%s(?:\s*,\s*%2$s)*)', kind, name), 'gi') AS m,
         regexp_matches(m[1], format('(%s)', name), 'g') AS n
$$;

-- Event trigger: before DROP TABLE, DROP SCHEMA, DROP OWNED, DROP TYPE and DROP EXTENSION. Runs as the client, with its search path, which says what the
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

-- A name as a statement gives it, as it is meant.
CREATE OR REPLACE FUNCTION reprieve.unquoted(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN name LIKE '"%"' THEN replace(substr(name, 2, length(name) - 2), '""', '"') ELSE lower(name) END
$$;

-- Enabled tables in the schemas, of the roles, of the types or in the extensions that the statement names.
CREATE OR REPLACE FUNCTION reprieve.tables_within_v1(statement text, tag text) RETURNS oid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT ARRAY(
        SELECT c.oid FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid
        JOIN pg_namespace s ON s.oid = c.relnamespace
        JOIN reprieve.dropped_names(statement, lower(substr(tag, 6))) AS n
          ON CASE tag WHEN 'DROP SCHEMA' THEN s.nspname = reprieve.unquoted(n)
                  WHEN 'DROP TYPE' THEN EXISTS (SELECT FROM pg_type y WHERE y.oid = c.reloftype
                                                AND y.typname = reprieve.unquoted(substring(n FROM '("(?:[^"]|"")+"|[^."]+)$')))
                  WHEN 'DROP EXTENSION' THEN EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
                                                     WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                       AND d.refclassid = 'pg_extension'::regclass AND x.extname = reprieve.unquoted(n))
                  ELSE pg_get_userbyid(c.relowner) = reprieve.unquoted(n)
                       OR pg_get_userbyid(c.relowner) = CASE WHEN lower(n) = 'session_user' OR current_setting('role') = 'none' THEN session_user
                                                             ELSE current_setting('role') END
                          AND lower(n) IN ('current_user', 'session_user', 'current_role') END)
$$;

-- Of these, with their partitions and the children that go with them, those that are enabled and that the session may drop.
CREATE OR REPLACE FUNCTION reprieve.to_keep_v1(relations oid[]) RETURNS oid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET standard_conforming_strings = on AS $$
DECLARE
    stack text;
BEGIN
    -- The third line is who called the statement that called this.
    GET DIAGNOSTICS stack = PG_CONTEXT;
    IF current_query() !~* '\mdrop\s' AND split_part(stack, chr(10), 3) !~ 'on_drop_start\(\)' OR relation <> ALL (reprieve.to_keep_v1(ARRAY[relation])) THEN
        RETURN;
    END IF;
    statement := left(statement, 2000);
    BEGIN
        PERFORM reprieve.keep_table(relation, statement, NULL);
    EXCEPTION WHEN SQLSTATE 'RV001' OR query_canceled OR lock_not_available OR deadlock_detected OR serialization_failure THEN
        RAISE;
    WHEN OTHERS OR assert_failure THEN
        -- A function in an index that finds what it calls by the search path, or minds who runs it.
        PERFORM reprieve.keep_table(relation, statement, path);
    END;
EXCEPTION WHEN SQLSTATE 'RV001' OR query_canceled OR lock_not_available OR deadlock_detected OR serialization_failure THEN
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

-- Takes away the rights that default privileges of the keeper's role gave on a relation that it has made.
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
    item record;
    fresh oid;
    notes text;
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.dropped d WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL) THEN
        RETURN NULL;
    END IF;
    notes := reprieve.make_parts(ids, -2147483648, 59);
    FOR item IN SELECT * FROM reprieve.dropped d WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL ORDER BY d.relid LOOP
        fresh := item.label::regclass;
        PERFORM reprieve.revoke_gifts(fresh);
        PERFORM reprieve.revoke_gifts(d.objid) FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = fresh AND d.deptype IN ('a', 'i');
        UPDATE reprieve.graveyard g SET relid = fresh WHERE g.relid = item.relid;
        UPDATE reprieve.deletion_tables t SET relid = fresh WHERE t.relid = item.relid;
        UPDATE reprieve.relinks r SET relid = fresh WHERE r.relid = item.relid;
    END LOOP;
    RETURN notes;
END $$;

-- The rest, once the rows are back: rights, foreign keys, code; soft delete as it was; and views, which know how to read a marked table.
CREATE OR REPLACE FUNCTION reprieve.undrop_rest(ids bigint[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    notes text := reprieve.make_parts(ids, 60, 89);
BEGIN
    PERFORM reprieve.undrop_enable(ids);
    notes := concat_ws('; ', nullif(notes, ''), nullif(reprieve.make_parts(ids, 90, NULL), ''));
    -- A view that reads tombstones, too, ends the marking again.
    PERFORM reprieve.undrop_enable(ids) WHERE EXISTS (SELECT FROM reprieve.dropped d JOIN reprieve.dropped_parts p USING (relid)
                                                       WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL AND p.thing LIKE 'view %');
    UPDATE reprieve.dropped d SET restored_at = now() WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL;
    RETURN notes;
END $$;

CREATE OR REPLACE FUNCTION reprieve.undrop_enable(ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT * FROM reprieve.dropped d WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL ORDER BY d.relid LOOP
        PERFORM reprieve.enable_v1(item.label::regclass, CASE item.requested WHEN 'cascade' THEN 'auto' ELSE item.requested END);
        -- It says that it is done with the schema; this is not.
        PERFORM set_config('reprieve.reconciling', '1', true);
    END LOOP;
END $$;

DROP FUNCTION IF EXISTS reprieve.make_parts(bigint[], boolean);

-- The parts of these stages (NULL: no end). What failed is tried again as long as anything new could be made: a view may read
-- another one that is known by another table only. Returns what could not be made.
CREATE OR REPLACE FUNCTION reprieve.make_parts(ids bigint[], first int, last int) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    note text;
    there text[] := '{}';
    missing text[];
    again text[];
    failed text[];
    notes text[];
    made boolean;
BEGIN
    LOOP
        again := failed;
        failed := '{}';
        missing := '{}';
        notes := '{}';
        made := false;
        -- Tables of one statement share schemas, types, foreign keys and views.
        FOR part IN SELECT * FROM (
                        SELECT DISTINCT ON (p.sql) d.label, p.* FROM reprieve.dropped d JOIN reprieve.dropped_parts p USING (relid)
                        WHERE d.deletion_id = ANY (ids) AND d.restored_at IS NULL AND p.stage >= first AND (last IS NULL OR p.stage <= last) ORDER BY p.sql, p.stage, p.relid) AS p
                    WHERE again IS NULL OR p.sql = ANY (again) ORDER BY p.stage, p.relid LOOP
            CONTINUE WHEN part.thing = ANY (there);
            IF part.thing = ANY (missing) THEN
                failed := failed || part.sql;
                CONTINUE;
            END IF;
            note := reprieve.make_part(part.label, part.what, part.sql, part.needed, part.thing, part.marked_sql);
            IF note IS NULL THEN
                made := true;
            ELSIF note = '' THEN
                there := there || part.thing;
            ELSE
                notes := notes || note;
                failed := failed || part.sql;
                IF part.sql LIKE 'CREATE %' THEN
                    missing := missing || part.thing;
                END IF;
            END IF;
        END LOOP;
        EXIT WHEN failed = '{}' OR NOT made;
    END LOOP;
    RETURN array_to_string(notes || ARRAY(SELECT format('%s is there already, and stays as it is', t) FROM unnest(there) AS t WHERE t LIKE 'view %'), '; ');
END $$;

-- NULL, or what could not be made and why; nothing ('') where the thing is there already.
DROP FUNCTION IF EXISTS reprieve.make_part(text, text, text, boolean), reprieve.make_part(text, text, text, boolean, text);
CREATE OR REPLACE FUNCTION reprieve.make_part(label text, what text, sql text, needed boolean, thing text, marked_sql text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = 'error' AS $$
BEGIN
    BEGIN
        EXECUTE coalesce(marked_sql, sql);
    EXCEPTION WHEN undefined_column THEN
        IF marked_sql IS NULL THEN
            RAISE;
        END IF;
        EXECUTE sql;
    END;
    IF thing LIKE 'view %' AND sql LIKE 'CREATE %VIEW %' THEN
        PERFORM reprieve.revoke_gifts(substr(thing, 6)::regclass);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    IF thing IS NOT NULL AND sql LIKE 'CREATE %' AND SQLSTATE IN ('42P06', '42P07', '42710') THEN
        RETURN '';
    ELSIF needed THEN
        RAISE EXCEPTION 'table % cannot be made again: %', label, SQLERRM USING ERRCODE = SQLSTATE, DETAIL = sql,
            HINT = CASE WHEN SQLSTATE IN ('42P07', '42710') THEN
                'Something else bears that name by now. Rename it (ALTER TABLE, INDEX or SEQUENCE ... RENAME TO) or drop it, then undelete again: the rows stay in the bin until then.'
            ELSE 'DETAIL has the statement that failed. Make what it needs (as a role, type, function, extension or parent table), then undelete again.' END;
    END IF;
    RETURN format('%s of %s was not made again: %s', what, label, SQLERRM);
END $$;
