-- UNDELETE: what DBAs call.

-- The tables that the deletions touched, with the number of rows to restore.
CREATE OR REPLACE FUNCTION reprieve.undelete_scope(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    found bigint;
BEGIN
    INSERT INTO reprieve.undelete_tables (act, relid, label, marked, gone)
    SELECT $2, s.root, coalesce(format('%I.%I', n.nspname, c.relname), min(s.label)),
           c.oid IS NOT NULL AND reprieve.has_marks(s.root), c.oid IS NULL
      FROM (SELECT reprieve.root_of(d.relid) AS root, format('%I.%I', d.schema_name, d.table_name) AS label
              FROM reprieve.deletion_tables d WHERE d.deletion_id = ANY (ids)
            UNION
            SELECT DISTINCT reprieve.root_of(g.relid), format('%I.%I', g.schema_name, g.table_name)
              FROM reprieve.graveyard g WHERE g.deletion_id = ANY (ids)
            UNION
            SELECT DISTINCT reprieve.root_of(r.relid), r.relid::regclass::text
              FROM reprieve.relinks r WHERE r.deletion_id = ANY (ids)) s
      LEFT JOIN pg_class c ON c.oid = s.root
      LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
     GROUP BY s.root, c.oid, n.nspname, c.relname;
    FOR t IN SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.marked LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE %s', reprieve.from_clause(t.relid),
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

-- Locks the live parents that tombstones about to be lifted need, and returns how many of those
-- tombstones would be left without one. Their parent rows exist, as the native foreign key holds:
-- the question is whether each is live, or comes back too.
CREATE OR REPLACE FUNCTION reprieve.undelete_orphans(con oid, child oid, parent oid, ids bigint[], act xid8, picked boolean)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child_chosen text := reprieve.chosen('t', child, 'c', picked);
    match text := reprieve.key_match(con, 'p', 'c');
    needed bigint;
    coming bigint;
    live bigint;
BEGIN
    SELECT child_chosen || string_agg(format(' AND c.%I IS NOT NULL', a.attname), '') INTO child_chosen
      FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey)
     WHERE f.oid = con;
    EXECUTE format('SELECT count(*) FROM %s c WHERE %s', reprieve.from_clause(child), child_chosen)
        INTO needed USING ids, act;
    -- The planner has no statistics of rows deleted a moment ago, takes both sides for one row, and
    -- would compare each with each.
    PERFORM set_config('enable_nestloop', CASE WHEN needed > 100 THEN 'off' ELSE 'on' END, true);
    EXECUTE format('SELECT count(*) FROM %s c JOIN %s p ON %s WHERE %s AND %s', reprieve.from_clause(child),
                   reprieve.from_clause(parent), match, child_chosen, reprieve.chosen('t', parent, 'p', picked))
        INTO coming USING ids, act;
    PERFORM set_config('enable_nestloop', 'on', true);
    IF coming = needed THEN
        RETURN 0;
    END IF;
    -- Waits for a delete of the parent that is not committed yet, and then sees what became of it.
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s c JOIN %s p ON %s WHERE %s AND p.deleted_at IS NULL'
                   ' FOR KEY SHARE OF p) l', reprieve.from_clause(child), reprieve.from_clause(parent), match, child_chosen)
        INTO live USING ids, act;
    RETURN needed - coming - live;
END $$;

-- Raises RV010 for tombstones whose parent stays deleted: the first few, their parents and those
-- parents' deletions by name.
CREATE OR REPLACE FUNCTION reprieve.undelete_refuse_orphans(con oid, child oid, parent oid, n bigint, ids bigint[], act xid8)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    details text;
BEGIN
    EXECUTE format(
        'SELECT string_agg(d, E''\n'') FROM (SELECT format(''%s %%s: its parent %s %%s is deleted (deletion %%s)'', %s, %s, p.deletion_id) AS d
           FROM %s c JOIN %s p ON %s WHERE %s AND p.deleted_at IS NOT NULL AND NOT (%s) LIMIT 5) x',
        replace(child::regclass::text, '%', '%%'), replace(parent::regclass::text, '%', '%%'),
        reprieve.row_name(child, 'c'), reprieve.row_name(parent, 'p'),
        reprieve.from_clause(child), reprieve.from_clause(parent), reprieve.key_match(con, 'p', 'c'),
        reprieve.chosen('t', child, 'c', false), reprieve.chosen('t', parent, 'p', false))
        INTO details USING ids, act;
    RAISE EXCEPTION 'cannot undelete: % row(s) of % would have no live parent in %', n, child::regclass, parent::regclass
        USING ERRCODE = 'RV010', DETAIL = coalesce(details, 'The parents were deleted meanwhile.'),
              SCHEMA = (SELECT nspname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = child),
              TABLE = (SELECT relname FROM pg_class WHERE oid = child),
              CONSTRAINT = (SELECT conname FROM pg_constraint WHERE oid = con),
              HINT = 'Undelete the parents'' deletions first, or together with these rows (mode cascade), or leave these rows out (mode nonconflict_only).';
END $$;

-- Restores whole deletions; every conflict is an error.
CREATE OR REPLACE FUNCTION reprieve.undelete_whole(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
    t record;
    n bigint;
BEGIN
    FOR f IN SELECT k.con, k.conrelid, k.confrelid
               FROM reprieve.foreign_keys k
               JOIN reprieve.undelete_tables c ON c.act = $2 AND c.relid = k.child_root AND c.tombstones > 0
              WHERE reprieve.has_marks(k.confrelid) ORDER BY k.con LOOP
        n := reprieve.undelete_orphans(f.con, f.conrelid, f.confrelid, ids, act, false);
        IF n > 0 THEN
            PERFORM reprieve.undelete_refuse_orphans(f.con, f.conrelid, f.confrelid, n, ids, act);
        END IF;
    END LOOP;
    FOR t IN SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.tombstones > 0 ORDER BY w.relid LOOP
        n := reprieve.undelete_marks(t.relid, ids, act, false);
        UPDATE reprieve.undelete_tables w SET restored = w.restored + n WHERE w.act = $2 AND w.relid = t.relid;
    END LOOP;
    PERFORM reprieve.undelete_graves(ids, act, false);
END $$;

-- What became of each table, and of the whole. Rows the ledger counted and that are neither back nor
-- in the bin are gone for good.
CREATE OR REPLACE FUNCTION reprieve.undelete_verdict(ids bigint[], act xid8)
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH ledger AS (
        SELECT reprieve.root_of(d.relid) AS relid, sum(d.rows - d.restored)::bigint AS missing
          FROM reprieve.deletion_tables d WHERE d.deletion_id = ANY (ids) GROUP BY 1
    ), line AS (
        SELECT w.*, greatest(coalesce(l.missing, 0), w.skipped, 0) AS missing,
               array_to_string(w.notes || CASE
                   WHEN w.gone THEN ARRAY[format('the table is no more; %s row(s) stay in the graveyard', w.graves)]
                   WHEN coalesce(l.missing, 0) > w.skipped
                   THEN ARRAY[format('%s row(s) are no longer in the bin', l.missing - w.skipped)]
                   ELSE '{}' END, '; ') AS detail
          FROM reprieve.undelete_tables w LEFT JOIN ledger l USING (relid) WHERE w.act = $2
    )
    SELECT label, line.restored, line.relinked, line.skipped,
           CASE WHEN missing > 0 OR gone OR detail <> '' THEN 'INCOMPLETE' ELSE 'COMPLETE' END, detail
      FROM (SELECT * FROM line ORDER BY label) line
$$;

-- The one road of all undeletes. `ids` are the deletions to restore.
CREATE OR REPLACE FUNCTION reprieve.undelete(verb text, target text, mode text, ids bigint[])
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET reprieve.undelete = 'on' SET reprieve.following = '1' SET row_security = off SET jit = off SET enable_nestloop = on
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
    act xid8 := pg_current_xact_id();
    lines jsonb;
    whole record;
BEGIN
    IF mode NOT IN ('nocascade') THEN
        RAISE EXCEPTION 'mode % is not offered', mode USING ERRCODE = 'feature_not_supported',
            HINT = 'Modes: nocascade.';
    END IF;
    -- One undelete of a deletion at a time; the second then finds what the first left.
    PERFORM FROM reprieve.deletions d WHERE d.id = ANY (ids) ORDER BY d.id FOR UPDATE;
    INSERT INTO reprieve.acts (verb, target) VALUES (verb, target);
    PERFORM reprieve.undelete_scope(ids, act);
    PERFORM reprieve.undelete_whole(ids, act);
    SELECT jsonb_agg(v) INTO lines FROM reprieve.undelete_verdict(ids, act) v;
    DELETE FROM reprieve.undelete_tables w WHERE w.act = pg_current_xact_id();
    SELECT count(*) FILTER (WHERE l.verdict <> 'COMPLETE') AS incomplete, coalesce(sum(l.restored), 0)::bigint AS restored,
           coalesce(sum(l.relinked), 0)::bigint AS relinked, coalesce(sum(l.skipped), 0)::bigint AS skipped,
           string_agg(l.table_name || ': ' || l.detail, '; ') FILTER (WHERE l.detail <> '') AS detail
      INTO whole
      FROM jsonb_to_recordset(lines) AS l(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text);
    IF whole.restored + whole.relinked = 0 AND whole.skipped = 0 THEN
        DELETE FROM reprieve.acts a WHERE a.xid = act AND a.result IS NULL;
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, 0::bigint, 'NOTHING', reprieve.undelete_before(ids);
        RETURN;
    END IF;
    UPDATE reprieve.acts a SET result = jsonb_build_object('deletions', to_jsonb(ids), 'tables', lines)
     WHERE a.xid = act AND a.result IS NULL;
    RETURN QUERY SELECT l.table_name, l.restored, l.relinked, l.skipped, l.verdict, l.detail
      FROM jsonb_to_recordset(lines) AS l(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text);
    RETURN QUERY SELECT '(all)', whole.restored, whole.relinked, whole.skipped,
        CASE WHEN whole.incomplete = 0 THEN 'COMPLETE' ELSE 'INCOMPLETE' END, coalesce(whole.detail, '');
END $$;

-- Why there is nothing to restore: when the deletions were undone, and by whom.
CREATE OR REPLACE FUNCTION reprieve.undelete_before(ids bigint[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT format('already undone at %s by %s', to_char(a.at, 'YYYY-MM-DD HH24:MI:SS.US TZ'), a.role_name)
           FROM reprieve.acts a
          WHERE a.result -> 'deletions' @> to_jsonb(ids) ORDER BY a.at DESC LIMIT 1),
        'nothing of it is in the bin')
$$;

-- UNDELETE DELETION id.
CREATE OR REPLACE FUNCTION reprieve.undelete_deletion_v1(id bigint, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('UNDELETE');
    IF NOT EXISTS (SELECT FROM reprieve.deletions d WHERE d.id = undelete_deletion_v1.id) THEN
        RAISE EXCEPTION 'deletion % is not in the ledger', id
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete('undelete deletion', id::text, mode, ARRAY[id]);
END $$;

-- UNDELETE TRANSACTION x: all that the transaction deleted.
CREATE OR REPLACE FUNCTION reprieve.undelete_transaction_v1(x xid8, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    PERFORM reprieve.require_admin('UNDELETE');
    SELECT array_agg(d.id ORDER BY d.id) INTO ids FROM reprieve.deletions d WHERE d.xid = x;
    IF ids IS NULL THEN
        RAISE EXCEPTION 'no deletion of transaction % is in the ledger', x
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete('undelete transaction', x::text, mode, ids);
END $$;
