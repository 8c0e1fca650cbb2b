-- New functions may be executed by everybody unless told otherwise. The parts of UNDELETE are the
-- keeper's own; the verbs are for reprieve_admin, and check that once more themselves.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::pg_catalog.regprocedure AS name, p.proname ~ '^undelete_(deletion|transaction|where|since)_v1$' AS verb
               FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'reprieve'::pg_catalog.regnamespace
                AND (p.proname ~ '^undelete' OR p.proname IN ('chosen', 'read_as', 'grave_column', 'key_match', 'row_name'))
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.name);
        IF f.verb THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO reprieve_admin', f.name);
        END IF;
    END LOOP;
END $$;
