-- What is installed on a table: facts about its keys and foreign keys, turned into triggers.

-- Creates a trigger unless the very same is there already. Names begin with `~reprieve_`, so that they sort after the user's, or with
-- ` reprieve_`, so that they sort before those.
CREATE OR REPLACE FUNCTION reprieve.ensure_trigger(relid oid, name text, events text, rest text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    kind text := CASE WHEN rest ~ 'DEFERRABLE' THEN 'CONSTRAINT TRIGGER' ELSE 'TRIGGER' END;
    sql text := format('CREATE %s %I %s ON %s %s', kind, name, events, reprieve.qualified(relid), rest);
    old oid := (SELECT t.oid FROM pg_trigger t WHERE t.tgrelid = relid AND t.tgname = name);
BEGIN
    -- The text it was made from is kept as its comment: catalogs do not give back the same text.
    IF old IS NOT NULL THEN
        IF obj_description(old, 'pg_trigger') = md5(sql) THEN
            RETURN;
        END IF;
        EXECUTE format('DROP TRIGGER %I ON %s', name, reprieve.qualified(relid));
    END IF;
    EXECUTE sql;
    EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', name, reprieve.qualified(relid), md5(sql));
END $$;

-- True if somebody has turned off PostgreSQL's own triggers of a foreign key on one of its two tables (DISABLE TRIGGER ALL).
CREATE OR REPLACE FUNCTION reprieve.is_off(conoid oid, relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_trigger n WHERE n.tgconstraint = is_off.conoid AND n.tgrelid = is_off.relid AND n.tgisinternal AND n.tgenabled = 'D')
$$;

-- True if a trigger of ours is one that checks a foreign key in the place of PostgreSQL's own, and that is turned off.
CREATE OR REPLACE FUNCTION reprieve.stays_off(trigger oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT coalesce(reprieve.is_off(substring(p.proname FROM '^(?:live|all_live|still)_(\d+)$')::oid, g.tgrelid), false)
    FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid WHERE g.oid = stays_off.trigger
$$;

-- Turns our triggers on again, on these tables or (NULL) everywhere: DISABLE TRIGGER means theirs, rows must not be lost by it. All of a
-- table at once: fixtures are loaded so, with every table of a database.
CREATE OR REPLACE FUNCTION reprieve.enable_triggers(among oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    trouble text;
BEGIN
    FOR item IN SELECT reprieve.qualified(g.tgrelid) AS target, string_agg(format('ENABLE TRIGGER %I', g.tgname), ', ') AS steps
                FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                WHERE (among IS NULL OR g.tgrelid = ANY (among)) AND g.tgenabled = 'D' AND NOT g.tgisinternal
                  AND p.pronamespace = 'reprieve'::regnamespace AND NOT (p.proname ~ '(live|still)_' AND reprieve.stays_off(g.oid))
                GROUP BY g.tgrelid LOOP
        BEGIN
            EXECUTE format('ALTER TABLE ONLY %s %s', item.target, item.steps);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS trouble = MESSAGE_TEXT;
            RAISE LOG 'reprieve: our triggers on % stay off: %', item.target, trouble;
        END;
    END LOOP;
END $$;

-- Drops triggers of ours that are no longer wanted, on one table.
CREATE OR REPLACE FUNCTION reprieve.drop_triggers(relid oid, pattern text, keep text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT g.tgname, g.tgrelid FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
             WHERE g.tgrelid = relid AND p.pronamespace = 'reprieve'::regnamespace AND NOT g.tgisinternal
               AND g.tgname ~ pattern AND g.tgname <> ALL (keep) AND g.tgparentid = 0 LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, reprieve.qualified(t.tgrelid));
    END LOOP;
END $$;

-- Triggers that capture physical deletes: on every enabled table.
CREATE OR REPLACE FUNCTION reprieve.ensure_capture(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    kind "char" := (SELECT c.relkind FROM pg_class c WHERE c.oid = relid);
    -- A delete on an inheritance parent hands its transition table only the parent's columns: there row by row.
    inherits boolean := EXISTS (SELECT FROM pg_inherits h JOIN pg_class m ON m.oid = h.inhrelid
                                WHERE relid IN (h.inhrelid, h.inhparent) AND NOT m.relispartition AND m.relkind = 'r');
BEGIN
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_begin_delete', 'BEFORE DELETE',
                                    'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.begin_statement()');
    IF inherits THEN
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_capture_row', 'AFTER DELETE',
                                        'FOR EACH ROW EXECUTE FUNCTION reprieve.capture_row()');
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_capture', 'AFTER DELETE',
                                        'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.after_truncate()');
    ELSE
        PERFORM reprieve.drop_triggers(relid, '^~reprieve_capture_row$');
        PERFORM reprieve.ensure_capture_function(relid);
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_capture', 'AFTER DELETE',
            format('REFERENCING OLD TABLE AS reprieve_old FOR EACH STATEMENT EXECUTE FUNCTION reprieve.%I()', 'capture_' || relid));
    END IF;
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_begin_truncate', 'BEFORE TRUNCATE',
                                    'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.begin_statement()');
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_truncate', 'BEFORE TRUNCATE',
                                    'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.capture_truncate()');
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_truncated', 'AFTER TRUNCATE',
                                    'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.after_truncate()');
END $$;

-- Per key of a table (unique index or exclusion constraint, never our own): how to find the holder of NEW's key.
-- The table is `t` in `condition`; `columns` are those the key depends on.
CREATE OR REPLACE FUNCTION reprieve.keys(relid oid, OUT index_oid oid, OUT exclusion boolean, OUT guard text,
                                         OUT condition text, OUT columns text[])
RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
    i record;
    part record;
    theirs text;
    ours text;
    operation text;
    predicate text;
BEGIN
    FOR i IN SELECT x.*, coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_equal
             FROM pg_index x WHERE x.indrelid = keys.relid AND (x.indisunique OR x.indisexclusion) AND x.indislive
               AND NOT EXISTS (SELECT FROM pg_attribute d WHERE d.attrelid = x.indrelid AND d.attname = 'deletion_id'
                               AND d.attnum = ANY (x.indkey::int2[]))
             ORDER BY x.indexrelid LOOP
        index_oid := i.indexrelid;
        exclusion := i.indisexclusion;
        guard := '';
        condition := '';
        FOR part IN
            SELECT k.place, a.attname, a.attnotnull, pg_get_indexdef(i.indexrelid, k.place::int, false) AS expression,
                   format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS operator,
                   CASE WHEN co.oid IS NOT NULL AND co.oid IS DISTINCT FROM a.attcollation
                        THEN format(' COLLATE %I.%I', cn.nspname, co.collname) ELSE '' END AS collation
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
            JOIN pg_opclass oc ON oc.oid = i.indclass[k.place - 1]
            LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.conexclop IS NOT NULL
            LEFT JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3 AND NOT i.indisexclusion
                                AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
            JOIN pg_operator o ON o.oid = CASE WHEN i.indisexclusion THEN x.conexclop[k.place] ELSE ao.amopopr END
            JOIN pg_namespace n ON n.oid = o.oprnamespace
            LEFT JOIN pg_collation co ON co.oid = i.indcollation[k.place - 1]
            LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
            WHERE k.place <= i.indnkeyatts ORDER BY k.place LOOP
            IF part.attname IS NOT NULL THEN
                theirs := format('t.%I', part.attname);
                ours := format('NEW.%I', part.attname);
            ELSE
                theirs := part.expression;
                ours := format('(SELECT %s FROM (SELECT NEW.*) AS t)', part.expression);
            END IF;
            operation := format('%s%s %s %s', theirs, part.collation, part.operator, ours);
            IF i.nulls_equal THEN
                operation := format('(%s OR (%s IS NULL AND %s IS NULL))', operation, theirs, ours);
            ELSIF part.attname IS NOT NULL AND NOT part.attnotnull THEN
                guard := guard || format(' AND %s IS NOT NULL', ours);
            END IF;
            condition := condition || ' AND ' || operation;
        END LOOP;
        IF i.indpred IS NOT NULL THEN
            predicate := pg_get_expr(i.indpred, i.indrelid);
            guard := guard || format(' AND (SELECT %s FROM (SELECT NEW.*) AS t)', predicate);
            condition := condition || format(' AND (%s)', predicate);
        END IF;
        guard := coalesce(nullif(substr(guard, 6), ''), 'true');
        condition := substr(condition, 6);
        -- An expression may read any column.
        columns := ARRAY(SELECT a.attname::text FROM pg_attribute a
                         WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                           AND a.attname NOT IN ('deleted_at', 'deletion_id')
                           AND (a.attnum = ANY (i.indkey::int2[]) OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
                         ORDER BY a.attnum);
        RETURN NEXT;
    END LOOP;
END $$;

-- A function of our own for one table or foreign key; `arguments` as in CREATE FUNCTION. Its text ends with the types of the
-- columns of its tables: where one changes, sessions that have run the function must compile it anew.
-- random_page_cost: plans are kept. One that was made while a table was tiny must not read all of it for each row later. Setting it costs
-- a microsecond; where `settings` is NULL nothing is set.
CREATE OR REPLACE FUNCTION reprieve.ensure_function(name text, arguments text, returns text, settings text, tables oid[], body text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old record;
BEGIN
    body := body || (SELECT E'\n-- ' || string_agg(format('%s.%s', a.atttypid, a.atttypmod), ' ' ORDER BY u.place, a.attnum)
                     FROM unnest(tables) WITH ORDINALITY AS u(relid, place) JOIN pg_attribute a ON a.attrelid = u.relid
                     WHERE a.attnum > 0 AND NOT a.attisdropped);
    settings := coalesce(settings || ' SET random_page_cost = 0', '');
    -- Of an expression of an index: see 020_names.sql.
    IF strpos(body, chr(92)) > 0 THEN
        settings := settings || ' SET standard_conforming_strings = on';
    END IF;
    SELECT p.prosrc, coalesce(cardinality(p.proconfig), 0) AS settings INTO old FROM pg_proc p
    WHERE p.pronamespace = 'reprieve'::regnamespace AND p.proname = name;
    IF old.prosrc = body AND old.settings = (length(settings) - length(replace(settings, 'SET ', ''))) / 4 THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION reprieve.%I(%s) RETURNS %s LANGUAGE plpgsql SECURITY DEFINER %s AS %L',
                   name, arguments, returns, settings, body);
    EXECUTE format('REVOKE ALL ON FUNCTION reprieve.%I FROM PUBLIC', name);
END $$;

-- A trigger function of ours.
CREATE OR REPLACE FUNCTION reprieve.ensure_function(name text, tables oid[], body text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.ensure_function(name, '', 'trigger', 'SET search_path = pg_catalog, pg_temp', tables, body);
END $$;

-- One that runs with each statement or row of clients, as the keeper but under the client's search path: nothing in it may be looked up there.
CREATE OR REPLACE FUNCTION reprieve.ensure_lean_function(name text, tables oid[], returns text, body text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.ensure_function(name, '', returns, '', tables, body);
END $$;

-- True if an UPDATE changes one of the columns, byte for byte: not every type has an equality.
CREATE OR REPLACE FUNCTION reprieve.moved_sql(columns text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT format('ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record', string_agg(format('OLD.%I', c), ', ' ORDER BY place),
                      string_agg(format('NEW.%I', c), ', ' ORDER BY place))
        FROM unnest(columns) WITH ORDINALITY AS u(c, place));
END $$;

-- Tombstones at these places of a table and all tombstones that hang on them, which may be in a circle: for each table
-- (key, its oid) their places. Locks them.
CREATE OR REPLACE FUNCTION reprieve.hanging(relid oid, places tid[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    found reprieve.work[] := ARRAY[ROW(relid, places)::reprieve.work];
    known jsonb := jsonb_build_object(relid::text, to_jsonb(places));
    next int := 1;
    link reprieve.links;
    more tid[];
BEGIN
    WHILE next <= cardinality(found) LOOP
        FOR link IN SELECT l.* FROM reprieve.links l JOIN reprieve.tables t ON t.relid = l.child AND t.mode = 'mark'
                    WHERE l.parent = found[next].relid LOOP
            -- A self reference is followed to its end at once: it may be thousands of rows deep.
            EXECUTE format(CASE WHEN link.parent = link.child THEN
                'WITH RECURSIVE hanging AS (SELECT unnest($1) AS place UNION SELECT c.ctid FROM hanging JOIN %1$s p ON p.ctid = hanging.place'
                ' JOIN %2$s c ON %3$s WHERE c.deleted_at IS NOT NULL)'
                ' SELECT array_agg(l.ctid) FROM (SELECT c.ctid FROM %2$s c WHERE c.ctid = ANY (ARRAY(SELECT place FROM hanging))'
                ' AND c.deleted_at IS NOT NULL AND c.ctid <> ALL ($2) FOR UPDATE) AS l'
                ELSE 'SELECT array_agg(DISTINCT l.ctid) FROM (SELECT c.ctid FROM %1$s p JOIN %2$s c ON %3$s'
                ' WHERE p.ctid = ANY ($1) AND c.deleted_at IS NOT NULL AND c.ctid <> ALL ($2) FOR UPDATE OF c) AS l' END,
                link.parent_sql, link.child_sql, link.match_sql)
            INTO more USING found[next].rows, ARRAY(SELECT jsonb_array_elements_text(known -> link.child::text))::tid[];
            IF more IS NOT NULL THEN
                found := found || ROW(link.child, more)::reprieve.work;
                known := jsonb_set(known, ARRAY[link.child::text], coalesce(known -> link.child::text, '[]') || to_jsonb(more));
            END IF;
        END LOOP;
        next := next + 1;
    END LOOP;
    RETURN known;
END $$;

-- Deletes rows by their places, as reprieve.hanging returns them, in one statement: foreign keys are checked behind all of it.
CREATE OR REPLACE FUNCTION reprieve.delete_places(known jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text;
BEGIN
    SELECT format('WITH %s SELECT', string_agg(format('b%1$s AS (DELETE FROM ONLY %2$s WHERE ctid = ANY (ARRAY(SELECT'
                      ' jsonb_array_elements_text($1 -> %3$L))::tid[]))', k.place, reprieve.qualified(k.key::oid), k.key), ', '))
    INTO statement FROM jsonb_object_keys(known) WITH ORDINALITY AS k(key, place);
    EXECUTE statement USING known;
END $$;

-- Tombstones at these places go to the graveyard, with all that hang on them.
CREATE OR REPLACE FUNCTION reprieve.bury_tombstones(relid oid, places tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    -- They need not look for what hangs on them: it is all here. And no live row goes along: see stay.
    PERFORM set_config('reprieve.burying', '1', true);
    IF EXISTS (SELECT FROM reprieve.links l JOIN reprieve.tables t ON t.relid = l.child AND t.mode = 'mark' WHERE l.parent = relid) THEN
        PERFORM reprieve.delete_places(reprieve.hanging(relid, places));
    ELSE
        EXECUTE format('DELETE FROM ONLY %s WHERE ctid = ANY ($1)', reprieve.qualified(relid)) USING places;
    END IF;
    PERFORM set_config('reprieve.burying', '', true);
END $$;

-- BEFORE ROW of what a native referential action does to a live row while tombstones are buried. It refers to the tombstone's key
-- before the row is there that evicts the tombstone (a deferred foreign key, or rows of one statement that refer to each other), or it
-- is about to leave itself, and tombstones that hang on it make way.
CREATE OR REPLACE FUNCTION reprieve.stay() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;

-- In front of and behind a statement that writes a key column, by UPDATE or by ON CONFLICT DO UPDATE: reprieve.upsert is 2 meanwhile.
CREATE OR REPLACE FUNCTION reprieve.note_key_update() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    ignored pg_catalog.text := pg_catalog.set_config('reprieve.upsert', CASE TG_WHEN WHEN 'BEFORE' THEN '2' ELSE '' END, true);
BEGIN
    RETURN NULL;
END $$;

-- BEFORE UPDATE of a row that was marked before and stays marked. ON CONFLICT DO UPDATE may have waited for the transaction that marked it, after
-- its INSERT had looked for tombstones: the client would lose what it wrote. WHERE CURRENT OF has no condition of ours. Referential actions, and
-- we, may write there.
CREATE OR REPLACE FUNCTION reprieve.met_tombstone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stack text;
    lines text[];
    code text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    lines := string_to_array(stack, chr(10));
    IF lines[2] LIKE 'SQL statement "UPDATE ONLY %' OR lines[3] LIKE '% reprieve.%(%' THEN
        RETURN NEW; -- A referential action, of many rows perhaps, or a function of ours.
    END IF;
    code := CASE WHEN cardinality(lines) = 1 THEN current_query()
                 WHEN lines[2] LIKE 'SQL statement "%' THEN array_to_string(lines[2:], chr(10)) ELSE '' END;
    IF reprieve.may_upsert(code) THEN
        RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure',
            DETAIL = 'The row was deleted while ON CONFLICT DO UPDATE waited for it.', HINT = 'The transaction might succeed if retried.';
    ELSIF code ~* '[[:<:]]current[[:space:]]+of[[:>:]]' THEN
        -- The cursor had the row before it was deleted.
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;

-- PostgreSQL fires the statement triggers for UPDATE with an INSERT ... ON CONFLICT DO UPDATE, too.
CREATE OR REPLACE FUNCTION reprieve.ensure_upsert(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest text := 'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.note_key_update()';
    -- What PostgreSQL takes for key columns when it locks a row.
    keys text := (SELECT string_agg(DISTINCT quote_ident(a.attname), ', ')
                  FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place), pg_attribute a
                  WHERE i.indrelid = relid AND i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL AND k.place <= i.indnkeyatts
                    AND a.attrelid = i.indrelid AND a.attnum = k.attnum AND a.attname NOT IN ('deleted_at', 'deletion_id'));
BEGIN
    PERFORM reprieve.drop_triggers(relid, '^~reprieve_(insert|upsert)$');
    IF keys IS NULL THEN
        PERFORM reprieve.drop_triggers(relid, '^~reprieve_upsert_(key|done)$');
    ELSE
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_upsert_key', 'BEFORE UPDATE OF ' || keys, rest);
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_upsert_done', 'AFTER UPDATE OF ' || keys, rest);
    END IF;
END $$;

-- True if a text has DO UPDATE in it, as words with nothing but space and comments between them.
CREATE OR REPLACE FUNCTION reprieve.has_upsert(sql text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT sql ~* '[[:<:]]do([[:space:]]|/[*].*[*]/|--.*)+update[[:>:]]'
$$;

-- True if to run a text may be to run ON CONFLICT DO UPDATE. A prepared statement or a rule may have other words.
CREATE OR REPLACE FUNCTION reprieve.may_upsert(code text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN reprieve.has_upsert(code) IS NOT FALSE
        OR code ~* '[[:<:]]execute[[:>:]]' AND EXISTS (SELECT FROM pg_prepared_statements p WHERE reprieve.has_upsert(p.statement))
        OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_type <> '1' AND r.ev_action LIKE '%:onConflict {%');
END $$;

-- Which INSERT an eviction is part of, by the call stack of make_way_<oid>: '' if it certainly has no ON CONFLICT DO UPDATE, 2 if that
-- writes a key column, else 1. Row triggers are not told, and a statement trigger that notes it would run with each UPDATE. So the words are
-- looked for in the text that ran it: make_way, the call of it and evict are three lines, and a function in PL/pgSQL adds its statement
-- and its callers; else the client has sent it, or it is a COPY, which adds a line.
-- Looked for once for each message and statement of a function.
CREATE OR REPLACE FUNCTION reprieve.upsert_of(stack text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines text[] := string_to_array(stack, chr(10));
    message text := extract(epoch FROM statement_timestamp())::text || ' ';
    setting text := 'reprieve.upsert_known';
    code text;
    known text;
BEGIN
    IF current_setting('reprieve.upsert', true) = '2' THEN
        RETURN '2';
    ELSIF lines[4] LIKE 'SQL statement "%' THEN
        code := array_to_string(lines[4:], chr(10));
        message := message || md5(code) || ' ';
        setting := 'reprieve.upsert_known_of_function';
    ELSIF cardinality(lines) <> 3 AND NOT (cardinality(lines) = 4 AND lines[4] LIKE 'COPY %') THEN
        RETURN '1';
    END IF;
    known := current_setting(setting, true);
    IF starts_with(known, message) THEN
        RETURN substr(known, length(message) + 1);
    END IF;
    code := coalesce(code, current_query());
    known := CASE WHEN reprieve.may_upsert(code) THEN '1' ELSE '' END;
    PERFORM set_config(setting, message || known, true);
    RETURN known;
END $$;

-- False if these other transactions, the xmax of rows, have locked rows of the table at most. Of several lockers (a multixact) and of a
-- subtransaction that has ended pg_locks does not tell whose they are: there any other transaction counts that writes to the table.
CREATE OR REPLACE FUNCTION reprieve.may_write(relid oid, lockers xid[]) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH held AS MATERIALIZED (SELECT * FROM pg_locks WHERE granted AND pid IS DISTINCT FROM pg_backend_pid())
    SELECT EXISTS (SELECT FROM unnest(lockers) AS l(xmax)
                   LEFT JOIN held x ON x.locktype = 'transactionid' AND x.transactionid = l.xmax AND x.mode = 'ExclusiveLock'
                   JOIN held r ON r.locktype = 'relation' AND r.relation = relid AND r.mode NOT IN ('AccessShareLock', 'RowShareLock', 'SIReadLock')
                              AND (x.transactionid IS NULL OR r.virtualtransaction = x.virtualtransaction)
                   WHERE r.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
$$;

-- Eviction: BEFORE INSERT and BEFORE UPDATE of a key, a tombstone that holds the key goes to the graveyard.
--
-- A live row that holds the key may be about to be marked. ON CONFLICT DO UPDATE is going to lock it anyway: it is locked here already,
-- as strongly as PostgreSQL will, so that two of them cannot wait for each other. Otherwise PostgreSQL waits for the other transaction,
-- whatever that has changed of the row, and locks nothing: so the lock that waits is given back, by ending a subtransaction. Rows that
-- nobody has touched need no lock, and for those that are only locked PostgreSQL does not wait.
CREATE OR REPLACE FUNCTION reprieve.ensure_evict(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    target text := reprieve.qualified(relid);
    looks text := '';
    steps text := '';
    key record;
    watched text[] := '{}';
    -- Expressions and predicates name functions that a client's search path may not choose.
    settings text := CASE WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
                          THEN 'SET search_path = pg_catalog, pg_temp' ELSE '' END;
BEGIN
    FOR key IN SELECT * FROM reprieve.keys(relid) LOOP
        looks := looks || CASE key.guard WHEN 'true' THEN '' ELSE format(E'\n    IF %s THEN', key.guard) END || format($f$
        PERFORM FROM ONLY %1$s AS t WHERE %2$s;
        IF FOUND THEN
            PERFORM reprieve.%3$I(NEW, TG_OP);
            RETURN NEW;
        END IF;$f$, target, key.condition, 'make_way_' || relid) || CASE key.guard WHEN 'true' THEN '' ELSE E'\n    END IF;' END;
        steps := steps || format($f$
    IF %1$s THEN
        SELECT count(*) FILTER (WHERE t.deleted_at IS NULL), array_agg(t.xmax) FILTER (WHERE t.deleted_at IS NULL AND t.xmax::text <> '0'),
               bool_or(t.deleted_at IS NOT NULL)
        INTO held, touched, buried FROM ONLY %2$s AS t WHERE %3$s;
        IF buried IS NOT NULL THEN
            IF held > 0 AND operation = 'INSERT' AND upsert IS NULL THEN
                GET DIAGNOSTICS upsert = PG_CONTEXT;
                upsert := reprieve.upsert_of(upsert);
            END IF;
            IF held > 0 AND upsert = '2' THEN
                PERFORM FROM ONLY %2$s AS t WHERE %3$s AND t.deleted_at IS NULL FOR UPDATE;
                buried := buried OR NOT FOUND;
            ELSIF held > 0 AND upsert = '1' THEN
                PERFORM FROM ONLY %2$s AS t WHERE %3$s AND t.deleted_at IS NULL FOR NO KEY UPDATE;
                buried := buried OR NOT FOUND;
            ELSIF touched IS NOT NULL THEN
                BEGIN
                    PERFORM FROM ONLY %2$s AS t WHERE %3$s AND t.deleted_at IS NULL FOR NO KEY UPDATE SKIP LOCKED;
                    GET DIAGNOSTICS locked = ROW_COUNT;
                    IF locked < held THEN
                        IF reprieve.may_write(%4$s, touched) THEN
                            PERFORM FROM ONLY %2$s AS t WHERE %3$s AND t.deleted_at IS NULL FOR NO KEY UPDATE;
                        ELSE -- It may have ended meanwhile.
                            PERFORM FROM ONLY %2$s AS t WHERE %3$s AND t.deleted_at IS NULL;
                        END IF;
                        buried := buried OR NOT FOUND;
                    END IF;
                    RAISE SQLSTATE 'RV000';
                EXCEPTION WHEN SQLSTATE 'RV000' THEN
                    NULL;
                END;
            END IF;
            IF buried THEN
                PERFORM reprieve.evict_tombstones(%4$s, ARRAY(SELECT t.ctid FROM ONLY %2$s AS t WHERE %3$s AND t.deleted_at IS NOT NULL FOR UPDATE));
            END IF;
        END IF;
    END IF;$f$, key.guard, target, key.condition, relid);
        watched := watched || key.columns;
    END LOOP;
    watched := ARRAY(SELECT DISTINCT w FROM unnest(watched) AS w ORDER BY w);
    -- A record, not the table's type: on that a DROP TABLE would depend.
    PERFORM reprieve.ensure_function('make_way_' || relid, 'new record, operation text', 'void', 'SET search_path = pg_catalog, pg_temp', ARRAY[relid], format($f$
#variable_conflict use_column
DECLARE
    held bigint;
    touched xid[];
    locked bigint;
    buried boolean;
    upsert text;
BEGIN%s
END $f$, steps));
    PERFORM reprieve.ensure_function('evict_' || relid, '', 'trigger', settings, ARRAY[relid], format($f$
#variable_conflict use_column
BEGIN
    IF NEW.deleted_at IS NOT NULL OR NEW.deletion_id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '42601', MESSAGE = 'INSERT has more expressions than target columns';
    END IF;%s
    RETURN NEW;
END $f$, looks));
    PERFORM reprieve.ensure_function('evict_moved_' || relid, '', 'trigger', settings, ARRAY[relid], format($f$
#variable_conflict use_column
BEGIN
    IF %s THEN
        RETURN NEW;
    END IF;%s
    RETURN NEW;
END $f$, CASE watched WHEN '{}' THEN 'true'
              ELSE format('OLD.deleted_at IS NOT NULL OR NEW.deleted_at IS NOT NULL OR NOT %s', reprieve.moved_sql(watched)) END, looks));
    PERFORM reprieve.ensure_trigger(relid, '~reprieve_evict', 'BEFORE INSERT',
                                    format('FOR EACH ROW EXECUTE FUNCTION reprieve.%I()', 'evict_' || relid));
    IF watched = '{}' THEN
        PERFORM reprieve.drop_triggers(relid, '^~reprieve_(evict_update|insert|upsert|upsert_key|upsert_done|upsert_met)$');
    ELSE
        PERFORM reprieve.ensure_upsert(relid);
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_upsert_met', 'BEFORE UPDATE',
            'FOR EACH ROW WHEN (OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION reprieve.met_tombstone()');
        PERFORM reprieve.ensure_trigger(relid, '~reprieve_evict_update',
            'BEFORE UPDATE OF ' || (SELECT string_agg(format('%I', w), ', ') FROM unnest(watched) AS w),
            format('FOR EACH ROW EXECUTE FUNCTION reprieve.%I()', 'evict_moved_' || relid));
    END IF;
END $$;

-- All triggers of a marked table but those of its foreign keys.
CREATE OR REPLACE FUNCTION reprieve.ensure_mark(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.ensure_marked(relid), reprieve.ensure_evict(relid);
END $$;

-- Parent and child of a foreign key match: p.k = c.f AND ..., with the operators of the constraint.
CREATE OR REPLACE FUNCTION reprieve.match_sql(conoid oid, parent text, child text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT string_agg(format('%s.%I OPERATOR(%I.%s) %s.%I%s', parent, pa.attname, n.nspname, o.oprname, child, ca.attname,
                   CASE WHEN pa.attcollation <> 0 AND ca.attcollation <> pa.attcollation
                        THEN (SELECT format(' COLLATE %I.%I', ln.nspname, l.collname) FROM pg_collation l
                              JOIN pg_namespace ln ON ln.oid = l.collnamespace WHERE l.oid = pa.attcollation)
                        ELSE '' END), ' AND ' ORDER BY u.place)
        FROM pg_constraint x, unnest(x.conkey, x.confkey, x.conpfeqop) WITH ORDINALITY AS u(ck, pk, pf, place)
        JOIN pg_attribute ca ON true JOIN pg_attribute pa ON true JOIN pg_operator o ON o.oid = u.pf JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE x.oid = match_sql.conoid AND ca.attrelid = x.conrelid AND ca.attnum = u.ck AND pa.attrelid = x.confrelid AND pa.attnum = u.pk);
END $$;

-- Two parents bear the same key (side `p`), or two children refer to the same one (`c`).
DROP FUNCTION IF EXISTS reprieve.same_sql(oid, text, text), reprieve.alike_sql(oid, text, text);
CREATE OR REPLACE FUNCTION reprieve.same_sql(conoid oid, side "char", one text, other text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT string_agg(format('%5$s.%1$I OPERATOR(%2$I.%3$s) %4$s.%1$I', a.attname, n.nspname, o.oprname, other, one), ' AND ' ORDER BY u.place)
        FROM pg_constraint x,
             LATERAL (SELECT CASE side WHEN 'p' THEN x.confrelid ELSE x.conrelid END, CASE side WHEN 'p' THEN x.confkey ELSE x.conkey END,
                             CASE side WHEN 'p' THEN x.conppeqop ELSE x.conffeqop END) AS s(relid, key, equal),
             unnest(s.key, s.equal) WITH ORDINALITY AS u(attnum, operator, place)
        JOIN pg_attribute a ON true JOIN pg_operator o ON o.oid = u.operator JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE x.oid = conoid AND a.attrelid = s.relid AND a.attnum = u.attnum);
END $$;

-- Reads the foreign keys of some tables (all enabled ones, if NULL) into reprieve.links.
CREATE OR REPLACE FUNCTION reprieve.read_links(relids oid[]) RETURNS SETOF reprieve.links
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    SELECT x.oid, x.conname::text, x.confrelid, x.conrelid,
           coalesce((SELECT min(g.tgname::text COLLATE "C") FROM pg_trigger g
                     WHERE g.tgconstraint = x.oid AND g.tgrelid = x.confrelid AND g.tgtype & 8 <> 0), x.oid::text),
           x.confdeltype, x.condeferrable,
           CASE WHEN p.relkind = 'p' THEN '' ELSE 'ONLY ' END || reprieve.qualified(p.oid),
           CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || reprieve.qualified(c.oid),
           reprieve.match_sql(x.oid, 'p', 'c'), reprieve.same_sql(x.oid, 'p', 's', 'p'), k.parent_columns, k.child_columns,
           coalesce((SELECT array_agg(a.attname::text ORDER BY d.place)
                     FROM jsonb_array_elements_text(nullif(to_jsonb(x) -> 'confdelsetcols', 'null'))
                          WITH ORDINALITY AS d(attnum, place)
                     JOIN pg_attribute a ON a.attrelid = x.conrelid AND a.attnum = d.attnum::int2), k.child_columns)
    FROM pg_constraint x JOIN pg_class p ON p.oid = x.confrelid JOIN pg_class c ON c.oid = x.conrelid,
         LATERAL (
             SELECT array_agg(pa.attname::text ORDER BY u.place) AS parent_columns,
                    array_agg(ca.attname::text ORDER BY u.place) AS child_columns
             FROM unnest(x.conkey, x.confkey) WITH ORDINALITY AS u(ck, pk, place)
             JOIN pg_attribute ca ON ca.attrelid = x.conrelid AND ca.attnum = u.ck
             JOIN pg_attribute pa ON pa.attrelid = x.confrelid AND pa.attnum = u.pk
         ) AS k
    WHERE x.contype = 'f' AND x.conparentid = 0 AND coalesce((to_jsonb(x) ->> 'conenforced')::boolean, true)
      AND (relids IS NULL OR x.conrelid = ANY (relids) OR x.confrelid = ANY (relids))
      AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid IN (x.conrelid, x.confrelid)
                  AND (t.mode = 'mark' OR (t.relid = x.confrelid AND x.confdeltype IN ('n', 'd'))
                       OR (t.relid = x.confrelid AND x.confdeltype = 'c' AND NOT EXISTS (SELECT FROM reprieve.tables k WHERE k.relid = x.conrelid))));
END $$;

-- The triggers of one foreign key. A marked parent: children may only refer to live rows. A marked child:
-- its tombstones leave before PostgreSQL's own foreign key can trip over them.
CREATE OR REPLACE FUNCTION reprieve.ensure_link(link reprieve.links) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    present text := (SELECT string_agg(format('NEW.%I IS NOT NULL', c), ' AND ') FROM unnest(link.child_columns) AS c);
    child_list text := (SELECT string_agg(format('%I', c), ', ') FROM unnest(link.child_columns) AS c);
    parent_list text := (SELECT string_agg(format('%I', c), ', ') FROM unnest(link.parent_columns) AS c);
    timing text := '';
    name text;
    taken_along text;
    -- Rows that let go of their reference while a tombstone made way take it again here.
    reattach text := reprieve.reattach_sql(link);
BEGIN
    IF EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.parent AND t.mode = 'mark') THEN
        IF link.is_deferrable THEN
            timing := (SELECT 'DEFERRABLE' || CASE WHEN x.condeferred THEN ' INITIALLY DEFERRED ' ELSE ' ' END
                       FROM pg_constraint x WHERE x.oid = link.conoid);
            PERFORM reprieve.ensure_deferred(link, timing), reprieve.ensure_reattach(link);
        END IF;
        name := 'live_' || link.conoid;
        -- The row itself may be gone again by the time a check runs: deferred, or behind a cascade.
        PERFORM reprieve.ensure_function('absent_' || link.conoid, 'new record', 'void', 'SET search_path = pg_catalog, pg_temp',
                                         ARRAY[link.parent, link.child], format($f$
BEGIN
    IF EXISTS (SELECT FROM %s c WHERE %s AND %s) THEN
        PERFORM reprieve.raise_absent(l, %s) FROM reprieve.links l WHERE l.conoid = %s;
    END IF;
END $f$, link.child_sql, reprieve.same_sql(link.conoid, 'c', 'c', 'NEW'),
            reprieve.live_sql(link.child, 'c'), reprieve.values_sql('NEW', link.child_columns), link.conoid));
        PERFORM reprieve.ensure_function(name, '', 'trigger', NULL, ARRAY[link.parent, link.child], format($f$
BEGIN%s
    IF %s AND (TG_OP OPERATOR(pg_catalog.=) 'INSERT' OR %s) THEN
        PERFORM FROM %s p WHERE %s AND p.deleted_at IS NULL FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM reprieve.%I(NEW);
        END IF;
    END IF;
    RETURN NULL;
END $f$, reattach, present, reprieve.moved_sql(link.child_columns), link.parent_sql, reprieve.match_sql(link.conoid, 'p', 'NEW'), 'absent_' || link.conoid));
        PERFORM reprieve.ensure_trigger(link.child, '~reprieve_' || name || '_update', 'AFTER UPDATE OF ' || child_list,
            format(CASE WHEN link.is_deferrable THEN '%1$sFOR EACH ROW WHEN ((%2$s) AND (%3$s)) EXECUTE FUNCTION reprieve.%4$I()'
                        ELSE 'FOR EACH ROW EXECUTE FUNCTION reprieve.%4$I()' END,
                   timing, reprieve.moved_sql(link.child_columns), present, name));
        IF link.is_deferrable THEN
            PERFORM reprieve.ensure_trigger(link.child, '~reprieve_' || name, 'AFTER INSERT',
                format('%sFOR EACH ROW WHEN (%s) EXECUTE FUNCTION reprieve.%I()', timing, present, name));
        ELSE
            -- PostgreSQL's own check of each row has locked the parents by now. OFFSET 0: look up parents row by
            -- row; the plan is kept, and one made for a bulk load must not scan the parent for a single row.
            -- Nothing is set for it: PostgreSQL's own check has no better plan for the same key.
            PERFORM reprieve.ensure_function('all_' || name, '', 'trigger', NULL, ARRAY[link.parent, link.child], format($f$
DECLARE
    key pg_catalog.text[];
BEGIN%4$s
    PERFORM FROM %1$s;
    IF FOUND THEN
        SELECT %2$s INTO key FROM %1$s;
        PERFORM reprieve.raise_absent(l, key) FROM reprieve.links l WHERE l.conoid OPERATOR(pg_catalog.=) %3$s::pg_catalog.oid;
    END IF;
    RETURN NULL;
END $f$, format('reprieve_new c, LATERAL (SELECT p.deleted_at FROM %s p WHERE %s OFFSET 0) AS parent WHERE parent.deleted_at IS NOT NULL LIMIT 1',
                link.parent_sql, link.match_sql), reprieve.values_sql('c', link.child_columns), link.conoid, reattach));
            PERFORM reprieve.ensure_trigger(link.child, '~reprieve_' || name, 'AFTER INSERT',
                format('REFERENCING NEW TABLE AS reprieve_new FOR EACH STATEMENT EXECUTE FUNCTION reprieve.%I()', 'all_' || name));
        END IF;
        IF link.action IN ('c', 'n', 'd') THEN
            -- In front of the triggers of the user: to those nothing happens.
            PERFORM reprieve.drop_triggers(link.child, '^~reprieve_stay_' || link.conoid || '$'),
                    reprieve.ensure_trigger(link.child, ' reprieve_stay_' || link.conoid,
                CASE link.action WHEN 'c' THEN 'BEFORE DELETE' ELSE 'BEFORE UPDATE OF ' || child_list END,
                format('FOR EACH ROW WHEN (pg_catalog.current_setting(''reprieve.burying'', true) OPERATOR(pg_catalog.=) ''1'' AND %s)'
                       ' EXECUTE FUNCTION reprieve.stay()', reprieve.live_sql(link.child, 'OLD')));
        END IF;
    END IF;
    IF link.action = 'c' AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.parent AND t.mode = 'mark')
       AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.child AND t.mode = 'mark') THEN
        -- Marks the children of what a deletion has marked. Clients may not call it.
        PERFORM reprieve.ensure_function('reach_' || link.conoid, 'id bigint', 'bigint', 'SET search_path = pg_catalog, pg_temp', ARRAY[link.parent, link.child],
                                         format($f$
#variable_conflict use_variable
DECLARE
    taken bigint;
BEGIN
    UPDATE %s c SET deleted_at = now(), deletion_id = id FROM %s p WHERE p.deletion_id = id AND %s AND c.deleted_at IS NULL;
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $f$, link.child_sql, link.parent_sql, link.match_sql));
    END IF;
    IF link.action IN ('n', 'd') AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.parent) THEN
        PERFORM reprieve.ensure_trigger(link.parent, '~reprieve_remember_' || link.conoid, 'BEFORE DELETE',
            format('FOR EACH ROW EXECUTE FUNCTION reprieve.remember_relinks(%s)', link.conoid));
    END IF;
    name := '~reprieve_lose_' || link.conoid;
    IF link.action = 'c' AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.child) THEN
        PERFORM reprieve.ensure_trigger(link.parent, name, 'BEFORE DELETE',
            format('FOR EACH ROW EXECUTE FUNCTION reprieve.lose(%s)', link.conoid));
    ELSE
        PERFORM reprieve.drop_triggers(link.parent, '^' || name || '$');
    END IF;
    IF EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.child AND t.mode = 'mark') THEN
        name := 'unhang_' || link.conoid;
        -- A tombstone of the same table whose parent by a CASCADE is gone leaves by that native cascade, perhaps the very one that
        -- runs: PostgreSQL does not like to find it gone.
        taken_along := coalesce((SELECT string_agg(format(E'\n                            AND (%s OR EXISTS (SELECT FROM %s p WHERE %s))',
                                     (SELECT string_agg(format('c.%I IS NULL', f), ' OR ') FROM unnest(k.child_columns) AS f), k.parent_sql, k.match_sql), '' ORDER BY k.conoid)
                                 FROM reprieve.read_links(ARRAY[link.child]) k
                                 WHERE link.parent = link.child AND k.child = link.child AND k.action = 'c'), '');
        PERFORM reprieve.ensure_function(name, ARRAY[link.parent, link.child], format($f$
DECLARE
    places pg_catalog.tid[];
BEGIN
    IF current_setting('reprieve.burying', true) IS DISTINCT FROM '1' THEN
        PERFORM FROM %1$s c WHERE %2$s FOR KEY SHARE;
        IF FOUND THEN
            places := ARRAY(SELECT c.ctid FROM %1$s c WHERE %2$s AND c.deleted_at IS NOT NULL
                            AND c.deletion_id::text IS DISTINCT FROM current_setting('reprieve.leaving', true)%4$s FOR UPDATE);
            IF places <> '{}' THEN
                PERFORM reprieve.bury_tombstones(%3$s, places);
            END IF;
        END IF;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $f$, link.child_sql, reprieve.match_sql(link.conoid, 'OLD', 'c'), link.child, taken_along));
        -- A native cascade takes tombstones along, to the graveyard, unless others hang on those: it would find rows gone that it is
        -- about to take. A native ON UPDATE CASCADE keeps them attached.
        IF link.action <> 'c' OR EXISTS (SELECT FROM reprieve.read_links(ARRAY[link.child]) k JOIN reprieve.tables t ON t.relid = k.child
                                         WHERE t.mode = 'mark' AND k.parent = link.child AND k.action <> 'c') THEN
            PERFORM reprieve.ensure_trigger(link.parent, '~reprieve_' || name, 'BEFORE DELETE',
                format('FOR EACH ROW EXECUTE FUNCTION reprieve.%I()', name));
        END IF;
        IF (SELECT x.confupdtype <> 'c' FROM pg_constraint x WHERE x.oid = link.conoid) THEN
            PERFORM reprieve.ensure_trigger(link.parent, '~reprieve_' || name || '_update', 'BEFORE UPDATE OF ' || parent_list,
                format('FOR EACH ROW WHEN (%s) EXECUTE FUNCTION reprieve.%I()', reprieve.moved_sql(link.parent_columns), name));
        END IF;
    END IF;
END $$;

-- Deferrable NO ACTION: a constraint trigger on the parent, under the name of the foreign key so that SET
-- CONSTRAINTS finds it. A self reference has taken that name.
CREATE OR REPLACE FUNCTION reprieve.ensure_deferred(link reprieve.links, timing text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken boolean := EXISTS (SELECT FROM pg_constraint x WHERE x.conrelid = link.parent AND x.conname = link.name AND x.contype <> 't');
    -- What an earlier CASCADE from the same row takes along is no longer there when PostgreSQL looks.
    taken_along text := coalesce((SELECT string_agg(format(' AND (%s) IS NOT TRUE', reprieve.match_sql(k.conoid, 'OLD', 'c')), '' ORDER BY k.conoid)
                                  FROM reprieve.read_links(ARRAY[link.child]) k
                                  WHERE k.parent = link.parent AND k.child = link.child AND k.action = 'c' AND k.position < link.position), '');
BEGIN
    IF link.action <> 'a' THEN
        RETURN;
    END IF;
    PERFORM reprieve.ensure_function('still_' || link.conoid, ARRAY[link.parent, link.child], format($f$
BEGIN
    IF NOT EXISTS (SELECT FROM %1$s s WHERE s.deleted_at IS NULL AND %2$s) THEN
        PERFORM FROM %3$s c WHERE %4$s AND %5$s%8$s FOR KEY SHARE;
        IF FOUND THEN
            PERFORM reprieve.raise_referenced(l, %6$s) FROM reprieve.links l WHERE l.conoid = %7$s;
        END IF;
    END IF;
    RETURN NULL;
END $f$, link.parent_sql, reprieve.same_sql(link.conoid, 'p', 's', 'OLD'), link.child_sql,
        reprieve.match_sql(link.conoid, 'OLD', 'c'), reprieve.live_sql(link.child, 'c'),
        reprieve.values_sql('OLD', link.parent_columns), link.conoid, taken_along));
    PERFORM reprieve.ensure_trigger(link.parent,
        CASE WHEN taken THEN '~reprieve_still_' || link.conoid ELSE link.name END, 'AFTER UPDATE OF deleted_at',
        format('%sFOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION reprieve.%I()',
               timing, 'still_' || link.conoid));
END $$;

-- All that ensure_link reads and makes of each foreign key, in one number: where it has not changed there is nothing to do. A schema
-- change of a table that a thousand others refer to would take a thousand times as long otherwise.
CREATE OR REPLACE FUNCTION reprieve.link_states(links reprieve.links[]) RETURNS TABLE (link oid, state uuid)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (SELECT * FROM unnest(links) AS u),
    described AS MATERIALIZED (
        SELECT e.relid, concat_ws(' ',
                   (SELECT concat(t.mode) FROM reprieve.tables t WHERE t.relid = e.relid),
                   (SELECT string_agg(concat_ws('.', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation), ' ' ORDER BY a.attnum)
                      FROM pg_attribute a WHERE a.attrelid = e.relid AND a.attnum > 0 AND NOT a.attisdropped),
                   (SELECT string_agg(concat_ws('.', i.indexrelid, i.indisunique, i.indkey, i.indisvalid), ' ' ORDER BY i.indexrelid)
                      FROM pg_index i WHERE i.indrelid = e.relid)) AS facts
          FROM (SELECT w.parent AS relid FROM wanted w UNION SELECT w.child FROM wanted w) AS e),
    around AS MATERIALIZED (
        SELECT e.relid, string_agg(concat_ws('.', e.con, e.conrelid, e.confrelid, e.confdeltype, t.mode), ' ' ORDER BY e.con) AS facts
          FROM (SELECT w.child AS relid, x.oid AS con, x.conrelid, x.confrelid, x.confdeltype FROM wanted w JOIN pg_constraint x ON x.conrelid = w.child AND x.contype = 'f'
                UNION
                SELECT w.child, x.oid, x.conrelid, x.confrelid, x.confdeltype FROM wanted w JOIN pg_constraint x ON x.confrelid = w.child AND x.contype = 'f') AS e
          LEFT JOIN reprieve.tables t ON t.relid = e.conrelid
         GROUP BY e.relid)
    SELECT w.conoid, md5(concat_ws('|', w, p.facts, c.facts, a.facts,
               concat_ws(' ', x.condeferred, x.confupdtype, x.conkey, x.confkey, x.conpfeqop, x.conppeqop, x.conffeqop),
               (SELECT string_agg(concat_ws('.', g.oid, g.tgname, g.tgtype, g.tgfoid, g.tgattr, g.tgdeferrable, g.tginitdeferred, obj_description(g.oid, 'pg_trigger')), ' '
                                  ORDER BY g.oid)
                  FROM pg_trigger g
                 WHERE g.tgrelid IN (w.parent, w.child)
                   AND g.tgname IN (w.name, '~reprieve_live_' || w.conoid, '~reprieve_live_' || w.conoid || '_update', ' reprieve_stay_' || w.conoid,
                                    '~reprieve_stay_' || w.conoid, '~reprieve_remember_' || w.conoid, '~reprieve_lose_' || w.conoid,
                                    '~reprieve_unhang_' || w.conoid, '~reprieve_unhang_' || w.conoid || '_update', '~reprieve_still_' || w.conoid,
                                    '~reprieve_reattach_' || w.conoid, '~reprieve_reattach_update_' || w.conoid)),
               (SELECT string_agg(concat_ws('.', f.oid, md5(f.prosrc), f.proconfig, f.proacl), ' ' ORDER BY f.oid)
                  FROM pg_proc f
                 WHERE f.pronamespace = 'reprieve'::regnamespace
                   AND f.proname IN ('live_' || w.conoid, 'all_live_' || w.conoid, 'unhang_' || w.conoid, 'still_' || w.conoid, 'absent_' || w.conoid,
                                     'reach_' || w.conoid))))::uuid
      FROM wanted w
      LEFT JOIN described p ON p.relid = w.parent
      LEFT JOIN described c ON c.relid = w.child
      LEFT JOIN around a ON a.relid = w.child
      LEFT JOIN pg_constraint x ON x.oid = w.conoid;
END $$;

-- Brings reprieve.links and the triggers of foreign keys up to date, for some tables or (NULL) for all.
CREATE OR REPLACE FUNCTION reprieve.follow_schema(relids oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    link reprieve.links;
    gone record;
    links reprieve.links[] := ARRAY(SELECT r FROM reprieve.read_links(relids) r);
    touched oid[] := '{}';
BEGIN
    FOR gone IN SELECT l.conoid, l.parent, l.child FROM reprieve.links l
                WHERE (relids IS NULL OR l.parent = ANY (relids) OR l.child = ANY (relids)) AND l.conoid <> ALL (ARRAY(SELECT w.conoid FROM unnest(links) AS w)) LOOP
        PERFORM reprieve.drop_link(gone.conoid, gone.parent, gone.child);
        DELETE FROM reprieve.links l WHERE l.conoid = gone.conoid;
        touched := touched || gone.parent || gone.child;
    END LOOP;
    -- A foreign key of a table to itself reads the names of tables that other ones lead to.
    links := ARRAY(SELECT w FROM unnest(links) AS w LEFT JOIN reprieve.link_states(links) AS s ON s.link = w.conoid
                   LEFT JOIN reprieve.links_made m ON m.conoid = w.conoid
                   WHERE m.state IS DISTINCT FROM s.state OR w.parent = w.child
                      OR NOT EXISTS (SELECT FROM reprieve.links l WHERE l.conoid = w.conoid));
    FOREACH link IN ARRAY links LOOP
        DELETE FROM reprieve.links l WHERE l.conoid = link.conoid AND l IS DISTINCT FROM link;
        INSERT INTO reprieve.links SELECT link.* ON CONFLICT DO NOTHING;
        PERFORM reprieve.ensure_link(link);
        touched := touched || link.parent || link.child;
    END LOOP;
    INSERT INTO reprieve.links_made AS m (conoid, state) SELECT s.link, s.state FROM reprieve.link_states(links) AS s
    ON CONFLICT ON CONSTRAINT links_made_pkey DO UPDATE SET state = excluded.state;
    PERFORM reprieve.ensure_marked(t.relid) FROM reprieve.tables t
      JOIN pg_class c ON c.oid = t.relid
     WHERE t.mode = 'mark' AND t.signature IS DISTINCT FROM 'preparing' AND (relids IS NULL OR t.relid = ANY (reprieve.upwards(touched || relids)));
END $$;

-- Drops triggers and functions of a foreign key that is gone or no longer of interest.
CREATE OR REPLACE FUNCTION reprieve.drop_link(conoid oid, parent oid, child oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
    t record;
    name text;
BEGIN
    DELETE FROM reprieve.links_made m WHERE m.conoid = drop_link.conoid;
    FOR f IN SELECT p.oid, p.proname FROM pg_proc p WHERE p.pronamespace = 'reprieve'::regnamespace
             AND p.proname IN ('live_' || conoid, 'all_live_' || conoid, 'unhang_' || conoid, 'still_' || conoid, 'absent_' || conoid, 'reach_' || conoid) LOOP
        FOR t IN SELECT g.tgname, g.tgrelid FROM pg_trigger g WHERE g.tgfoid = f.oid AND g.tgparentid = 0 LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, reprieve.qualified(t.tgrelid));
        END LOOP;
        EXECUTE format('DROP FUNCTION reprieve.%I', f.proname);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['~reprieve_remember_' || conoid, '~reprieve_lose_' || conoid] LOOP
        IF EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = parent AND g.tgname = name) THEN
            EXECUTE format('DROP TRIGGER %I ON %s', name, reprieve.qualified(parent));
        END IF;
    END LOOP;
    PERFORM reprieve.drop_triggers(child, '^[ ~]reprieve_stay_' || conoid || '$'), reprieve.drop_triggers(parent, '^~reprieve_reattach(_update)?_' || conoid || '$');
END $$;
