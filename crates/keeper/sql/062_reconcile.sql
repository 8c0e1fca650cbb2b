-- Enabled tables follow the schema.

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
        IF old IS NULL OR old.requested = 'cascade' THEN
            RETURN false;
        END IF;
        verdict.mode := 'bin';
        verdict.reason := 'marking would be exact now, but the table is large: enable it again to mark';
    END IF;
    IF verdict.mode = 'mark' AND old.mode IS DISTINCT FROM 'mark' AND current_setting('reprieve.goes_on', true) = '1' THEN
        verdict.mode := 'bin';
        verdict.reason := 'marking would be exact: it begins behind this schema change';
    END IF;
    PERFORM reprieve.set_mode(relid, requested, verdict.mode, verdict.reason);
    IF old.mode IS DISTINCT FROM verdict.mode THEN
        INSERT INTO reprieve.acts (verb, target, result)
        VALUES ('reconcile', reprieve.qualified(relid), jsonb_build_object('mode', verdict.mode, 'reason', verdict.reason));
        RETURN true;
    END IF;
    RETURN false;
END $$;

-- Forgets enabled tables that were dropped. Their rows in the graveyard stay: schema and table name are kept with
-- them. Returns the number of tables.
CREATE OR REPLACE FUNCTION reprieve.forget_dropped() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    forgotten int := 0;
BEGIN
    FOR item IN SELECT t.relid FROM reprieve.tables t WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relid) LOOP
        PERFORM reprieve.drop_link(l.conoid, l.parent, l.child) FROM reprieve.links l WHERE item.relid IN (l.parent, l.child);
        DELETE FROM reprieve.links l WHERE item.relid IN (l.parent, l.child);
        PERFORM reprieve.drop_functions(item.relid);
        PERFORM reprieve.drop_row_type(item.relid);
        DELETE FROM reprieve.tables t WHERE t.relid = item.relid;
        DELETE FROM reprieve.column_names k WHERE k.relid = item.relid;
        forgotten := forgotten + 1;
    END LOOP;
    RETURN forgotten;
END $$;

-- Drops our columns where CREATE TABLE (LIKE t) or INHERITS copied them.
CREATE OR REPLACE FUNCTION reprieve.drop_copies(among oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    copy oid;
    trouble text;
BEGIN
    FOR copy IN SELECT * FROM reprieve.copies(among) LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s DROP COLUMN deleted_at, DROP COLUMN deletion_id', reprieve.qualified(copy));
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS trouble = MESSAGE_TEXT;
            RAISE LOG 'reprieve: our columns stay in %: %', reprieve.qualified(copy), trouble;
        END;
    END LOOP;
END $$;

-- Lets enabled tables follow the schema: all of them (thorough), those of all that changed, or those of `among` that
-- changed. Returns true if anything did. Trouble with one table never stops the others; it is reported as a warning to
-- the log only.
CREATE OR REPLACE FUNCTION reprieve.reconcile(thorough boolean, among oid[] DEFAULT NULL, functions oid[] DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = 'error' AS $$
DECLARE
    changed boolean := reprieve.forget_dropped() > 0;
    looked oid[] := coalesce(among, reprieve.all_tables());
    suspects oid[] := reprieve.look_at_functions(functions) || reprieve.look_at_publications() || reprieve.may_be_attached(among);
    failed oid[] := '{}';
    item record;
    trouble text;
BEGIN
    PERFORM reprieve.drop_copies(among), reprieve.enable_triggers(among);
    -- Of the newcomers only the youngest: a thousand tables that were there before would take more locks than a
    -- transaction may have. Sidecars enable those one by one.
    FOR item IN (SELECT n.relid, n.requested FROM reprieve.newcomers(among) AS n ORDER BY n.relid DESC LIMIT 64)
                UNION ALL
                SELECT t.relid, t.requested FROM reprieve.tables t LEFT JOIN reprieve.signatures(looked) AS s ON s.relid = t.relid
                -- `preparing`: an index is being built concurrently; who builds it finishes the rest.
                WHERE t.signature IS DISTINCT FROM 'preparing'
                  AND (thorough OR s.relid IS NOT NULL AND t.signature IS DISTINCT FROM s.signature OR t.relid = ANY (suspects)) LOOP
        looked := looked || item.relid;
        BEGIN
            PERFORM reprieve.reconcile_table(item.relid, item.requested);
            changed := true;
            IF current_setting('reprieve.goes_on', true) = '1'
               AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = item.relid AND t.mode = 'bin' AND t.requested <> 'bin') THEN
                failed := failed || item.relid;
                UPDATE reprieve.tables t SET signature = NULL WHERE t.relid = item.relid AND t.signature IS NOT NULL;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- follow_ddl knows whether that can wait.
            IF SQLSTATE IN ('40001', '40P01') AND current_setting('reprieve.refuses', true) = '1' THEN
                RAISE;
            END IF;
            -- What the schema change made would see deleted rows. Somebody who works with the table is waited for: D21. A publication only sends
            -- marks: D24.
            IF SQLSTATE <> '55P03' AND current_setting('reprieve.refuses', true) = '1' AND EXISTS (
                   SELECT FROM reprieve.tables t, LATERAL reprieve.decide(t.relid, t.requested) AS d
                   WHERE t.relid = item.relid AND t.mode = 'mark' AND d.mode = 'bin' AND d.reason !~ '^it is a member of the publication [^;]*$') THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS trouble = MESSAGE_TEXT;
            RAISE LOG 'reprieve: table % could not be reconciled: %', reprieve.qualified(item.relid), trouble;
            failed := failed || item.relid;
            -- Tried again at the next look; what the document says of it is read anew until then.
            UPDATE reprieve.tables t SET signature = NULL WHERE t.relid = item.relid AND t.signature IS NOT NULL;
            changed := changed OR FOUND;
        END;
    END LOOP;
    changed := reprieve.follow_cascades() OR changed;
    IF changed THEN
        -- After all of them: triggers of one table may have been made for a foreign key of another.
        UPDATE reprieve.tables t SET signature = s.signature, document = reprieve.describe(t.relid, t.mode)
        FROM reprieve.signatures(ARRAY(SELECT DISTINCT unnest(looked))) AS s
        WHERE s.relid = t.relid AND t.signature IS DISTINCT FROM s.signature AND t.signature IS DISTINCT FROM 'preparing'
          AND t.relid <> ALL (failed);
        PERFORM reprieve.publish();
    END IF;
    RETURN changed;
END $$;

-- Judges every enabled table again, or (not thorough) those that changed; enables newcomers, repairs triggers. Returns true
-- if the catalog is another one behind it. Of several sidecars that look around at once, one does.
CREATE OR REPLACE FUNCTION reprieve.reconcile_v1(thorough boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    before text;
BEGIN
    IF NOT thorough AND NOT (reprieve.may_follow() AND pg_try_advisory_xact_lock(hashtext('reprieve'), hashtext('reconcile'))) THEN
        RETURN false;
    END IF;
    before := md5(reprieve.catalog_v1());
    PERFORM set_config('reprieve.reconciling', '1', true);
    PERFORM reprieve.reconcile(thorough);
    PERFORM set_config('reprieve.reconciling', '', true);
    PERFORM reprieve.advance_v1();
    RETURN before <> md5(reprieve.catalog_v1());
END $$;

-- Begins to mark in prepared tables once every sidecar with a valid lease serves by the current catalog.
-- Returns the number of tables.
CREATE OR REPLACE FUNCTION reprieve.advance_v1() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
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
    -- Never waits: what an open transaction holds begins to mark once that transaction is over and everybody hears of it.
    UPDATE reprieve.tables t SET marking = true
    WHERE t.relid IN (SELECT n.relid FROM reprieve.tables n
                      WHERE n.mode = 'mark' AND NOT n.marking AND n.signature IS DISTINCT FROM 'preparing' FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS advanced = ROW_COUNT;
    IF advanced > 0 THEN
        PERFORM reprieve.publish();
    END IF;
    RETURN advanced;
END $$;

-- A sidecar says which catalog it serves by, and for how long this holds. Returns the md5 of the current one.
CREATE OR REPLACE FUNCTION reprieve.ack_v1(id text, version text, md5 text, lease interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
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
