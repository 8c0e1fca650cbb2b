-- A tombstone must make way for a key while a live row refers to that key already: one that was written in front of its parent, by the same
-- statement (INSERT INTO t VALUES (2, 1), (1, NULL)) or under a deferred foreign key. PostgreSQL looks at NO ACTION and RESTRICT as soon as
-- the tombstone is gone, and in that moment the new parent is not there. So such rows let go of their reference for as long, and take
-- it again at the end of the statement, before any other looks: with that write PostgreSQL checks it, as it would have checked the first one.

-- References let go. Rows live here within one statement only.
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.detached (
    xid      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    con      oid NOT NULL,
    child    oid NOT NULL,
    tid      tid NOT NULL,
    columns  text[] NOT NULL,
    data     text[] NOT NULL
);

-- No transaction ends with references that were let go, whatever a client did to the setting that says so.
CREATE OR REPLACE FUNCTION reprieve.check_detached() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Deeper: SET CONSTRAINTS ALL IMMEDIATE asks while they are let go.
    IF pg_trigger_depth() = 1 AND EXISTS (SELECT FROM reprieve.detached d WHERE d.xid = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'the setting reprieve.detached was changed while rows made way'
            USING ERRCODE = 'RV002', HINT = 'Of the settings reprieve.* only actor, reason, max_rows and truncate are for clients.';
    END IF;
    RETURN NULL;
END $$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = 'reprieve.detached'::regclass AND g.tgname = 'check_detached') THEN
        CREATE CONSTRAINT TRIGGER check_detached AFTER INSERT ON reprieve.detached DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION reprieve.check_detached();
    END IF;
END $$;

-- True for foreign keys whose references may have to be let go, as far as that is a matter of the foreign key.
CREATE OR REPLACE FUNCTION reprieve.detaches(link reprieve.links) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (link).action IN ('a', 'r')
$$;

-- What takes them again: in the functions that run behind each write of a referring row. Where the rows may be those of an earlier
-- statement a trigger of the parent's does it.
CREATE OR REPLACE FUNCTION reprieve.reattach_sql(link reprieve.links) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN reprieve.detaches(link) AND NOT (link).is_deferrable THEN $f$
    IF pg_catalog.current_setting('reprieve.detached', true) OPERATOR(pg_catalog.=) '1' THEN
        PERFORM reprieve.reattach();
    END IF;$f$ ELSE '' END
$$;

CREATE OR REPLACE FUNCTION reprieve.after_eviction() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF pg_catalog.current_setting('reprieve.detached', true) OPERATOR(pg_catalog.=) '1' THEN
        PERFORM reprieve.reattach();
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION reprieve.ensure_reattach(link reprieve.links) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF reprieve.detaches(link) THEN
        -- An UPDATE makes room for keys only, see ensure_evict.
        PERFORM reprieve.ensure_trigger(link.parent, '~reprieve_reattach_' || link.conoid, 'AFTER INSERT',
                                        'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.after_eviction()'),
                reprieve.ensure_trigger(link.parent, '~reprieve_reattach_update_' || link.conoid,
                                        'AFTER UPDATE OF ' || (SELECT string_agg(DISTINCT format('%I', w), ', ')
                                                               FROM reprieve.keys(link.parent) AS k, unnest(k.columns) AS w),
                                        'FOR EACH STATEMENT EXECUTE FUNCTION reprieve.after_eviction()');
    END IF;
END $$;

-- What the columns of a reference are set to meanwhile: NULL, or where they may not be null and the table refers to itself the row's own key.
-- NULL if there is no way.
CREATE OR REPLACE FUNCTION reprieve.detached_sql(link reprieve.links) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT string_agg(format('%I = NULL', n), ', ') FROM unnest(reprieve.nullable_key(link.conoid)) AS n),
                    CASE WHEN link.parent = link.child THEN
                        (SELECT string_agg(format('%I = c.%I', u.f, u.k), ', ') FROM unnest(link.child_columns, link.parent_columns) AS u(f, k)) END);
END $$;

-- Whether rows of a table may be written for that without anybody's noticing: nothing of the owner's runs, and nobody follows them.
CREATE OR REPLACE FUNCTION reprieve.lets_go(relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'UPDATE')
       AND NOT EXISTS (SELECT FROM pg_inherits h WHERE $1 IN (h.inhrelid, h.inhparent))
       AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = $1 AND r.ev_type = '2')
       AND NOT EXISTS (SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid WHERE g.tgrelid = $1 AND NOT g.tgisinternal
                          AND p.pronamespace <> 'reprieve'::regnamespace AND g.tgtype & 16 <> 0)
       AND NOT EXISTS (SELECT FROM pg_publication_tables v WHERE v.schemaname = n.nspname AND v.tablename = c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
$$;

-- Lets go of the references of live rows to the tombstones in `known` (see hanging).
CREATE OR REPLACE FUNCTION reprieve.detach(known jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
#variable_conflict use_variable
DECLARE
    link reprieve.links;
    source text;
    places tid[];
    found boolean;
    detached boolean := current_setting('reprieve.detached', true) = '1';
    -- Ours is no upsert: see upsert_of.
    upsert text := current_setting('reprieve.upsert', true);
BEGIN
    FOR link IN SELECT l.* FROM reprieve.links l WHERE known ? l.parent::text AND reprieve.detaches(l) LOOP
        places := ARRAY(SELECT jsonb_array_elements_text(known -> link.parent::text))::tid[];
        -- Rows of this transaction only: others are not ours to write, and nothing would take their references again.
        source := format('%s c, %s p WHERE p.ctid = ANY ($1) AND %s AND %s AND CASE WHEN age(c.xmin) <= 0'
                         ' THEN pg_xact_status((pg_current_xact_id()::text::bigint - age(c.xmin))::text::xid8) = ''in progress'' END',
                         link.child_sql, link.parent_sql, link.match_sql, reprieve.live_sql(link.child, 'c'));
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', source) INTO found USING places;
        CONTINUE WHEN NOT found OR NOT reprieve.lets_go(link.child) OR reprieve.detached_sql(link) IS NULL;
        -- So that nobody takes them again at once: see reattach.
        PERFORM set_config('reprieve.detached', '', true);
        BEGIN
            EXECUTE format(
                'WITH r AS (SELECT c.ctid AS place, %s AS data FROM %s FOR UPDATE OF c),'
                ' u AS (UPDATE %s c SET %s FROM r WHERE c.ctid = r.place RETURNING r.place, c.ctid AS tid, r.data),'
                ' m AS (UPDATE reprieve.detached d SET tid = u.tid FROM u WHERE d.xid = pg_current_xact_id() AND d.child = $3 AND d.tid = u.place)'
                ' INSERT INTO reprieve.detached (con, child, tid, columns, data) SELECT $2, $3, u.tid, $4, u.data FROM u',
                reprieve.values_sql('c', link.child_columns), source, link.child_sql, reprieve.detached_sql(link))
                USING places, link.conoid, link.child, link.child_columns;
            detached := true;
        EXCEPTION WHEN integrity_constraint_violation THEN
            -- A constraint of the row's own does not let it go: the foreign key will fail.
            NULL;
        END;
        PERFORM set_config('reprieve.upsert', upsert, true);
    END LOOP;
    PERFORM set_config('reprieve.detached', CASE WHEN detached THEN '1' ELSE '' END, true);
END $$;

-- Takes the references again.
CREATE OR REPLACE FUNCTION reprieve.reattach() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
#variable_conflict use_variable
DECLARE
    part record;
    written bigint;
BEGIN
    PERFORM set_config('reprieve.detached', '', true);
    FOR part IN SELECT d.con, d.child, d.columns, count(*) AS n FROM reprieve.detached d WHERE d.xid = pg_current_xact_id() GROUP BY 1, 2, 3 ORDER BY 1 LOOP
        EXECUTE format(
            'WITH u AS (UPDATE ONLY %s c SET %s FROM reprieve.detached d WHERE d.xid = pg_current_xact_id() AND d.con = $1 AND c.ctid = d.tid'
            ' RETURNING d.tid AS place, c.ctid AS tid),'
            ' m AS (UPDATE reprieve.detached d SET tid = u.tid FROM u WHERE d.xid = pg_current_xact_id() AND d.child = $2 AND d.con <> $1 AND d.tid = u.place)'
            ' SELECT count(*) FROM u', reprieve.qualified(part.child),
            (SELECT string_agg(format('%I = %s', u.name, reprieve.read_as(format('d.data[%s]', u.i), a.atttypid)), ', ')
               FROM unnest(part.columns) WITH ORDINALITY AS u(name, i) JOIN pg_attribute a ON a.attrelid = part.child AND a.attname = u.name))
            INTO written USING part.con, part.child;
        IF written <> part.n THEN
            RAISE EXCEPTION 'rows of % changed while the row that they refer to was written', reprieve.qualified(part.child)
                USING ERRCODE = '0A000', HINT = 'Insert the parents first.';
        END IF;
    END LOOP;
    DELETE FROM reprieve.detached d WHERE d.xid = pg_current_xact_id();
END $$;

-- Tombstones at these places make way for a key, with all that hang on them.
CREATE OR REPLACE FUNCTION reprieve.evict_tombstones(relid oid, places tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    known jsonb := jsonb_build_object(relid::text, to_jsonb(places));
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.links l WHERE l.parent = relid) THEN
        PERFORM reprieve.bury_tombstones(relid, places);
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM reprieve.links l JOIN reprieve.tables t ON t.relid = l.child AND t.mode = 'mark' WHERE l.parent = relid) THEN
        known := reprieve.hanging(relid, places);
    END IF;
    PERFORM reprieve.detach(known), set_config('reprieve.burying', '1', true);
    PERFORM reprieve.delete_places(known);
    PERFORM set_config('reprieve.burying', '', true);
END $$;
