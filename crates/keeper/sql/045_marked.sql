-- What runs with each DELETE that marks rows, generated for each table: statements whose plans a session keeps.
--
-- Most deletes take a few rows that nothing refers to. For these the generated function writes the ledger and is done; all else is left
-- to follow_marked. It makes sure by looking: whoever writes a child of a marked row waits for its lock, so what is not there now does
-- not come any more.
--
-- Conditions of triggers (WHEN) are parsed and planned anew for each statement, so functions ask themselves; and a function in PL/pgSQL that
-- sets search_path pays for it, so these do without: all their names and operators are qualified.

-- True while our own statements follow foreign keys. Evaluated as whoever updates, and no client is the keeper.
CREATE OR REPLACE FUNCTION reprieve.following_sql() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(CURRENT_USER OPERATOR(pg_catalog.=) %L::pg_catalog.name AND pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1'
                  ' AND coalesce(pg_catalog.current_setting(''reprieve.following'', true), '''') OPERATOR(pg_catalog.=) ''1'')',
                  pg_get_userbyid(p.proowner))
    FROM pg_proc p WHERE p.oid = 'reprieve.begin_statement()'::regprocedure
$$;

DO $do$
BEGIN
    -- BEFORE STATEMENT of UPDATE OF deleted_at. Runs as the client: it judges the client's rights.
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION reprieve.begin_mark() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            ignored pg_catalog.int4;
        BEGIN
            IF %s THEN
                RETURN NULL;
            END IF;
            IF NOT pg_catalog.has_table_privilege(TG_RELID, 'DELETE') THEN
                RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = pg_catalog.format('permission denied for table %%s', TG_TABLE_NAME);
            END IF;
            ignored := reprieve.enter_statement();
            RETURN NULL;
        END $$ $f$, reprieve.following_sql());
END $do$;

-- The statements that look whether foreign keys of a table ask for anything after deletion `id`: each finds a row if so.
CREATE OR REPLACE FUNCTION reprieve.concerns(relid oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('PERFORM FROM %s c, %s p WHERE p.deletion_id OPERATOR(pg_catalog.=) id AND %s AND %s LIMIT 1',
                  l.child_sql, l.parent_sql, l.match_sql, reprieve.live_sql(l.child, 'c'))
    FROM reprieve.links l WHERE l.parent = concerns.relid
    UNION ALL
    -- A row that was written before its parent, see follow.
    SELECT format('PERFORM FROM ONLY %s c WHERE c.deletion_id OPERATOR(pg_catalog.=) id AND %s AND NOT EXISTS (SELECT FROM %s p WHERE %s) LIMIT 1',
                  reprieve.qualified(l.child), (SELECT string_agg(format('c.%I IS NOT NULL', f), ' AND ') FROM unnest(l.child_columns) AS f),
                  l.parent_sql, l.match_sql)
    FROM reprieve.links l WHERE l.child = concerns.relid AND l.is_deferrable
$$;

-- Makes the functions and the triggers that run in front of and behind a DELETE that marks rows of a table.
CREATE OR REPLACE FUNCTION reprieve.ensure_marked(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    looks text := (SELECT string_agg(format(E'        %s;\n        IF FOUND THEN\n            RETURN reprieve.follow_marked(%s);\n        END IF;\n', c, relid), '')
                   FROM reprieve.concerns(relid) AS c);
    name record;
    taken text := 'taken_' || relid;
    marked text := 'marked_' || relid;
    body text;
BEGIN
    SELECT n.nspname, c.relname INTO name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relid;
    -- Clients call it, through the trigger; it does no harm elsewhere. More than a few rows are a matter for plans of their own.
    body := format($f$
#variable_conflict use_variable
DECLARE
    id pg_catalog.int8 := reprieve.open_deletion();
    taken pg_catalog.int8;
BEGIN
    IF id IS NULL THEN
        -- No row was found, unless somebody forged the setting: see follow_marked.
        IF pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN
            RETURN reprieve.end_statement();
        END IF;
        taken := reprieve.next_deletion();
        PERFORM FROM ONLY %1$s t WHERE t.deletion_id OPERATOR(pg_catalog.=) taken;
        IF NOT FOUND THEN
            RETURN reprieve.end_statement();
        END IF;
    ELSIF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.~) '^read ' THEN
        SELECT pg_catalog.count(*) INTO taken FROM (SELECT FROM ONLY %1$s t WHERE t.deletion_id OPERATOR(pg_catalog.=) id LIMIT 101) AS few;
        IF taken OPERATOR(pg_catalog.>) 100 THEN
            RETURN reprieve.follow_marked(%2$s);
        END IF;
%3$s        IF taken OPERATOR(pg_catalog.>) 0 AND reprieve.open_ledger(id) THEN
            INSERT INTO reprieve.deletion_tables (deletion_id, relid, schema_name, table_name, rows) VALUES (id, %2$s, %4$L, %5$L, taken);
            RETURN reprieve.end_statement();
        END IF;
    END IF;
    RETURN reprieve.follow_marked(%2$s);
END $f$, reprieve.qualified(relid), relid, looks, name.nspname, name.relname);
    PERFORM reprieve.ensure_lean_function(taken, ARRAY[relid], 'int', body);
    EXECUTE format('GRANT EXECUTE ON FUNCTION reprieve.%I() TO PUBLIC', taken);
    PERFORM reprieve.ensure_function('count_' || relid, 'id bigint', 'bigint', '', ARRAY[relid], format($f$
BEGIN
    RETURN (SELECT pg_catalog.count(*) FROM ONLY %s t WHERE t.deletion_id OPERATOR(pg_catalog.=) count_%s.id);
END $f$, reprieve.qualified(relid), relid));
    body := format($f$
DECLARE
    ignored pg_catalog.int4;
BEGIN
    IF %s THEN
        RETURN NULL;
    END IF;
    ignored := reprieve.%I();
    RETURN NULL;
END $f$, reprieve.following_sql(), taken);
    IF NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'reprieve'::regnamespace AND p.proname = marked AND p.prosrc = body) THEN
        EXECUTE format('CREATE OR REPLACE FUNCTION reprieve.%I() RETURNS trigger LANGUAGE plpgsql AS %L', marked, body);
    END IF;
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_begin_mark', 'BEFORE UPDATE OF deleted_at',
                                    'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.begin_mark()');
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_after_mark', 'AFTER UPDATE OF deleted_at',
                                    format('FOR EACH STATEMENT EXECUTE FUNCTION reprieve.%I()', marked));
END $$;

-- Drops the functions that were generated for a table.
CREATE OR REPLACE FUNCTION reprieve.drop_functions(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'reprieve'::regnamespace
             AND p.proname = ANY (ARRAY['evict_' || relid, 'make_way_' || relid, 'marked_' || relid, 'taken_' || relid, 'count_' || relid]) LOOP
        EXECUTE format('DROP FUNCTION %s', f.name);
    END LOOP;
END $$;
