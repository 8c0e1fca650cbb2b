-- New functions may be executed by everybody unless told otherwise. The parts of UNDELETE are the
-- keeper's own; what DBAs call is for reprieve_admin, and checks that once more itself.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::pg_catalog.regprocedure AS name,
                    p.proname ~ '^(undelete_(deletion|transaction|where|since|rows)|graves|buried)_v1$'
                    OR p.proname IN ('check_v1', 'tombstones')
                    -- Called by undelete_where_v1, which runs as the caller.
                    OR p.proname IN ('undelete_may', 'require_admin', 'has_marks') AS callable
               FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'reprieve'::pg_catalog.regnamespace
                AND (p.proname ~ '^(undelete|pick_|grave|buried|check)'
                     OR p.proname IN ('chosen', 'candidates', 'read_as', 'key_match', 'key_columns', 'key_holder', 'refers',
                                      'row_name', 'tuple_name', 'primary_key', 'relink_sql', 'faded_column', 'require_admin',
                                      'has_marks', 'root_of', 'members_of', 'from_clause', 'tombstones'))
                AND p.proname <> 'undeleting'
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.name);
        IF f.callable AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO reprieve_admin', f.name);
        END IF;
    END LOOP;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
        GRANT SELECT ON reprieve.show_deletions, reprieve.show_tables TO reprieve_admin;
    END IF;
END $$;
