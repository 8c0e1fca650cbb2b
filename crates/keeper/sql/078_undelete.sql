-- UNDELETE: what DBAs call. One row per table, then one for the whole: COMPLETE, INCOMPLETE or NOTHING.
--
-- Modes: nocascade (default) restores all or, if a single row cannot come back, nothing, and says
-- which rows and why; nonconflict_only leaves such rows in the bin; cascade also brings back deleted
-- parents, whatever deletion took them; replace first deletes the live rows that hold a key of a row that comes back. Force does all of
-- that, and sets references to NULL whose parent is gone. No mode breaks a constraint.

CREATE OR REPLACE FUNCTION reprieve.undelete_may(mode text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('UNDELETE');
    IF mode IS NULL OR mode NOT IN ('nocascade', 'nonconflict_only', 'cascade', 'replace', 'force') THEN
        RAISE EXCEPTION 'UNDELETE has no mode %', coalesce(quote_literal(mode), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Modes are nocascade, nonconflict_only, cascade, replace and force.';
    END IF;
END $$;

-- UNDELETE DELETION id.
CREATE OR REPLACE FUNCTION reprieve.undelete_deletion_v1(id bigint, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.undelete_may(mode);
    IF NOT EXISTS (SELECT FROM reprieve.deletions d WHERE d.id = undelete_deletion_v1.id) THEN
        RAISE EXCEPTION 'deletion % is not in the ledger', id
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete('undelete deletion', id::text, mode, ARRAY[id], false);
END $$;

-- UNDELETE TRANSACTION x: all that the transaction deleted.
CREATE OR REPLACE FUNCTION reprieve.undelete_transaction_v1(x xid8, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    PERFORM reprieve.undelete_may(mode);
    SELECT array_agg(d.id ORDER BY d.id) INTO ids FROM reprieve.deletions d WHERE d.xid = x;
    IF ids IS NULL THEN
        RAISE EXCEPTION 'no deletion of transaction % is in the ledger', x
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete('undelete transaction', x::text, mode, ids, false);
END $$;

-- UNDELETE SINCE a [UNTIL b] [BY role]: deletions whose statement began at or after a and before b.
CREATE OR REPLACE FUNCTION reprieve.undelete_since_v1(since timestamptz, until timestamptz DEFAULT NULL,
                                                      by_role text DEFAULT NULL, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    PERFORM reprieve.undelete_may(mode);
    IF since IS NULL THEN
        RAISE EXCEPTION 'UNDELETE SINCE needs a time' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT array_agg(d.id ORDER BY d.id) INTO ids FROM reprieve.deletions d
     WHERE d.statement_at >= since AND (until IS NULL OR d.statement_at < until)
       AND (by_role IS NULL OR by_role IN (d.role_name, d.session_role))
       AND EXISTS (SELECT FROM reprieve.deletion_tables t WHERE t.deletion_id = d.id AND t.restored < t.rows
                   UNION ALL SELECT FROM reprieve.relinks r WHERE r.deletion_id = d.id
                   UNION ALL SELECT FROM reprieve.dropped o WHERE o.deletion_id = d.id AND o.restored_at IS NULL);
    IF ids IS NULL THEN
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, 0::bigint, 'NOTHING', 'no deletion of that time is in the bin';
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete('undelete since',
        concat_ws(' ', since::text, 'until ' || until::text, 'by ' || by_role), mode, ids, false);
END $$;

-- Restores rows named by their places. undelete_where_v1 calls it; what is not a deleted row is not picked.
CREATE OR REPLACE FUNCTION reprieve.undelete_rows_v1(t regclass, tombstone_leaves oid[], tombstones tid[], graves tid[],
                                                     target text, mode text)
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    act xid8 := pg_current_xact_id();
    ids bigint[];
BEGIN
    PERFORM reprieve.undelete_may(mode);
    PERFORM reprieve.undelete_add_table(reprieve.root_of(t), act);
    IF cardinality(tombstones) > 0 AND reprieve.has_marks(t) THEN
        EXECUTE format('INSERT INTO reprieve.undelete_picks SELECT $1, t.tableoid, ''t'', t.ctid, t.deletion_id FROM %s t'
                       ' JOIN unnest($2, $3) AS u(leaf, tid) ON t.ctid = u.tid AND t.tableoid = u.leaf WHERE t.deletion_id IS NOT NULL'
                       ' FOR UPDATE OF t', reprieve.from_clause(t)) USING act, tombstone_leaves, tombstones;
    END IF;
    INSERT INTO reprieve.undelete_picks
    SELECT act, g.relid, 'g', g.ctid, g.deletion_id FROM reprieve.graveyard g JOIN unnest(graves) AS u(tid) ON g.ctid = u.tid
     WHERE g.relid = ANY (reprieve.members_of(t)) FOR UPDATE OF g;
    SELECT array_agg(DISTINCT p.deletion_id) INTO ids FROM reprieve.undelete_picks p WHERE p.act = pg_current_xact_id();
    IF ids IS NULL THEN
        DELETE FROM reprieve.undelete_tables w WHERE w.act = pg_current_xact_id();
        RETURN QUERY SELECT '(all)', 0::bigint, 0::bigint, 0::bigint, 'NOTHING', 'no deleted row matches';
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete('undelete from', target, mode, ids, true);
END $$;

-- Adds to the last line of an undelete of rows that a condition finds how many rows in the bin nobody could ask.
CREATE OR REPLACE FUNCTION reprieve.say_unread(table_name text, INOUT verdict text, INOUT detail text, unread bigint)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN unread > 0 AND table_name = '(all)' AND verdict = 'COMPLETE' THEN 'INCOMPLETE' ELSE verdict END,
           CASE WHEN unread > 0 AND table_name = '(all)'
                THEN concat_ws('; ', nullif(detail, ''), format('%s deleted row(s) of the table were not looked at, as a value of them no longer fits it: '
                                                                'SHOW DELETED has them in other_columns', unread)) ELSE detail END
$$;

-- UNDELETE FROM t WHERE predicate: rows of one table, whatever deletion took them. Mode cascade also
-- brings their deleted parents, and what the same deletions took because it referred to them. The
-- predicate is the caller's SQL and runs with the caller's rights and search path, so this function
-- is neither SECURITY DEFINER nor does it set anything; all it says itself is qualified. The columns
-- deleted_at and deletion_id of a marked table may be used in it.
CREATE OR REPLACE FUNCTION reprieve.undelete_where_v1(t regclass, predicate text, mode text DEFAULT 'nocascade')
RETURNS TABLE(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql AS $$
DECLARE
    label text;
    alias text;
    source text;
    leaves oid[];
    tombstones tid[];
    graves tid[];
    unread pg_catalog.int8;
BEGIN
    PERFORM reprieve.undelete_may(mode), reprieve.require_bin_v1(t);
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(c.relname),
           CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'p' THEN '' ELSE 'ONLY ' END
      INTO label, alias, source
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE c.oid OPERATOR(pg_catalog.=) t;
    PERFORM reprieve.require_condition_v1(t, predicate);
    IF reprieve.has_marks(t) THEN
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.array_agg(tableoid), pg_catalog.array_agg(ctid) FROM %s%s AS %s WHERE %s.deletion_id IS NOT NULL AND (%s)',
            source, label, alias, alias, predicate) INTO leaves, tombstones;
    END IF;
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.array_agg(reprieve_place) FROM (SELECT g.tid AS reprieve_place, (g."row").* FROM reprieve.graves_v1(NULL::%s) g) AS %s WHERE (%s)',
        label, alias, predicate) INTO graves;
    EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM reprieve.graves_v1(NULL::%s) g WHERE g."row" IS NOT DISTINCT FROM NULL', label) INTO unread;
    RETURN QUERY SELECT u.table_name, u.restored, u.relinked, u.skipped, s.verdict, s.detail FROM reprieve.undelete_rows_v1(t, coalesce(leaves, '{}'::oid[]), coalesce(tombstones, '{}'::tid[]),
        coalesce(graves, '{}'::tid[]), pg_catalog.concat(label, ' where ', predicate), mode) u,
        LATERAL reprieve.say_unread(u.table_name, u.verdict, u.detail, unread) s;
END $$;
