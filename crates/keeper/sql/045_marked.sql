-- What runs with each DELETE that marks rows, generated for each table: statements whose plans a session keeps.
--
-- Most deletes take a few rows, with a few children by CASCADE and nothing else. For these the generated functions mark the children,
-- write the ledger and are done; all else is left to follow_marked. They make sure by looking: whoever writes a child of a marked row waits
-- for its lock, so what is not there now does not come any more.
--
-- Conditions of triggers (WHEN) are parsed and planned anew for each statement, so functions ask themselves; and a function in PL/pgSQL that
-- sets search_path pays for it, so these do without: all their names and operators are qualified. In a transaction of its own each
-- statement of PL/pgSQL, and each call, is made ready anew: the fewer, the better. A regular expression costs as much as ten of them.

-- Returns from a trigger while our own statements follow foreign keys. Asked as whoever updates, and no client is the keeper.
CREATE OR REPLACE FUNCTION reprieve.unless_following_sql() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format($f$    IF pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1 THEN
        IF CURRENT_USER OPERATOR(pg_catalog.=) %L::pg_catalog.name AND pg_catalog.current_setting('reprieve.following', true) OPERATOR(pg_catalog.=) '1' THEN
            RETURN NULL;
        END IF;
    END IF;
$f$, pg_get_userbyid(p.proowner))
    FROM pg_proc p WHERE p.oid = 'reprieve.begin_statement()'::regprocedure
$$;

DO $do$
BEGIN
    -- BEFORE STATEMENT of UPDATE OF deleted_at. Runs as the client: it judges the client's rights. What enter_statement does for a
    -- statement that is not part of another it does itself; the search path is noted by who needs it.
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION reprieve.begin_mark() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            ignored pg_catalog.text;
        BEGIN
        %s
            IF NOT pg_catalog.has_table_privilege(TG_RELID, 'DELETE') THEN
                RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = pg_catalog.format('permission denied for table %%s', TG_TABLE_NAME);
            END IF;
            IF pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.>) '0' THEN
                ignored := reprieve.enter_statement();
            ELSE
                ignored := pg_catalog.set_config('reprieve.deletion', '', true) OPERATOR(pg_catalog.||)
                           pg_catalog.set_config('reprieve.role', current_user, true) OPERATOR(pg_catalog.||)
                           pg_catalog.set_config('reprieve.depth', '1', true);
            END IF;
            RETURN NULL;
        END $$ $f$, reprieve.unless_following_sql());
END $do$;
DROP FUNCTION IF EXISTS reprieve.following_sql();

-- True if the marked tables that cascades from this one reach form a tree in which each has one foreign key to the others. Then it
-- matters little in which order they are followed: which of several errors is raised.
CREATE OR REPLACE FUNCTION reprieve.is_tree(relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE reached(relid) AS (
        SELECT $1
        UNION
        SELECT l.child FROM reached r JOIN reprieve.links l ON l.parent = r.relid AND l.action = 'c'
        JOIN reprieve.tables t ON t.relid = l.child AND t.mode = 'mark'
    )
    SELECT NOT EXISTS (SELECT FROM reprieve.links l WHERE l.parent IN (SELECT r.relid FROM reached r)
                       GROUP BY l.child HAVING count(*) > 1 OR l.child = $1)
$$;

-- Marked tables whose cascades reach one of these, and these.
CREATE OR REPLACE FUNCTION reprieve.upwards(relids oid[]) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE above(relid) AS (
        SELECT unnest(relids)
        UNION
        SELECT l.parent FROM above a JOIN reprieve.links l ON l.child = a.relid AND l.action = 'c'
    ) SELECT array_agg(a.relid) FROM above a
$$;

-- The foreign keys that lead to a table, and how to look for live rows that deletion `id` concerns by each of them. `carries`: it
-- takes marked children along, and the generated functions may do it. The last are rows that were written before their parent, see follow.
DROP FUNCTION IF EXISTS reprieve.concerns(oid);
CREATE FUNCTION reprieve.concerns(relid oid) RETURNS TABLE (child oid, look text, carries boolean, mark text, con oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT l.child, format('PERFORM FROM %s c, %s p WHERE p.deletion_id OPERATOR(pg_catalog.=) id AND %s AND %s LIMIT 1',
                           l.child_sql, l.parent_sql, l.match_sql, reprieve.live_sql(l.child, 'c')),
           l.action = 'c' AND reprieve.is_tree($1) AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = l.child AND t.mode = 'mark'),
           format('UPDATE %s c SET deleted_at = pg_catalog.now(), deletion_id = id FROM %s p WHERE p.deletion_id OPERATOR(pg_catalog.=) id'
                  ' AND %s AND c.deleted_at IS NULL', l.child_sql, l.parent_sql, l.match_sql), l.conoid
    FROM reprieve.links l WHERE l.parent = $1
    UNION ALL
    SELECT l.child, format('PERFORM FROM ONLY %s c WHERE c.deletion_id OPERATOR(pg_catalog.=) id AND %s AND NOT EXISTS (SELECT FROM %s p WHERE %s) LIMIT 1',
                           reprieve.qualified(l.child), (SELECT string_agg(format('c.%I IS NOT NULL', f), ' AND ') FROM unnest(l.child_columns) AS f),
                           l.parent_sql, l.match_sql), false, NULL, l.conoid
    FROM reprieve.links l WHERE l.child = $1 AND l.is_deferrable
$$;

-- What follows a few rows of a table that deletion `id` has marked: looks, counts, marks children, and has these followed. `give_up` is
-- for what it is not made for: nothing has been done then but what the general code does as well. Where a child does not mark yet, or
-- the foreign key is turned off, the general code knows what to do.
CREATE OR REPLACE FUNCTION reprieve.follow_few_sql(relid oid, give_up text, count text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT coalesce(string_agg(format(E'%s;\nIF FOUND THEN\n    %s\nEND IF;\n', c.look, $2), '' ORDER BY c.look) FILTER (WHERE NOT c.carries), '')
           || coalesce(string_agg(format(E'%1$s;\nIF FOUND THEN\n    PERFORM FROM reprieve.tables t WHERE t.relid OPERATOR(pg_catalog.=) %2$s::pg_catalog.oid AND t.marking\n'
                                         '        AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgconstraint OPERATOR(pg_catalog.=) %4$s::pg_catalog.oid'
                                         ' AND g.tgrelid OPERATOR(pg_catalog.=) %5$s::pg_catalog.oid AND g.tgisinternal AND g.tgenabled OPERATOR(pg_catalog.=) ''D'');\n'
                                         '    IF NOT FOUND THEN\n        %3$s\n    END IF;\n    found_%2$s := true;\nEND IF;\n', c.look, c.child, $2, c.con, $1), '' ORDER BY c.child)
                       FILTER (WHERE c.carries), '')
           || $3
           || coalesce(string_agg(format(E'IF found_%1$s THEN\n    ignored := pg_catalog.set_config(''reprieve.following'', ''1'', true);\n    %2$s;\n'
                                         '    GET DIAGNOSTICS taken = ROW_COUNT;\n    ignored := pg_catalog.set_config(''reprieve.following'', '''', true);\n'
                                         '    IF taken OPERATOR(pg_catalog.>) 0 THEN\n        ignored := reprieve.carry_%1$s(id, taken);\n    END IF;\nEND IF;\n', c.child, c.mark), '' ORDER BY c.child)
                       FILTER (WHERE c.carries), '')
    FROM reprieve.concerns($1) AS c
$$;

-- Notes the client's search path, for what runs as the client in the general code.
CREATE OR REPLACE FUNCTION reprieve.note_path_sql() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'ignored := pg_catalog.set_config(''reprieve.path'', pg_catalog.current_setting(''search_path''), true);'
$$;

-- The variables that follow_few_sql needs.
CREATE OR REPLACE FUNCTION reprieve.flags_sql(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(format(E'    found_%s pg_catalog.bool := false;\n', c.child), '' ORDER BY c.child), '')
    FROM reprieve.concerns($1) AS c WHERE c.carries
$$;

-- taken_<oid>: what a statement of the client has marked in a table. Clients call it, through the trigger; it does no harm elsewhere.
-- More than a few rows are a matter for plans of their own. Nothing else has been counted under an id that was not in the ledger, so
-- nothing else ends with the statement.
CREATE OR REPLACE FUNCTION reprieve.ensure_taken(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    flags text := reprieve.flags_sql(relid);
    give_up text := format('%s RETURN reprieve.follow_marked(%s);', reprieve.note_path_sql(), relid);
    count text := format(E'%1$s;\nIF NOT FOUND THEN\n    %2$s\nEND IF;\n%3$s;\n', reprieve.ledger_alone_sql('id'), give_up, reprieve.count_sql(relid, true));
    finish text := 'RETURN reprieve.end_statement();';
BEGIN
    IF flags = '' THEN
        finish := $f$IF pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.=) '1' THEN
    ignored := pg_catalog.set_config('reprieve.deletion', '', true) OPERATOR(pg_catalog.||) pg_catalog.set_config('reprieve.depth', '0', true);
    RETURN 0;
END IF;
$f$ || finish;
    END IF;
    PERFORM reprieve.ensure_lean_function('taken_' || relid, ARRAY[relid], 'int', format($f$
#variable_conflict use_variable
DECLARE
    id pg_catalog.int8;
    taken pg_catalog.int8;
    alone pg_catalog.bool;
    ignored pg_catalog.text := pg_catalog.current_setting('reprieve.deletion', true);
%2$sBEGIN
    IF ignored OPERATOR(pg_catalog.=) (pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text OPERATOR(pg_catalog.||) '000001') THEN
        id := ignored::pg_catalog.int8;
    ELSE
        id := reprieve.open_deletion();
    END IF;
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
    ELSIF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed' THEN
        PERFORM FROM ONLY %1$s t WHERE t.deletion_id OPERATOR(pg_catalog.=) id LIMIT 101;
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken OPERATOR(pg_catalog.<=) 100 AND taken OPERATOR(pg_catalog.>) 0 THEN
%3$s%4$s
        END IF;
    END IF;
    %5$s
END $f$, reprieve.qualified(relid), flags, reprieve.follow_few_sql(relid, give_up, count), finish, give_up));
    EXECUTE format('GRANT EXECUTE ON FUNCTION reprieve.%I() TO PUBLIC', 'taken_' || relid);
END $$;

-- carry_<oid>: what a cascade from another table has marked in a table.
CREATE OR REPLACE FUNCTION reprieve.ensure_carry(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    give_up text := format('%s PERFORM reprieve.follow(id, %s); RETURN NULL;', reprieve.note_path_sql(), relid);
    count text := format(E'%1$s ON CONFLICT DO NOTHING;\nIF NOT FOUND THEN\n    %2$s\nEND IF;\n', reprieve.count_sql(relid, false), give_up);
BEGIN
    IF EXISTS (SELECT FROM reprieve.links l WHERE l.child = relid AND l.action = 'c') THEN
        PERFORM reprieve.ensure_function('carry_' || relid, 'id bigint, taken bigint', 'text', '', ARRAY[relid], format($f$
#variable_conflict use_variable
DECLARE
    ignored pg_catalog.text;
%sBEGIN
    IF taken OPERATOR(pg_catalog.<=) 100 THEN
%sRETURN NULL;
    END IF;
    %s
END $f$, reprieve.flags_sql(relid), reprieve.follow_few_sql(relid, give_up, count), give_up));
    END IF;
END $$;

-- Makes the functions and the triggers that run in front of and behind a DELETE that marks rows of a table.
CREATE OR REPLACE FUNCTION reprieve.ensure_marked(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    marked text := 'marked_' || relid;
    body text;
BEGIN
    PERFORM reprieve.ensure_taken(relid), reprieve.ensure_carry(relid);
    PERFORM reprieve.ensure_function('count_' || relid, 'id bigint', 'bigint', '', ARRAY[relid], format($f$
BEGIN
    RETURN (SELECT pg_catalog.count(*) FROM ONLY %s t WHERE t.deletion_id OPERATOR(pg_catalog.=) count_%s.id);
END $f$, reprieve.qualified(relid), relid));
    -- Where the transaction has written nothing, nothing is marked.
    body := format($f$
DECLARE
    ignored pg_catalog.text;
BEGIN
%s    IF pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN
        IF pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.=) '1' THEN
            ignored := pg_catalog.set_config('reprieve.depth', '0', true);
            RETURN NULL;
        END IF;
    END IF;
    ignored := reprieve.%I();
    RETURN NULL;
END $f$, reprieve.unless_following_sql(), 'taken_' || relid);
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
             AND p.proname ~ ('^(evict|evict_moved|make_way|marked|taken|carry|count|capture)_' || relid || '$') LOOP
        EXECUTE format('DROP FUNCTION %s', f.name);
    END LOOP;
END $$;
