-- ERASE SUBJECT: rows that a law wants gone, with all that hangs on them by ON DELETE CASCADE: live, as tombstones, in the graveyard, and
-- what the ledger says of them. What they did not own keeps at most a reference that leads nowhere. Held rows are not erased.

-- Graveyard rows that are to be erased, while that runs.
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.erase_graves (
    act  xid8 NOT NULL,
    tid  tid NOT NULL,
    PRIMARY KEY (act, tid)
);

-- Adds what hangs on the rows found so far, whatever deletion took it.
CREATE OR REPLACE FUNCTION reprieve.erase_along(act xid8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    added bigint := 1;
    n bigint;
BEGIN
    WHILE added > 0 LOOP
        added := 0;
        FOR k IN SELECT * FROM reprieve.foreign_keys f WHERE f.confdeltype = 'c' ORDER BY f.con LOOP
            EXECUTE format('INSERT INTO reprieve.erase_graves SELECT DISTINCT $1, c.ctid FROM reprieve.graveyard c'
                           ' JOIN (SELECT %s AS key FROM reprieve.erase_graves e JOIN reprieve.graveyard p ON p.ctid = e.tid WHERE e.act = $1 AND p.relid = ANY ($2)) p'
                           ' ON p.key = %s WHERE c.relid = ANY ($3) ON CONFLICT DO NOTHING',
                           reprieve.erase_key(reprieve.key_columns(k.con, 'p'), 'p'), reprieve.erase_key(reprieve.key_columns(k.con, 'c'), 'c'))
                USING act, reprieve.members_of(k.confrelid), reprieve.members_of(k.conrelid);
            GET DIAGNOSTICS n = ROW_COUNT;
            added := added + n;
        END LOOP;
    END LOOP;
END $$;

-- Forgets remembered references of erased rows, and references to them; and what UNDO UNDELETE remembers of them. Returns how many
-- references.
CREATE OR REPLACE FUNCTION reprieve.erase_relinks(act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    forgotten bigint;
    n bigint;
    store record;
BEGIN
    DELETE FROM reprieve.relinks r USING reprieve.erase_graves e, reprieve.graveyard g
     WHERE e.act = $1 AND g.ctid = e.tid AND r.relid = g.relid
       AND r.key_data = ARRAY(SELECT g.data[array_position(g.columns, c)] FROM unnest(r.key_columns) WITH ORDINALITY AS u(c, i) ORDER BY i);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    DELETE FROM reprieve.restored r USING reprieve.erase_graves e, reprieve.graveyard g
     WHERE e.act = $1 AND g.ctid = e.tid AND r.relid = g.relid AND reprieve.grave_name(g.relid, g.columns, g.data) = ANY (r.names);
    FOR k IN SELECT * FROM reprieve.foreign_keys f WHERE f.confdeltype IN ('n', 'd') LOOP
        FOR store IN SELECT * FROM (VALUES ('reprieve.relinks', 'r'), ('reprieve.relinked', '(r.link)')) AS v(name, entry) LOOP
            EXECUTE format('DELETE FROM %s r USING reprieve.erase_graves e JOIN reprieve.graveyard p ON p.ctid = e.tid'
                           ' WHERE e.act = $1 AND p.relid = ANY ($2) AND %s.relid = ANY ($3) AND %2$s.columns @> %3$L::text[]'
                           ' AND ARRAY(SELECT %2$s.old_data[array_position(%2$s.columns, c)] FROM unnest(%3$L::text[]) WITH ORDINALITY AS u(c, i) ORDER BY i) = %4$s',
                           store.name, store.entry, reprieve.key_columns(k.con, 'c')::text[], reprieve.erase_key(reprieve.key_columns(k.con, 'p'), 'p'))
                USING act, reprieve.members_of(k.confrelid), reprieve.members_of(k.conrelid);
            GET DIAGNOSTICS n = ROW_COUNT;
            forgotten := forgotten + CASE store.entry WHEN 'r' THEN n ELSE 0 END;
        END LOOP;
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
        EXECUTE format('DELETE FROM ONLY %s WHERE ctid = ANY ($1)', reprieve.qualified(leaf.relid)) USING leaf.tids;
        EXECUTE format('SELECT count(*) FROM ONLY %s WHERE ctid = ANY ($1)', reprieve.qualified(leaf.relid)) INTO spared USING leaf.tids;
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
EXCEPTION WHEN data_exception THEN
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
#variable_conflict use_variable
DECLARE
    act xid8 := pg_current_xact_id();
    started timestamptz;
    before bigint;
    own bigint[];
    ids bigint[];
    tables jsonb;
    relinks bigint;
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
    PERFORM reprieve.erase_along(act), reprieve.erase_held(act);
    ids := ARRAY(SELECT unnest(own) UNION SELECT g.deletion_id FROM reprieve.erase_graves e JOIN reprieve.graveyard g ON g.ctid = e.tid WHERE e.act = pg_current_xact_id());
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
    RETURN reprieve.receipt('erase', total, jsonb_build_object('tables', tables, 'references', relinks, 'texts', texts, 'deletions', to_jsonb(ids)));
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
        UNION ALL SELECT 4, 'receipt', r.id) AS x WHERE r.id = receipt ORDER BY x.part, x.what;
END $$;
