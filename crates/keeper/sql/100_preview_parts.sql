-- What PREVIEW DELETE is made of. A preview deletes nothing: it writes down the places of the rows that a DELETE would take, follows
-- the foreign keys from there in the order in which PostgreSQL would (see reprieve.follow), and undoes what it has written. It reads
-- with the locks of a SELECT. The rows of one transaction, so that previews do not wait for each other.

-- Rows that would be deleted. A batch is what is followed at once.
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.preview_rows (
    act     xid8 NOT NULL,
    relid   oid NOT NULL,
    tid     tid NOT NULL,
    batch   int NOT NULL,
    path    int NOT NULL,
    PRIMARY KEY (act, relid, tid)
);
CREATE INDEX IF NOT EXISTS preview_rows_batch ON reprieve.preview_rows (act, batch);

-- Rows that refer to rows that would be deleted, and stay: their reference is set to null (n) or a default (d), or they block (b).
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.preview_kept (
    act     xid8 NOT NULL,
    con     oid NOT NULL,
    relid   oid NOT NULL,
    tid     tid NOT NULL,
    what    "char" NOT NULL,
    path    int NOT NULL,
    PRIMARY KEY (act, con, relid, tid, what)
);

DO $$
BEGIN
    IF to_regtype('reprieve.preview_path') IS NULL THEN
        -- One way to a table: the foreign key that leads to it, and from which way.
        CREATE TYPE reprieve.preview_path AS (relid oid, con oid, parent int, note text, parents bigint);
        -- Links to be followed from a table; `action` as in pg_constraint, `late` if it is looked at when all else is done.
        CREATE TYPE reprieve.preview_link AS (link reprieve.links, late boolean);
        -- The same with what is asked again and again: the children, their reference after SET DEFAULT, what becomes of those that stay,
        -- why they cannot be looked at.
        CREATE TYPE reprieve.preview_step AS (link reprieve.links, late boolean, children text, defaulted text, what text, blind text);
    END IF;
END $$;

-- The foreign keys that lead to rows of one table, as PostgreSQL would fire them. Of a partition also those of its parents.
CREATE OR REPLACE FUNCTION reprieve.preview_links(relid oid) RETURNS SETOF reprieve.preview_link
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ROW(ROW(x.oid, x.conname::text, $1, x.conrelid, f.position,
               x.confdeltype, x.condeferrable, 'ONLY ' || reprieve.qualified($1),
               CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || reprieve.qualified(c.oid),
               reprieve.match_sql(x.oid, 'p', 'c'), '', k.parent_columns, k.child_columns,
               coalesce((SELECT array_agg(a.attname::text ORDER BY d.place)
                         FROM jsonb_array_elements_text(nullif(to_jsonb(x) -> 'confdelsetcols', 'null')) WITH ORDINALITY AS d(attnum, place)
                         JOIN pg_attribute a ON a.attrelid = x.conrelid AND a.attnum = d.attnum::int2), k.child_columns))::reprieve.links,
               x.confdeltype = 'a' AND x.condeferred)::reprieve.preview_link
    FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid,
         LATERAL (SELECT coalesce(min(g.tgname::text COLLATE "C"), x.oid::text) AS position FROM pg_trigger g
                  WHERE g.tgconstraint = x.oid AND g.tgrelid = x.confrelid AND g.tgtype & 8 <> 0) AS f,
         LATERAL (SELECT array_agg(pa.attname::text ORDER BY u.place) AS parent_columns, array_agg(ca.attname::text ORDER BY u.place) AS child_columns
                  FROM unnest(x.conkey, x.confkey) WITH ORDINALITY AS u(ck, pk, place)
                  JOIN pg_attribute ca ON ca.attrelid = x.conrelid AND ca.attnum = u.ck
                  JOIN pg_attribute pa ON pa.attrelid = x.confrelid AND pa.attnum = u.pk) AS k
    WHERE x.contype = 'f' AND x.conparentid = 0 AND coalesce((to_jsonb(x) ->> 'conenforced')::boolean, true)
      AND NOT coalesce((to_jsonb(x) ->> 'conperiod')::boolean, false)
      AND (x.confrelid = $1 OR x.confrelid IN (SELECT a.relid FROM pg_partition_ancestors($1) AS a(relid)))
    ORDER BY f.position
$$;

-- Why rows of a table cannot be looked at; NULL if they can.
CREATE OR REPLACE FUNCTION reprieve.preview_blind(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') OR NOT has_schema_privilege(c.relnamespace, 'USAGE')
                THEN 'the keeper may not read it'
                WHEN reprieve.untrusted_index(c.oid) IS NOT NULL THEN 'to read it would run code of its owner with the keeper''s rights' END
    FROM pg_class c WHERE c.oid = $1
$$;

-- The condition that the row `alias` is not among those that would be deleted. $1 is the act.
CREATE OR REPLACE FUNCTION reprieve.preview_stays(alias text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('NOT EXISTS (SELECT FROM reprieve.preview_rows gone WHERE gone.act = $1 AND gone.relid = %1$s.tableoid AND gone.tid = %1$s.ctid)', alias)
$$;

-- FROM and WHERE of the live rows `c` that refer to the rows `p` at the places $2, and whose reference no other key has changed yet.
CREATE OR REPLACE FUNCTION reprieve.preview_children(link reprieve.links) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('FROM %s p, %s c WHERE p.ctid = ANY ($2) AND %s AND %s AND %s', (link).parent_sql, (link).child_sql, (link).match_sql,
                  reprieve.live_sql((link).child, 'c'), reprieve.preview_stays('c'))
        || coalesce((SELECT format(' AND NOT EXISTS (SELECT FROM reprieve.preview_kept k WHERE k.act = $1 AND k.relid = c.tableoid AND k.tid = c.ctid'
                                   ' AND k.what <> ''b'' AND k.con = ANY (%L::oid[]))', array_agg((o.link).conoid))
                     FROM pg_constraint x, LATERAL reprieve.preview_links(x.confrelid) AS o
                     WHERE x.contype = 'f' AND x.conrelid = ($1).child AND x.confdeltype IN ('n', 'd') AND x.conparentid = 0
                       AND (o.link).conoid = x.oid AND (o.link).set_columns && ($1).child_columns
                    HAVING count(*) > 0), '')
$$;

-- What a reference is after SET DEFAULT, as a subquery of the child `c`; NULL if that cannot be told without running code.
CREATE OR REPLACE FUNCTION reprieve.preview_defaulted(link reprieve.links) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT CASE WHEN bool_and(d.adbin IS NULL OR d.adbin::text !~ ':(funcid|opno|opfuncid) |COERCEVIAIO|NEXTVALUE|SQLVALUE') THEN
        format('(SELECT %s)', string_agg(CASE WHEN u.name <> ALL ((link).set_columns) THEN format('c.%I', u.name)
                                              WHEN d.adbin IS NULL THEN format('NULL::%s', format_type(a.atttypid, a.atttypmod))
                                              ELSE format('(%s)::%s', pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod)) END
                                         || format(' AS %I', u.name), ', ' ORDER BY u.place)) END
    FROM unnest((link).child_columns) WITH ORDINALITY AS u(name, place)
    JOIN pg_attribute a ON a.attrelid = (link).child AND a.attname = u.name
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND u.name = ANY ((link).set_columns)
$$;

-- True if SET NULL or SET DEFAULT would write a null where none may be.
CREATE OR REPLACE FUNCTION reprieve.preview_not_null(link reprieve.links) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = (link).child AND a.attname = ANY ((link).set_columns) AND a.attnotnull
                      AND ((link).action = 'n' OR NOT a.atthasdef))
$$;

-- All that is to be known of the foreign keys that lead to rows of a table.
CREATE OR REPLACE FUNCTION reprieve.preview_steps(relid oid) RETURNS SETOF reprieve.preview_step
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.link, k.late, reprieve.preview_children(k.link), CASE (k.link).action WHEN 'd' THEN reprieve.preview_defaulted(k.link) END,
           CASE WHEN (k.link).action IN ('a', 'r') OR reprieve.preview_not_null(k.link) THEN 'b' ELSE (k.link).action::text END,
           coalesce(reprieve.preview_blind($1), reprieve.preview_blind((k.link).child))
    FROM reprieve.preview_links($1) AS k
$$;

-- Follows one foreign key from the rows of a table at `places`: children that go become batches from `batch` on. Returns how many rows
-- go along; children that stay are written down. Batches are small, as their places are held in memory.
CREATE OR REPLACE FUNCTION reprieve.preview_link_rows(step reprieve.preview_step, act xid8, places tid[], batch int, path int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    link reprieve.links := (step).link;
    going bigint := 0;
BEGIN
    IF link.action = 'c' THEN
        EXECUTE format('INSERT INTO reprieve.preview_rows SELECT $1, x.leaf, x.tid, $3 + ((row_number() OVER () - 1) / 200000)::int, $4'
                       ' FROM (SELECT DISTINCT c.tableoid AS leaf, c.ctid AS tid %s) AS x', step.children) USING act, places, batch, path;
        GET DIAGNOSTICS going = ROW_COUNT;
        RETURN going;
    END IF;
    EXECUTE format('INSERT INTO reprieve.preview_kept SELECT DISTINCT $1, %s::oid, c.tableoid, c.ctid, %L::"char", $3 %s ON CONFLICT DO NOTHING',
                   link.conoid, step.what, step.children) USING act, places, path;
    -- The default may be the very key that goes.
    IF step.defaulted IS NOT NULL THEN
        EXECUTE format('INSERT INTO reprieve.preview_kept SELECT DISTINCT $1, k.con, k.relid, k.tid, ''b''::"char", k.path'
                       ' FROM reprieve.preview_kept k JOIN %s c ON c.ctid = k.tid AND c.tableoid = k.relid, LATERAL %s n, %s p'
                       ' WHERE k.act = $1 AND k.con = %s AND k.what = ''d'' AND p.ctid = ANY ($2) AND %s AND %s ON CONFLICT DO NOTHING',
                       link.child_sql, step.defaulted, link.parent_sql, link.conoid, reprieve.match_sql(link.conoid, 'p', 'n'),
                       reprieve.preview_stays('c')) USING act, places;
    END IF;
    RETURN 0;
END $$;

-- True if the rows of a batch must be followed one by one, see reprieve.one_by_one.
CREATE OR REPLACE FUNCTION reprieve.preview_singly(links reprieve.preview_step[], act xid8, places tid[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pair record;
    matters boolean := false;
BEGIN
    FOR pair IN SELECT (a.link).child, (a.link).child_sql, (a.link).parent_sql, (a.link).match_sql AS stays, (b.link).match_sql AS goes
                FROM unnest(links) AS a JOIN unnest(links) AS b ON (a.link).parent = (b.link).parent AND (a.link).child = (b.link).child
                WHERE a.blind IS NULL AND NOT a.late AND (a.link).action IN ('a', 'r') AND (b.link).action = 'c' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %1$s c WHERE %2$s AND EXISTS (SELECT FROM %3$s p WHERE %4$s AND p.ctid = ANY ($1))'
                       ' AND EXISTS (SELECT FROM %3$s p WHERE %5$s AND p.ctid = ANY ($1)))', pair.child_sql, reprieve.live_sql(pair.child, 'c'),
                       pair.parent_sql, pair.stays, pair.goes) INTO matters USING places;
        EXIT WHEN matters;
    END LOOP;
    RETURN matters;
END $$;

-- What PostgreSQL checks at the end: references of deferred keys, and those that were set to a default.
CREATE OR REPLACE FUNCTION reprieve.preview_late(link reprieve.preview_step, act xid8, paths reprieve.preview_path[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    l reprieve.links := (link).link;
BEGIN
    IF (link).late THEN
        EXECUTE format('INSERT INTO reprieve.preview_kept SELECT DISTINCT ON (c.tableoid, c.ctid) $1, %1$s::oid, c.tableoid, c.ctid, ''b''::"char",'
                       ' (SELECT coalesce(min(w.id), 1)::int FROM unnest($2) WITH ORDINALITY AS w(relid, con, parent, note, parents, id)'
                       '   WHERE w.con = %1$s AND w.parent = d.path)'
                       ' FROM reprieve.preview_rows d JOIN %2$s p ON p.ctid = d.tid, %3$s c'
                       ' WHERE d.act = $1 AND d.relid = %4$s AND %5$s AND %6$s AND %7$s ON CONFLICT DO NOTHING', l.conoid, l.parent_sql, l.child_sql,
                       l.parent, l.match_sql, reprieve.live_sql(l.child, 'c'), reprieve.preview_stays('c')) USING act, paths;
    END IF;
    IF (link).defaulted IS NOT NULL THEN
        EXECUTE format('INSERT INTO reprieve.preview_kept SELECT $1, k.con, k.relid, k.tid, ''b''::"char", k.path FROM reprieve.preview_kept k'
                       ' JOIN %1$s c ON c.ctid = k.tid AND c.tableoid = k.relid, LATERAL %2$s n'
                       ' WHERE k.act = $1 AND k.con = %3$s AND k.what = ''d'' AND %4$s AND %5$s'
                       ' AND NOT EXISTS (SELECT FROM %6$s p WHERE %7$s AND %8$s AND %9$s) ON CONFLICT DO NOTHING',
                       l.child_sql, (link).defaulted, l.conoid, reprieve.preview_stays('c'),
                       (SELECT string_agg(format('n.%I IS NOT NULL', c), ' AND ') FROM unnest(l.child_columns) AS c),
                       (SELECT reprieve.from_clause(x.confrelid) FROM pg_constraint x WHERE x.oid = l.conoid),
                       reprieve.match_sql(l.conoid, 'p', 'n'), reprieve.live_sql(l.parent, 'p'), reprieve.preview_stays('p')) USING act;
    END IF;
END $$;

-- The way behind way `path` by a foreign key. A key that is gone through again leads back to where it led before.
CREATE OR REPLACE FUNCTION reprieve.preview_way(INOUT paths reprieve.preview_path[], path int, con oid, child oid, OUT id int)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    at int := path;
BEGIN
    id := (SELECT w.id FROM unnest(paths) WITH ORDINALITY AS w(relid, con, parent, note, parents, id) WHERE w.parent = path AND w.con = preview_way.con);
    WHILE id IS NULL AND at IS NOT NULL LOOP
        IF paths[at].con = con THEN
            id := at;
        END IF;
        at := paths[at].parent;
    END LOOP;
    -- Many ways lead through a web of keys; beyond some hundreds the last step names them.
    IF id IS NULL AND cardinality(paths) >= 500 THEN
        id := (SELECT min(w.id) FROM unnest(paths) WITH ORDINALITY AS w(relid, con, parent, note, parents, id) WHERE w.con = preview_way.con);
    END IF;
    IF id IS NULL THEN
        paths := paths || ROW(child, con, path, NULL, 0)::reprieve.preview_path;
        id := cardinality(paths);
    END IF;
END $$;
