-- What stands in the way of an undelete: parents that stay deleted, keys taken meanwhile, a schema
-- that moved on. $1 in generated statements is the array of deletion ids, $2 the running act.

-- The rows of a table that are to be restored, as a subquery: leaf, source, tid, deletion_id, and the
-- columns named, typed. NULL if there are none. OFFSET 0: no value is read as its type before it is
-- known that its row is wanted.
CREATE OR REPLACE FUNCTION reprieve.candidates(relid oid, column_names name[], act xid8, picked boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '(' || nullif(concat_ws(' UNION ALL ',
        CASE WHEN w.marked AND (w.tombstones > 0 OR picked) THEN
            format('SELECT t.tableoid AS leaf, ''t''::"char" AS source, t.ctid AS tid, t.deletion_id%s FROM %s t WHERE %s',
                   (SELECT string_agg(format(', t.%I', c), '' ORDER BY i) FROM unnest(column_names) WITH ORDINALITY AS u(c, i)),
                   reprieve.from_clause($1), reprieve.chosen('t', $1, 't', picked)) END,
        CASE WHEN w.graves > 0 OR picked THEN
            format('SELECT g.relid AS leaf, ''g''::"char" AS source, g.tid, g.deletion_id%s FROM (SELECT g.ctid AS tid, g.* FROM reprieve.graveyard g'
                   ' WHERE %s OFFSET 0) g',
                   (SELECT string_agg(', ' || reprieve.grave_column('g', $1, c, NULL) || format(' AS %I', c), '' ORDER BY i)
                      FROM unnest(column_names) WITH ORDINALITY AS u(c, i)),
                   reprieve.chosen('g', $1, 'g', picked)) END), '') || ')'
      FROM reprieve.undelete_tables w WHERE w.act = $3 AND w.relid = reprieve.root_of($1) AND NOT w.gone
$$;

-- Columns of a foreign key, in its order: side c the referencing ones, p the referenced ones.
CREATE OR REPLACE FUNCTION reprieve.key_columns(con oid, side "char") RETURNS name[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(a.attname ORDER BY k.i)
      FROM pg_constraint f
      CROSS JOIN LATERAL unnest(CASE side WHEN 'c' THEN f.conkey ELSE f.confkey END) WITH ORDINALITY AS k(attnum, i)
      JOIN pg_attribute a ON a.attrelid = CASE side WHEN 'c' THEN f.conrelid ELSE f.confrelid END AND a.attnum = k.attnum
     WHERE f.oid = con
$$;

-- A row without a reference needs no parent: MATCH SIMPLE if any column is null, and MATCH FULL admits
-- only all or none.
CREATE OR REPLACE FUNCTION reprieve.refers(con oid, alias text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%s.%I IS NOT NULL', alias, c), ' AND ') FROM unnest(reprieve.key_columns(con, 'c')) AS c
$$;

-- Foreign keys whose referencing table is restored from.
CREATE OR REPLACE FUNCTION reprieve.undelete_keys(act xid8) RETURNS SETOF reprieve.foreign_keys
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.* FROM reprieve.foreign_keys k
      JOIN reprieve.undelete_tables w ON w.act = $1 AND w.relid = k.child_root AND NOT w.gone
     ORDER BY k.con
$$;

-- Locks the live parents that rows about to come back need, and returns how many of those rows would
-- be left without one: a parent must be live, or come back too.
CREATE OR REPLACE FUNCTION reprieve.undelete_orphans(k reprieve.foreign_keys, ids bigint[], act xid8, picked boolean)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    children text := reprieve.candidates(k.conrelid, reprieve.key_columns(k.con, 'c'), act, picked);
    parents text := reprieve.candidates(k.confrelid, reprieve.key_columns(k.con, 'p'), act, picked);
    match text := reprieve.key_match(k.con, 'p', 'c');
    needed bigint;
    coming bigint := 0;
    live bigint;
    nested text := current_setting('enable_nestloop');
BEGIN
    IF children IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('SELECT count(*) FROM %s c WHERE %s', children, reprieve.refers(k.con, 'c')) INTO needed USING ids, act;
    IF needed > 0 AND parents IS NOT NULL THEN
        -- The planner has no statistics of rows deleted a moment ago, takes both sides for one row,
        -- and would compare each with each.
        PERFORM set_config('enable_nestloop', CASE WHEN needed > 100 THEN 'off' ELSE nested END, true);
        EXECUTE format('SELECT count(*) FROM %s c JOIN %s p ON %s', children, parents, match) INTO coming USING ids, act;
        PERFORM set_config('enable_nestloop', nested, true);
    END IF;
    IF coming = needed THEN
        RETURN 0;
    END IF;
    -- Waits for a delete of the parent that is not committed yet, and then sees what became of it.
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s c JOIN %s p ON %s WHERE p.deleted_at IS NULL FOR KEY SHARE OF p) l',
                   children, reprieve.from_clause(k.confrelid), match) INTO live USING ids, act;
    RETURN needed - coming - live;
END $$;

-- Picks what is to be restored of whole deletions.
CREATE OR REPLACE FUNCTION reprieve.undelete_pick_all(ids bigint[], act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.tombstones > 0 LOOP
        EXECUTE format('INSERT INTO reprieve.undelete_picks SELECT $2, t.tableoid, ''t'', t.ctid, t.deletion_id FROM %s t WHERE %s',
                       reprieve.from_clause(t.relid), reprieve.chosen('t', t.relid, 't', false)) USING ids, act;
    END LOOP;
    INSERT INTO reprieve.undelete_picks
    SELECT $2, g.relid, 'g', g.ctid, g.deletion_id, CASE WHEN c.oid IS NULL THEN reprieve.no_table(g.relid) END
      FROM reprieve.graveyard g LEFT JOIN pg_class c ON c.oid = g.relid WHERE g.deletion_id = ANY (ids);
END $$;

-- Picks the deleted parents of picked rows, whatever deletion took them. Of several graveyard rows
-- with the key the one deleted last. Returns how many were added.
CREATE OR REPLACE FUNCTION reprieve.undelete_pick_parents(k reprieve.foreign_keys, ids bigint[], act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    children text := reprieve.candidates(k.conrelid, reprieve.key_columns(k.con, 'c'), act, true);
    match text := reprieve.key_match(k.con, 'p', 'c');
    parent text := reprieve.from_clause(k.confrelid);
    marked boolean := reprieve.has_marks(k.confrelid);
    picked text;
    graves text;
    added bigint;
    n bigint := 0;
BEGIN
    PERFORM reprieve.undelete_add_table(k.parent_root, act);
    picked := format(' AND NOT EXISTS (SELECT FROM %s p WHERE %s)', reprieve.candidates(k.confrelid, reprieve.key_columns(k.con, 'p'), act, true), match);
    graves := format(
        'INSERT INTO reprieve.undelete_picks SELECT DISTINCT ON (c.leaf, c.source, c.tid) $2, p.relid, ''g''::"char", p.tid, p.deletion_id'
        ' FROM %1$s c JOIN (SELECT g.relid, g.tid, g.deletion_id, g.buried_at, %2$s FROM (SELECT g.ctid AS tid, g.* FROM reprieve.graveyard g'
        ' WHERE g.relid = ANY (%3$L::oid[]) OFFSET 0) g) p ON %4$s'
        ' WHERE NOT EXISTS (SELECT FROM %5$s p WHERE %4$s%%s)%6$s%%s'
        ' ORDER BY c.leaf, c.source, c.tid, p.deletion_id DESC, p.buried_at DESC',
        children,
        (SELECT string_agg(reprieve.grave_column('g', k.confrelid, c, NULL) || format(' AS %I', c), ', ')
           FROM unnest(reprieve.key_columns(k.con, 'p')) AS c),
        reprieve.members_of(k.confrelid), match, parent, picked);
    -- The version that the child's own deletion took comes before any later one.
    EXECUTE format(graves, CASE WHEN marked THEN ' AND p.deletion_id IS NULL' ELSE '' END, ' AND p.deletion_id = c.deletion_id') USING ids, act;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF marked THEN
        EXECUTE format(
            'INSERT INTO reprieve.undelete_picks SELECT DISTINCT $2, p.tableoid, ''t''::"char", p.ctid, p.deletion_id'
            ' FROM %s c JOIN %s p ON %s WHERE p.deletion_id IS NOT NULL%s', children, parent, match, picked)
            USING ids, act;
        GET DIAGNOSTICS added = ROW_COUNT;
        n := n + added;
    END IF;
    EXECUTE format(graves, '', '') USING ids, act;
    GET DIAGNOSTICS added = ROW_COUNT;
    -- Children of one parent picked it once each.
    DELETE FROM reprieve.undelete_picks a USING reprieve.undelete_picks b
     WHERE a.act = $3 AND b.act = $3 AND a.source = 'g' AND b.source = 'g' AND a.tid = b.tid AND a.ctid > b.ctid;
    RETURN n + added;
END $$;

-- Picks the rows that the same deletions took because they referred to picked rows. Returns how many
-- there are; with `dry` they are only counted.
CREATE OR REPLACE FUNCTION reprieve.undelete_pick_children(k reprieve.foreign_keys, ids bigint[], act xid8, dry boolean)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns name[] := reprieve.key_columns(k.con, 'c');
    parents text := reprieve.candidates(k.confrelid, reprieve.key_columns(k.con, 'p'), act, true);
    query text;
    n bigint;
BEGIN
    query := format(
        'SELECT DISTINCT $2 AS act, c.leaf, c.source, c.tid, c.deletion_id FROM %s p JOIN (%s SELECT g.relid AS leaf, ''g''::"char" AS source,'
        ' g.tid, g.deletion_id%s FROM (SELECT g.ctid AS tid, g.* FROM reprieve.graveyard g WHERE g.relid = ANY (%L::oid[])'
        ' AND g.deletion_id = ANY ($1) OFFSET 0) g) c ON c.deletion_id = p.deletion_id AND %s'
        ' WHERE NOT EXISTS (SELECT FROM reprieve.undelete_picks x WHERE x.act = $2 AND x.relid = c.leaf'
        ' AND x.source = c.source AND x.tid = c.tid)',
        parents,
        CASE WHEN reprieve.has_marks(k.conrelid) THEN format(
            'SELECT t.tableoid AS leaf, ''t''::"char" AS source, t.ctid AS tid, t.deletion_id%s FROM %s t WHERE t.deletion_id = ANY ($1) UNION ALL',
            (SELECT string_agg(format(', t.%I', c), '') FROM unnest(columns) AS c), reprieve.from_clause(k.conrelid)) END,
        (SELECT string_agg(', ' || reprieve.grave_column('g', k.conrelid, c, NULL) || format(' AS %I', c), '') FROM unnest(columns) AS c),
        reprieve.members_of(k.conrelid), reprieve.key_match(k.con, 'p', 'c'));
    IF dry THEN
        EXECUTE format('SELECT count(*) FROM (%s) q', query) INTO n USING ids, act;
    ELSE
        PERFORM reprieve.undelete_add_table(k.child_root, act);
        EXECUTE 'INSERT INTO reprieve.undelete_picks ' || query USING ids, act;
        GET DIAGNOSTICS n = ROW_COUNT;
    END IF;
    RETURN n;
END $$;

-- Blocks picked rows whose parent neither is live nor comes back. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.undelete_block_orphans(k reprieve.foreign_keys, ids bigint[], act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    children text := reprieve.candidates(k.conrelid, reprieve.key_columns(k.con, 'c'), act, true);
    parents text := reprieve.candidates(k.confrelid, reprieve.key_columns(k.con, 'p'), act, true);
    match text := reprieve.key_match(k.con, 'p', 'c');
    marked boolean := reprieve.has_marks(k.confrelid);
    n bigint;
BEGIN
    EXECUTE format(
        'UPDATE reprieve.undelete_picks x SET blocked = format(''its parent in %1$s, %%s, %%s'', %2$s,'
        '          coalesce((SELECT %3$s FROM %4$s p WHERE %5$s LIMIT 1), ''is gone'')) FROM ('
        '   SELECT c.* FROM %6$s c WHERE %7$s AND NOT EXISTS (SELECT FROM %4$s p WHERE %5$s%8$s) %9$s) c'
        ' WHERE x.act = $2 AND x.relid = c.leaf AND x.source = c.source AND x.tid = c.tid',
        replace(replace(k.confrelid::regclass::text, '%', '%%'), '''', ''''''),
        reprieve.tuple_name(reprieve.key_columns(k.con, 'p'), reprieve.key_columns(k.con, 'c'), 'c'),
        CASE WHEN marked THEN 'format(''is deleted (deletion %s)'', p.deletion_id)' ELSE '''is gone''' END,
        reprieve.from_clause(k.confrelid), match, children, reprieve.refers(k.con, 'c'),
        CASE WHEN marked THEN ' AND p.deletion_id IS NULL' ELSE '' END,
        CASE WHEN parents IS NOT NULL THEN format('AND NOT EXISTS (SELECT FROM %s p WHERE %s)', parents, match) END)
        USING ids, act;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- SQL for the graveyard rows of a table that are to be restored, as (tid, new): `new` is the row itself.
CREATE OR REPLACE FUNCTION reprieve.typed_graves(relid oid, picked boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(SELECT g.tid AS reprieve_tid, %s FROM (SELECT g.ctid AS tid, g.* FROM reprieve.graveyard g WHERE %s OFFSET 0) g)',
                  string_agg(format('%s AS %I', reprieve.grave_column('g', $1, a.attname, NULL), a.attname), ', ' ORDER BY a.attnum),
                  reprieve.chosen('g', $1, 'g', picked))
      FROM pg_attribute a
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND reprieve.has_marks($1))
$$;

-- Graveyard rows whose key a live row holds, or a tombstone that comes back, with the words for it. What this does
-- not foresee (keys of generated columns, two graveyard rows with one key) the INSERT finds. Nested loops: every
-- key has an index.
CREATE OR REPLACE FUNCTION reprieve.undelete_taken(table_id oid, ids bigint[], act xid8, picked boolean)
RETURNS TABLE (tid tid, why text) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = on AS $$
DECLARE
    key record;
    coming text := CASE WHEN reprieve.has_marks(table_id) THEN reprieve.chosen('t', table_id, 't', picked) END;
    holders text[] := CASE WHEN coming IS NULL THEN '{true}' ELSE ARRAY['t.deletion_id IS NULL', coming] END;
    holder text;
BEGIN
    FOR key IN SELECT k.*, c.relname FROM reprieve.keys(table_id) k JOIN pg_class c ON c.oid = k.index_oid
                WHERE NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_index i ON i.indexrelid = k.index_oid
                                   WHERE a.attrelid = table_id AND a.attgenerated <> ''
                                     AND (a.attnum = ANY (i.indkey::int2[]) OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) LOOP
        FOREACH holder IN ARRAY holders LOOP
            RETURN QUERY EXECUTE format(
                -- Names in the expressions of an index are not qualified: alone in FROM the table is who they mean.
                'SELECT DISTINCT ON (new.reprieve_tid) new.reprieve_tid, format(%L, l.name) FROM %s AS new,'
                ' LATERAL (SELECT %s AS name FROM %s t WHERE %s AND %s AND %s) AS l',
                format('its key is taken: constraint %s, live row %%s', replace(quote_ident(key.relname), '%', '%%')),
                reprieve.typed_graves(table_id, picked), reprieve.row_name(table_id, 't'), reprieve.from_clause(table_id),
                key.condition, key.guard, holder) USING ids, act;
        END LOOP;
    END LOOP;
END $$;

-- Makes a table known to the running undelete.
CREATE OR REPLACE FUNCTION reprieve.undelete_add_table(root oid, act xid8) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO reprieve.undelete_tables (act, relid, label, marked, gone)
    SELECT $2, $1, reprieve.qualified($1), reprieve.has_marks($1), false
    ON CONFLICT DO NOTHING
$$;
