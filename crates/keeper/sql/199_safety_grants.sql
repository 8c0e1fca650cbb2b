-- Functions that were made behind 098_grants.sql: PUBLIC may execute none of them, DBAs the entry points. Each of those checks the
-- caller's membership itself, too.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'reprieve'::regnamespace AND p.proacl IS NULL LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
        GRANT EXECUTE ON FUNCTION
            reprieve.preview_take_v1(oid[], tid[], bigint), reprieve.preview_follow_v1(regclass, bigint), reprieve.volatile_in_v1(regclass),
            reprieve.preview_delete_lines_v1(regclass, text), reprieve.preview_query_v1(regclass, text), reprieve.condition_query_v1(regclass, text),
            reprieve.preview_delete_v1(regclass, text, text), reprieve.preview_delete_tree_v1(regclass, text, text, text),
            reprieve.preview_table_v1(jsonb), reprieve.preview_picture_v1(jsonb, text),
            reprieve.preview_undelete_deletion_v1(bigint, text, boolean, int), reprieve.preview_undelete_transaction_v1(xid8, text, boolean, int),
            reprieve.preview_undelete_since_v1(timestamptz, timestamptz, text, text, boolean, int),
            reprieve.preview_undelete_where_v1(regclass, text, text, boolean, int),
            reprieve.preview_undelete_rows_v1(regclass, oid[], tid[], tid[], text, text, boolean, int),
            reprieve.retain_v1(regclass, text), reprieve.hold_v1(bigint, regclass, text), reprieve.release_v1(bigint, regclass),
            reprieve.purge_v1(regclass, bigint, timestamptz, int, boolean),
            reprieve.show_deletions_v1(timestamptz, timestamptz, text, text, text), reprieve.deletions_per_table_v1(timestamptz, timestamptz, text, text, text),
            reprieve.erase_subject_v1(regclass, text, text[]), reprieve.erase_rows_v1(regclass, oid[], tid[], tid[], text[]), reprieve.erased_v1(bigint),
            reprieve.retention_v1(), reprieve.caution_v1(oid), reprieve.deleted_v1(anyelement), reprieve.purge_background_v1(boolean), reprieve.purge_export_v1(text),
            reprieve.guard_v1(regclass, text, text, bigint, numeric, text, text, text, interval), reprieve.unguard_v1(regclass, text, text),
            reprieve.budget_v1(text, bigint, interval, int, interval), reprieve.requests_v1(),
            reprieve.request_v1(regclass, text, bigint, text, interval, text), reprieve.request_deletion_v1(regclass, text, bigint, text, interval, text),
            reprieve.decide_request_v1(bigint, boolean), reprieve.seal_v1(), reprieve.seal_background_v1(boolean),
            reprieve.export_v1(timestamptz, timestamptz) TO reprieve_admin;
        GRANT SELECT ON ALL TABLES IN SCHEMA reprieve TO reprieve_admin;
    END IF;
END $$;
