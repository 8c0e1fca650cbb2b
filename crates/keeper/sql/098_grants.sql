-- Who may do what. Functions are executable by PUBLIC unless taken away: first nothing, then the entry points.

REVOKE ALL ON SCHEMA reprieve FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA reprieve FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA reprieve FROM PUBLIC;
GRANT USAGE ON SCHEMA reprieve TO PUBLIC;
GRANT EXECUTE ON FUNCTION reprieve.session_v1(), reprieve.may_show_v1(), reprieve.shown_v1(), reprieve.catalog_v1(), reprieve.after_ddl_v1(), reprieve.before_block_v1(oid),
    reprieve.begin_deletion_v1(text), reprieve.enter_statement(), reprieve.may_keep_v1(), reprieve.relation_named_v1(text), reprieve.dropped_names(text, text),
    reprieve.tables_within_v1(text, text), reprieve.to_keep_v1(oid[]), reprieve.keep_v1(oid, text, text) TO PUBLIC;

-- What triggers call that run as the client, see ensure_marked.
DO $$
DECLARE
    f oid;
BEGIN
    FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'reprieve'::regnamespace AND p.proname ~ '^taken_[0-9]+$' LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f::regprocedure);
    END LOOP;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA reprieve TO reprieve_admin;
        GRANT EXECUTE ON FUNCTION reprieve.judge_v1(regclass), reprieve.enable_v1(regclass, text),
            reprieve.disable_v1(regclass), reprieve.reconcile_v1(boolean), reprieve.advance_v1() TO reprieve_admin;
    END IF;
END $$;

-- A publication FOR ALL TABLES takes ours along, and then refuses to change rows that it could not tell apart.
DO $$
DECLARE
    unkeyed oid;
BEGIN
    FOR unkeyed IN SELECT c.oid FROM pg_catalog.pg_class c
                   WHERE c.relnamespace = 'reprieve'::regnamespace AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident <> 'f'
                     AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', unkeyed::regclass);
    END LOOP;
END $$;

DO $$
BEGIN
    -- One of an older keeper does not hear of all that matters.
    IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'reprieve_start' AND NOT 'ALTER DOMAIN' = ANY (evttags)) THEN
        DROP EVENT TRIGGER reprieve_start;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'reprieve_ddl') THEN
        CREATE EVENT TRIGGER reprieve_ddl ON ddl_command_end EXECUTE FUNCTION reprieve.on_ddl();
        CREATE EVENT TRIGGER reprieve_drop ON sql_drop EXECUTE FUNCTION reprieve.on_drop();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'reprieve_start') THEN
        CREATE EVENT TRIGGER reprieve_start ON ddl_command_start
            WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX', 'ALTER DOMAIN', 'CREATE RULE', 'CREATE POLICY', 'ALTER POLICY', 'CREATE FUNCTION',
                         'CREATE PROCEDURE') EXECUTE FUNCTION reprieve.on_ddl_start();
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'reprieve_keep' AND NOT 'DROP TYPE' = ANY (evttags)) THEN
        DROP EVENT TRIGGER reprieve_keep;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'reprieve_keep') THEN
        CREATE EVENT TRIGGER reprieve_keep ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP TYPE', 'DROP EXTENSION')
            EXECUTE FUNCTION reprieve.on_drop_start();
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'this role may not create event triggers: schema changes made past the proxy are noticed by the reconciler only'
        USING HINT = 'Let a superuser install again, if that matters.';
END $$;
