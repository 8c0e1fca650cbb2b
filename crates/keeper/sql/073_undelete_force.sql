-- What modes replace and force do to live rows and to references, so that more can come back. $1 in generated statements is the
-- array of deletion ids, $2 the running act.

-- What was done besides restoring; unlike a note it makes nothing incomplete.
ALTER TABLE reprieve.undelete_tables ADD COLUMN IF NOT EXISTS remarks text[] NOT NULL DEFAULT '{}';

-- The live rows that hold keys of picked graveyard rows.
CREATE OR REPLACE FUNCTION reprieve.undelete_holders(table_id oid, ids bigint[], act xid8) RETURNS TABLE (leaf oid, tid tid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = on AS $$
#variable_conflict use_column
DECLARE
    key record;
BEGIN
    FOR key IN SELECT k.* FROM reprieve.keys(table_id) k
                WHERE NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_index i ON i.indexrelid = k.index_oid
                                   WHERE a.attrelid = table_id AND a.attgenerated <> ''
                                     AND (a.attnum = ANY (i.indkey::int2[]) OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) LOOP
        RETURN QUERY EXECUTE format(
            'SELECT l.leaf, l.tid FROM %s AS new, LATERAL (SELECT t.tableoid AS leaf, t.ctid AS tid FROM %s t WHERE %s AND %s%s) AS l',
            reprieve.typed_graves(table_id, true), reprieve.from_clause(table_id), key.condition, key.guard,
            CASE WHEN reprieve.has_marks(table_id) THEN ' AND t.deletion_id IS NULL' ELSE '' END) USING ids, act;
    END LOOP;
END $$;

-- Turns off the users' own DELETE triggers of a table, and returns the commands that turn them on again: like all of an undelete
-- a delete of it runs as the keeper, and no code of the owner's may.
CREATE OR REPLACE FUNCTION reprieve.undelete_quiet_delete(table_id oid) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    again text[] := '{}';
BEGIN
    FOR t IN SELECT r.rulename FROM pg_rewrite r
              WHERE r.ev_class = ANY (reprieve.members_of(table_id)) AND r.ev_type = '4' AND r.ev_enabled IN ('O', 'A') LOOP
        RAISE EXCEPTION 'cannot delete from %: rule % would act on it', reprieve.qualified(table_id), quote_ident(t.rulename)
            USING ERRCODE = 'RV012', HINT = 'Delete the live rows yourself, then undelete.';
    END LOOP;
    FOR t IN SELECT g.tgname, g.tgenabled, g.tgrelid::regclass AS name
               FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
              WHERE g.tgrelid = ANY (reprieve.members_of(table_id)) AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
                AND p.pronamespace <> 'reprieve'::regnamespace AND g.tgtype & 8 <> 0
              ORDER BY g.tgrelid, g.tgname LOOP
        EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.name, t.tgname);
        again := again || format('ALTER TABLE ONLY %s ENABLE %sTRIGGER %I', t.name,
                                 CASE t.tgenabled WHEN 'A' THEN 'ALWAYS ' ELSE '' END, t.tgname);
    END LOOP;
    RETURN again;
END $$;

-- Deletes the live rows that hold keys of picked graveyard rows: deletions of their own, with all that a DELETE takes along. What
-- refers to them and does not let them go makes the undelete fail.
CREATE OR REPLACE FUNCTION reprieve.undelete_make_room(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    t record;
    leaves oid[];
    places tid[];
    gone bigint;
    newest bigint;
    again text[];
    command text;
    message text;
    detail text;
BEGIN
    FOR t IN SELECT w.relid, w.label FROM reprieve.undelete_tables w WHERE w.act = act AND NOT w.gone ORDER BY w.relid LOOP
        BEGIN
            SELECT array_agg(h.leaf), array_agg(h.tid) INTO leaves, places
              FROM (SELECT DISTINCT x.leaf, x.tid FROM reprieve.undelete_holders(t.relid, ids, act) x) h;
        EXCEPTION WHEN OTHERS THEN
            IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            -- Rows that no longer fit their table are found and named row by row, behind this.
            CONTINUE;
        END;
        CONTINUE WHEN places IS NULL;
        again := reprieve.undelete_quiet_delete(t.relid);
        BEGIN
            EXECUTE format('DELETE FROM %s t USING unnest($1, $2) AS u(leaf, tid) WHERE t.tableoid = u.leaf AND t.ctid = u.tid',
                           reprieve.from_clause(t.relid)) USING leaves, places;
            GET DIAGNOSTICS gone = ROW_COUNT;
            IF again <> '{}' THEN
                -- ALTER TABLE refuses while checks are pending.
                SET CONSTRAINTS ALL IMMEDIATE;
            END IF;
        EXCEPTION WHEN integrity_constraint_violation THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
            RAISE EXCEPTION 'cannot undelete: live rows of % hold keys and cannot be deleted', t.label
                USING ERRCODE = 'RV010', DETAIL = concat_ws(E'\n', message, nullif(detail, '')), HINT = 'Nothing was restored.';
        END;
        FOREACH command IN ARRAY again LOOP
            EXECUTE command;
        END LOOP;
        SELECT max(d.id) INTO newest FROM reprieve.deletions d WHERE d.xid = act;
        UPDATE reprieve.undelete_tables w
           SET remarks = w.remarks || format('%s live row(s) that held its keys were deleted: deletion %s', gone, newest)
         WHERE w.act = act AND w.relid = t.relid;
    END LOOP;
END $$;

-- The columns of a foreign key that can be nulled so that a row needs no parent; NULL if it cannot do without.
CREATE OR REPLACE FUNCTION reprieve.nullable_key(con oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN bool_and(k.can) OR f.confmatchtype <> 'f' THEN array_agg(k.name ORDER BY k.i) FILTER (WHERE k.can) END
      FROM pg_constraint f
      CROSS JOIN LATERAL (SELECT a.attname::text AS name, u.i, NOT a.attnotnull AND a.attgenerated = ''
                                 -- Where SET NULL names its columns, the others are meant to stay.
                                 AND coalesce(nullif(to_jsonb(f) -> 'confdelsetcols', 'null') @> to_jsonb(a.attnum), true) AS can
                            FROM unnest(f.conkey) WITH ORDINALITY AS u(attnum, i)
                            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.attnum) k
     WHERE f.oid = con GROUP BY f.oid, f.confmatchtype
$$;

-- Mode force: picked rows whose parent neither is live nor comes back lose the reference, if the foreign key lets them. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.undelete_detach(k reprieve.foreign_keys, ids bigint[], act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    columns text[] := reprieve.nullable_key(k.con);
    children text := reprieve.candidates(k.conrelid, reprieve.key_columns(k.con, 'c'), act, true);
    parents text := reprieve.candidates(k.confrelid, reprieve.key_columns(k.con, 'p'), act, true);
    match text := reprieve.key_match(k.con, 'p', 'c');
    orphans text;
    examples text;
    moved bigint := 0;
    n bigint := 0;
BEGIN
    IF columns IS NULL OR children IS NULL THEN
        RETURN 0;
    END IF;
    orphans := format('SELECT c.leaf, c.source, c.tid, %s AS parent FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s%s)%s',
        reprieve.tuple_name(reprieve.key_columns(k.con, 'p'), reprieve.key_columns(k.con, 'c'), 'c'), children, reprieve.refers(k.con, 'c'), reprieve.from_clause(k.confrelid), match,
        CASE WHEN reprieve.has_marks(k.confrelid) THEN ' AND p.deletion_id IS NULL' ELSE '' END,
        CASE WHEN parents IS NOT NULL THEN format(' AND NOT EXISTS (SELECT FROM %s p WHERE %s)', parents, match) ELSE '' END);
    EXECUTE format('SELECT string_agg(format(''%%s referred to %%s'', reprieve.pick_name(x.leaf, x.source, x.tid), x.parent), '', '')'
                   ' FROM (%s LIMIT 10) x', orphans) INTO examples USING ids, act;
    IF examples IS NULL THEN
        RETURN 0;
    END IF;
    -- A row that is written to has another place.
    EXECUTE format(
        'WITH o AS MATERIALIZED (%s), w AS (UPDATE reprieve.graveyard g SET data = (SELECT array_agg(CASE WHEN u.name = ANY (%L::text[]) THEN NULL ELSE u.value END'
        ' ORDER BY u.i) FROM unnest(x.columns, x.data) WITH ORDINALITY AS u(name, value, i))'
        ' FROM o JOIN reprieve.graveyard x ON x.ctid = o.tid WHERE o.source = ''g'' AND g.ctid = o.tid RETURNING o.tid AS old, g.ctid AS new)'
        ' UPDATE reprieve.undelete_picks p SET tid = w.new, was = coalesce(p.was, p.tid) FROM w WHERE p.act = $2 AND p.source = ''g'' AND p.tid = w.old', orphans, columns)
        USING ids, act;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF reprieve.has_marks(k.conrelid) THEN
        EXECUTE format(
            'WITH o AS MATERIALIZED (%s), w AS (UPDATE %s t SET %s FROM o WHERE o.source = ''t'' AND t.tableoid = o.leaf AND t.ctid = o.tid'
            ' RETURNING o.leaf, o.tid AS old, t.ctid AS new)'
            ' UPDATE reprieve.undelete_picks p SET tid = w.new, was = coalesce(p.was, p.tid) FROM w WHERE p.act = $2 AND p.source = ''t'' AND p.relid = w.leaf AND p.tid = w.old',
            orphans, reprieve.from_clause(k.conrelid), (SELECT string_agg(format('%I = NULL', c), ', ') FROM unnest(columns) AS c)) USING ids, act;
        GET DIAGNOSTICS moved = ROW_COUNT;
        n := n + moved;
    END IF;
    UPDATE reprieve.undelete_tables w
       SET notes = w.notes || format('%s reference(s) in (%s) set to NULL, the parent of foreign key %I is gone: %s%s',
                                     n, array_to_string(columns, ', '), k.conname, examples, CASE WHEN n > 10 THEN ', ...' ELSE '' END)
     WHERE w.act = act AND w.relid = k.child_root;
    RETURN n;
END $$;
