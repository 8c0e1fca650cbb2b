-- PREVIEW DELETE: what a DELETE would take, change and run into.

-- Writes down rows of a table that the DELETE itself would take. For preview_delete_v1, which finds them with the caller's rights.
CREATE OR REPLACE FUNCTION reprieve.preview_take_v1(leaves oid[], places tid[], taken bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('PREVIEW');
    INSERT INTO reprieve.preview_rows
    SELECT pg_current_xact_id(), u.leaf, u.tid, 1 + (taken / 200000)::int, 1 FROM unnest(leaves, places) AS u(leaf, tid) ON CONFLICT DO NOTHING;
END $$;

-- Follows the foreign keys of the rows written down and tells what would become of whom, as an array of lines. With `estimate`, the
-- planner's number of rows, nothing was written down, and foreign keys are named only.
CREATE OR REPLACE FUNCTION reprieve.preview_follow_v1(start regclass, estimate bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    act xid8 := pg_current_xact_id();
    paths reprieve.preview_path[] := ARRAY[ROW(start, NULL, NULL, NULL, 0)::reprieve.preview_path];
    known reprieve.preview_step[] := '{}';
    own reprieve.preview_step[];
    loaded oid[] := '{}';
    head int := 1;
    tail int := coalesce((SELECT max(r.batch) FROM reprieve.preview_rows r WHERE r.act = pg_current_xact_id()), 1);
    item record;
    l reprieve.preview_step;
    way record;
    singly boolean;
    going bigint;
BEGIN
    PERFORM reprieve.require_admin('PREVIEW');
    IF estimate IS NOT NULL THEN
        RETURN reprieve.preview_unread(start, estimate);
    END IF;
    WHILE head <= tail LOOP
        -- Rows of one table, come by one way.
        FOR item IN SELECT r.relid, r.path, array_agg(r.tid ORDER BY r.tid) AS places
                    FROM reprieve.preview_rows r WHERE r.act = pg_current_xact_id() AND r.batch = head GROUP BY 1, 2 ORDER BY 1, 2 LOOP
            IF item.relid <> ALL (loaded) THEN
                loaded := loaded || item.relid;
                known := known || ARRAY(SELECT k FROM reprieve.preview_steps(item.relid) AS k);
            END IF;
            own := ARRAY(SELECT u.step FROM (SELECT known[i] AS step, i FROM generate_subscripts(known, 1) AS i OFFSET 0) AS u
                         WHERE ((u.step).link).parent = item.relid ORDER BY u.i);
            -- One that is blind is not looked at for any of its keys.
            singly := cardinality(own) > 1 AND own[1].blind IS NULL AND reprieve.preview_singly(own, act, item.places);
            FOR part IN 1 .. CASE WHEN singly THEN cardinality(item.places) ELSE 1 END LOOP
                FOREACH l IN ARRAY own LOOP
                    way := reprieve.preview_way(paths, item.path, (l.link).conoid, (l.link).child);
                    paths := way.paths;
                    paths[way.id].parents := paths[way.id].parents + CASE WHEN singly THEN 1 ELSE cardinality(item.places) END;
                    paths[way.id].note := coalesce(paths[way.id].note, l.blind);
                    CONTINUE WHEN l.late OR paths[way.id].note IS NOT NULL;
                    going := reprieve.preview_link_rows(l, act, CASE WHEN singly THEN ARRAY[item.places[part]] ELSE item.places END, tail + 1, way.id);
                    tail := tail + ((going + 199999) / 200000)::int;
                END LOOP;
            END LOOP;
        END LOOP;
        head := head + 1;
    END LOOP;
    FOREACH l IN ARRAY known LOOP
        IF l.blind IS NULL THEN
            PERFORM reprieve.preview_late(l, act, paths);
        END IF;
    END LOOP;
    RETURN reprieve.preview_lines(act, paths);
END $$;

-- The triggers of users that deletes or changes of rows fire. Those for each statement fire on the table that is named, even without rows.
CREATE OR REPLACE FUNCTION reprieve.preview_triggers(relid oid, event text, columns text[], n bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%I %s %s%s', g.tgname, CASE WHEN g.tgtype & 2 <> 0 THEN 'before' ELSE 'after' END,
                             CASE WHEN g.tgtype & 1 <> 0 THEN format('each of %s rows', n) ELSE 'the statement' END,
                             CASE WHEN g.tgqual IS NOT NULL THEN ' if its WHEN holds' ELSE '' END), ', ' ORDER BY g.tgtype & 1, g.tgname)
    FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE g.tgrelid = $1 AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND p.pronamespace <> 'reprieve'::regnamespace
      AND (g.tgtype & 1 = 0 OR n > 0)
      AND CASE event WHEN 'delete' THEN g.tgtype & 8 <> 0
          ELSE g.tgtype & 16 <> 0 AND (g.tgattr = ''::int2vector OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = $1
               AND a.attnum = ANY (g.tgattr::int2[]) AND a.attname = ANY (columns))) END
$$;

CREATE OR REPLACE FUNCTION reprieve.preview_indexed(con oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_constraint x JOIN pg_index i ON i.indrelid = x.conrelid AND i.indisvalid AND i.indpred IS NULL
                   WHERE x.oid = con AND i.indkey[0] = ANY (x.conkey))
$$;

-- A rough time in milliseconds for `n` rows of a table, taken along by `parents` rows through a foreign key: what rows, indexes, triggers
-- and, without an index on the referencing columns, reading the table once for each parent cost on a machine of our days.
CREATE OR REPLACE FUNCTION reprieve.preview_cost(relid oid, con oid, n bigint, parents bigint) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT round((n * (0.004 + 0.002 * (SELECT count(*) FROM pg_index i WHERE i.indrelid = $1)
                        + 0.004 * (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = $1 AND g.tgtype & 9 = 9 AND g.tgenabled IN ('O', 'A'))
                        + CASE WHEN EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = $1) THEN 0.004 ELSE 0 END)
                  + CASE WHEN con IS NULL THEN 0 WHEN reprieve.preview_indexed(con) THEN parents * 0.006
                         ELSE parents * 0.0001 * greatest(c.reltuples, 0) END)::numeric, 1)
    FROM pg_class c WHERE c.oid = $1
$$;

-- What SET NULL or SET DEFAULT of a foreign key writes.
CREATE OR REPLACE FUNCTION reprieve.preview_set_columns(con oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (k.link).set_columns FROM pg_constraint x, LATERAL reprieve.preview_links(x.confrelid) AS k WHERE x.oid = $1 AND (k.link).conoid = $1
$$;

-- How a row at a place is called.
CREATE OR REPLACE FUNCTION reprieve.preview_example(relid oid, place tid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    EXECUTE format('SELECT %s FROM ONLY %s t WHERE t.ctid = $1', reprieve.row_name(relid, 't'), reprieve.qualified(relid)) INTO name USING place;
    RETURN name;
END $$;

-- The tables and foreign keys of a way, from the start.
CREATE OR REPLACE FUNCTION reprieve.preview_path_name(paths reprieve.preview_path[], id int) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    WHILE id IS NOT NULL LOOP
        name := concat_ws(' > ', CASE WHEN paths[id].con IS NULL THEN reprieve.qualified(paths[id].relid)
                                      ELSE (SELECT quote_ident(x.conname) || ' > ' || reprieve.qualified(paths[id].relid)
                                            FROM pg_constraint x WHERE x.oid = paths[id].con) END, name);
        id := paths[id].parent;
    END LOOP;
    RETURN name;
END $$;

-- The lines of a preview: for each way what is deleted, and what of the referring rows stays.
CREATE OR REPLACE FUNCTION reprieve.preview_lines(act xid8, paths reprieve.preview_path[]) RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH way AS (
        SELECT w.*, x.conname, x.confdeltype, reprieve.qualified(w.relid) AS label
        FROM unnest(paths) WITH ORDINALITY AS w(relid, con, parent, note, parents, id) LEFT JOIN pg_constraint x ON x.oid = w.con
    ), going AS (
        SELECT r.path, count(*) AS n FROM reprieve.preview_rows r WHERE r.act = $1 GROUP BY 1
    ), kept AS (
        SELECT k.path, k.what, count(*) AS n, (array_agg(k.relid ORDER BY k.relid, k.tid))[1] AS relid, (array_agg(k.tid ORDER BY k.relid, k.tid))[1] AS tid
        FROM reprieve.preview_kept k
        WHERE k.act = $1 AND (k.what = 'b' OR NOT EXISTS (SELECT FROM reprieve.preview_rows r WHERE r.act = $1 AND r.relid = k.relid AND r.tid = k.tid)
                                              AND NOT EXISTS (SELECT FROM reprieve.preview_kept b WHERE b.act = $1 AND b.con = k.con
                                                                 AND b.relid = k.relid AND b.tid = k.tid AND b.what = 'b'))
        GROUP BY 1, 2
    ), line AS (
        SELECT w.id, w.parent, w.label, w.relid, w.con, w.conname, 'delete' AS action, coalesce(g.n, 0) AS n, w.parents, w.note,
               reprieve.preview_triggers(w.relid, 'delete', NULL, coalesce(g.n, 0)) AS triggers, NULL AS example
        FROM way w LEFT JOIN going g ON g.path = w.id WHERE w.con IS NULL OR w.confdeltype = 'c'
        UNION ALL
        SELECT w.id, w.parent, w.label, w.relid, w.con, w.conname,
               CASE k.what WHEN 'b' THEN 'block' WHEN 'n' THEN 'set null' ELSE 'set default' END, k.n, w.parents, w.note,
               CASE WHEN k.what <> 'b' THEN reprieve.preview_triggers(w.relid, 'update', reprieve.preview_set_columns(w.con), k.n) END,
               CASE k.what WHEN 'b' THEN reprieve.preview_example(k.relid, k.tid) END
        FROM way w JOIN kept k ON k.path = w.id
        UNION ALL
        SELECT w.id, w.parent, w.label, w.relid, w.con, w.conname, 'unknown', NULL, w.parents, w.note, NULL, NULL
        FROM way w WHERE w.note IS NOT NULL AND w.confdeltype <> 'c'
    )
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', l.id, 'parent', l.parent, 'table', l.label, 'key', l.conname, 'path', reprieve.preview_path_name(paths, l.id::int),
               'action', CASE WHEN l.note IS NOT NULL THEN 'unknown' ELSE l.action END, 'rows', CASE WHEN l.note IS NULL THEN l.n END,
               'triggers', l.triggers,
               'ms', CASE WHEN l.note IS NULL AND l.action <> 'block' THEN reprieve.preview_cost(l.relid, l.con, l.n, l.parents) END,
               'lock', CASE WHEN l.n = 0 THEN NULL
                            WHEN l.action = 'delete' THEN format('ROW EXCLUSIVE; %s rows FOR UPDATE', l.n)
                            WHEN l.action IN ('set null', 'set default') THEN format('ROW EXCLUSIVE; %s rows FOR NO KEY UPDATE', l.n)
                            WHEN l.action = 'block' THEN 'ROW SHARE' END,
               'detail', concat_ws('; ', l.note, 'for example ' || l.example,
                   CASE WHEN l.con IS NOT NULL AND l.n > 0 AND NOT reprieve.preview_indexed(l.con)
                        THEN format('no index on (%s): the table is read again and again', array_to_string(reprieve.key_columns(l.con, 'c'), ', ')) END,
                   CASE WHEN l.con IS NOT NULL AND l.action = 'delete' AND l.n > 0 AND reprieve.left_out(l.relid) IS NOT NULL
                        THEN 'the rows would not be kept: the table ' || reprieve.left_out(l.relid) END))
           ORDER BY l.id, l.action), '[]')
    FROM line l WHERE l.n > 0 OR l.triggers IS NOT NULL OR l.note IS NOT NULL OR l.id = 1
$$;

-- The lines of a preview that may not run the condition.
CREATE OR REPLACE FUNCTION reprieve.preview_unread(start oid, estimate bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE way(relid, con, action, parent) AS (
        SELECT $1, NULL::oid, 'c'::"char", NULL::oid
        UNION
        SELECT x.conrelid, x.oid, x.confdeltype, x.confrelid
        FROM way w JOIN pg_constraint x ON x.contype = 'f' AND x.conparentid = 0 AND x.confrelid = w.relid WHERE w.action = 'c'
    ), line AS MATERIALIZED (
        SELECT w.*, row_number() OVER (ORDER BY w.con NULLS FIRST) AS id, x.conname FROM way w LEFT JOIN pg_constraint x ON x.oid = w.con
    )
    SELECT jsonb_agg(jsonb_build_object('id', l.id,
               'parent', CASE WHEN l.con IS NOT NULL THEN coalesce((SELECT max(p.id) FROM line p WHERE p.relid = l.parent AND p.action = 'c' AND p.id < l.id), 1) END,
               'table', reprieve.qualified(l.relid), 'key', l.conname,
               'path', concat_ws(' > ', reprieve.qualified(l.parent), quote_ident(l.conname), reprieve.qualified(l.relid)),
               'action', CASE l.action WHEN 'c' THEN 'delete' WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' ELSE 'block' END,
               'rows', CASE WHEN l.con IS NULL THEN $2 END, 'ms', CASE WHEN l.con IS NULL THEN reprieve.preview_cost(l.relid, NULL, $2, 0) END,
               'triggers', CASE WHEN l.con IS NULL THEN reprieve.preview_triggers(l.relid, 'delete', NULL, $2) END,
               'detail', CASE WHEN l.con IS NULL THEN 'an estimate of the planner' ELSE 'not counted' END) ORDER BY l.id)
    FROM line l
$$;

-- A volatile function that a view calls, or the views behind it do; NULL if there is none.
CREATE OR REPLACE FUNCTION reprieve.volatile_in_v1(of_view regclass) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH RECURSIVE seen(relid) AS (
        SELECT $1::oid
        UNION
        SELECT d.refobjid FROM seen s JOIN pg_rewrite r ON r.ev_class = s.relid JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        JOIN pg_class v ON d.refclassid = 'pg_class'::regclass AND v.oid = d.refobjid AND v.relkind = 'v'
    ), tree AS MATERIALIZED (SELECT r.ev_action::text AS text FROM seen s JOIN pg_rewrite r ON r.ev_class = s.relid)
    SELECT min(p.oid::regprocedure::text) FROM pg_proc p
    WHERE p.provolatile = 'v' AND p.oid IN (
        SELECT m[1]::oid FROM tree, regexp_matches(tree.text, ':(?:funcid|opfuncid) (\d+)', 'g') AS m
        UNION SELECT o.oprcode FROM tree, regexp_matches(tree.text, ':opno (\d+)', 'g') AS m JOIN pg_operator o ON o.oid = m[1]::oid)
$$;

-- The lines of PREVIEW DELETE. `query` finds the rows of the table that the DELETE itself would take: tableoid and ctid of each. It is
-- the caller's SQL and runs with the caller's rights and search path, so this function is neither SECURITY DEFINER nor does it set
-- anything; all it says itself is qualified. It ends by undoing all that was done, but for the lines.
CREATE OR REPLACE FUNCTION reprieve.preview_delete_lines_v1(t regclass, query text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    item record;
    leaves oid[] := '{}';
    places tid[] := '{}';
    taken bigint := 0;
    plan json;
    volatile_function text;
    lines jsonb;
BEGIN
    PERFORM reprieve.require_admin('PREVIEW');
    BEGIN
        PERFORM pg_catalog.set_config('reprieve.reconciling', '1', true);
        EXECUTE 'CREATE TEMPORARY VIEW reprieve_preview (leaf, place) AS ' OPERATOR(pg_catalog.||) query;
        volatile_function := reprieve.volatile_in_v1('pg_temp.reprieve_preview'::pg_catalog.regclass);
        IF volatile_function IS NOT NULL THEN
            EXECUTE 'EXPLAIN (FORMAT JSON) ' OPERATOR(pg_catalog.||) query INTO plan;
            lines := reprieve.preview_follow_v1(t, ((plan OPERATOR(pg_catalog.->) 0 OPERATOR(pg_catalog.->) 'Plan' OPERATOR(pg_catalog.->>) 'Plan Rows'))::bigint);
        ELSE
            FOR item IN EXECUTE pg_catalog.format('SELECT q.leaf::pg_catalog.oid, q.place::pg_catalog.tid FROM (%s) AS q(leaf, place)', query) LOOP
                leaves := leaves OPERATOR(pg_catalog.||) item.leaf;
                places := places OPERATOR(pg_catalog.||) item.place;
                taken := taken OPERATOR(pg_catalog.+) 1;
                IF taken OPERATOR(pg_catalog.%) 10000 OPERATOR(pg_catalog.=) 0 THEN
                    PERFORM reprieve.preview_take_v1(leaves, places, taken OPERATOR(pg_catalog.-) 1);
                    leaves := '{}';
                    places := '{}';
                END IF;
            END LOOP;
            PERFORM reprieve.preview_take_v1(leaves, places, taken);
            lines := reprieve.preview_follow_v1(t);
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'RV018', MESSAGE = 'the preview is over';
    EXCEPTION WHEN SQLSTATE 'RV018' THEN
        IF lines IS NULL THEN
            RAISE;
        END IF;
    END;
    RETURN pg_catalog.jsonb_build_object('lines', lines, 'volatile', volatile_function,
        'secured', pg_catalog.row_security_active(t));
END $$;

-- The query that finds the live rows of a table that satisfy a condition.
CREATE OR REPLACE FUNCTION reprieve.preview_query_v1(t regclass, predicate text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := (SELECT c.relname FROM pg_class c WHERE c.oid = t AND c.relkind IN ('r', 'p'));
BEGIN
    PERFORM reprieve.require_admin('PREVIEW');
    IF name IS NULL THEN
        RAISE EXCEPTION '% is not a table', t USING ERRCODE = 'wrong_object_type', HINT = 'Preview the delete on the table behind it.';
    END IF;
    RETURN format('SELECT %1$I.tableoid, %1$I.ctid FROM %2$s AS %1$I WHERE %3$s AND (%4$s)', name, reprieve.qualified(t),
                  reprieve.live_sql(t, quote_ident(name)), coalesce(predicate, 'true'));
END $$;

-- The same, once the condition is known to be one. No lock stays.
CREATE OR REPLACE FUNCTION reprieve.condition_query_v1(t regclass, predicate text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    rows_sql pg_catalog.text := reprieve.preview_query_v1(t, predicate);
BEGIN
    BEGIN
        PERFORM reprieve.require_condition_v1(t, coalesce(predicate, 'true'));
        RAISE SQLSTATE 'RV018';
    EXCEPTION WHEN SQLSTATE 'RV018' THEN
        NULL;
    END;
    RETURN rows_sql;
END $$;

-- PREVIEW DELETE FROM t WHERE predicate. One row for each table and way of foreign keys to it, each row of a table counted once, and
-- a last one for the whole: DELETES, BLOCKED, NOTHING or, where the condition calls a volatile function and was not run, ESTIMATED.
CREATE OR REPLACE FUNCTION reprieve.preview_delete_v1(t regclass, predicate text DEFAULT 'true', query text DEFAULT NULL)
RETURNS TABLE (table_name text, path text, action text, rows bigint, triggers text, estimated_ms numeric, lock text, detail text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT * FROM reprieve.preview_table_v1(reprieve.preview_delete_lines_v1(t, coalesce(query, reprieve.condition_query_v1(t, predicate))));
END $$;

CREATE OR REPLACE FUNCTION reprieve.preview_table_v1(preview jsonb)
RETURNS TABLE (table_name text, path text, action text, rows bigint, triggers text, estimated_ms numeric, lock text, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH line AS MATERIALIZED (
        SELECT l.* FROM jsonb_to_recordset(preview -> 'lines')
            AS l(id int, "table" text, path text, action text, rows bigint, triggers text, ms numeric, lock text, detail text)
    )
    SELECT q.* FROM (
        (SELECT l."table", l.path, l.action, l.rows, l.triggers, l.ms, l.lock, l.detail FROM line l ORDER BY l.id, l.action)
        UNION ALL
        SELECT '(all)', NULL,
               CASE WHEN preview ->> 'volatile' IS NOT NULL THEN 'ESTIMATED' WHEN bool_or(l.action = 'block') THEN 'BLOCKED'
                    WHEN coalesce(sum(l.rows) FILTER (WHERE l.action = 'delete'), 0) = 0 THEN 'NOTHING' ELSE 'DELETES' END,
               sum(l.rows) FILTER (WHERE l.action = 'delete')::bigint, NULL, sum(l.ms), NULL,
               concat_ws('; ',
                   'the condition calls ' || (preview ->> 'volatile') || ', which is volatile: only the DELETE itself may run it',
                   CASE WHEN bool_or(l.action = 'unknown') THEN 'not all tables could be looked at' END,
                   CASE WHEN (preview ->> 'secured')::boolean THEN 'row security applies to you: another role may delete other rows' END,
                   CASE WHEN bool_or(l.triggers ~ ' before each') THEN 'a trigger before a row may spare it' END)
        FROM line l) AS q
$$;

-- The same as a picture: text (`tree`), Graphviz (`dot`) or `mermaid`, line by line.
CREATE OR REPLACE FUNCTION reprieve.preview_delete_tree_v1(t regclass, predicate text DEFAULT 'true', format text DEFAULT 'tree', query text DEFAULT NULL)
RETURNS TABLE (preview text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT * FROM reprieve.preview_picture_v1(reprieve.preview_delete_lines_v1(t, coalesce(query, reprieve.condition_query_v1(t, predicate))), format);
END $$;

CREATE OR REPLACE FUNCTION reprieve.preview_picture_v1(seen jsonb, kind text) RETURNS TABLE (preview text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('PREVIEW');
    IF kind = 'tree' THEN
        RETURN QUERY SELECT * FROM reprieve.preview_tree(seen);
    ELSIF kind IN ('dot', 'mermaid') THEN
        RETURN QUERY SELECT * FROM reprieve.preview_graph(seen, kind = 'dot');
    ELSE
        RAISE EXCEPTION 'PREVIEW has no format %', coalesce(quote_literal(kind), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Formats are table, tree, dot and mermaid.';
    END IF;
END $$;

-- What a line says of its rows.
CREATE OR REPLACE FUNCTION reprieve.preview_says(action text, rows bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s row%s %s', coalesce($2::text, '?'), CASE $2 WHEN 1 THEN '' ELSE 's' END,
                  CASE action WHEN 'delete' THEN 'deleted' WHEN 'block' THEN CASE $2 WHEN 1 THEN 'BLOCKS' ELSE 'BLOCK' END
                              WHEN 'unknown' THEN 'not looked at' ELSE action END)
$$;

CREATE OR REPLACE FUNCTION reprieve.preview_tree(seen jsonb) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE line AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY l.id, l.action) AS n, l.* FROM jsonb_to_recordset(seen -> 'lines')
            AS l(id int, parent int, "table" text, key text, action text, rows bigint, triggers text)
    ), node AS MATERIALIZED (
        -- A line hangs on the line of the rows that go; ways without such a line hang on the root.
        SELECT l.*, CASE WHEN l.parent IS NOT NULL THEN coalesce((SELECT p.n FROM line p WHERE p.id = l.parent AND p.action IN ('delete', 'unknown') LIMIT 1), 1) END AS above
        FROM line l
    ), tree AS (
        SELECT n.n, ARRAY[n.n] AS place, '' AS indent, ''::text AS branch FROM node n WHERE n.above IS NULL
        UNION ALL
        SELECT n.n, t.place || n.n, t.indent || t.branch, CASE WHEN n.n = (SELECT max(o.n) FROM node o WHERE o.above = n.above) THEN '   ' ELSE '│  ' END
        FROM tree t JOIN node n ON n.above = t.n
    )
    SELECT t.indent || CASE t.branch WHEN '' THEN '' WHEN '   ' THEN '└─ ' ELSE '├─ ' END
           || concat_ws(' ', quote_ident(l.key) || ' >', l."table" || ':', reprieve.preview_says(l.action, l.rows), '(fires ' || l.triggers || ')')
    FROM tree t JOIN line l USING (n) ORDER BY t.place
$$;

-- Tables as nodes, foreign keys as arrows.
CREATE OR REPLACE FUNCTION reprieve.preview_graph(seen jsonb, dot boolean) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    WITH line AS MATERIALIZED (
        SELECT l.* FROM jsonb_to_recordset(seen -> 'lines') AS l(id int, parent int, "table" text, key text, action text, rows bigint)
    ), node AS MATERIALIZED (
        SELECT 't' || row_number() OVER (ORDER BY min(l.id)) AS name, l."table", sum(l.rows) FILTER (WHERE l.action = 'delete') AS deleted,
               bool_or(l.action = 'block') AS blocks
        FROM line l GROUP BY l."table"
    ), edge AS (
        SELECT p.name AS start, c.name AS target, l.key, l.action, sum(l.rows)::bigint AS rows
        FROM line l JOIN node c ON c."table" = l."table"
        JOIN node p ON p."table" = coalesce((SELECT o."table" FROM line o WHERE o.id = l.parent LIMIT 1), (SELECT o."table" FROM line o WHERE o.id = 1 LIMIT 1))
        WHERE l.parent IS NOT NULL GROUP BY 1, 2, 3, 4
    )
    SELECT text FROM (
        SELECT 0 AS part, '' AS name, CASE WHEN dot THEN 'digraph deletion {' ELSE 'flowchart TD' END AS text
        UNION ALL
        SELECT 1, n.name, CASE WHEN dot THEN format('  %s [label="%s\n%s deleted"%s];', n.name, replace(replace(n."table", '\', '\\'), '"', '\"'), coalesce(n.deleted, 0),
                                                    CASE WHEN n.blocks THEN ', color=red' ELSE '' END)
                                ELSE format('  %s["%s<br/>%s deleted"]', n.name, replace(n."table", '"', '#quot;'), coalesce(n.deleted, 0)) END FROM node n
        UNION ALL
        SELECT 2, e.start || e.target || e.key, CASE WHEN dot THEN format('  %s -> %s [label="%s\n%s"%s];', e.start, e.target,
                                                    replace(replace(e.key, '\', '\\'), '"', '\"'), reprieve.preview_says(e.action, e.rows),
                                                    CASE e.action WHEN 'delete' THEN '' WHEN 'block' THEN ', color=red' ELSE ', style=dashed' END)
                                ELSE format('  %s %s|"%s<br/>%s"| %s', e.start, CASE e.action WHEN 'delete' THEN '-->' WHEN 'block' THEN '--x' ELSE '-.->' END,
                                            replace(e.key, '"', '#quot;'), reprieve.preview_says(e.action, e.rows), e.target) END FROM edge e
        UNION ALL
        SELECT 3, '', '}' WHERE dot) AS q ORDER BY part, name
$$;
