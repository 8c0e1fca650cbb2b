-- UNDO UNDELETE: the very rows that an undelete brought back are deleted again, under the deletions that had taken them, and the
-- references that it put back are taken away again. Afterwards it is as if that undelete had not been.
--
-- A row that anybody wrote to since is not deleted again, nor is one that a live row refers to: mode nocascade (default) then does
-- nothing and says which rows these are; nonconflict_only leaves them live.

-- The number of this undelete.
CREATE OR REPLACE FUNCTION reprieve.next_act() RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT 1 + coalesce(max(a.id), base) FROM (SELECT pg_current_xact_id()::text::bigint * 1000000 AS base) AS x
      LEFT JOIN reprieve.acts a ON a.id > base AND a.id < base + 1000000 GROUP BY base
$$;

-- Undeletes, newest first: what each brought back, and whether it was taken back.
CREATE OR REPLACE VIEW reprieve.show_undeletes AS
    SELECT a.id, a.at, a.role_name AS role, a.verb || ' ' || a.target AS undelete, a.result ->> 'mode' AS mode,
           t.tables, t.restored, t.relinked,
           CASE WHEN a.undone_at IS NOT NULL THEN 'undone'
                WHEN EXISTS (SELECT FROM reprieve.restored r WHERE r.act = a.id)
                  OR EXISTS (SELECT FROM reprieve.relinked r WHERE r.act = a.id) THEN 'done' ELSE 'purged' END AS state,
           a.undone_at
      FROM reprieve.acts a
      CROSS JOIN LATERAL (SELECT pg_catalog.string_agg(e.table_name || ' ' || e.restored, ', ' ORDER BY e.restored DESC, e.table_name) AS tables,
                                 pg_catalog.sum(e.restored)::bigint AS restored, pg_catalog.sum(e.relinked)::bigint AS relinked
                            FROM pg_catalog.jsonb_to_recordset(a.result -> 'tables') AS e(table_name text, restored bigint, relinked bigint)) t
     WHERE a.id IS NOT NULL
     ORDER BY a.at DESC, a.id DESC;

-- Picks the rows of an undelete, locked; source r: to be deleted again, l: with a reference to be taken away again. Those that are no
-- longer what came back are blocked.
CREATE OR REPLACE FUNCTION reprieve.redelete_pick(entry bigint, act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place record;
    here text := 't.ctid = u.tid AND t.xmin = u.writer AND u.filenode = pg_relation_filenode(t.tableoid)'
                 ' AND pg_current_xact_id()::text::bigint - u.xid::text::bigint < 2000000000';
    source text;
BEGIN
    FOR place IN SELECT l.relid, c.oid IS NULL AS gone
                   FROM (SELECT r.relid FROM reprieve.restored r WHERE r.act = entry
                         UNION SELECT r.leaf FROM reprieve.relinked r WHERE r.act = entry) l LEFT JOIN pg_class c ON c.oid = l.relid
                  ORDER BY l.relid LOOP
        source := '(SELECT ''r''::"char" AS source, x.tid, x.name, r.writer, r.filenode, r.xid, r.deletion_id FROM reprieve.restored r, unnest(r.tids, r.names) AS x(tid, name)'
                  ' WHERE r.act = $1 AND r.relid = $2'
                  ' UNION ALL (SELECT DISTINCT ON (r.tid) ''l'', r.tid, NULL, r.writer, r.filenode, r.xid, (r.link).deletion_id FROM reprieve.relinked r'
                  ' WHERE r.act = $1 AND r.leaf = $2)) u';
        IF place.gone THEN
            INSERT INTO reprieve.undelete_tables (act, relid, label, marked, gone)
            SELECT act, place.relid, place.relid::text, false, true ON CONFLICT DO NOTHING;
            EXECUTE format('INSERT INTO reprieve.undelete_picks SELECT $3, $2, u.source, u.tid, u.deletion_id, ''its table is no more'' FROM %s', source)
                USING entry, place.relid, act;
        ELSE
            PERFORM reprieve.undelete_add_table(reprieve.root_of(place.relid), act);
            EXECUTE format('SELECT FROM ONLY %s t JOIN %s ON %s FOR UPDATE OF t', reprieve.qualified(place.relid), source, here) USING entry, place.relid;
            -- Of a partition that was detached the ledger knows nothing: the deletion took rows of another table.
            EXECUTE format('INSERT INTO reprieve.undelete_picks SELECT $3, $2, u.source, u.tid, u.deletion_id,'
                           ' CASE WHEN t.ctid IS NULL THEN concat_ws('' '', u.name, CASE u.source WHEN ''l'' THEN ''a row whose reference was put back'' END,'
                           ' ''was changed or deleted since, or its table rewritten'')'
                           ' WHEN u.source = ''r'' AND NOT EXISTS (SELECT FROM reprieve.deletion_tables d WHERE d.deletion_id = u.deletion_id AND d.relid IN ($2, $4))'
                           ' THEN concat(u.name, '' lies in a table that is no longer a partition of the one that it was deleted from'') END'
                           ' FROM %s LEFT JOIN ONLY %s t ON %s',
                           source, reprieve.qualified(place.relid), here) USING entry, place.relid, act, reprieve.root_of(place.relid);
        END IF;
    END LOOP;
END $$;

-- Blocks picked rows that a live row refers to which stays. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.redelete_referenced(k reprieve.foreign_keys, entry bigint, act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format(
        'UPDATE reprieve.undelete_picks q SET blocked = x.reason FROM ('
        '   SELECT DISTINCT ON (p.tableoid, p.ctid) p.tableoid AS leaf, p.ctid AS tid, concat(%s, '' is what '', %L::text, '' '', %s, '' refers to'') AS reason'
        '     FROM %s p JOIN reprieve.undelete_picks v ON v.act = $2 AND v.source = ''r'' AND v.blocked IS NULL AND v.relid = p.tableoid AND v.tid = p.ctid'
        '     JOIN %s c ON %s WHERE %s'
        '      AND NOT EXISTS (SELECT FROM reprieve.undelete_picks g WHERE g.act = $2 AND g.source = ''r'' AND g.blocked IS NULL'
        '                         AND g.relid = c.tableoid AND g.tid = c.ctid)'
        -- NOT IN: looked up in memory, however few rows the planner expects.
        '      AND (c.tableoid, c.ctid) NOT IN (SELECT g.relid, g.tid FROM reprieve.undelete_picks g JOIN reprieve.relinked l ON l.act = $1'
        '                       AND l.leaf = g.relid AND l.tid = g.tid WHERE g.act = $2 AND g.source = ''l'' AND g.blocked IS NULL'
        '                         AND (l.link).columns && $3)) x'
        ' WHERE q.act = $2 AND q.source = ''r'' AND q.relid = x.leaf AND q.tid = x.tid',
        reprieve.row_name(k.confrelid, 'p'), k.conrelid::regclass, reprieve.row_name(k.conrelid, 'c'), reprieve.from_clause(k.confrelid),
        reprieve.from_clause(k.conrelid), reprieve.key_match(k.con, 'p', 'c'),
        CASE WHEN reprieve.has_marks(k.conrelid) THEN 'c.deleted_at IS NULL' ELSE 'true' END)
        USING entry, act, reprieve.key_columns(k.con, 'c')::text[];
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- Rows of a table that were written lie elsewhere now.
CREATE OR REPLACE FUNCTION reprieve.redelete_moved(entry bigint, act xid8, leaf oid, places tid[], tids tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
#variable_conflict use_variable
BEGIN
    UPDATE reprieve.undelete_picks p SET tid = m.tid FROM unnest(places, tids) AS m(place, tid) WHERE p.act = act AND p.relid = leaf AND p.tid = m.place;
    UPDATE reprieve.relinked l SET tid = m.tid FROM unnest(places, tids) AS m(place, tid) WHERE l.act = entry AND l.leaf = leaf AND l.tid = m.place;
END $$;

-- Takes references away again, group by group, and puts their entries back. In the order in which the deletions took them: one row
-- may have lost its reference to several, one after the other.
CREATE OR REPLACE FUNCTION reprieve.redelete_relinks(entry bigint, act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    n bigint;
    places tid[];
    tids tid[];
BEGIN
    FOR part IN SELECT (l.link).deletion_id AS deletion, l.leaf, (l.link).columns AS columns, reprieve.root_of(l.leaf) AS root, count(*) AS n
                  FROM reprieve.relinked l JOIN reprieve.undelete_picks p ON p.act = $2 AND p.source = 'l' AND p.blocked IS NULL AND p.relid = l.leaf AND p.tid = l.tid
                 WHERE l.act = $1 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LOOP
        EXECUTE format(
            'WITH moved AS (UPDATE ONLY %s t SET %s FROM reprieve.relinked l JOIN reprieve.undelete_picks p'
            '     ON p.act = $2 AND p.source = ''l'' AND p.blocked IS NULL AND p.relid = l.leaf AND p.tid = l.tid'
            '     WHERE l.act = $1 AND l.leaf = %s AND (l.link).columns = $3 AND (l.link).deletion_id = $4 AND t.ctid = l.tid'
            '     RETURNING l.tid AS place, t.ctid AS tid, l.link),'
            ' entries AS (INSERT INTO reprieve.relinks SELECT (m.link).* FROM moved m)'
            ' SELECT array_agg(m.place), array_agg(m.tid) FROM moved m',
            reprieve.qualified(part.leaf),
            (SELECT string_agg(format('%I = %s', c, reprieve.read_as(format('(l.link).new_data[%s]', i), a.atttypid)), ', ')
               FROM unnest(part.columns) WITH ORDINALITY AS u(c, i)
               JOIN pg_attribute a ON a.attrelid = part.leaf AND a.attname = u.c AND NOT a.attisdropped), part.leaf)
            INTO places, tids USING entry, act, part.columns, part.deletion;
        PERFORM reprieve.redelete_moved(entry, act, part.leaf, places, tids);
        n := coalesce(cardinality(places), 0);
        PERFORM reprieve.redelete_agree(part.leaf, part.n, n);
        UPDATE reprieve.undelete_tables w SET relinked = w.relinked + part.n WHERE w.act = $2 AND w.relid = part.root;
    END LOOP;
END $$;

-- 40001 unless as many rows were written as were picked.
CREATE OR REPLACE FUNCTION reprieve.redelete_agree(relation oid, wanted bigint, written bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF written <> wanted THEN
        RAISE EXCEPTION 'rows of % changed while they were being deleted again', relation::regclass
            USING ERRCODE = 'serialization_failure', HINT = 'Nothing was changed. Run it again.';
    END IF;
END $$;

DROP FUNCTION IF EXISTS reprieve.redelete_rows(xid8), reprieve.redelete_quiet(xid8);

-- The tables that the picked rows leave. Those that have no tombstones, and such as have, but refer to one another in a circle with one that has
-- none: their tombstones would be in the way of its rows, and these in theirs.
CREATE OR REPLACE FUNCTION reprieve.redelete_leaving(act xid8) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE own AS MATERIALIZED (
        SELECT p.relid, reprieve.root_of(p.relid) AS root, reprieve.has_marks(p.relid) AS marked
          FROM (SELECT DISTINCT q.relid FROM reprieve.undelete_picks q WHERE q.act = $1 AND q.source = 'r' AND q.blocked IS NULL) p
    ), up(child, parent) AS (
        SELECT f.child_root, f.parent_root FROM reprieve.foreign_keys f WHERE f.child_root IN (SELECT root FROM own) AND f.parent_root IN (SELECT root FROM own)
        UNION SELECT u.child, f.parent_root FROM up u JOIN reprieve.foreign_keys f ON f.child_root = u.parent WHERE f.parent_root IN (SELECT root FROM own)
    )
    SELECT ARRAY(SELECT o.relid FROM own o
                  WHERE NOT o.marked OR EXISTS (SELECT FROM own b WHERE NOT b.marked AND EXISTS (SELECT FROM up u WHERE u.child = o.root AND u.parent = b.root)
                                                   AND EXISTS (SELECT FROM up u WHERE u.child = b.root AND u.parent = o.root)))
$$;

-- Deletes the picked rows: tombstones again where the table has such; the others leave it, all in one statement, behind which
-- PostgreSQL checks its foreign keys.
CREATE OR REPLACE FUNCTION reprieve.redelete_rows(act xid8, leaving oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    n bigint;
    body record;
    steps text := '';
    picked text := 'reprieve.undelete_picks k JOIN reprieve.deletions d ON d.id = k.deletion_id'
                   ' WHERE k.act = $1 AND k.source = ''r'' AND k.blocked IS NULL AND k.relid = %s AND o.ctid = k.tid';
BEGIN
    FOR part IN SELECT p.relid, c.relname, s.nspname, reprieve.root_of(p.relid) AS root, p.relid <> ALL (leaving) AS stays, count(*) AS n
                  FROM reprieve.undelete_picks p JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace s ON s.oid = c.relnamespace
                 WHERE p.act = $1 AND p.source = 'r' AND p.blocked IS NULL GROUP BY 1, 2, 3 ORDER BY 1 LOOP
        IF part.stays THEN
            EXECUTE format('UPDATE ONLY %s o SET deleted_at = d.deleted_at, deletion_id = k.deletion_id FROM ' || picked,
                           reprieve.qualified(part.relid), part.relid) USING act;
        ELSE
            SELECT * INTO body FROM reprieve.row_sql(part.relid, 'o');
            EXECUTE format('INSERT INTO reprieve.graveyard (deletion_id, relid, schema_name, table_name, columns, data, cause, deleted_at)'
                           ' SELECT k.deletion_id, %s, %L, %L, %L, %s, ''delete'', d.deleted_at FROM ONLY %s o, ' || picked,
                           part.relid, part.nspname, part.relname, body.columns, body.data_sql, reprieve.qualified(part.relid), part.relid) USING act;
            steps := steps || format(', d%s AS (DELETE FROM ONLY %s o USING ' || picked || ')', part.relid, reprieve.qualified(part.relid), part.relid);
        END IF;
        GET DIAGNOSTICS n = ROW_COUNT;
        PERFORM reprieve.redelete_agree(part.relid, part.n, n);
        UPDATE reprieve.undelete_tables w SET restored = w.restored + part.n WHERE w.act = $1 AND w.relid = part.root;
    END LOOP;
    IF steps <> '' THEN
        EXECUTE 'WITH ' || substr(steps, 3) || ' SELECT' USING act;
    END IF;
    PERFORM reprieve.undelete_count(p.deletion_id, p.relid, -p.n)
       FROM (SELECT p.deletion_id, p.relid, count(*) AS n FROM reprieve.undelete_picks p
              WHERE p.act = $1 AND p.source = 'r' AND p.blocked IS NULL GROUP BY 1, 2) p;
END $$;

-- Turns off what would act on the rows when they go, and returns the commands that turn it on again: the users' triggers, and our own
-- that would write a new deletion.
CREATE OR REPLACE FUNCTION reprieve.redelete_quiet(act xid8, leaving oid[]) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    again text[];
BEGIN
    UPDATE reprieve.undelete_tables w
       SET tombstones = CASE WHEN w.marked THEN n.r ELSE 0 END, graves = 0, relinks = n.l
      FROM (SELECT reprieve.root_of(p.relid) AS root, sum(p.r) AS r, sum(p.l) AS l
              FROM (SELECT p.relid, count(*) FILTER (WHERE p.source = 'r') AS r, count(*) FILTER (WHERE p.source = 'l') AS l
                      FROM reprieve.undelete_picks p WHERE p.act = $1 GROUP BY 1) p GROUP BY 1) n
     WHERE w.act = $1 AND w.relid = n.root;
    again := reprieve.undelete_quiet(act);
    FOR t IN SELECT r.rulename, w.label FROM reprieve.undelete_tables w JOIN pg_rewrite r
                 ON r.ev_class = ANY (reprieve.members_of(w.relid)) AND r.ev_enabled IN ('O', 'A') AND r.ev_type = '4'
              WHERE w.act = $1 AND (NOT w.marked OR w.relid = ANY (leaving)) LOOP
        RAISE EXCEPTION 'cannot delete from % again: rule % would act on it', t.label, quote_ident(t.rulename)
            USING ERRCODE = 'RV012', HINT = format('ALTER TABLE %s DISABLE RULE %I; and enable it again afterwards.', t.label, t.rulename);
    END LOOP;
    FOR t IN SELECT g.tgname, g.tgenabled, c.oid::regclass AS name
               FROM (SELECT DISTINCT p.relid FROM reprieve.undelete_picks p WHERE p.act = $1 AND p.source = 'r') p
               JOIN pg_class c ON c.oid = p.relid
               JOIN pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 8 <> 0
               JOIN pg_proc f ON f.oid = g.tgfoid
              WHERE (NOT reprieve.has_marks(p.relid) OR p.relid = ANY (leaving))
                AND (f.pronamespace <> 'reprieve'::regnamespace OR g.tgname ~ '^~reprieve_(begin_delete|capture)')
              ORDER BY c.oid, g.tgname LOOP
        EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.name, t.tgname);
        again := again || format('ALTER TABLE ONLY %s ENABLE %sTRIGGER %I', t.name, CASE t.tgenabled WHEN 'A' THEN 'ALWAYS ' ELSE '' END, t.tgname);
    END LOOP;
    RETURN again;
END $$;

-- Raises RV010 with the first of the rows that are not deleted again, and why.
CREATE OR REPLACE FUNCTION reprieve.redelete_refuse(act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
    wanted bigint;
    details text;
BEGIN
    SELECT count(p.blocked), count(*) INTO n, wanted FROM reprieve.undelete_picks p WHERE p.act = $1;
    IF n = 0 THEN
        RETURN;
    END IF;
    SELECT string_agg(format('%s %s', w.label, b.blocked), E'\n' ORDER BY b.relid, b.tid) INTO details
      FROM (SELECT * FROM reprieve.undelete_picks p WHERE p.act = $1 AND p.blocked IS NOT NULL ORDER BY p.relid, p.tid LIMIT 10) b
      JOIN reprieve.undelete_tables w ON w.act = $1 AND w.relid = reprieve.root_of(b.relid);
    RAISE EXCEPTION 'cannot undo the undelete: % of % row(s) are not as they came back', n, wanted
        USING ERRCODE = 'RV010', DETAIL = details || CASE WHEN n > 10 THEN format(E'\n... and %s more', n - 10) ELSE '' END,
              HINT = 'Nothing was changed. Mode nonconflict_only leaves these rows live.';
END $$;

-- UNDO UNDELETE id: one line per table, then one for the whole.
CREATE OR REPLACE FUNCTION reprieve.undo_undelete_v1(id bigint, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, deleted bigint, unlinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off SET jit = off
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' SET standard_conforming_strings = on
SET quote_all_identifiers = off AS $$
#variable_conflict use_column
DECLARE
    act xid8 := pg_current_xact_id();
    entry bigint := $1;
    undelete record;
    k reprieve.foreign_keys;
    command text;
    again text[];
    leaving oid[];
    message text;
    failed text;
    blocked bigint := 1;
    lines jsonb;
    whole record;
BEGIN
    PERFORM reprieve.require_admin('UNDO UNDELETE');
    IF mode IS NULL OR mode NOT IN ('nocascade', 'nonconflict_only') THEN
        RAISE EXCEPTION 'UNDO UNDELETE has no mode %', coalesce(quote_literal(mode), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Modes are nocascade and nonconflict_only.';
    END IF;
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'UNDO UNDELETE runs at READ COMMITTED only' USING ERRCODE = 'active_sql_transaction',
            DETAIL = 'It must see what others have written since the transaction began.', HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED;';
    END IF;
    SELECT a.* INTO undelete FROM reprieve.acts a WHERE a.id = entry FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there was no undelete %', entry USING ERRCODE = 'no_data_found', HINT = 'SHOW UNDELETES lists them.';
    END IF;
    IF undelete.undone_at IS NOT NULL THEN
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, 0::bigint, 'NOTHING', format('already undone at %s', to_char(undelete.undone_at, 'YYYY-MM-DD HH24:MI:SS.US TZ'));
        RETURN;
    END IF;
    PERFORM set_config('reprieve.reconciling', '1', true);
    PERFORM FROM reprieve.deletions d WHERE undelete.result -> 'deletions' @> to_jsonb(d.id)
        AND d.id = ANY (ARRAY(SELECT jsonb_array_elements_text(undelete.result -> 'deletions')::bigint)) ORDER BY d.id FOR UPDATE;
    PERFORM reprieve.redelete_pick(entry, act);
    ANALYZE reprieve.undelete_picks;
    WHILE blocked > 0 LOOP
        blocked := 0;
        FOR k IN SELECT f.* FROM reprieve.foreign_keys f JOIN reprieve.undelete_tables w ON w.act = pg_current_xact_id() AND w.relid = f.parent_root AND NOT w.gone LOOP
            blocked := blocked + reprieve.redelete_referenced(k, entry, act);
        END LOOP;
    END LOOP;
    IF mode = 'nocascade' THEN
        PERFORM reprieve.redelete_refuse(act);
    END IF;
    leaving := reprieve.redelete_leaving(act);
    again := reprieve.redelete_quiet(act, leaving);
    BEGIN
        PERFORM reprieve.redelete_relinks(entry, act), reprieve.redelete_rows(act, leaving);
        UPDATE reprieve.undelete_tables w SET graves = 1 WHERE w.act = pg_current_xact_id();
        PERFORM reprieve.undelete_defer(act, false);
    EXCEPTION WHEN foreign_key_violation THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, failed = PG_EXCEPTION_DETAIL;
        RAISE EXCEPTION 'cannot undo the undelete: rows refer to one another, and none can go first'
            USING ERRCODE = 'RV010', DETAIL = concat_ws(E'\n', message, nullif(failed, '')), HINT = 'Nothing was changed. Delete the rows themselves: that is a deletion of its own.';
    END;
    FOREACH command IN ARRAY again LOOP
        EXECUTE command;
    END LOOP;
    PERFORM reprieve.undelete_defer(act, true), set_config('reprieve.reconciling', '', true);
    SELECT coalesce(jsonb_agg(l ORDER BY l.table_name), '[]') INTO lines
      FROM (SELECT w.label AS table_name, w.restored AS deleted, w.relinked AS unlinked, coalesce(b.n, 0) AS skipped,
                   CASE WHEN b.n > 0 THEN 'INCOMPLETE' ELSE 'COMPLETE' END AS verdict,
                   CASE WHEN b.n > 0 THEN format('%s row(s) stay, the first: %s', b.n, b.example) ELSE '' END AS detail
              FROM reprieve.undelete_tables w
              LEFT JOIN (SELECT reprieve.root_of(p.relid) AS root, count(*) AS n, (array_agg(p.blocked ORDER BY p.relid, p.tid))[1] AS example
                           FROM reprieve.undelete_picks p WHERE p.act = pg_current_xact_id() AND p.blocked IS NOT NULL GROUP BY 1) b ON b.root = w.relid
             WHERE w.act = pg_current_xact_id()) l;
    DELETE FROM reprieve.undelete_tables w WHERE w.act = pg_current_xact_id();
    DELETE FROM reprieve.undelete_picks p WHERE p.act = pg_current_xact_id();
    SELECT coalesce(sum(l.deleted), 0)::bigint AS deleted, coalesce(sum(l.unlinked), 0)::bigint AS unlinked, coalesce(sum(l.skipped), 0)::bigint AS skipped,
           concat_ws('; ', string_agg(l.table_name || ': ' || l.detail, '; ') FILTER (WHERE l.detail <> ''),
                     CASE WHEN (undelete.result ->> 'remade')::boolean THEN 'tables that the undelete made again stay' END,
                     -- In the undelete's own transaction.
                     CASE WHEN undelete.result ->> 'mode' IN ('replace', 'force') THEN
                         (SELECT 'rows that it replaced stay deleted, by deletion ' || string_agg(d.id::text, ', ' ORDER BY d.id) FROM reprieve.deletions d
                           WHERE d.xid IN (SELECT r.xid FROM reprieve.restored r WHERE r.act = entry) AND NOT undelete.result -> 'deletions' @> to_jsonb(d.id)) END,
                     CASE WHEN undelete.result ->> 'mode' = 'force' THEN 'references that mode force took away stay away' END) AS detail
      INTO whole
      FROM jsonb_to_recordset(lines) AS l(table_name text, deleted bigint, unlinked bigint, skipped bigint, verdict text, detail text);
    IF whole.deleted + whole.unlinked = 0 THEN
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, whole.skipped, 'NOTHING', coalesce(nullif(whole.detail, ''), 'nothing of it is known any more');
        RETURN;
    END IF;
    DELETE FROM reprieve.restored r WHERE r.act = entry;
    DELETE FROM reprieve.relinked r WHERE r.act = entry;
    UPDATE reprieve.acts a SET undone_at = clock_timestamp() WHERE a.id = entry;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('undo undelete', entry::text, jsonb_build_object('mode', mode, 'tables', lines));
    RETURN QUERY SELECT l.table_name, l.deleted, l.unlinked, l.skipped, l.verdict, l.detail
      FROM jsonb_to_recordset(lines) AS l(table_name text, deleted bigint, unlinked bigint, skipped bigint, verdict text, detail text);
    RETURN QUERY SELECT '(all)', whole.deleted, whole.unlinked, whole.skipped, CASE WHEN whole.detail = '' THEN 'COMPLETE' ELSE 'INCOMPLETE' END, whole.detail;
END $$;

-- UNDO UNDELETE DELETION id: the last undelete that brought back rows of this deletion and was not undone.
CREATE OR REPLACE FUNCTION reprieve.undo_undelete_of_v1(deletion bigint, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, deleted bigint, unlinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry bigint;
BEGIN
    PERFORM reprieve.require_admin('UNDO UNDELETE');
    SELECT a.id INTO entry FROM reprieve.acts a
     WHERE a.result -> 'deletions' @> to_jsonb(deletion) AND a.id IS NOT NULL AND a.undone_at IS NULL ORDER BY a.id DESC LIMIT 1;
    IF entry IS NULL THEN
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, 0::bigint, 'NOTHING', format('no undelete of deletion %s is left to undo', deletion);
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undo_undelete_v1(entry, mode);
END $$;
