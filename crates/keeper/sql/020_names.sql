-- Names, globs, and what a client's session looks like.
--
-- What has a backslash in a string, or makes SQL of expressions that PostgreSQL prints, sets standard_conforming_strings: PostgreSQL reads the
-- text of a function, and prints literals, as the session has it that calls.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
        CREATE ROLE reprieve_admin NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'role "reprieve_admin" does not exist and this role may not create it'
        USING HINT = 'Let a superuser run CREATE ROLE reprieve_admin NOLOGIN, then install again.';
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_viewer') THEN
        CREATE ROLE reprieve_viewer NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'role "reprieve_viewer" does not exist and this role may not create it'
        USING HINT = 'Where applications are to be shown deleted rows (reprieve.show), let a superuser run CREATE ROLE reprieve_viewer NOLOGIN.';
END $$;

-- What the reconciler last saw of a table: it looks again only where this differs.
ALTER TABLE reprieve.tables ADD COLUMN IF NOT EXISTS signature text;
-- What the catalog document says of the table, true while `signature` is.
ALTER TABLE reprieve.tables ADD COLUMN IF NOT EXISTS document text;

-- A DO block named the table: what it runs would see marked rows.
ALTER TABLE reprieve.tables ADD COLUMN IF NOT EXISTS in_block boolean NOT NULL DEFAULT false;

-- Foreign keys to or from marked tables, with the SQL that follows them. The parent is `p`, the child `c`.
CREATE TABLE IF NOT EXISTS reprieve.links (
    conoid      oid PRIMARY KEY,
    name        text NOT NULL,
    parent      oid NOT NULL,
    child       oid NOT NULL,
    position    text NOT NULL,     -- sorts as PostgreSQL fires the foreign keys of one parent
    action      "char" NOT NULL,   -- pg_constraint.confdeltype
    is_deferrable boolean NOT NULL,
    parent_sql  text NOT NULL,     -- ONLY schema.parent
    child_sql   text NOT NULL,
    match_sql   text NOT NULL,     -- p.k = c.f AND ..., with the operators of the constraint
    same_sql    text NOT NULL,     -- s.k = p.k AND ...: s is another parent with the same key
    parent_columns text[] NOT NULL,
    child_columns  text[] NOT NULL,
    set_columns text[] NOT NULL    -- what SET NULL / SET DEFAULT writes
);
CREATE INDEX IF NOT EXISTS links_parent ON reprieve.links (parent);
CREATE INDEX IF NOT EXISTS links_child ON reprieve.links (child);
-- What they were when their triggers were made, see link_states.
CREATE TABLE IF NOT EXISTS reprieve.links_made (
    conoid      oid PRIMARY KEY,
    state       uuid NOT NULL
);

-- Our index on a marked table. By oid: names may be as long as an identifier, and change.
CREATE OR REPLACE FUNCTION reprieve.index_name(relid oid) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT 'reprieve_deletion_' || relid $$;

-- The schema-qualified, quoted name of a relation; NULL if it is gone. In PL/pgSQL, as all that runs with each delete: a function in
-- SQL that cannot be inlined is parsed and planned at each call.
CREATE OR REPLACE FUNCTION reprieve.qualified(relid oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relid);
END $$;

-- True if schema.table matches one of the globs in `list`: separated by commas, with * and ?; a glob
-- without a dot is a table name in any schema.
CREATE OR REPLACE FUNCTION reprieve.matches(schema_name text, table_name text, list text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT EXISTS (
        SELECT FROM regexp_split_to_table(coalesce(list, ''), '\s*,\s*') AS raw(glob),
             LATERAL (SELECT btrim(glob)) AS trimmed(glob)
        WHERE trimmed.glob <> ''
          AND CASE WHEN strpos(trimmed.glob, '.') > 0 THEN schema_name || '.' || table_name ELSE table_name END
              ~ ('^' || replace(replace(regexp_replace(trimmed.glob, '([][(){}.+^$|\\])', '\\\1', 'g'),
                                        '*', '.*'), '?', '.') || '$'))
$$;

CREATE OR REPLACE FUNCTION reprieve.setting(name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT s.value FROM reprieve.settings s WHERE s.key = name);
END $$;

-- True if our event trigger is told before a schema change.
CREATE OR REPLACE FUNCTION reprieve.sees_ddl_start() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtname = 'reprieve_start' AND e.evtenabled <> 'D')
$$;

-- True if the current role may be shown deleted rows: members of reprieve_viewer and of reprieve_admin. Unlike a GRANT on a table
-- that is asked of the role which runs the statement, whatever it has SET.
CREATE OR REPLACE FUNCTION reprieve.may_show_v1() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) ANY ('{reprieve_viewer,reprieve_admin}'::pg_catalog.name[])
                      AND pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER'))
$$;

-- The setting reprieve.show of a session that has set it; forbidden for whoever may not, invalid if there is no such value. No error: a
-- statement of the proxy's own must not fail.
CREATE OR REPLACE FUNCTION reprieve.shown_v1() RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN s.shown OPERATOR(pg_catalog.=) 'live' THEN s.shown
                WHEN s.shown OPERATOR(pg_catalog.<>) ALL ('{deleted,all}'::pg_catalog.text[]) THEN 'invalid'
                WHEN reprieve.may_show_v1() THEN s.shown ELSE 'forbidden' END
    FROM (SELECT pg_catalog.lower(pg_catalog.current_setting('reprieve.show', true)) AS shown) AS s
$$;

-- Where this session looks up unqualified names: {"path":[..],"temp_schema":..,"temp":[..]}, and "show" where it was set. No SET clause
-- and no SECURITY DEFINER: it must see the path of the caller. Everything in it is qualified instead.
CREATE OR REPLACE FUNCTION reprieve.session_v1() RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN coalesce(pg_catalog.current_setting('reprieve.show', true), '') OPERATOR(pg_catalog.=) '' THEN d.document::text
                ELSE (d.document::pg_catalog.jsonb OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('show', reprieve.shown_v1()))::text END
    FROM (SELECT pg_catalog.json_build_object(
        'path', pg_catalog.to_json(pg_catalog.current_schemas(true)),
        'temp_schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n
                        WHERE n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()),
        'temp', coalesce((SELECT pg_catalog.json_agg(c.relname ORDER BY c.relname) FROM pg_catalog.pg_class c
                          WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
                            AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,S}'::"char"[])), '[]'::json)) AS document) AS d
$$;

-- What the document says of one table, but for its mode: {"oid":..,"schema":..,"name":..,"kind":..,"columns":[..],..}.
CREATE OR REPLACE FUNCTION reprieve.describe(relid oid, mode text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT json_build_object(
        'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
        'columns', coalesce((
            SELECT json_agg(json_build_object('name', a.attname,
                     'hidden', mode = 'mark' AND a.attname IN ('deleted_at', 'deletion_id'),
                     'generated', a.attgenerated <> '') ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
        'primary_key', coalesce((
            SELECT json_agg(a.attname ORDER BY k.place)
            FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place), pg_attribute a
            WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
              AND a.attrelid = c.oid AND a.attnum = k.attnum), '[]'),
        'inherits', EXISTS (SELECT FROM pg_inherits h JOIN pg_class m ON m.oid = h.inhrelid
                            WHERE c.oid IN (h.inhrelid, h.inhparent) AND NOT m.relispartition AND m.relkind <> 'I'),
        'row_type', CASE WHEN mode = 'mark' THEN reprieve.describe_row_type(c.oid) END)::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relid
$$;

-- The document by which proxies rewrite: see "keeper SQL -> catalog" in ARCHITECTURE.md. What it says of a table is
-- kept in reprieve.tables for as long as the signature beside it holds.
CREATE OR REPLACE FUNCTION reprieve.catalog_v1() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    RETURN (
        WITH enabled AS MATERIALIZED (
            SELECT c.oid, n.nspname, c.relname, t.mode, t.marking,
                   CASE WHEN t.signature <> 'preparing' THEN t.document END AS document
            FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
        )
        SELECT format('{"server":%s,"tables":[%s],"shadows":%s,"types":%s,"deferrable":%s,"sees_ddl_start":%s}', current_setting('server_version_num'),
            (SELECT string_agg(format('{"mode":"%s","marking":%s,%s', e.mode, e.marking::text,
                                      substr(coalesce(e.document, reprieve.describe(e.oid, e.mode)), 2)),
                               ',' ORDER BY e.nspname, e.relname) FROM enabled e),
            coalesce((
                SELECT json_agg(json_build_array(n.nspname, c.relname) ORDER BY n.nspname, c.relname)
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relname IN (SELECT e.relname FROM enabled e) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                  AND c.relpersistence <> 't' AND n.nspname !~ '^pg_toast'
                  AND c.oid NOT IN (SELECT e.oid FROM enabled e)), '[]'),
            -- Types that are no marked table's row, but bear its name.
            coalesce((
                SELECT json_agg(json_build_array(n.nspname, y.typname) ORDER BY n.nspname, y.typname)
                FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
                WHERE y.typname IN (SELECT e.relname FROM enabled e WHERE e.mode = 'mark') AND n.nspname !~ '^pg_(toast|temp)'
                  AND y.typrelid NOT IN (SELECT e.oid FROM enabled e WHERE e.mode = 'mark')), '[]'),
            -- Constraint triggers of ours that SET CONSTRAINTS should reach by the name of the foreign key.
            coalesce((
                SELECT json_agg(json_build_array(f.nspname, f.name, f.ours) ORDER BY f.nspname, f.name)
                FROM (SELECT n.nspname, l.name, json_agg(o.conname ORDER BY o.conname) AS ours
                      FROM reprieve.links l JOIN pg_constraint x ON x.oid = l.conoid JOIN pg_namespace n ON n.oid = x.connamespace
                      JOIN pg_constraint o ON o.conrelid IN (l.child, l.parent) AND o.contype = 't' AND o.conname IN (
                          '~reprieve_live_' || l.conoid, '~reprieve_live_' || l.conoid || '_update', '~reprieve_still_' || l.conoid)
                      WHERE l.is_deferrable GROUP BY n.nspname, l.name) AS f), '[]'),
            reprieve.sees_ddl_start()::text));
END $$;
