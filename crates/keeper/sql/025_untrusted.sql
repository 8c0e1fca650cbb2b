-- Code of users that merely reading their tables would run. The planner works out what it can of the expressions of a table's
-- indexes (RelationGetIndexExpressions in relcache.c): a function in them runs as whoever reads the table. Nothing of a user's
-- may run with the rights of the keeper.

-- A function in the indexes of a table that would gain rights by running as the keeper; NULL if there is none.
CREATE OR REPLACE FUNCTION reprieve.untrusted_index(relid oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    found_name text;
BEGIN
    IF EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) THEN
        SELECT p.oid::regprocedure::text INTO found_name
        FROM pg_index i JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
        LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
        JOIN pg_proc p ON p.oid = CASE d.refclassid WHEN 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode END
        WHERE i.indrelid = relid AND p.oid >= 16384 AND reprieve.mightier(p.proowner) LIMIT 1;
    END IF;
    RETURN found_name;
END $$;

-- True if a statement (lower case) that makes an index may name such a function, or an operator that runs one.
CREATE OR REPLACE FUNCTION reprieve.untrusted_in(statement text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM pg_proc p WHERE p.oid >= 16384 AND p.pronamespace <> 'reprieve'::regnamespace
                      AND strpos(statement, lower(p.proname)) > 0 AND reprieve.mightier(p.proowner))
        OR EXISTS (SELECT FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode WHERE o.oid >= 16384
                      AND strpos(statement, o.oprname) > 0 AND reprieve.mightier(p.proowner));
END $$;

-- What stands in FROM to read all rows of a table: the table, or a function that reads it with the rights of its owner, and by
-- `path` if that code of the owner's needs it. Then end_read() is due.
DROP FUNCTION IF EXISTS reprieve.read_source(oid);
CREATE OR REPLACE FUNCTION reprieve.read_source(relid oid, path text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    name text := format('reprieve.%I()', 'read_' || relid);
    target text := reprieve.qualified(relid);
    before text := coalesce(current_setting('reprieve.reconciling', true), '');
    made text;
BEGIN
    IF path IS NULL AND reprieve.untrusted_index(relid) IS NULL THEN
        RETURN 'ONLY ' || target;
    END IF;
    PERFORM set_config('reprieve.reconciling', '1', true);
    made := format('CREATE FUNCTION %s RETURNS SETOF %s LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS %L',
                   name, target, format('SELECT * FROM ONLY %s', target));
    -- Never a part of a statement: anybody may have written it. Nothing but that statement is looked up by it.
    PERFORM pg_catalog.set_config('search_path', coalesce(path, 'pg_catalog, pg_temp'), true);
    EXECUTE made;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', name, (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = relid));
    PERFORM set_config('reprieve.reconciling', before, true);
    RETURN name;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'table % cannot be read without running % with the keeper''s rights', target, reprieve.untrusted_index(relid)
        USING ERRCODE = 'RV003', HINT = 'Let a superuser install the keeper, or exclude the table.';
END $$;

CREATE OR REPLACE FUNCTION reprieve.end_read(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('reprieve.reconciling', true), '');
BEGIN
    IF to_regprocedure(format('reprieve.%I()', 'read_' || relid)) IS NOT NULL THEN
        PERFORM set_config('reprieve.reconciling', '1', true);
        EXECUTE format('DROP FUNCTION reprieve.%I()', 'read_' || relid);
        PERFORM set_config('reprieve.reconciling', before, true);
    END IF;
END $$;
