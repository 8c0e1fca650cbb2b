-- New functions may be executed by everybody unless told otherwise. The parts of UNDELETE are the
-- keeper's own; what DBAs call is for reprieve_admin, and checks that once more itself.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::pg_catalog.regprocedure AS name,
                    p.proname ~ '^(undelete_(deletion|transaction|where|since|rows)|graves)_v1$'
                    -- Called by undelete_where_v1, which runs as the caller.
                    OR p.proname IN ('undelete_may', 'require_admin', 'has_marks') AS callable
               FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'reprieve'::pg_catalog.regnamespace
                AND (p.proname ~ '^(undelete|pick_|grave)'
                     OR p.proname IN ('chosen', 'candidates', 'read_as', 'key_match', 'key_columns', 'key_holder', 'refers',
                                      'row_name', 'tuple_name', 'primary_key', 'relink_sql', 'faded_column', 'require_admin',
                                      'has_marks', 'root_of', 'members_of', 'from_clause'))
                AND p.proname <> 'undeleting'
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.name);
        IF f.callable THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO reprieve_admin', f.name);
        END IF;
    END LOOP;
END $$;
