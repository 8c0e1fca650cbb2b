-- The one road that all undeletes take: first the whole deletions in a few set-based statements; if
-- anything stands in the way, row by row picking until what is left can come back.

-- The tables that the deletions touched, and whether there is anything to restore.
CREATE OR REPLACE FUNCTION reprieve.undelete_scope(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    found bigint;
BEGIN
    INSERT INTO reprieve.undelete_tables (act, relid, label, marked, gone)
    SELECT $2, s.root, coalesce(reprieve.qualified(s.root), min(s.label), s.root::text),
           c.oid IS NOT NULL AND reprieve.has_marks(s.root), c.oid IS NULL
      FROM (SELECT reprieve.root_of(d.relid) AS root, format('%I.%I', d.schema_name, d.table_name) AS label
              FROM reprieve.deletion_tables d WHERE d.deletion_id = ANY (ids)
            UNION
            SELECT DISTINCT reprieve.root_of(g.relid), format('%I.%I', g.schema_name, g.table_name)
              FROM reprieve.graveyard g WHERE g.deletion_id = ANY (ids)
            UNION
            SELECT DISTINCT reprieve.root_of(r.relid), NULL
              FROM reprieve.relinks r WHERE r.deletion_id = ANY (ids)) s
      LEFT JOIN pg_class c ON c.oid = s.root
     GROUP BY s.root, c.oid;
    FOR t IN SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.marked LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s t WHERE %s LIMIT 1) t', reprieve.from_clause(t.relid),
                       reprieve.chosen('t', t.relid, 't', false)) INTO found USING ids, act;
        UPDATE reprieve.undelete_tables w SET tombstones = found WHERE w.act = $2 AND w.relid = t.relid;
    END LOOP;
    UPDATE reprieve.undelete_tables w
       SET graves = (SELECT count(*) FROM reprieve.graveyard g
                      WHERE g.deletion_id = ANY (ids) AND reprieve.root_of(g.relid) = w.relid),
           relinks = (SELECT count(*) FROM reprieve.relinks r
                       WHERE r.deletion_id = ANY (ids) AND reprieve.root_of(r.relid) = w.relid)
     WHERE w.act = $2;
END $$;

-- Restores whole deletions; whatever stands in the way is an error.
CREATE OR REPLACE FUNCTION reprieve.undelete_whole(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
BEGIN
    FOR k IN SELECT * FROM reprieve.undelete_keys(act) f WHERE reprieve.has_marks(f.confrelid) LOOP
        IF reprieve.undelete_orphans(k, ids, act, false) > 0 THEN
            RAISE EXCEPTION 'parents are missing' USING ERRCODE = 'RV019';
        END IF;
    END LOOP;
    PERFORM reprieve.undelete_faded(ids, act);
    IF EXISTS (SELECT FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.gone AND w.graves > 0) THEN
        RAISE EXCEPTION 'tables are gone' USING ERRCODE = 'RV019';
    END IF;
    -- Before anything is written: most of what stands in the way is a key used again.
    IF EXISTS (SELECT FROM reprieve.undelete_tables w, LATERAL reprieve.undelete_taken(w.relid, $1, $2, false)
                WHERE w.act = $2 AND w.graves > 0 AND NOT w.gone) THEN
        RAISE EXCEPTION 'keys are taken' USING ERRCODE = 'RV019';
    END IF;
    PERFORM reprieve.undelete_write(ids, act, false, true);
END $$;

-- Raises RV019 if graveyard rows have values for columns that their table no longer has.
CREATE OR REPLACE FUNCTION reprieve.undelete_faded(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.graves > 0)
       AND EXISTS (SELECT FROM reprieve.graveyard g WHERE g.deletion_id = ANY (ids)
                      AND reprieve.faded_column(g.relid, g.columns, g.data) IS NOT NULL) THEN
        RAISE EXCEPTION 'columns are gone' USING ERRCODE = 'RV019';
    END IF;
END $$;

-- The first column of a graveyard row that has a value and is no more in its table; NULL if there is none.
CREATE OR REPLACE FUNCTION reprieve.faded_column(relid oid, columns text[], data text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.c FROM unnest(columns, data) WITH ORDINALITY AS u(c, d, i)
     WHERE u.d IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = $1 AND a.attname = u.c AND NOT a.attisdropped)
     ORDER BY u.i LIMIT 1
$$;

-- Counts what is picked and not blocked, and forgets what a failed attempt had counted.
CREATE OR REPLACE FUNCTION reprieve.undelete_recount(act xid8) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE reprieve.undelete_tables w SET tombstones = n.t, graves = n.g, skipped = n.b, restored = 0, relinked = 0
      FROM (SELECT v.relid, coalesce(sum(k.t), 0) AS t, coalesce(sum(k.g), 0) AS g, coalesce(sum(k.b), 0) AS b
              FROM reprieve.undelete_tables v
              LEFT JOIN (SELECT p.relid,
                                count(*) FILTER (WHERE p.source = 't' AND p.blocked IS NULL) AS t,
                                count(*) FILTER (WHERE p.source = 'g' AND p.blocked IS NULL) AS g,
                                count(p.blocked) AS b
                           FROM reprieve.undelete_picks p WHERE p.act = $1 GROUP BY p.relid OFFSET 0) k
                     ON reprieve.root_of(k.relid) = v.relid
             WHERE v.act = $1 GROUP BY v.relid) n
     WHERE w.act = $1 AND w.relid = n.relid
$$;

-- Mode cascade: of rows chosen one by one first what went with them, and then of all rows the parents.
-- In this order, so that a row brings its parent, and not its parent's other children.
CREATE OR REPLACE FUNCTION reprieve.undelete_expand(ids bigint[], act xid8, by_row boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    added bigint := 1;
BEGIN
    WHILE by_row AND added > 0 LOOP
        added := 0;
        FOR k IN SELECT f.* FROM reprieve.foreign_keys f
                   JOIN reprieve.undelete_tables w ON w.act = $2 AND w.relid = f.parent_root WHERE f.confdeltype = 'c' LOOP
            added := added + reprieve.undelete_pick_children(k, ids, act, false);
        END LOOP;
    END LOOP;
    added := 1;
    WHILE added > 0 LOOP
        added := 0;
        FOR k IN SELECT * FROM reprieve.undelete_keys(act) LOOP
            added := added + reprieve.undelete_pick_parents(k, ids, act);
        END LOOP;
    END LOOP;
END $$;

-- Blocks what cannot come back, and then what cannot come back without it, until nothing changes. With `force` rows rather lose a
-- reference than stay.
DROP FUNCTION IF EXISTS reprieve.undelete_settle(bigint[], xid8);
CREATE OR REPLACE FUNCTION reprieve.undelete_settle_once(ids bigint[], act xid8, force boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    -- Foreign keys still to be looked at: first all, then those that lead to a table of which more rows were blocked.
    pending oid[] := ARRAY(SELECT f.con FROM reprieve.undelete_keys(act) f);
BEGIN
    UPDATE reprieve.undelete_picks p
       SET blocked = format('column %s is no more, and the row has a value for it', quote_ident(f.name))
      FROM (SELECT g.ctid AS tid, reprieve.faded_column(g.relid, g.columns, g.data) AS name
              FROM reprieve.undelete_picks q JOIN reprieve.graveyard g ON g.ctid = q.tid
             WHERE q.act = $2 AND q.source = 'g' AND q.blocked IS NULL) f
     WHERE p.act = $2 AND p.source = 'g' AND p.tid = f.tid AND f.name IS NOT NULL;
    UPDATE reprieve.undelete_picks p SET blocked = f.why
      FROM reprieve.undelete_tables w, LATERAL reprieve.undelete_taken(w.relid, $1, $2, true) f
     WHERE w.act = $2 AND NOT w.gone AND p.act = $2 AND p.source = 'g' AND p.tid = f.tid AND p.blocked IS NULL
       AND w.relid IN (SELECT reprieve.root_of(q.relid) FROM (SELECT DISTINCT r.relid FROM reprieve.undelete_picks r
                                                               WHERE r.act = $2 AND r.source = 'g' OFFSET 0) q);
    WHILE cardinality(pending) > 0 LOOP
        FOR k IN SELECT f.* FROM reprieve.undelete_keys(act) f ORDER BY f.con LOOP
            IF k.con = ANY (pending) THEN
                pending := array_remove(pending, k.con);
                IF force THEN
                    PERFORM reprieve.undelete_detach(k, ids, act);
                END IF;
                IF reprieve.undelete_block_orphans(k, ids, act) > 0 THEN
                    pending := pending || ARRAY(SELECT f.con FROM reprieve.undelete_keys(act) f
                                                 WHERE f.parent_root = k.child_root AND f.con <> ALL (pending));
                END IF;
            END IF;
        END LOOP;
    END LOOP;
    PERFORM reprieve.undelete_recount(act);
END $$;

-- The same, and rows that stay after all keep their references.
CREATE OR REPLACE FUNCTION reprieve.undelete_settle(ids bigint[], act xid8, force boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    leaves oid[];
    sources "char"[];
    places tid[];
    reasons text[];
BEGIN
    LOOP
        BEGIN
            PERFORM reprieve.undelete_settle_once(ids, act, force);
            SELECT array_agg(p.relid), array_agg(p.source), array_agg(p.was), array_agg(p.blocked) INTO leaves, sources, places, reasons
              FROM reprieve.undelete_picks p WHERE p.act = act AND p.was IS NOT NULL AND p.blocked IS NOT NULL;
            EXIT WHEN places IS NULL;
            RAISE SQLSTATE 'RV019';
        EXCEPTION WHEN SQLSTATE 'RV019' THEN
            UPDATE reprieve.undelete_picks p SET blocked = u.reason FROM unnest(leaves, sources, places, reasons) AS u(leaf, source, tid, reason)
             WHERE p.act = act AND p.relid = u.leaf AND p.source = u.source AND p.tid = u.tid;
        END;
    END LOOP;
END $$;

-- Restores the picked rows: all of them, or, where the mode allows it, those that can come back.
CREATE OR REPLACE FUNCTION reprieve.undelete_picked(ids bigint[], act xid8, mode text, by_row boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    failed text := '';
    state text;
    -- A preview names what would be refused: replace partly.
    partly boolean := mode IN ('nonconflict_only', 'force', 'replace partly');
BEGIN
    -- As in undelete_orphans: with many rows a plan made for one row would never end.
    ANALYZE reprieve.undelete_picks;
    IF (SELECT count(*) > 1000 FROM reprieve.undelete_picks p WHERE p.act = $2) THEN
        PERFORM set_config('enable_nestloop', 'off', true);
    END IF;
    IF mode IN ('cascade', 'force') THEN
        PERFORM reprieve.undelete_expand(ids, act, by_row);
    END IF;
    IF mode IN ('replace', 'replace partly', 'force') THEN
        PERFORM reprieve.undelete_make_room(ids, act);
    END IF;
    LOOP
        BEGIN
            PERFORM reprieve.undelete_settle(ids, act, mode = 'force');
            IF NOT partly AND failed = '' AND EXISTS (
                    SELECT FROM reprieve.undelete_picks p WHERE p.act = $2 AND p.blocked IS NOT NULL) THEN
                -- So that the error names rows that do not fit their table too; not where trying them takes long.
                IF (SELECT sum(w.graves) BETWEEN 1 AND 1000 FROM reprieve.undelete_tables w WHERE w.act = $2) THEN
                    PERFORM reprieve.undelete_trial(ids, act);
                END IF;
                PERFORM reprieve.undelete_refuse(act);
            END IF;
            FOR k IN SELECT * FROM reprieve.undelete_keys(act) f WHERE reprieve.has_marks(f.confrelid) LOOP
                IF reprieve.undelete_orphans(k, ids, act, true) > 0 THEN
                    RAISE EXCEPTION 'parents of rows of % changed while they were being restored', k.conrelid::regclass
                        USING ERRCODE = 'serialization_failure', HINT = 'Nothing was restored. Run it again.';
                END IF;
            END LOOP;
            PERFORM reprieve.undelete_write(ids, act, true, NOT by_row);
            RETURN;
        EXCEPTION WHEN OTHERS THEN
            IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS failed = MESSAGE_TEXT, state = RETURNED_SQLSTATE;
        END;
        IF reprieve.undelete_trial(ids, act) = 0 THEN
            RAISE EXCEPTION 'cannot undelete: %', failed
                USING ERRCODE = state, HINT = 'Nothing was restored. No single row is in the way; the rows together are.';
        END IF;
        IF NOT partly THEN
            PERFORM reprieve.undelete_refuse(act);
        END IF;
    END LOOP;
END $$;

-- Raises RV010 with the first of the rows that cannot come back, and why.
CREATE OR REPLACE FUNCTION reprieve.undelete_refuse(act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
    details text;
    wanted bigint;
BEGIN
    SELECT count(p.blocked), count(*) INTO n, wanted FROM reprieve.undelete_picks p WHERE p.act = $1;
    SELECT string_agg(format('%s %s: %s', w.label, reprieve.pick_name(b.relid, b.source, b.tid), b.blocked), E'\n' ORDER BY b.relid, b.tid)
      INTO details
      FROM (SELECT * FROM reprieve.undelete_picks p WHERE p.act = $1 AND p.blocked IS NOT NULL ORDER BY p.relid, p.tid LIMIT 10) b
      JOIN reprieve.undelete_tables w ON w.act = $1 AND w.relid = reprieve.root_of(b.relid);
    RAISE EXCEPTION 'cannot undelete: % of % row(s) cannot come back', n, wanted
        USING ERRCODE = 'RV010', DETAIL = details || CASE WHEN n > 10 THEN format(E'\n... and %s more', n - 10) ELSE '' END,
              HINT = 'Nothing was restored. Mode nonconflict_only leaves these rows in the bin; cascade brings deleted parents back too; '
                     'replace deletes live rows that hold their keys.';
END $$;

-- How a picked row is called in messages.
CREATE OR REPLACE FUNCTION reprieve.pick_name(relid oid, source "char", tid tid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    name text;
BEGIN
    IF source = 'g' THEN
        SELECT reprieve.grave_name(relid, g.columns, g.data) INTO name FROM reprieve.graveyard g WHERE g.ctid = tid;
    ELSE
        EXECUTE format('SELECT %s FROM %s t WHERE t.ctid = $1', reprieve.row_name(relid, 't'), reprieve.from_clause(relid))
            INTO name USING tid;
    END IF;
    RETURN name;
END $$;

-- What became of each table. Rows the ledger counted that are neither back nor in the bin are gone for good.
CREATE OR REPLACE FUNCTION reprieve.undelete_verdict(ids bigint[], act xid8, by_row boolean)
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH ledger AS (
        SELECT reprieve.root_of(d.relid) AS relid, sum(d.rows - d.restored - d.discarded)::bigint AS missing,
               sum(d.discarded)::bigint AS discarded, bool_or(d.uncounted) AS uncounted
          FROM reprieve.deletion_tables d WHERE d.deletion_id = ANY (ids) AND NOT by_row GROUP BY 1
    ), blocked AS (
        SELECT reprieve.root_of(p.relid) AS relid, count(*) AS n,
               (array_agg(format('%s %s', reprieve.pick_name(p.relid, p.source, p.tid), p.blocked) ORDER BY p.tid))[1] AS example
          FROM reprieve.undelete_picks p WHERE p.act = $2 AND p.blocked IS NOT NULL GROUP BY 1
    ), line AS (
        SELECT w.*, array_to_string(w.notes
                    || CASE WHEN b.n > 0 THEN ARRAY[format('%s row(s) left in the bin, the first: %s', b.n, b.example)] ELSE '{}' END
                    || CASE WHEN w.gone THEN ARRAY[format('%s; %s row(s) of it are in the graveyard', reprieve.no_table(w.relid), w.graves)]
                            WHEN l.missing > coalesce(b.n, 0) THEN ARRAY[format('%s row(s) are no longer in the bin', l.missing - coalesce(b.n, 0))]
                            ELSE '{}' END
                    || CASE WHEN l.discarded > 0 THEN ARRAY[format('%s row(s) were not kept', l.discarded)] ELSE '{}' END
                    || CASE WHEN l.uncounted THEN ARRAY['nobody counted what the delete did to it, and nothing of that was kept'] ELSE '{}' END,
                    '; ') AS detail
          FROM reprieve.undelete_tables w LEFT JOIN ledger l USING (relid) LEFT JOIN blocked b USING (relid)
         WHERE w.act = $2
    )
    SELECT line.label, line.restored, line.relinked, line.skipped, CASE detail WHEN '' THEN 'COMPLETE' ELSE 'INCOMPLETE' END,
           array_to_string(line.remarks || nullif(detail, ''), '; ')
      FROM line WHERE NOT (by_row AND line.restored + line.relinked + line.skipped = 0) ORDER BY line.label
$$;

-- What of the same deletions referred to the rows just picked and stays in the bin.
CREATE OR REPLACE FUNCTION reprieve.undelete_left(ids bigint[], act xid8) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    n bigint;
    left_behind text[] := '{}';
BEGIN
    FOR k IN SELECT f.* FROM reprieve.foreign_keys f
               JOIN reprieve.undelete_tables w ON w.act = $2 AND w.relid = f.parent_root WHERE f.confdeltype = 'c' LOOP
        n := reprieve.undelete_pick_children(k, ids, act, true);
        IF n > 0 THEN
            left_behind := left_behind || format('%s row(s) of %s', n, k.conrelid::regclass);
        END IF;
    END LOOP;
    RETURN array_to_string(left_behind, ', ');
END $$;

-- Tables of which the same deletions took rows that nobody kept, other than those of the rows picked.
CREATE OR REPLACE FUNCTION reprieve.undelete_lost(ids bigint[], act xid8) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(DISTINCT format('%I.%I', d.schema_name, d.table_name), ', '), '')
      FROM reprieve.deletion_tables d
     WHERE d.deletion_id = ANY (ids) AND (d.discarded > 0 OR d.uncounted)
       AND NOT EXISTS (SELECT FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.relid = reprieve.root_of(d.relid))
$$;

-- Why there is nothing to restore: when the deletions were undone, and by whom.
CREATE OR REPLACE FUNCTION reprieve.undelete_before(ids bigint[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT format('already undone at %s by %s', to_char(a.at, 'YYYY-MM-DD HH24:MI:SS.US TZ'), a.role_name)
           FROM reprieve.acts a
          WHERE cardinality(ids) > 0 AND a.result -> 'deletions' @> to_jsonb(ids) ORDER BY a.at DESC LIMIT 1),
        'nothing of it is in the bin')
$$;

-- Restores the deletions `ids`, or, if `by_row`, the rows of them that are picked already.
CREATE OR REPLACE FUNCTION reprieve.undelete(verb text, target text, mode text, ids bigint[], by_row boolean)
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET row_security = off SET jit = off SET enable_nestloop = on
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' SET standard_conforming_strings = on
SET quote_all_identifiers = off AS $$
#variable_conflict use_column
DECLARE
    act xid8 := pg_current_xact_id();
    lines jsonb;
    whole record;
    left_behind text := '';
    lost text := '';
    done boolean := false;
    remade text;
    entry bigint;
BEGIN
    -- What is done to triggers for a moment is no change of the schema. Not in a SET clause: only superusers
    -- may write our settings there.
    PERFORM set_config('reprieve.reconciling', '1', true);
    -- One undelete of a deletion at a time; the second then finds what the first left.
    PERFORM FROM reprieve.deletions d WHERE d.id = ANY (ids) ORDER BY d.id FOR UPDATE;
    IF NOT by_row THEN
        remade := reprieve.undrop(ids);
        PERFORM reprieve.undelete_scope(ids, act);
        BEGIN
            PERFORM reprieve.undelete_whole(ids, act);
            done := true;
        EXCEPTION WHEN OTHERS THEN
            IF SQLSTATE <> 'RV019' AND NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            PERFORM reprieve.undelete_pick_all(ids, act);
        END;
    END IF;
    IF by_row AND mode NOT IN ('cascade', 'force') THEN
        left_behind := reprieve.undelete_left(ids, act);
    END IF;
    IF by_row THEN
        lost := reprieve.undelete_lost(ids, act);
    END IF;
    IF NOT done THEN
        PERFORM reprieve.undelete_picked(ids, act, mode, by_row);
    END IF;
    SELECT coalesce(jsonb_agg(v), '[]') INTO lines FROM reprieve.undelete_verdict(ids, act, by_row) v;
    -- Parents that came along may have belonged to other deletions.
    ids := ARRAY(SELECT unnest(ids) UNION SELECT p.deletion_id FROM reprieve.undelete_picks p
                  WHERE p.act = pg_current_xact_id() AND p.blocked IS NULL ORDER BY 1);
    DELETE FROM reprieve.undelete_tables w WHERE w.act = pg_current_xact_id();
    DELETE FROM reprieve.undelete_picks p WHERE p.act = pg_current_xact_id();
    SELECT count(*) FILTER (WHERE l.verdict <> 'COMPLETE') AS incomplete, coalesce(sum(l.restored), 0)::bigint AS restored,
           coalesce(sum(l.relinked), 0)::bigint AS relinked, coalesce(sum(l.skipped), 0)::bigint AS skipped,
           concat_ws('; ', string_agg(l.table_name || ': ' || l.detail, '; ') FILTER (WHERE l.detail <> ''),
                     'still in the bin, went with these rows: ' || nullif(left_behind, ''),
                     'the same deletions took rows that were not kept, of ' || nullif(lost, '')) AS detail
      INTO whole
      FROM jsonb_to_recordset(lines) AS l(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text);
    IF remade IS NOT NULL THEN
        remade := concat_ws('; ', nullif(remade, ''), nullif(reprieve.undrop_rest(ids), ''));
        whole.incomplete := whole.incomplete + (remade <> '')::int;
        whole.detail := concat_ws('; ', nullif(whole.detail, ''), nullif(remade, ''));
    END IF;
    PERFORM set_config('reprieve.reconciling', '', true);
    IF whole.restored + whole.relinked = 0 AND remade IS NULL THEN
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, whole.skipped, 'NOTHING',
            coalesce(nullif(whole.detail, ''), reprieve.undelete_before(ids));
        RETURN;
    END IF;
    entry := reprieve.next_act();
    INSERT INTO reprieve.acts (id, verb, target, result)
    VALUES (entry, verb, target, jsonb_build_object('deletions', to_jsonb(ids), 'mode', mode, 'tables', lines, 'remade', remade IS NOT NULL));
    -- What was written in one subtransaction bears one xmin.
    UPDATE reprieve.restored r SET act = entry, writer = r.xmin WHERE r.act IS NULL AND r.xid = pg_current_xact_id();
    UPDATE reprieve.relinked r SET act = entry, writer = r.xmin WHERE r.act IS NULL AND r.xid = pg_current_xact_id();
    RETURN QUERY SELECT l.table_name, l.restored, l.relinked, l.skipped, l.verdict, l.detail
      FROM jsonb_to_recordset(lines) AS l(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text);
    RETURN QUERY SELECT '(all)', whole.restored, whole.relinked, whole.skipped,
        CASE WHEN whole.incomplete = 0 AND left_behind = '' AND lost = '' THEN 'COMPLETE' ELSE 'INCOMPLETE' END, whole.detail;
END $$;
