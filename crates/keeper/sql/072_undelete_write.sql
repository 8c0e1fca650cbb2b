-- The writing half of UNDELETE: tombstones are lifted, graveyard rows inserted, references put back.
-- All of it runs inside reprieve.undelete(), which has judged rights, locked the ledger rows and
-- looked for conflicts. $1 is the array of deletion ids, $2 the running act.

-- Counts the rows about to come back in the ledger and lifts the tombstones of one table.
CREATE OR REPLACE FUNCTION reprieve.undelete_marks(table_id oid, ids bigint[], act xid8, picked boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source text := reprieve.from_clause(table_id);
    chosen text := reprieve.chosen('t', table_id, 't', picked);
    expected bigint;
    written bigint;
BEGIN
    EXECUTE format(
        'WITH n AS (SELECT t.deletion_id, t.tableoid AS leaf, count(*) AS n FROM %s t WHERE %s GROUP BY 1, 2),
              counted AS (SELECT reprieve.undelete_count(n.deletion_id, n.leaf, n.n) FROM n)
         SELECT coalesce(sum(n), 0) FROM n WHERE (SELECT count(*) FROM counted) >= 0', source, chosen)
        INTO expected USING ids, act;
    IF expected = 0 THEN
        RETURN 0;
    END IF;
    EXECUTE format('UPDATE %s t SET deleted_at = NULL, deletion_id = NULL WHERE %s', source, chosen) USING ids, act;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> expected THEN
        RAISE EXCEPTION 'rows of % changed while they were being restored', table_id::regclass
            USING ERRCODE = 'serialization_failure', HINT = 'Nothing was restored. Run it again.';
    END IF;
    RETURN written;
END $$;

-- Adds n to what of a deletion was restored. The ledger knows the leaf or, where the statement named
-- the root, the root.
CREATE OR REPLACE FUNCTION reprieve.undelete_count(deletion bigint, leaf oid, n bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE reprieve.deletion_tables d SET restored = d.restored + n
     WHERE d.deletion_id = deletion
       AND d.relid = (SELECT e.relid FROM reprieve.deletion_tables e
                       WHERE e.deletion_id = deletion AND e.relid IN (leaf, reprieve.root_of(leaf))
                       ORDER BY (e.relid = leaf) DESC, e.rows - e.restored DESC LIMIT 1)
$$;

-- SQL that moves the graveyard rows with one column list back into their table: a DELETE and an
-- INSERT as two CTEs. Columns of ours, generated ones and those that are no more are left out.
CREATE OR REPLACE FUNCTION reprieve.undelete_insert(table_id oid, list text[], i int, picked boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(
        'd%1$s AS (DELETE FROM reprieve.graveyard g WHERE %2$s AND g.columns = %3$L::pg_catalog.text[]'
        ' RETURNING g.deletion_id, g.relid, g.data),'
        ' i%1$s AS (INSERT INTO %4$s%5$s OVERRIDING SYSTEM VALUE SELECT %6$s FROM d%1$s RETURNING 1)',
        i, reprieve.chosen('g', table_id, 'g', picked), list, table_id::regclass,
        coalesce('(' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')', ''),
        string_agg(reprieve.grave_column('d' || i, table_id, a.attname, list), ', ' ORDER BY a.attnum))
      FROM pg_attribute a
     WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       AND a.attname = ANY (list)
       AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND reprieve.has_marks(table_id))
$$;

-- Moves all chosen graveyard rows back, in ONE statement: PostgreSQL checks foreign keys at its end,
-- so parents, self references and cycles need no order.
CREATE OR REPLACE FUNCTION reprieve.undelete_graves(ids bigint[], act xid8, picked boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    list text[];
    ctes text[] := '{}';
    results text[] := '{}';
    statement text;
    moved record;
BEGIN
    FOR t IN SELECT w.relid FROM reprieve.undelete_tables w
              WHERE w.act = $2 AND w.graves > 0 AND NOT w.gone ORDER BY w.relid LOOP
        FOR list IN EXECUTE format('SELECT DISTINCT g.columns FROM reprieve.graveyard g WHERE %s',
                                   reprieve.chosen('g', t.relid, 'g', picked)) USING ids, act LOOP
            ctes := ctes || reprieve.undelete_insert(t.relid, list, cardinality(ctes), picked);
            results := results || format(
                'SELECT %1$s::pg_catalog.oid AS root, d.deletion_id, d.relid, pg_catalog.count(*) AS n,'
                ' (SELECT pg_catalog.count(*) FROM i%2$s) AS written, (SELECT pg_catalog.count(*) FROM d%2$s) AS expected'
                ' FROM d%2$s d GROUP BY d.deletion_id, d.relid', t.relid, cardinality(results));
        END LOOP;
    END LOOP;
    IF cardinality(ctes) = 0 THEN
        RETURN;
    END IF;
    statement := format('WITH %s %s', array_to_string(ctes, ', '), array_to_string(results, ' UNION ALL '));
    FOR moved IN EXECUTE statement USING ids, act LOOP
        IF moved.written <> moved.expected THEN
            RAISE EXCEPTION 'table % took % of % rows', moved.root::regclass, moved.written, moved.expected
                USING ERRCODE = 'RV011', HINT = 'Something in the table swallows inserts. Nothing was restored.';
        END IF;
        PERFORM reprieve.undelete_count(moved.deletion_id, moved.relid, moved.n);
        UPDATE reprieve.undelete_tables w SET restored = w.restored + moved.n WHERE w.act = $2 AND w.relid = moved.root;
    END LOOP;
END $$;
