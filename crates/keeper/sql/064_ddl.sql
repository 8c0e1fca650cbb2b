-- What happens after a schema change: in the client's transaction, told by the proxy or by an event trigger.
--
-- The planner takes our queries of the catalog for expensive, and to compile one took half a second of a DROP TABLE: jit is off in all of it.
-- Queries that each schema change asks are planned once for each session (plan_cache_mode).

-- Called by a proxy after a client's DDL, inside the client's transaction. Whatever goes wrong, the client
-- gets the catalog; the reconciler tries again later.
CREATE OR REPLACE FUNCTION reprieve.after_ddl_v1() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET lock_timeout = '2s' AS $$
DECLARE
    followed text := coalesce(current_setting('reprieve.followed', true), '');
BEGIN
    IF followed <> '' AND current_setting('session_replication_role') <> 'replica' THEN
        -- The event trigger has been there; on replicas there is none.
        PERFORM set_config('reprieve.followed', '', false);
        IF followed = 'for now' THEN
            PERFORM reprieve.follow_ddl(ARRAY(SELECT t.relid FROM reprieve.tables t WHERE t.signature IS NULL), '{}');
        END IF;
    ELSIF reprieve.may_follow() THEN
        PERFORM reprieve.follow_ddl(NULL, NULL);
    END IF;
    RETURN reprieve.catalog_v1();
END $$;

-- False while the keeper changes the schema itself or is installed, and where nothing is or shall be enabled.
CREATE OR REPLACE FUNCTION reprieve.may_follow() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(current_setting('reprieve.reconciling', true), '') = ''
       AND coalesce(current_setting('reprieve.upgrades_to', true), '') = ''
       AND (EXISTS (SELECT FROM reprieve.tables) OR coalesce(reprieve.setting('tables.enable'), '') <> '')
$$;

-- True if a schema change must be followed at once: a marked table is concerned, which may need other triggers now (a foreign key) or may not
-- be marked any more. Functions change the second only.
CREATE OR REPLACE FUNCTION reprieve.cannot_wait(relations oid[], functions oid[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM reprieve.tables t WHERE t.mode = 'mark' AND (relations IS NULL OR t.relid = ANY (relations)))
        OR functions IS DISTINCT FROM '{}' AND EXISTS (SELECT FROM reprieve.tables t, LATERAL reprieve.decide(t.relid, t.requested) AS d
                                                       WHERE t.mode = 'mark' AND d.mode = 'bin');
END $$;

-- Reconciles what changed among these tables and functions, or (NULL) whatever changed. Fails only for an event trigger (reprieve.refuses),
-- where that cannot wait, and where something is wrong with more than one table.
CREATE OR REPLACE FUNCTION reprieve.follow_ddl(relations oid[], functions oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    refuses boolean := coalesce(current_setting('reprieve.refuses', true), '') = '1';
BEGIN
    PERFORM set_config('reprieve.reconciling', '1', true);
    BEGIN
        PERFORM reprieve.reconcile(false, relations, functions);
    EXCEPTION
        -- Another transaction is in the way of what we write, not of what the client does. Next time, then: until then what the document says of
        -- these tables is read anew.
        WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
            IF refuses AND reprieve.cannot_wait(relations, functions) THEN
                RAISE;
            END IF;
            RAISE LOG 'reprieve: a schema change is followed later: %', SQLERRM;
            UPDATE reprieve.tables t SET signature = NULL FROM pg_class c
             WHERE c.oid = t.relid AND t.signature IS NOT NULL AND (relations IS NULL OR t.relid = ANY (relations));
        WHEN OTHERS THEN
            IF refuses THEN
                RAISE;
            END IF;
            RAISE LOG 'reprieve: a schema change was not followed: %', SQLERRM;
    END;
    PERFORM set_config('reprieve.reconciling', '', true);
END $$;

-- The relations that the judgement of enabled tables may depend on once these objects have changed: the objects'
-- own tables, the tables that they are made from, and what foreign keys and inheritance tie to them.
CREATE OR REPLACE FUNCTION reprieve.concerned(classes oid[], objects oid[]) RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    touched oid[];
    own oid[];
BEGIN
    SELECT array_agg(DISTINCT f.relid) INTO own
    FROM unnest(classes, objects) AS o(class, object), LATERAL (
        SELECT o.object WHERE o.class = 'pg_class'::regclass
        UNION ALL SELECT i.indrelid FROM pg_index i WHERE o.class = 'pg_class'::regclass AND i.indexrelid = o.object
        UNION ALL SELECT g.tgrelid FROM pg_trigger g WHERE o.class = 'pg_trigger'::regclass AND g.oid = o.object
        UNION ALL SELECT r.ev_class FROM pg_rewrite r WHERE o.class = 'pg_rewrite'::regclass AND r.oid = o.object
        UNION ALL SELECT p.polrelid FROM pg_policy p WHERE o.class = 'pg_policy'::regclass AND p.oid = o.object
        UNION ALL SELECT x.conrelid FROM pg_constraint x WHERE o.class = 'pg_constraint'::regclass AND x.oid = o.object
    ) AS f(relid);
    -- Views, functions, columns of a row type: what an object is made from.
    SELECT array_agg(DISTINCT f.relid) INTO touched
    FROM (SELECT * FROM unnest(classes, objects)
          UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r WHERE r.ev_class = ANY (own)) AS o(class, object)
    JOIN pg_depend d ON d.classid = o.class AND d.objid = o.object, LATERAL (
        SELECT d.refobjid WHERE d.refclassid = 'pg_class'::regclass
        UNION ALL SELECT y.typrelid FROM pg_type y WHERE d.refclassid = 'pg_type'::regclass AND y.oid = d.refobjid
        UNION ALL SELECT y.typrelid FROM pg_type a JOIN pg_type y ON y.oid = a.typelem
                  WHERE d.refclassid = 'pg_type'::regclass AND a.oid = d.refobjid
    ) AS f(relid);
    own := own || touched;
    RETURN ARRAY(
        SELECT unnest(own)
        UNION SELECT x.confrelid FROM pg_constraint x WHERE x.conrelid = ANY (own) AND x.contype = 'f'
        UNION SELECT x.conrelid FROM pg_constraint x WHERE x.confrelid = ANY (own) AND x.contype = 'f'
        UNION SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = ANY (own)
        UNION SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = ANY (own));
END $$;

-- True if a text has more than one statement. What comes behind a schema change in one message was planned without our
-- columns.
CREATE OR REPLACE FUNCTION reprieve.has_several(rest text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    token text;
    closing text;
    stop int;
BEGIN
    LOOP
        token := substring(rest FROM '(;\s*\S|''|"|--|/\*|\$(?:[[:alpha:]_]\w*)?\$)');
        IF token IS NULL OR starts_with(token, ';') THEN
            RETURN token IS NOT NULL;
        END IF;
        closing := CASE token WHEN '--' THEN E'\n' WHEN '/*' THEN '*/' ELSE token END;
        rest := substr(rest, strpos(rest, token) + length(token));
        stop := strpos(rest, closing);
        IF stop = 0 THEN
            RETURN false;
        END IF;
        rest := substr(rest, stop + length(closing));
    END LOOP;
END $$;

-- True if a message does nothing but turn triggers on or off: that changes no mode and no trigger of ours, and fixtures are loaded with two
-- such messages that go through all tables. The answer holds for the whole message.
CREATE OR REPLACE FUNCTION reprieve.only_switches(text text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    name CONSTANT text := '(?:"[^"]*"|[[:alnum:]_$]+)';
    digest text := md5(text);
BEGIN
    IF current_setting('reprieve.switches', true) = digest THEN
        RETURN true;
    END IF;
    IF text !~* format('^(?:\s*alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?(?:%1$s\s*\.\s*)?%1$s\s+(?:en|dis)able\s+(?:(?:always|replica)\s+)?'
                       'trigger\s+%1$s\s*(?:;\s*|$))+$', name) THEN
        RETURN false;
    END IF;
    PERFORM set_config('reprieve.switches', digest, true);
    RETURN true;
END $$;

-- Event trigger, where the installing role may create one: after each command that changes the schema.
CREATE OR REPLACE FUNCTION reprieve.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET lock_timeout = '2s' AS $$
DECLARE
    classes oid[];
    objects oid[];
    functions oid[];
    several boolean;
BEGIN
    IF NOT reprieve.may_follow() THEN
        RETURN;
    END IF;
    IF tg_tag = 'ALTER TABLE' AND reprieve.only_switches(current_query()) THEN
        PERFORM set_config('reprieve.reconciling', '1', true);
        PERFORM reprieve.enable_triggers(ARRAY(SELECT c.objid FROM pg_event_trigger_ddl_commands() AS c));
        PERFORM set_config('reprieve.reconciling', '', true);
        PERFORM set_config('reprieve.followed', coalesce(nullif(current_setting('reprieve.followed', true), ''), 'wholly'), false);
        RETURN;
    END IF;
    several := reprieve.has_several(current_query());
    -- No table begins to be marked while its message goes on: the proxy calls behind it.
    PERFORM set_config('reprieve.goes_on', several::int::text, true), set_config('reprieve.refuses', '1', true);
    SELECT array_agg(c.classid), array_agg(c.objid), coalesce(array_agg(c.objid) FILTER (WHERE c.classid = 'pg_proc'::regclass), '{}')
    INTO classes, objects, functions
    FROM pg_event_trigger_ddl_commands() AS c;
    IF tg_tag IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP TYPE', 'DROP EXTENSION') THEN
        PERFORM reprieve.forget_kept(NULL);
    END IF;
    -- Our functions spell the names of what keys are compared with.
    IF tg_tag ~ '^ALTER (TYPE|DOMAIN|EXTENSION|SCHEMA|FUNCTION|PROCEDURE|ROUTINE|OPERATOR|COLLATION)' AND current_query() ~* '[[:<:]](rename|schema)[[:>:]]' THEN
        UPDATE reprieve.tables t SET signature = NULL WHERE t.mode = 'mark' AND t.signature IS DISTINCT FROM 'preparing';
        classes := NULL;
    END IF;
    PERFORM reprieve.refuse_kept_rows(classes, objects);
    IF classes IS NULL AND tg_tag LIKE 'DROP %' AND tg_tag <> 'DROP OWNED' THEN
        -- Only dropped objects, see on_drop.
        NULL;
    -- GRANT does not say on what, REASSIGN OWNED nothing at all; other kinds of objects are rare.
    ELSIF classes <@ ARRAY['pg_class', 'pg_trigger', 'pg_rewrite', 'pg_policy', 'pg_constraint', 'pg_proc', 'pg_type', 'pg_attrdef',
                           'pg_cast', 'pg_operator', 'pg_opclass', 'pg_opfamily', 'pg_collation', 'pg_conversion', 'pg_language',
                           'pg_statistic_ext', 'pg_ts_config', 'pg_ts_dict', 'pg_ts_parser', 'pg_ts_template', 'pg_default_acl',
                           'pg_foreign_data_wrapper', 'pg_foreign_server', 'pg_user_mapping', 'pg_event_trigger', 'pg_am',
                           'pg_publication', 'pg_publication_rel', 'pg_subscription', 'pg_largeobject']::regclass[]::oid[] THEN
        PERFORM reprieve.follow_ddl(reprieve.concerned(classes, objects), functions);
    ELSE
        PERFORM reprieve.follow_ddl(NULL, NULL);
    END IF;
    PERFORM set_config('reprieve.goes_on', '0', true), set_config('reprieve.refuses', '', true);
    PERFORM set_config('reprieve.followed', CASE WHEN several THEN 'for now' ELSE 'wholly' END, false);
END $$;

-- Event trigger: before anybody can notice that objects are gone.
CREATE OR REPLACE FUNCTION reprieve.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET lock_timeout = '2s' AS $$
DECLARE
    unknown boolean;
    relations oid[];
    functions oid[];
    constraints oid[];
BEGIN
    IF NOT reprieve.may_follow() THEN
        RETURN;
    END IF;
    -- As in on_ddl, which comes next.
    PERFORM set_config('reprieve.goes_on', reprieve.has_several(current_query())::int::text, true);
    -- An index that goes with its table, column or constraint is known by that; else only the whole can tell whose it was.
    SELECT bool_or(d.object_type NOT IN ('table', 'table column', 'table constraint', 'index', 'trigger', 'rule', 'policy', 'function',
                                         'procedure', 'aggregate', 'sequence', 'default value', 'toast table', 'type', 'domain constraint',
                                         'cast', 'operator', 'comment', 'statistics object', 'foreign table')
                   OR d.object_type IN ('index', 'type') AND d.original),
           array_agg(CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid
                          WHEN d.object_type IN ('table constraint', 'trigger', 'rule', 'policy')
                          THEN to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid END),
           coalesce(array_agg(d.objid) FILTER (WHERE d.classid = 'pg_proc'::regclass), '{}'),
           array_agg(d.objid) FILTER (WHERE d.classid = 'pg_constraint'::regclass)
    INTO unknown, relations, functions, constraints
    FROM pg_event_trigger_dropped_objects() AS d;
    PERFORM reprieve.guard_drops(relations), reprieve.note_unseen_drops(relations);
    IF unknown THEN
        PERFORM reprieve.follow_ddl(NULL, NULL);
    ELSE
        relations := relations || ARRAY(SELECT unnest(ARRAY[l.parent, l.child]) FROM reprieve.links l
                                        WHERE l.conoid = ANY (constraints) OR l.parent = ANY (relations) OR l.child = ANY (relations));
        PERFORM reprieve.follow_ddl(array_remove(relations, NULL), functions);
    END IF;
    PERFORM set_config('reprieve.goes_on', '0', true);
END $$;

-- Takes those of our triggers out of the way that name columns of a table: ALTER TYPE and DROP COLUMN would fail on them.
-- Whoever follows the change puts them back.
CREATE OR REPLACE FUNCTION reprieve.clear_columns(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT g.tgname FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                WHERE g.tgrelid = relation AND NOT g.tgisinternal AND g.tgparentid = 0 AND p.pronamespace = 'reprieve'::regnamespace
                  AND EXISTS (SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                              WHERE d.classid = 'pg_trigger'::regclass AND d.objid = g.oid AND d.refclassid = 'pg_class'::regclass
                                AND d.refobjid = relation AND a.attname NOT IN ('deleted_at', 'deletion_id')) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', item.tgname, reprieve.qualified(relation));
        UPDATE reprieve.tables t SET signature = NULL
        WHERE t.relid = relation OR t.relid IN (SELECT unnest(ARRAY[l.parent, l.child]) FROM reprieve.links l WHERE relation IN (l.parent, l.child));
    END LOOP;
END $$;

-- Ends marking in a table before a statement that would take our columns for the table's own: CREATE FUNCTION ... RETURNS
-- SETOF t, ALTER TABLE ... ATTACH PARTITION t, CREATE TABLE ... INHERITS (t), rules, policies. Whether it could be marked after all is judged behind the statement.
CREATE OR REPLACE FUNCTION reprieve.unmark(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    requested text := (SELECT t.requested FROM reprieve.tables t WHERE t.relid = relation AND t.mode = 'mark');
BEGIN
    IF requested IS NOT NULL THEN
        PERFORM reprieve.set_mode(relation, requested, 'bin', 'a schema change is under way');
    END IF;
END $$;

-- Called by a proxy in front of a client's DO block that reads or writes a marked table: ends the marking, for good, as a function that names
-- the table does. NULL where that takes long, a DBA insists on marking, or others are in the way; else the catalog.
CREATE OR REPLACE FUNCTION reprieve.before_block_v1(relation oid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET lock_timeout = '2s' AS $$
BEGIN
    IF current_setting('transaction_read_only') = 'off' AND reprieve.may_follow() AND reprieve.small(relation)
       AND has_table_privilege(session_user, relation, 'SELECT, INSERT, UPDATE, DELETE') THEN
        UPDATE reprieve.tables t SET in_block = true, signature = NULL WHERE t.relid = relation AND t.mode = 'mark' AND t.requested = 'auto';
        IF FOUND THEN
            PERFORM reprieve.follow_ddl(ARRAY[relation], '{}');
        END IF;
    END IF;
    IF EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relation AND t.mode = 'mark') THEN
        UPDATE reprieve.tables t SET in_block = false WHERE t.relid = relation AND t.in_block;
        RETURN NULL;
    END IF;
    RETURN reprieve.catalog_v1();
END $$;

-- All tombstones of a table go to the graveyard, with all that hang on them, before a statement that would judge them: a new
-- constraint, another type. Fires no trigger: events of deferred foreign keys would be pending when the statement comes. That
-- takes a superuser, as event triggers do.
CREATE OR REPLACE FUNCTION reprieve.clear_tombstones(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    places tid[];
    known jsonb;
    member oid;
    before text := current_setting('session_replication_role');
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relation AND t.mode = 'mark') THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT array_agg(t.ctid) FROM (SELECT ctid FROM ONLY %s WHERE deletion_id IS NOT NULL FOR UPDATE) AS t',
                   reprieve.qualified(relation)) INTO places;
    IF places IS NULL THEN
        PERFORM reprieve.see_no_tombstones(relation);
        RETURN;
    END IF;
    known := reprieve.hanging(relation, places);
    FOR member IN SELECT k::oid FROM jsonb_object_keys(known) AS k LOOP
        EXECUTE reprieve.bury_sql(member, format('ONLY %s o WHERE o.ctid = ANY (ARRAY(SELECT jsonb_array_elements_text($3 -> %L))::tid[])',
                                                 reprieve.qualified(member), member::text), 'evict')
        USING NULL::bigint, 'evict'::text, known;
    END LOOP;
    PERFORM set_config('session_replication_role', 'replica', true);
    PERFORM reprieve.delete_places(known);
    PERFORM set_config('session_replication_role', before, true);
    PERFORM reprieve.see_no_tombstones(relation);
END $$;

-- Tables with triggers of ours that a schema change (lower case) may be about: those in the places where one stands, or, where
-- none of ours does (`in_place` is false, or the text is that of a DO block), those whose name occurs at all.
CREATE OR REPLACE FUNCTION reprieve.named_in(text text, in_place boolean) RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    name CONSTANT text := '(?:"[^"]+"|[[:alnum:]_$]+)';
    names text[];
    ours oid[] := ARRAY(SELECT c.oid FROM (SELECT t.relid FROM reprieve.tables t UNION SELECT l.child FROM reprieve.links l) AS o
                        JOIN pg_class c ON c.oid = o.relid
                        WHERE strpos(text, lower(c.relname)) > 0 AND pg_has_role(session_user, c.relowner, 'MEMBER'));
    found oid[];
BEGIN
    IF in_place AND ours <> '{}' THEN
        names := ARRAY(SELECT btrim(m[1], '"') FROM regexp_matches(text, format(
            '\m(?:table\s+(?:if\s+exists\s+)?(?:only\s+)?|references\s+|partition\s+|inherit\s+|on\s+(?:only\s+)?)(?:%1$s\s*\.\s*)?(%1$s)', name), 'g') AS m);
        found := ARRAY(SELECT c.oid FROM pg_class c WHERE c.oid = ANY (ours) AND lower(c.relname) = ANY (names));
    END IF;
    IF found <> '{}' THEN
        RETURN found;
    END IF;
    RETURN ARRAY(SELECT c.oid FROM pg_class c
                 WHERE c.oid = ANY (ours) AND text ~ ('\m' || regexp_replace(lower(c.relname), '([^[:alnum:]_])', '\\\1', 'g') || '\M'));
END $$;

-- Domains whose name occurs in a text (lower case).
CREATE OR REPLACE FUNCTION reprieve.domains_in(text text) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(d.oid), '{}') FROM pg_type d WHERE d.typtype = 'd' AND d.oid >= 16384 AND strpos($1, lower(d.typname)) > 0
$$;

-- These types, and those that contain values of them: domains over them, arrays, composite types, ranges.
CREATE OR REPLACE FUNCTION reprieve.types_with(types oid[]) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE found(type) AS (
        SELECT unnest(types)
        UNION SELECT y.oid FROM found f, LATERAL (
            SELECT t.oid FROM pg_type t WHERE f.type IN (t.typbasetype, t.typelem)
            UNION ALL SELECT c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                      WHERE a.atttypid = f.type AND a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0
            UNION ALL SELECT unnest(ARRAY[r.rngtypid, r.rngmultitypid]) FROM pg_range r WHERE r.rngsubtype = f.type) AS y(oid)
    ) SELECT array_agg(type) FROM found
$$;

-- Event trigger: before CREATE and ALTER TABLE, CREATE INDEX, ALTER DOMAIN, CREATE FUNCTION, rules and policies. Which table it is about nobody says yet; those whose
-- name is in the text are few. Of a function only what stands before its body can take a row type.
CREATE OR REPLACE FUNCTION reprieve.on_ddl_start() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET standard_conforming_strings = on SET client_min_messages = 'error' AS $$
DECLARE
    -- Of a text with several statements those of this kind. Rules and policies may contain semicolons.
    kind text := '\m' || replace(lower(tg_tag), ' ', '\s+(?:(?:or\s+replace|unique)\s+)?') || CASE WHEN tg_tag ~ 'RULE|POLICY' THEN '.*' ELSE '[^;]*' END;
    command text := (SELECT string_agg(m[1], ' ') FROM regexp_matches(lower(current_query()), '(' || kind || ')', 'g') AS m);
    alters boolean := tg_tag = 'ALTER TABLE';
    text text := CASE WHEN alters AND reprieve.only_switches(current_query()) THEN '' ELSE coalesce(command, lower(current_query())) END;
    -- A column of the client's that bears the name of one of ours.
    names_ours boolean := coalesce(command, '') ~ '\m(deleted_at|deletion_id)\M';
    -- Once an index runs a user's code, tombstones cannot be read any more without running it as the keeper.
    unmarks boolean := CASE tg_tag WHEN 'ALTER TABLE' THEN names_ours OR text ~ '\m(attach|inherit|of)\M'
                                                           OR text ~ '\mexclude\M' AND reprieve.untrusted_in(text)
                                   WHEN 'CREATE TABLE' THEN text ~ '\minherits\M' OR names_ours AND text ~ '\mlike\M'
                                   WHEN 'CREATE INDEX' THEN reprieve.untrusted_in(text) ELSE true END;
    columns boolean := alters AND text ~ '\m(type|drop)\M';
    -- The values of a new column are computed for every row: from a sequence, by a function, from other columns.
    judges boolean := alters AND text ~ '\m(unique|primary|check|null|references|exclude|validate|enforced|type|identity|generated|(small|big)?serial[248]?)\M|\mdefault\M[^,]*\('
                      OR tg_tag = 'CREATE INDEX' AND text ~ '\m(unique|where)\M|\(.*\('
                      OR alters AND text ~ '\madd\M' AND reprieve.domains_in(text) <> '{}';
    relation oid;
    types oid[];
    -- As strong as PostgreSQL's own: a weaker one that becomes stronger would deadlock with who reads the table and then writes to it. To add
    -- a foreign key, and nothing else, takes no more of both its tables.
    lock text := CASE WHEN NOT alters THEN 'SHARE'
                      WHEN text ~ '\mforeign\s+key\M' AND regexp_replace(text, '\mon\s+(?:delete|update)\s+set\s+(?:null|default)\M', '', 'g')
                           !~ '\m(unique|primary|check|null|exclude|type|drop|column|default|alter\s+(?!table\M))\M' THEN 'SHARE ROW EXCLUSIVE'
                      ELSE 'ACCESS EXCLUSIVE' END;
BEGIN
    IF NOT (unmarks OR columns OR judges) OR NOT reprieve.may_follow() THEN
        RETURN;
    END IF;
    IF tg_tag = 'ALTER DOMAIN' THEN
        types := reprieve.types_with(reprieve.domains_in(text));
        PERFORM set_config('reprieve.reconciling', '1', true);
        FOR relation IN SELECT t.relid FROM reprieve.tables t
                        WHERE t.mode = 'mark' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.relid AND a.attnum > 0 AND NOT a.attisdropped
                                                          AND a.atttypid = ANY (types)) ORDER BY t.relid LOOP
            EXECUTE format('LOCK TABLE %s IN SHARE MODE', reprieve.qualified(relation));
            PERFORM reprieve.clear_tombstones(relation);
        END LOOP;
        PERFORM set_config('reprieve.reconciling', '', true);
        RETURN;
    END IF;
    IF tg_tag IN ('CREATE FUNCTION', 'CREATE PROCEDURE') THEN
        text := regexp_replace(text, '\mas\s*e?[''$].*$', '');
    END IF;
    PERFORM set_config('reprieve.reconciling', '1', true);
    IF alters AND text ~ '\m(validate|enforced)\M' THEN
        -- Deleted rows are no parents, whosever foreign key it is.
        PERFORM reprieve.clear_tombstones(t.relid) FROM reprieve.tables t
        WHERE t.mode = 'mark' AND EXISTS (SELECT FROM pg_constraint x WHERE x.contype = 'f' AND x.confrelid = t.relid
                                          AND strpos(text, lower(x.conname)) > 0);
    END IF;
    -- In the order in which PostgreSQL will lock them: first the table that is altered.
    FOR relation IN SELECT c.oid FROM unnest(reprieve.named_in(text, tg_tag IN ('ALTER TABLE', 'CREATE INDEX'))) AS n(oid) JOIN pg_class c USING (oid)
                    ORDER BY length(regexp_replace(text, '[[:<:]]' || regexp_replace(lower(c.relname), '([^[:alnum:]_])', '\\\1', 'g') || '[[:>:]].*', '')), c.oid LOOP
        IF unmarks THEN
            PERFORM reprieve.unmark(relation);
        END IF;
        -- What another transaction is deleting is there for the statement until it waits for the lock: so that is waited for first. A foreign key
        -- may lead from a table that is not marked to one that is.
        IF (judges OR columns) AND text !~ '\m(concurrently|validate)\M' AND (alters OR EXISTS (
               SELECT FROM reprieve.tables t WHERE t.relid = relation AND t.mode = 'mark')) THEN
            EXECUTE format('LOCK TABLE %s IN %s MODE', reprieve.qualified(relation), lock);
        END IF;
        lock := CASE WHEN alters THEN 'SHARE ROW EXCLUSIVE' ELSE lock END;
        IF judges THEN
            PERFORM reprieve.clear_tombstones(relation);
        END IF;
        IF columns THEN
            PERFORM reprieve.clear_columns(relation);
        END IF;
    END LOOP;
    PERFORM set_config('reprieve.reconciling', '', true);
END $$;
