-- Enabled tables follow the schema.

-- Per enabled table, everything that its triggers and its mode depend on, as one hash.
CREATE OR REPLACE FUNCTION reprieve.signatures() RETURNS TABLE (relid oid, signature text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH e AS MATERIALIZED (SELECT t.relid FROM reprieve.tables t),
    facts(relid, fact) AS (
        SELECT a.attrelid, concat_ws(',', 'a', a.attnum, a.attname, a.atttypid, a.attgenerated, a.attacl)
        FROM pg_attribute a JOIN e ON e.relid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT e.relid, concat_ws(',', 'x', x.oid, x.conname, x.contype, x.confdeltype, x.condeferrable, x.condeferred)
        FROM pg_constraint x JOIN e ON e.relid = x.conrelid WHERE x.contype NOT IN ('t', 'c', 'n')
        UNION ALL
        SELECT e.relid, concat_ws(',', 'f', x.oid, x.conname, x.confdeltype, x.condeferrable, x.condeferred)
        FROM pg_constraint x JOIN e ON e.relid = x.confrelid WHERE x.contype = 'f'
        UNION ALL
        SELECT e.relid, concat_ws(',', 'k', c.relowner, g.oid)
        FROM pg_constraint x JOIN e ON e.relid = x.confrelid JOIN pg_class c ON c.oid = x.conrelid
        LEFT JOIN (pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid AND p.pronamespace <> 'reprieve'::regnamespace)
               ON g.tgrelid = c.oid AND NOT g.tgisinternal
        WHERE x.contype = 'f'
        UNION ALL
        SELECT i.indrelid, concat_ws(',', 'i', i.indexrelid, i.indisvalid)
        FROM pg_index i JOIN e ON e.relid = i.indrelid WHERE i.indisunique OR i.indisexclusion
        UNION ALL
        SELECT g.tgrelid, concat_ws(',', 'g', g.oid, g.tgname, g.tgenabled)
        FROM pg_trigger g JOIN e ON e.relid = g.tgrelid WHERE NOT g.tgisinternal
        UNION ALL
        SELECT d.refobjid, concat_ws(',', 'd', d.classid, d.objid)
        FROM pg_depend d JOIN e ON e.relid = d.refobjid AND d.refclassid = 'pg_class'::regclass
        WHERE d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass)
        UNION ALL
        SELECT c.oid, concat_ws(',', 'y', d.classid, d.objid, d.objsubid)
        FROM e JOIN pg_class c ON c.oid = e.relid JOIN pg_type y ON y.oid = c.reltype, unnest(ARRAY[y.oid, y.typarray]) AS u(type)
        JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = u.type WHERE d.deptype <> 'i'
        UNION ALL
        SELECT e.relid, concat_ws(',', 'h', h.inhrelid, h.inhparent) FROM pg_inherits h JOIN e ON e.relid = h.inhrelid
        UNION ALL
        SELECT e.relid, concat_ws(',', 'h', h.inhrelid, h.inhparent) FROM pg_inherits h JOIN e ON e.relid = h.inhparent
    ), grouped AS (
        SELECT f.relid, string_agg(f.fact, ';' ORDER BY f.fact COLLATE "C") AS facts FROM facts f GROUP BY f.relid
    )
    SELECT c.oid, md5(concat_ws('|', c.relname, c.relnamespace, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity,
                                c.reloftype, grouped.facts))
    FROM e JOIN pg_class c ON c.oid = e.relid LEFT JOIN grouped ON grouped.relid = c.oid
$$;

-- What modes depend on beyond the tables themselves: functions and publications.
CREATE OR REPLACE FUNCTION reprieve.surroundings() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT md5(concat_ws('|',
        (SELECT string_agg(p.oid::text || ':' || p.xmin::text, ',' ORDER BY p.oid) FROM pg_proc p
         WHERE p.oid >= 16384 AND p.pronamespace <> 'reprieve'::regnamespace),
        (SELECT string_agg(p.oid::text || ':' || p.xmin::text, ',' ORDER BY p.oid) FROM pg_publication p),
        (SELECT string_agg(p.oid::text, ',' ORDER BY p.oid) FROM pg_publication_rel p)))
$$;

-- Tables that should be enabled by tables.enable, or because the root of their hierarchy is.
CREATE OR REPLACE FUNCTION reprieve.newcomers() RETURNS TABLE (relid oid, requested text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid, CASE WHEN reprieve.matches(n.nspname, c.relname, reprieve.setting('tables.bin')) THEN 'bin' ELSE 'auto' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'reprieve', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast)'
      AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = c.oid)
      AND coalesce(reprieve.setting('tables.enable'), '') <> ''
      AND reprieve.matches(n.nspname, c.relname, reprieve.setting('tables.enable'))
      AND NOT reprieve.matches(n.nspname, c.relname, reprieve.setting('tables.exclude'))
      AND format('%I.%I', n.nspname, c.relname) <> ALL (string_to_array(coalesce(reprieve.setting('tables.disabled'), ''), E'\n'))
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      AND pg_has_role(c.relowner, 'USAGE')
    UNION
    SELECT h.inhrelid, t.requested
    FROM pg_inherits h JOIN reprieve.tables t ON t.relid = h.inhparent JOIN pg_class c ON c.oid = h.inhrelid
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM reprieve.tables x WHERE x.relid = h.inhrelid)
$$;

-- Our columns in a table that is not ours: CREATE TABLE (LIKE t) and INHERITS copy them.
CREATE OR REPLACE FUNCTION reprieve.copies() RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH pairs AS MATERIALIZED (
        SELECT a.attrelid
        FROM pg_attribute a JOIN pg_attribute b ON b.attrelid = a.attrelid AND b.attname = 'deletion_id' AND b.attnum = a.attnum + 1
        WHERE a.attname = 'deleted_at' AND a.atttypid = 'timestamptz'::regtype AND NOT a.attnotnull AND NOT a.atthasdef AND a.attislocal
          AND b.atttypid = 'int8'::regtype AND NOT b.attnotnull AND NOT b.atthasdef AND b.attislocal
          AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = a.attrelid AND t.mode = 'mark')
    )
    SELECT c.oid FROM pairs JOIN pg_class c ON c.oid = pairs.attrelid
    WHERE c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'USAGE')
      -- Only where all the other columns of some marked table came along.
      AND EXISTS (SELECT FROM reprieve.tables t WHERE t.mode = 'mark' AND NOT EXISTS (
          SELECT FROM pg_attribute o WHERE o.attrelid = t.relid AND o.attnum > 0 AND NOT o.attisdropped AND NOT EXISTS (
              SELECT FROM pg_attribute m WHERE m.attrelid = c.oid AND m.attname = o.attname AND m.atttypid = o.atttypid
                                           AND NOT m.attisdropped)))
$$;

-- True if adding our columns and index takes no time that anybody notices. Larger tables begin to be marked when
-- somebody enables them, with the index built online.
CREATE OR REPLACE FUNCTION reprieve.small(relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT coalesce(pg_relation_size(relid) < 16 * 1024 * 1024, true) $$;

-- Judges one table again and repairs what is ours on it. True if its mode changed.
CREATE OR REPLACE FUNCTION reprieve.reconcile_table(relid oid, requested text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    verdict record;
    old reprieve.tables;
BEGIN
    SELECT t.* INTO old FROM reprieve.tables t WHERE t.relid = relid;
    SELECT d.* INTO verdict FROM reprieve.decide(relid, requested) AS d;
    IF verdict.mode = 'mark' AND old.mode IS DISTINCT FROM 'mark' AND NOT reprieve.small(relid) THEN
        IF old IS NULL THEN
            RETURN false;
        END IF;
        verdict.mode := 'bin';
        verdict.reason := 'marking would be exact now, but the table is large: enable it again to mark';
    END IF;
    PERFORM reprieve.set_mode(relid, requested, verdict.mode, verdict.reason);
    IF old.mode IS DISTINCT FROM verdict.mode THEN
        INSERT INTO reprieve.acts (verb, target, result)
        VALUES ('reconcile', reprieve.qualified(relid), jsonb_build_object('mode', verdict.mode, 'reason', verdict.reason));
        RETURN true;
    END IF;
    RETURN false;
END $$;

-- Lets enabled tables follow the schema: all of them, or (not thorough) those that changed. Returns true if
-- anything did. Trouble with one table never stops the others; it is reported as a warning to the log only.
CREATE OR REPLACE FUNCTION reprieve.reconcile(thorough boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = 'error' AS $$
DECLARE
    changed boolean := false;
    surroundings text;
    item record;
    trouble text;
BEGIN
    FOR item IN SELECT t.relid FROM reprieve.tables t WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relid) LOOP
        -- Its rows in the graveyard stay: schema and table name are kept with them.
        PERFORM reprieve.drop_link(l.conoid, l.parent, l.child) FROM reprieve.links l WHERE item.relid IN (l.parent, l.child);
        DELETE FROM reprieve.links l WHERE item.relid IN (l.parent, l.child);
        EXECUTE format('DROP FUNCTION IF EXISTS reprieve.%I()', 'evict_' || item.relid);
        DELETE FROM reprieve.tables t WHERE t.relid = item.relid;
        changed := true;
    END LOOP;
    FOR item IN SELECT c AS relid FROM reprieve.copies() AS c LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s DROP COLUMN deleted_at, DROP COLUMN deletion_id', reprieve.qualified(item.relid));
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS trouble = MESSAGE_TEXT;
            RAISE LOG 'reprieve: our columns stay in %: %', reprieve.qualified(item.relid), trouble;
        END;
    END LOOP;
    surroundings := reprieve.surroundings();
    -- Of the newcomers only the youngest: a thousand tables that were there before would take more locks than a
    -- transaction may have. Sidecars enable those one by one.
    FOR item IN (SELECT n.relid, n.requested FROM reprieve.newcomers() AS n ORDER BY n.relid DESC LIMIT 64)
                UNION ALL
                SELECT t.relid, t.requested FROM reprieve.tables t JOIN reprieve.signatures() AS s ON s.relid = t.relid
                -- `preparing`: an index is being built concurrently; who builds it finishes the rest.
                WHERE t.signature IS DISTINCT FROM 'preparing' AND (thorough OR t.signature IS DISTINCT FROM s.signature
                   OR (t.requested <> 'bin' AND surroundings IS DISTINCT FROM reprieve.setting('seen.surroundings'))) LOOP
        BEGIN
            PERFORM reprieve.reconcile_table(item.relid, item.requested);
            changed := true;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS trouble = MESSAGE_TEXT;
            RAISE LOG 'reprieve: table % could not be reconciled: %', reprieve.qualified(item.relid), trouble;
        END;
    END LOOP;
    IF changed THEN
        -- After all of them: triggers of one table may have been made for a foreign key of another.
        UPDATE reprieve.tables t SET signature = s.signature FROM reprieve.signatures() AS s
        WHERE s.relid = t.relid AND t.signature IS DISTINCT FROM s.signature AND t.signature IS DISTINCT FROM 'preparing';
        PERFORM reprieve.publish();
    END IF;
    IF surroundings IS DISTINCT FROM reprieve.setting('seen.surroundings') THEN
        INSERT INTO reprieve.settings VALUES ('seen.surroundings', surroundings) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    END IF;
    RETURN changed;
END $$;

-- Judges every enabled table again, enables newcomers, repairs triggers. Returns true if anything was done.
CREATE OR REPLACE FUNCTION reprieve.reconcile_v1() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := md5(reprieve.catalog_v1());
BEGIN
    PERFORM set_config('reprieve.reconciling', '1', true);
    PERFORM reprieve.reconcile(true);
    PERFORM set_config('reprieve.reconciling', '', true);
    PERFORM reprieve.advance_v1();
    RETURN before <> md5(reprieve.catalog_v1());
END $$;

-- Called by a proxy after a client's DDL, inside the client's transaction. Whatever goes wrong, the client
-- gets the catalog; the reconciler tries again later.
CREATE OR REPLACE FUNCTION reprieve.after_ddl_v1() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF coalesce(current_setting('reprieve.reconciling', true), '') = ''
       AND (EXISTS (SELECT FROM reprieve.tables) OR coalesce(reprieve.setting('tables.enable'), '') <> '') THEN
        BEGIN
            PERFORM set_config('reprieve.reconciling', '1', true);
            PERFORM reprieve.reconcile(false);
        EXCEPTION WHEN OTHERS THEN
            RAISE LOG 'reprieve: after_ddl_v1: %', SQLERRM;
        END;
        PERFORM set_config('reprieve.reconciling', '', true);
    END IF;
    RETURN reprieve.catalog_v1();
END $$;

-- Begins to mark in prepared tables once every sidecar with a valid lease serves by the current catalog.
-- Returns the number of tables.
CREATE OR REPLACE FUNCTION reprieve.advance_v1() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    advanced int;
    current text;
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.mode = 'mark' AND NOT t.marking AND t.signature IS DISTINCT FROM 'preparing') THEN
        RETURN 0;
    END IF;
    IF EXISTS (SELECT FROM reprieve.proxies p WHERE p.lease_until > clock_timestamp()) THEN
        current := md5(reprieve.catalog_v1());
        IF EXISTS (SELECT FROM reprieve.proxies p WHERE p.lease_until > clock_timestamp() AND p.catalog_md5 IS DISTINCT FROM current) THEN
            RETURN 0;
        END IF;
    END IF;
    UPDATE reprieve.tables t SET marking = true WHERE t.mode = 'mark' AND NOT t.marking AND t.signature IS DISTINCT FROM 'preparing';
    GET DIAGNOSTICS advanced = ROW_COUNT;
    PERFORM reprieve.publish();
    RETURN advanced;
END $$;

-- A sidecar says which catalog it serves by, and for how long this holds. Returns the md5 of the current one.
CREATE OR REPLACE FUNCTION reprieve.ack_v1(id text, version text, md5 text, lease interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO reprieve.proxies AS p (id, version, catalog_md5, lease_until)
    VALUES (ack_v1.id, ack_v1.version, ack_v1.md5, clock_timestamp() + ack_v1.lease)
    ON CONFLICT ON CONSTRAINT proxies_pkey DO UPDATE
    SET version = excluded.version, catalog_md5 = excluded.catalog_md5, lease_until = excluded.lease_until;
    DELETE FROM reprieve.proxies p WHERE p.lease_until < clock_timestamp() - interval '1 day';
    PERFORM reprieve.advance_v1();
    RETURN pg_catalog.md5(reprieve.catalog_v1());
END $$;

-- Event trigger, where the installing role may create one: DDL that no proxy saw.
CREATE OR REPLACE FUNCTION reprieve.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Our own DDL: to read the catalog after each command of it would be most of the work.
    IF coalesce(current_setting('reprieve.reconciling', true), '') <> '' THEN
        RETURN;
    END IF;
    IF TG_EVENT = 'sql_drop'
       OR EXISTS (SELECT FROM pg_event_trigger_ddl_commands() AS c WHERE c.schema_name IS DISTINCT FROM 'pg_temp'
                  AND c.schema_name IS DISTINCT FROM 'reprieve') THEN
        PERFORM reprieve.after_ddl_v1();
    END IF;
END $$;
