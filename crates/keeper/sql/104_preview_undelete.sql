-- PREVIEW UNDELETE and REHEARSE UNDELETE: an undelete in a subtransaction that is taken back. A preview goes the road that leaves out
-- rows that cannot come back, so that it can name them all; a rehearsal is the undelete itself, and its time is kept.

-- Restores that were proven: what, when, how long, and how it ended.
CREATE TABLE IF NOT EXISTS reprieve.rehearsals (
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    role_name    text NOT NULL DEFAULT session_user,
    target       text NOT NULL,
    mode         text NOT NULL,
    duration_ms  numeric NOT NULL,
    verdict      text NOT NULL,
    restored     bigint NOT NULL,
    relinked     bigint NOT NULL,
    skipped      bigint NOT NULL,
    detail       text NOT NULL,
    PRIMARY KEY (at, xid)
);

-- The last first; `last_proven` marks the last one that would have restored everything, of each target.
CREATE OR REPLACE VIEW reprieve.show_rehearsals AS
    SELECT r.at, r.role_name AS role, r.target, r.mode, r.verdict, r.restored, r.relinked, r.skipped, r.duration_ms,
           r.verdict = 'COMPLETE' AND NOT EXISTS (SELECT FROM reprieve.rehearsals o WHERE o.target = r.target AND o.verdict = 'COMPLETE' AND o.at > r.at) AS last_proven,
           r.detail
      FROM reprieve.rehearsals r ORDER BY r.at DESC;

-- Picks rows named by their places, as undelete_rows_v1 does. Returns their deletions.
CREATE OR REPLACE FUNCTION reprieve.try_pick(t oid, leaves oid[], tombstones tid[], graves tid[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    act xid8 := pg_current_xact_id();
BEGIN
    PERFORM reprieve.undelete_add_table(reprieve.root_of(t), act);
    IF cardinality(tombstones) > 0 AND reprieve.has_marks(t) THEN
        EXECUTE format('INSERT INTO reprieve.undelete_picks SELECT $1, t.tableoid, ''t'', t.ctid, t.deletion_id FROM %s t'
                       ' JOIN unnest($2, $3) AS u(leaf, tid) ON t.ctid = u.tid AND t.tableoid = u.leaf WHERE t.deletion_id IS NOT NULL',
                       reprieve.from_clause(t)) USING act, leaves, tombstones;
    END IF;
    INSERT INTO reprieve.undelete_picks
    SELECT act, g.relid, 'g', g.ctid, g.deletion_id FROM reprieve.graveyard g JOIN unnest(graves) AS u(tid) ON g.ctid = u.tid
     WHERE g.relid = ANY (reprieve.members_of(t));
    RETURN ARRAY(SELECT DISTINCT p.deletion_id FROM reprieve.undelete_picks p WHERE p.act = pg_current_xact_id() ORDER BY 1);
END $$;

-- The undelete of a preview: what each table would get back, and up to `most` of the rows that cannot come back, as lines.
CREATE OR REPLACE FUNCTION reprieve.try_undelete(ids bigint[], mode text, by_row boolean, most int) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    act xid8 := pg_current_xact_id();
    notes text[] := '{}';
    done boolean := false;
    remade text;
    lines jsonb;
    blocked jsonb;
    refused bigint;
BEGIN
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
    ELSE
        notes := ARRAY['still in the bin, went with these rows: ' || CASE WHEN mode NOT IN ('cascade', 'force') THEN nullif(reprieve.undelete_left(ids, act), '') END,
                       'the same deletions took rows that were not kept, of ' || nullif(reprieve.undelete_lost(ids, act), '')];
    END IF;
    IF NOT done THEN
        IF mode = 'cascade' THEN
            PERFORM reprieve.undelete_expand(ids, act, by_row);
        END IF;
        PERFORM reprieve.undelete_picked(ids, act, CASE mode WHEN 'force' THEN mode WHEN 'replace' THEN 'replace partly' ELSE 'nonconflict_only' END, by_row);
    END IF;
    SELECT coalesce(jsonb_agg(v), '[]') INTO lines FROM reprieve.undelete_verdict(ids, act, by_row) v;
    SELECT count(*) INTO refused FROM reprieve.undelete_picks p WHERE p.act = act AND p.blocked IS NOT NULL;
    SELECT coalesce(jsonb_agg(jsonb_build_object('table_name', w.label, 'row', reprieve.pick_name(b.relid, b.source, b.tid),
                                                 'verdict', 'CANNOT', 'detail', b.blocked) ORDER BY w.label, b.source, b.tid), '[]') INTO blocked
      FROM (SELECT * FROM reprieve.undelete_picks p WHERE p.act = act AND p.blocked IS NOT NULL ORDER BY p.relid, p.source, p.tid LIMIT most) b
      JOIN reprieve.undelete_tables w ON w.act = act AND w.relid = reprieve.root_of(b.relid);
    IF remade IS NOT NULL THEN
        notes := notes || nullif(remade, '') || nullif(reprieve.undrop_rest(ids), '');
    END IF;
    RETURN jsonb_build_object('lines', lines, 'blocked', blocked, 'refused', refused, 'remade', remade IS NOT NULL,
                              'notes', array_to_string(notes, '; '), 'complete', array_to_string(notes, '') = '');
END $$;

-- An undelete of these deletions, or of the rows at these places, that is taken back; with `rehearse` as it is and recorded, else as a
-- preview. Rows that cannot come back have lines of their own; the last line is for the whole: COMPLETE, INCOMPLETE, NOTHING, or REFUSED
-- where the undelete would fail.
CREATE OR REPLACE FUNCTION reprieve.undelete_and_back(target text, mode text, ids bigint[], t oid, leaves oid[], tombstones tid[], graves tid[],
                                                      rehearse boolean, most int)
RETURNS TABLE (table_name text, "row" text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET row_security = off SET jit = off SET enable_nestloop = on
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' SET standard_conforming_strings = on
SET quote_all_identifiers = off AS $$
#variable_conflict use_column
DECLARE
    started timestamptz := clock_timestamp();
    took numeric;
    tried jsonb := '{}';
    whole record;
    failed text;
BEGIN
    BEGIN
        PERFORM set_config('reprieve.reconciling', '1', true);
        IF t IS NOT NULL THEN
            ids := reprieve.try_pick(t, leaves, tombstones, graves);
        END IF;
        IF NOT rehearse THEN
            tried := reprieve.try_undelete(ids, mode, t IS NOT NULL, most);
        ELSIF cardinality(ids) > 0 THEN
            tried := (SELECT jsonb_build_object('lines', jsonb_agg(u)) FROM reprieve.undelete('rehearse', target, mode, ids, t IS NOT NULL) u);
        END IF;
        took := round((extract(epoch FROM clock_timestamp() - started) * 1000)::numeric, 1);
        RAISE EXCEPTION USING ERRCODE = 'RV018', MESSAGE = 'this is taken back';
    EXCEPTION
        WHEN SQLSTATE 'RV018' THEN
            NULL;
        WHEN OTHERS THEN
            IF SQLSTATE NOT IN ('RV010', 'RV011', 'RV012') AND NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS failed = PG_EXCEPTION_DETAIL;
            failed := concat_ws(E'\n', SQLERRM, nullif(failed, ''));
            took := round((extract(epoch FROM clock_timestamp() - started) * 1000)::numeric, 1);
    END;
    SELECT count(*) FILTER (WHERE l.verdict <> 'COMPLETE') AS incomplete, coalesce(sum(l.restored), 0)::bigint AS restored,
           coalesce(sum(l.relinked), 0)::bigint AS relinked, coalesce(sum(l.skipped), 0)::bigint AS skipped,
           string_agg(l.table_name || ': ' || l.detail, '; ') FILTER (WHERE l.detail <> '') AS detail, NULL::text AS verdict
      INTO whole
      FROM jsonb_to_recordset(tried -> 'lines') AS l(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
     WHERE l.table_name <> '(all)';
    IF failed IS NOT NULL OR (tried ->> 'refused')::bigint > 0 AND mode NOT IN ('nonconflict_only', 'force') THEN
        whole.verdict := 'REFUSED';
        whole.detail := coalesce(failed, format('%s row(s) cannot come back; MODE nonconflict_only would leave them in the bin', tried ->> 'refused'));
    ELSIF rehearse THEN
        SELECT l.verdict, l.detail INTO whole.verdict, whole.detail FROM jsonb_to_recordset(tried -> 'lines') AS l(table_name text, verdict text, detail text)
         WHERE l.table_name = '(all)';
        whole.verdict := coalesce(whole.verdict, 'NOTHING');
    ELSE
        whole.verdict := CASE WHEN whole.restored + whole.relinked = 0 AND NOT coalesce((tried ->> 'remade')::boolean, false) THEN 'NOTHING'
                              WHEN whole.incomplete = 0 AND (tried ->> 'complete')::boolean THEN 'COMPLETE' ELSE 'INCOMPLETE' END;
        whole.detail := concat_ws('; ', whole.detail, nullif(tried ->> 'notes', ''));
    END IF;
    whole.detail := coalesce(nullif(whole.detail, ''), CASE whole.verdict WHEN 'NOTHING' THEN reprieve.undelete_before(coalesce(ids, '{}')) END, '');
    IF rehearse THEN
        INSERT INTO reprieve.rehearsals (target, mode, duration_ms, verdict, restored, relinked, skipped, detail)
        VALUES (target, mode, took, whole.verdict, whole.restored, whole.relinked, whole.skipped, whole.detail);
        whole.detail := concat_ws('; ', format('took %s ms', took), nullif(whole.detail, ''));
    END IF;
    RETURN QUERY SELECT l.table_name, NULL::text, l.restored, l.relinked, l.skipped, l.verdict, l.detail
      FROM jsonb_to_recordset(tried -> 'lines') AS l(table_name text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
     WHERE l.table_name <> '(all)' AND whole.verdict <> 'NOTHING';
    RETURN QUERY SELECT l.table_name, l."row", 0::bigint, 0::bigint, 1::bigint, l.verdict, l.detail
      FROM jsonb_to_recordset(tried -> 'blocked') AS l(table_name text, "row" text, verdict text, detail text);
    RETURN QUERY SELECT '(all)', NULL::text, whole.restored, whole.relinked, whole.skipped, whole.verdict, whole.detail;
END $$;

-- PREVIEW | REHEARSE UNDELETE DELETION id.
CREATE OR REPLACE FUNCTION reprieve.preview_undelete_deletion_v1(id bigint, mode text DEFAULT 'nocascade', rehearse boolean DEFAULT false, most int DEFAULT 1000)
RETURNS TABLE (table_name text, "row" text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.undelete_may(mode);
    IF NOT EXISTS (SELECT FROM reprieve.deletions d WHERE d.id = preview_undelete_deletion_v1.id) THEN
        RAISE EXCEPTION 'deletion % is not in the ledger', id
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    RETURN QUERY SELECT * FROM reprieve.undelete_and_back(format('deletion %s', id), mode, ARRAY[id], NULL, NULL, NULL, NULL, rehearse, most);
END $$;

-- PREVIEW | REHEARSE UNDELETE TRANSACTION x.
CREATE OR REPLACE FUNCTION reprieve.preview_undelete_transaction_v1(x xid8, mode text DEFAULT 'nocascade', rehearse boolean DEFAULT false, most int DEFAULT 1000)
RETURNS TABLE (table_name text, "row" text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
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
    RETURN QUERY SELECT * FROM reprieve.undelete_and_back(format('transaction %s', x), mode, ids, NULL, NULL, NULL, NULL, rehearse, most);
END $$;

-- PREVIEW | REHEARSE UNDELETE SINCE a [UNTIL b] [BY role].
CREATE OR REPLACE FUNCTION reprieve.preview_undelete_since_v1(since timestamptz, until timestamptz DEFAULT NULL, by_role text DEFAULT NULL,
                                                              mode text DEFAULT 'nocascade', rehearse boolean DEFAULT false, most int DEFAULT 1000)
RETURNS TABLE (table_name text, "row" text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    PERFORM reprieve.undelete_may(mode);
    IF since IS NULL THEN
        RAISE EXCEPTION 'UNDELETE SINCE needs a time' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    ids := ARRAY(SELECT d.id FROM reprieve.deletions d
                  WHERE d.statement_at >= since AND (until IS NULL OR d.statement_at < until)
                    AND (by_role IS NULL OR by_role IN (d.role_name, d.session_role))
                    AND EXISTS (SELECT FROM reprieve.deletion_tables t WHERE t.deletion_id = d.id AND t.restored < t.rows
                                UNION ALL SELECT FROM reprieve.relinks r WHERE r.deletion_id = d.id
                                UNION ALL SELECT FROM reprieve.dropped o WHERE o.deletion_id = d.id AND o.restored_at IS NULL) ORDER BY d.id);
    RETURN QUERY SELECT * FROM reprieve.undelete_and_back(concat_ws(' ', 'since', since::text, 'until ' || until::text, 'by ' || by_role), mode, ids,
                                                          NULL, NULL, NULL, NULL, rehearse, most);
END $$;

-- For preview_undelete_where_v1, which finds the rows with the caller's rights.
CREATE OR REPLACE FUNCTION reprieve.preview_undelete_rows_v1(t regclass, leaves oid[], tombstones tid[], graves tid[], target text, mode text, rehearse boolean, most int)
RETURNS TABLE (table_name text, "row" text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.undelete_may(mode);
    RETURN QUERY SELECT * FROM reprieve.undelete_and_back(target, mode, NULL, t, leaves, tombstones, graves, rehearse, most);
END $$;

-- PREVIEW | REHEARSE UNDELETE FROM t WHERE predicate. Like undelete_where_v1 neither SECURITY DEFINER nor with settings of its own.
CREATE OR REPLACE FUNCTION reprieve.preview_undelete_where_v1(t regclass, predicate text, mode text DEFAULT 'nocascade', rehearse boolean DEFAULT false,
                                                              most int DEFAULT 1000)
RETURNS TABLE (table_name text, "row" text, restored bigint, relinked bigint, skipped bigint, verdict text, detail text)
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
    RETURN QUERY SELECT u.table_name, u."row", u.restored, u.relinked, u.skipped, s.verdict, s.detail FROM reprieve.preview_undelete_rows_v1(t, coalesce(leaves, '{}'::oid[]), coalesce(tombstones, '{}'::tid[]),
        coalesce(graves, '{}'::tid[]), pg_catalog.concat('from ', label, ' where ', predicate), mode, rehearse, most) u,
        LATERAL reprieve.say_unread(u.table_name, u.verdict, u.detail, unread) s;
END $$;
