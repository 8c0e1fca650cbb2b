-- ERASE SUBJECT: rows that a law wants gone, with all that hangs on them by ON DELETE CASCADE: live, as tombstones, in the graveyard, and
-- what the ledger says of them. What they did not own keeps at most a reference that leads nowhere. Held rows are not erased.

-- Graveyard rows that are to be erased, while that runs.
DROP FUNCTION IF EXISTS reprieve.erase_along(xid8);

CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.erase_graves (
    act  xid8 NOT NULL,
    tid  tid NOT NULL,
    PRIMARY KEY (act, tid)
);

-- All tables under which rows of a table may be filed in the graveyard.
CREATE OR REPLACE FUNCTION reprieve.tree_of(relid oid) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT reprieve.lineage_of($1) || reprieve.members_of($1) $$;

-- Places of the rows of a table in the graveyard of which these columns no longer take the values.
CREATE OR REPLACE FUNCTION reprieve.erase_unreadable(relid oid, columns name[]) RETURNS tid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    query text := format('SELECT %s FROM (SELECT * FROM reprieve.graveyard g WHERE g.relid = ANY (%L::oid[])%%s OFFSET 0) g',
                         (SELECT string_agg(format('count(%s)', reprieve.grave_column('g', relid, c, NULL)), ', ') FROM unnest(columns) AS c), reprieve.tree_of(relid));
    place tid;
    unreadable tid[] := '{}';
BEGIN
    EXECUTE format(query, '');
    RETURN unreadable;
EXCEPTION WHEN OTHERS THEN
    IF NOT reprieve.is_about_rows(SQLSTATE) THEN
        RAISE;
    END IF;
    FOR place IN SELECT g.ctid FROM reprieve.graveyard g WHERE g.relid = ANY ((SELECT reprieve.tree_of(relid))::oid[]) LOOP
        BEGIN
            EXECUTE format(query, ' AND g.ctid = $1') USING place;
        EXCEPTION WHEN OTHERS THEN
            IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            unreadable := unreadable || place;
        END;
    END LOOP;
    RETURN unreadable;
END $$;

-- Rows of the graveyard as key_rows returns them, with `at`, the time when each was deleted, and whether it is `erased`. $1 act.
CREATE OR REPLACE FUNCTION reprieve.erase_rows(k reprieve.foreign_keys, side "char", unreadable tid[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(SELECT x.*, coalesce(d.statement_at, x.deleted_at) AS at, e.tid IS NOT NULL AS erased FROM %s x LEFT JOIN reprieve.deletions d ON d.id = x.deletion_id'
                  ' LEFT JOIN reprieve.erase_graves e ON e.act = $1 AND e.tid = x.tid)',
                  reprieve.key_rows(k, side, true, ', g.deletion_id, g.deleted_at', format('g.relid = ANY (%L::oid[]) AND g.ctid <> ALL (%L::tid[])',
                      reprieve.tree_of(CASE side WHEN 'c' THEN (k).conrelid ELSE (k).confrelid END), unreadable)))
$$;

-- Adds the rows in the graveyard that hung on rows found so far. A key may have been used more than once: a row hung on the first of its
-- parents that was deleted with it or later, or, where deletions overlapped and there is none, on the last one.
CREATE OR REPLACE FUNCTION reprieve.erase_hanging(k reprieve.foreign_keys, act xid8, no_parents tid[], no_children tid[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    match text := reprieve.key_match(k.con, 'p', 'c');
    marked boolean := reprieve.has_marks(k.confrelid);
    nested text := current_setting('enable_nestloop');
    added bigint;
BEGIN
    -- The planner takes what was found a moment ago for one row, and would compare each with each.
    PERFORM set_config('enable_nestloop', 'off', true) WHERE (SELECT count(*) > 100 FROM reprieve.erase_graves e WHERE e.act = $2);
    EXECUTE format(
        'WITH parents AS MATERIALIZED (SELECT * FROM %1$s x), children AS MATERIALIZED ('
        '   SELECT * FROM %2$s c WHERE NOT c.erased AND EXISTS (SELECT FROM parents p WHERE p.erased AND %3$s))'
        ' INSERT INTO reprieve.erase_graves SELECT $1, f.tid FROM (SELECT DISTINCT ON (u.tid) u.tid, u.erased FROM ('
        '     SELECT c.tid, p.erased, p.at, p.deletion_id, (p.at, p.deletion_id) < (c.at, c.deletion_id) AS earlier FROM children c JOIN parents p ON %3$s'
        '     UNION ALL SELECT c.tid, false, %4$s, false FROM children c JOIN %5$s p ON %3$s %6$s) u'
        '   ORDER BY u.tid, u.earlier, CASE WHEN u.earlier THEN NULL ELSE u.at END, CASE WHEN u.earlier THEN NULL ELSE u.deletion_id END,'
        '            u.at DESC, u.deletion_id DESC) f WHERE f.erased',
        reprieve.erase_rows(k, 'p', no_parents), reprieve.erase_rows(k, 'c', no_children), match,
        CASE WHEN marked THEN 'coalesce(d.statement_at, ''infinity''), p.deletion_id' ELSE '''infinity'', NULL' END, reprieve.from_clause(k.confrelid),
        CASE WHEN marked THEN 'LEFT JOIN reprieve.deletions d ON d.id = p.deletion_id' END) USING act;
    GET DIAGNOSTICS added = ROW_COUNT;
    PERFORM set_config('enable_nestloop', nested, true);
    RETURN added;
END $$;

-- Adds all that hangs on the rows found so far, whatever deletion took it. Returns what could not be looked at, as it no longer fits its
-- table: rows that may be such as the condition means, or may hang on rows that are erased; per table {"rows":..,"deletions":[..]}.
CREATE OR REPLACE FUNCTION reprieve.erase_along(act xid8, t oid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    k reprieve.foreign_keys;
    columns text[] := (reprieve.row_sql(t, 'o')).columns;
    unread tid[] := reprieve.erase_unreadable(t, columns::name[]) || ARRAY(SELECT g.ctid FROM reprieve.graveyard g
        WHERE g.relid = ANY ((SELECT reprieve.tree_of(t))::oid[]) AND NOT g.columns <@ columns AND NOT g.columns @> columns);
    parents jsonb := '{}';
    children jsonb := '{}';
    added bigint := 1;
BEGIN
    WHILE added > 0 LOOP
        added := 0;
        FOR k IN SELECT * FROM reprieve.foreign_keys f WHERE f.confdeltype = 'c' ORDER BY f.con LOOP
            CONTINUE WHEN NOT EXISTS (SELECT FROM reprieve.erase_graves e JOIN reprieve.graveyard p ON p.ctid = e.tid
                                       WHERE e.act = act AND p.relid = ANY ((SELECT reprieve.tree_of(k.confrelid))::oid[]));
            IF NOT parents ? k.con::text THEN
                parents := parents || jsonb_build_object(k.con, reprieve.erase_unreadable(k.confrelid, reprieve.key_columns(k.con, 'p')));
                children := children || jsonb_build_object(k.con, reprieve.erase_unreadable(k.conrelid, reprieve.key_columns(k.con, 'c')));
            END IF;
            added := added + reprieve.erase_hanging(k, act, ARRAY(SELECT jsonb_array_elements_text(parents -> k.con::text))::tid[],
                                                    ARRAY(SELECT jsonb_array_elements_text(children -> k.con::text))::tid[]);
        END LOOP;
    END LOOP;
    FOR k IN SELECT * FROM reprieve.foreign_keys f WHERE parents ? f.con::text LOOP
        unread := unread || reprieve.erase_unfit(k.conrelid, reprieve.key_columns(k.con, 'c')::text[])
               || ARRAY(SELECT jsonb_array_elements_text(children -> k.con::text))::tid[]
               || ARRAY(SELECT c.ctid FROM reprieve.graveyard c WHERE c.relid = ANY ((SELECT reprieve.tree_of(k.conrelid))::oid[]) AND c.deletion_id IN (
                      SELECT p.deletion_id FROM unnest(reprieve.erase_unfit(k.confrelid, reprieve.key_columns(k.con, 'p')::text[])
                                                       || ARRAY(SELECT jsonb_array_elements_text(parents -> k.con::text))::tid[]) AS u(tid)
                        JOIN reprieve.erase_graves e ON e.act = act AND e.tid = u.tid JOIN reprieve.graveyard p ON p.ctid = u.tid));
    END LOOP;
    RETURN (SELECT jsonb_object_agg(u.label, jsonb_build_object('rows', u.rows, 'deletions', u.deletions))
              FROM (SELECT format('%I.%I', g.schema_name, g.table_name) AS label, count(*) AS rows,
                           (array_agg(DISTINCT g.deletion_id ORDER BY g.deletion_id DESC))[:10] AS deletions
                      FROM reprieve.graveyard g WHERE g.ctid = ANY (unread) AND NOT EXISTS (SELECT FROM reprieve.erase_graves e WHERE e.act = act AND e.tid = g.ctid)
                     GROUP BY 1) u);
END $$;

-- Rows of a table in the graveyard that do not have all of these columns, but others that the table has no more: they were called so, perhaps.
CREATE OR REPLACE FUNCTION reprieve.erase_unfit(relid oid, columns text[]) RETURNS tid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT g.ctid FROM reprieve.graveyard g
                  WHERE g.relid = ANY ((SELECT reprieve.tree_of($1))::oid[]) AND NOT g.columns @> $2 AND NOT g.columns <@ (SELECT r.columns FROM reprieve.row_sql($1, 'o') r))
$$;

-- Forgets what UNDO UNDELETE remembers of erased rows. Returns the deletions that had taken them.
CREATE OR REPLACE FUNCTION reprieve.erase_restored(act xid8) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    nested text := current_setting('enable_nestloop');
    roots oid[];
    called text[];
    ids bigint[];
BEGIN
    -- Root and key are asked for once for each table, not once for each row.
    WITH gone AS MATERIALIZED (
        SELECT g.relid, g.columns, g.data FROM reprieve.erase_graves e JOIN reprieve.graveyard g ON g.ctid = e.tid WHERE e.act = act
    ), known AS MATERIALIZED (
        SELECT t.relid, reprieve.root_of(t.relid) AS root, reprieve.primary_key(t.relid)::text[] AS key FROM (SELECT DISTINCT g.relid FROM gone g) t
    )
    SELECT array_agg(k.root), array_agg(reprieve.name_grave(k.key, g.columns, g.data)) INTO roots, called FROM gone g JOIN known k USING (relid);
    -- The planner does not know how many they are, and would compare each with each.
    PERFORM set_config('enable_nestloop', 'off', true);
    WITH hit AS MATERIALIZED (
        SELECT DISTINCT r.place FROM (SELECT x.ctid AS place, reprieve.root_of(x.relid) AS root, x.names FROM reprieve.restored x OFFSET 0) r
         CROSS JOIN LATERAL unnest(r.names) AS n(name) JOIN unnest(roots, called) AS gone(root, name) ON gone.root = r.root AND gone.name = n.name
    ), forgotten AS (
        DELETE FROM reprieve.restored r USING hit WHERE r.ctid = hit.place RETURNING r.deletion_id
    )
    SELECT coalesce(array_agg(DISTINCT f.deletion_id), '{}') INTO ids FROM forgotten f;
    PERFORM set_config('enable_nestloop', nested, true);
    RETURN ids;
END $$;

-- The DELETE that forgets remembered references to erased rows in one store. $1 act. Where the parent's key was used more than once, a
-- reference was to the row that its deletion took.
CREATE OR REPLACE FUNCTION reprieve.erase_references(k reprieve.foreign_keys, store text, entry text, typed boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('WITH parents AS MATERIALIZED (SELECT x.*, x.tid IN (SELECT e.tid FROM reprieve.erase_graves e WHERE e.act = $1) AS erased FROM %1$s x)'
                  ' DELETE FROM %2$s r USING (SELECT x.ctid AS place, (%3$s).deletion_id, %4$s FROM %2$s x'
                  ' WHERE (%3$s).relid = ANY (%5$L::oid[]) AND (%3$s).columns @> %6$L::text[] OFFSET 0) c'
                  ' WHERE r.ctid = c.place AND EXISTS (SELECT FROM parents p WHERE p.erased AND %7$s)'
                  ' AND NOT EXISTS (SELECT FROM parents p WHERE NOT p.erased AND p.deletion_id = c.deletion_id AND %7$s)',
                  reprieve.key_rows(k, 'p', typed, ', g.deletion_id', format('g.relid = ANY (%L::oid[])', reprieve.tree_of((k).confrelid))), store, entry,
                  CASE WHEN typed THEN (SELECT string_agg(reprieve.read_as(format('(%1$s).old_data[array_position((%1$s).columns, %2$L)]', entry, c), a.atttypid)
                                                          || format(' AS %I', c), ', ') FROM unnest(f.columns) AS c JOIN pg_attribute a ON a.attrelid = (k).conrelid AND a.attname = c)
                       ELSE reprieve.image_sql(f.columns::text[], replace('(@).old_data[array_position((@).columns, %L)]', '@', entry)) || ' AS key' END,
                  reprieve.tree_of((k).conrelid), f.columns, CASE WHEN typed THEN reprieve.key_match((k).con, 'p', 'c') ELSE 'p.key = c.key' END)
    FROM (SELECT reprieve.key_columns((k).con, 'c') AS columns) f
$$;

-- Forgets remembered references of erased rows, and references to them. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.erase_relinks(act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
#variable_conflict use_variable
DECLARE
    part record;
    store record;
    forgotten bigint := 0;
    n bigint;
BEGIN
    FOR part IN SELECT DISTINCT r.relid, r.key_columns FROM reprieve.relinks r LOOP
        EXECUTE format('DELETE FROM reprieve.relinks r USING reprieve.erase_graves e, reprieve.graveyard g'
                       ' WHERE e.act = $1 AND g.ctid = e.tid AND r.relid = $2 AND g.relid = $2 AND r.key_columns = $3 AND r.key_data = %s',
                       reprieve.image_sql(part.key_columns, 'g.data[array_position(g.columns, %L)]')) USING act, part.relid, part.key_columns;
        GET DIAGNOSTICS n = ROW_COUNT;
        forgotten := forgotten + n;
    END LOOP;
    FOR store IN SELECT v.*, k FROM (VALUES ('reprieve.relinks', 'x'), ('reprieve.relinked', 'x.link')) AS v(name, entry), reprieve.foreign_keys k
                 WHERE k.confdeltype IN ('n', 'd') LOOP
        BEGIN
            EXECUTE reprieve.erase_references(store.k, store.name, store.entry, true) USING act;
        EXCEPTION WHEN OTHERS THEN
            IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            EXECUTE reprieve.erase_references(store.k, store.name, store.entry, false) USING act;
        END;
        GET DIAGNOSTICS n = ROW_COUNT;
        forgotten := forgotten + CASE store.entry WHEN 'x' THEN n ELSE 0 END;
    END LOOP;
    RETURN forgotten;
END $$;

-- Takes out of ledger, acts and rehearsals what they say of these deletions, and every text in which one of these words occurs. Returns
-- in how many places.
CREATE OR REPLACE FUNCTION reprieve.erase_texts(ids bigint[], mentioning text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    total bigint := 0;
    n bigint;
    hit text := 'EXISTS (SELECT FROM unnest($2) AS m WHERE strpos(lower(%s), lower(m)) > 0)';
BEGIN
    EXECUTE format('UPDATE reprieve.deletions d SET statement = CASE WHEN d.id = ANY ($1) OR %1$s THEN NULL ELSE d.statement END,'
                   ' tags = CASE WHEN d.id = ANY ($1) OR %1$s OR %5$s THEN NULL ELSE d.tags END,'
                   ' actor = CASE WHEN %2$s THEN NULL ELSE d.actor END, reason = CASE WHEN %3$s THEN NULL ELSE d.reason END,'
                   ' application_name = CASE WHEN %4$s THEN NULL ELSE d.application_name END'
                   ' WHERE d.id = ANY ($1) AND d.statement IS NOT NULL OR %1$s OR %2$s OR %3$s OR %4$s OR %5$s',
                   format(hit, 'd.statement'), format(hit, 'd.actor'), format(hit, 'd.reason'), format(hit, 'd.application_name'), format(hit, 'd.tags::text')) USING ids, mentioning;
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    EXECUTE format('UPDATE reprieve.acts a SET target = ''(erased)'', result = jsonb_strip_nulls(jsonb_build_object(''deletions'', a.result -> ''deletions''))'
                   ' WHERE a.verb LIKE ''undelete%%'' AND EXISTS (SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(a.result -> ''deletions'') WHEN ''array'''
                   ' THEN a.result -> ''deletions'' ELSE ''[]'' END) AS d WHERE d::bigint = ANY ($1)) OR %s OR %s',
                   format(hit, 'a.target'), format(hit, 'a.result::text')) USING ids, mentioning;
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    EXECUTE format('UPDATE reprieve.rehearsals r SET target = ''(erased)'', detail = '''''
                   ' WHERE r.target = ANY (SELECT format(''deletion %%s'', d) FROM unnest($1) AS d) OR r.target LIKE ''from %%'' OR %s OR %s',
                   format(hit, 'r.target'), format(hit, 'r.detail')) USING ids, mentioning;
    GET DIAGNOSTICS n = ROW_COUNT;
    -- What UNDO UNDELETE remembers: names of rows, and their references.
    DELETE FROM reprieve.restored r WHERE r.deletion_id = ANY (ids);
    DELETE FROM reprieve.relinked r WHERE (r.link).deletion_id = ANY (ids);
    RETURN total + n;
END $$;

-- Deletes live rows and tombstones at these places, physically, with what goes along. All of it is in the graveyard then.
CREATE OR REPLACE FUNCTION reprieve.erase_physically(leaves oid[], places tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    leaf record;
    spared bigint;
BEGIN
    FOR leaf IN SELECT u.relid, array_agg(u.tid) AS tids FROM unnest(leaves, places) AS u(relid, tid) GROUP BY u.relid ORDER BY u.relid LOOP
        EXECUTE format('DELETE FROM ONLY %s t USING unnest($1) AS u(place) WHERE t.ctid = u.place', reprieve.qualified(leaf.relid)) USING leaf.tids;
        EXECUTE format('SELECT count(*) FROM ONLY %s t JOIN unnest($1) AS u(place) ON t.ctid = u.place', reprieve.qualified(leaf.relid)) INTO spared USING leaf.tids;
        IF spared > 0 THEN
            RAISE EXCEPTION '% row(s) of % could not be erased', spared, reprieve.qualified(leaf.relid)
                USING ERRCODE = 'RV014', HINT = 'Nothing was erased. A trigger or rule of the table spares them.';
        END IF;
    END LOOP;
END $$;

-- True if something of what is to be erased lies in a table that is held. What cannot be read may lie there.
CREATE OR REPLACE FUNCTION reprieve.erase_touches(act xid8, relid oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM reprieve.erase_graves e JOIN reprieve.graveyard g ON g.ctid = e.tid WHERE e.act = $1 AND %s)',
                   reprieve.lies_in_sql('g', ARRAY[relid])) INTO found USING act;
    RETURN found;
EXCEPTION WHEN OTHERS THEN
    IF NOT reprieve.is_about_rows(SQLSTATE) THEN
        RAISE;
    END IF;
    RETURN true;
END $$;

-- Raises RV013 if something of what is to be erased is held.
CREATE OR REPLACE FUNCTION reprieve.erase_held(act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text;
BEGIN
    SELECT string_agg(h.target, ', ' ORDER BY h.target) INTO held FROM reprieve.holds h
     WHERE EXISTS (SELECT FROM reprieve.erase_graves e JOIN reprieve.graveyard g ON g.ctid = e.tid WHERE e.act = $1 AND g.deletion_id = h.deletion_id)
        OR h.relid IS NOT NULL AND reprieve.erase_touches($1, h.relid);
    IF held IS NOT NULL THEN
        RAISE EXCEPTION 'cannot erase what is held: %', held USING ERRCODE = 'RV013', HINT = 'Nothing was erased. SHOW HOLDS says why it is held; RELEASE ends a hold.';
    END IF;
END $$;

-- For erase_subject_v1, which finds the rows with the caller's rights. Returns the number of the receipt.
CREATE OR REPLACE FUNCTION reprieve.erase_rows_v1(t regclass, leaves oid[], places tid[], graves tid[], mentioning text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' AS $$
#variable_conflict use_variable
DECLARE
    act xid8 := pg_current_xact_id();
    started timestamptz;
    before bigint;
    own bigint[];
    ids bigint[];
    tables jsonb;
    relinks bigint;
    unread jsonb;
    texts bigint;
    total bigint;
BEGIN
    PERFORM reprieve.require_admin('ERASE SUBJECT');
    IF EXISTS (SELECT FROM unnest(mentioning) AS m WHERE length(m) < 3 OR m IS NULL) THEN
        RAISE EXCEPTION 'texts to look for need at least three characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE reprieve.holds IN SHARE MODE;
    -- From here on nobody else buries rows: those that are buried later are ours.
    LOCK TABLE reprieve.graveyard IN SHARE ROW EXCLUSIVE MODE;
    started := clock_timestamp();
    before := coalesce((SELECT max(d.id) FROM reprieve.deletions d WHERE d.xid = pg_current_xact_id()), 0);
    INSERT INTO reprieve.erase_graves SELECT act, g.ctid FROM reprieve.graveyard g JOIN unnest(graves) AS u(tid) ON g.ctid = u.tid
     WHERE g.relid = ANY (reprieve.members_of(t));
    PERFORM reprieve.erase_physically(leaves, places);
    own := ARRAY(SELECT d.id FROM reprieve.deletions d WHERE d.xid = act AND d.id > before);
    INSERT INTO reprieve.erase_graves SELECT act, g.ctid FROM reprieve.graveyard g
     WHERE g.buried_at >= started AND (g.relid = ANY (leaves) OR g.deletion_id = ANY (own)) ON CONFLICT DO NOTHING;
    unread := reprieve.erase_along(act, t);
    PERFORM reprieve.erase_held(act);
    ids := ARRAY(SELECT unnest(own) UNION SELECT g.deletion_id FROM reprieve.erase_graves e JOIN reprieve.graveyard g ON g.ctid = e.tid WHERE e.act = pg_current_xact_id()
                 UNION SELECT unnest(reprieve.erase_restored(act)));
    relinks := reprieve.erase_relinks(act);
    WITH gone AS (
        DELETE FROM reprieve.graveyard g USING reprieve.erase_graves e WHERE e.act = pg_current_xact_id() AND g.ctid = e.tid
        RETURNING g.deletion_id, g.relid, format('%I.%I', g.schema_name, g.table_name) AS label
    ), counted AS (
        SELECT o.deletion_id, o.label, (SELECT x.relid FROM reprieve.deletion_tables x WHERE x.deletion_id = o.deletion_id AND x.relid IN (o.relid, reprieve.root_of(o.relid))
                                         ORDER BY x.relid = o.relid DESC LIMIT 1) AS relid, count(*) AS n
          FROM gone o GROUP BY o.deletion_id, o.relid, o.label
    ), noted AS (
        UPDATE reprieve.deletion_tables x SET discarded = x.discarded + s.n
          FROM (SELECT c.deletion_id, c.relid, sum(c.n)::bigint AS n FROM counted c GROUP BY 1, 2) s WHERE x.deletion_id = s.deletion_id AND x.relid = s.relid
    )
    SELECT coalesce(jsonb_object_agg(s.label, s.n), '{}'), coalesce(sum(s.n), 0) INTO tables, total
      FROM (SELECT c.label, sum(c.n) AS n FROM counted c GROUP BY 1) s;
    DELETE FROM reprieve.relinks r WHERE r.deletion_id = ANY (own);
    texts := reprieve.erase_texts(ids, mentioning);
    DELETE FROM reprieve.erase_graves e WHERE e.act = pg_current_xact_id();
    RETURN reprieve.receipt('erase', total, jsonb_strip_nulls(jsonb_build_object('tables', tables, 'references', relinks, 'texts', texts,
                                                                                      'deletions', to_jsonb(ids), 'unread', unread)));
END $$;

-- ERASE SUBJECT FROM t WHERE predicate [MENTIONING ...]. The predicate is the caller's SQL and runs once with the caller's rights, over
-- live and deleted rows. `mentioning`: texts that give the subject away; statements and notes of the ledger in which one occurs go too.
CREATE OR REPLACE FUNCTION reprieve.erase_subject_v1(t regclass, predicate text, mentioning text[] DEFAULT '{}')
RETURNS TABLE (what text, rows bigint)
LANGUAGE plpgsql AS $$
DECLARE
    label text;
    alias text;
    leaves oid[];
    places tid[];
    graves tid[];
    receipt bigint;
BEGIN
    PERFORM reprieve.require_admin('ERASE SUBJECT');
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(c.relname) INTO label, alias
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE c.oid OPERATOR(pg_catalog.=) t AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::"char"[]);
    IF label IS NULL THEN
        RAISE EXCEPTION '% is not a table', t USING ERRCODE = 'wrong_object_type';
    END IF;
    PERFORM reprieve.require_bin_v1(t);
    PERFORM reprieve.require_condition_v1(t, predicate);
    EXECUTE pg_catalog.format('SELECT pg_catalog.array_agg(%2$s.tableoid), pg_catalog.array_agg(%2$s.ctid) FROM %1$s AS %2$s WHERE (%3$s)', label, alias, predicate)
        INTO leaves, places;
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.array_agg(reprieve_place) FROM (SELECT g.tid AS reprieve_place, (g."row").* FROM reprieve.graves_v1(NULL::%s) g) AS %s WHERE (%s)',
        label, alias, predicate) INTO graves;
    receipt := reprieve.erase_rows_v1(t, coalesce(leaves, '{}'::oid[]), coalesce(places, '{}'::tid[]), coalesce(graves, '{}'::tid[]),
                                      coalesce(mentioning, '{}'::text[]));
    RETURN QUERY SELECT r.what, r.rows FROM reprieve.erased_v1(receipt) r;
END $$;

-- What a receipt of an erasure counts, as rows.
CREATE OR REPLACE FUNCTION reprieve.erased_v1(receipt bigint) RETURNS TABLE (what text, rows bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('ERASE SUBJECT');
    RETURN QUERY SELECT x.what, x.n FROM reprieve.receipts r, LATERAL (
        SELECT 1 AS part, t.key AS what, t.value::bigint AS n FROM jsonb_each_text(r.result -> 'tables') AS t
        UNION ALL SELECT 2, 'references remembered', (r.result ->> 'references')::bigint
        UNION ALL SELECT 3, 'texts of the ledger', (r.result ->> 'texts')::bigint
        UNION ALL SELECT 4, format('%s: not looked at, as they no longer fit the table (deletions %s)', u.key,
                                   (SELECT string_agg(d, ', ') FROM jsonb_array_elements_text(u.value -> 'deletions') AS d)), (u.value ->> 'rows')::bigint
                    FROM jsonb_each(r.result -> 'unread') AS u
        UNION ALL SELECT 5, 'receipt', r.id) AS x WHERE r.id = receipt ORDER BY x.part, x.what;
END $$;
