-- Where deletes go along foreign keys ON DELETE CASCADE. A table that such a key of an enabled one leads to is taken
-- in, as `bin`: else its rows would go along and nobody would keep them.

-- A key of a partitioned table counts once, with the root.
CREATE OR REPLACE VIEW reprieve.cascades AS
    SELECT DISTINCT x.confrelid AS parent, x.conrelid AS child FROM pg_catalog.pg_constraint x
    WHERE x.contype = 'f' AND x.confdeltype = 'c' AND x.conparentid = 0 AND x.conrelid <> x.confrelid
      AND coalesce((pg_catalog.to_jsonb(x) ->> 'conenforced')::boolean, true);

-- Why a table that a cascade reaches is not taken in, to be read after its name; NULL if it is enabled or can be.
CREATE OR REPLACE FUNCTION reprieve.left_out(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = $1) THEN NULL
                WHEN reprieve.matches(n.nspname, c.relname, reprieve.setting('tables.exclude')) THEN 'is excluded (tables.exclude)'
                WHEN format('%I.%I', n.nspname, c.relname) = ANY (string_to_array(reprieve.setting('tables.disabled'), E'\n'))
                    THEN 'was disabled'
                ELSE reprieve.refuses($1) END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
$$;

-- Tables to be taken in because a cascade of one of `start` (NULL: of any enabled table) leads to them directly.
CREATE OR REPLACE FUNCTION reprieve.reached(start oid[]) RETURNS TABLE (relid oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH open AS MATERIALIZED (
        SELECT DISTINCT k.child FROM reprieve.cascades k
        WHERE CASE WHEN start IS NULL THEN k.parent IN (SELECT t.relid FROM reprieve.tables t) ELSE k.parent = ANY (start) END
          AND k.child NOT IN (SELECT t.relid FROM reprieve.tables t)
    ) SELECT open.child FROM open WHERE reprieve.left_out(open.child) IS NULL ORDER BY 1
$$;

-- The enabled table because of which a table is taken in: a cascade leads from it, or it is the root of the hierarchy.
CREATE OR REPLACE FUNCTION reprieve.reached_from(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT min(reprieve.qualified(k.parent)) FROM reprieve.cascades k JOIN reprieve.tables t ON t.relid = k.parent WHERE k.child = $1),
        (SELECT min(reprieve.qualified(h.inhparent)) FROM pg_inherits h JOIN reprieve.tables t ON t.relid = h.inhparent WHERE h.inhrelid = $1))
$$;

-- Takes in what cascades of `start` reach, and what theirs reach. `start` NULL: of all enabled tables; then trouble with
-- one table does not stop the others. Returns the tables taken in.
CREATE OR REPLACE FUNCTION reprieve.take_in(start oid[]) RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken oid[] := '{}';
    failed oid[] := '{}';
    next oid;
    trouble text;
BEGIN
    LOOP
        SELECT r.relid INTO next FROM reprieve.reached(CASE WHEN start IS NOT NULL THEN start || taken END) AS r WHERE r.relid <> ALL (failed) LIMIT 1;
        EXIT WHEN NOT FOUND;
        BEGIN
            PERFORM reprieve.take_in_one(next);
            taken := taken || next;
        EXCEPTION WHEN OTHERS THEN
            IF start IS NOT NULL THEN
                RAISE;
            END IF;
            GET STACKED DIAGNOSTICS trouble = MESSAGE_TEXT;
            RAISE LOG 'reprieve: table % could not be taken in: %', reprieve.qualified(next), trouble;
            failed := failed || next;
        END;
    END LOOP;
    RETURN taken;
END $$;

CREATE OR REPLACE FUNCTION reprieve.take_in_one(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    verdict record;
    member oid;
BEGIN
    SELECT d.* INTO verdict FROM reprieve.decide(relid, 'cascade') AS d;
    PERFORM reprieve.set_mode(relid, 'cascade', verdict.mode, verdict.reason);
    FOR member IN SELECT m.relid FROM reprieve.members(relid) AS m WHERE m.relid NOT IN (SELECT t.relid FROM reprieve.tables t) LOOP
        PERFORM reprieve.set_mode(member, 'cascade', verdict.mode, verdict.reason);
    END LOOP;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('enable', reprieve.qualified(relid), jsonb_build_object('mode', verdict.mode, 'reason', verdict.reason));
END $$;

-- Lets go of tables that were taken in and that no cascade of an enabled table reaches any more. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.let_go() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t oid;
    released int := 0;
BEGIN
    LOOP
        SELECT e.relid INTO t FROM reprieve.tables e
        WHERE e.requested = 'cascade' AND reprieve.reached_from(e.relid) IS NULL AND reprieve.qualified(e.relid) IS NOT NULL LIMIT 1;
        EXIT WHEN NOT FOUND;
        PERFORM reprieve.remove_marks(t, 'disable');
        DELETE FROM reprieve.tables e WHERE e.relid = t;
        PERFORM reprieve.follow_schema(ARRAY[t]);
        INSERT INTO reprieve.acts (verb, target, result)
        VALUES ('disable', reprieve.qualified(t), jsonb_build_object('reason', 'no cascade reaches it any more'));
        released := released + 1;
    END LOOP;
    RETURN released;
END $$;

-- Takes in what should be and lets go of what need not be, after the schema changed. True if anything was done. Whatever
-- goes wrong goes to the log only.
CREATE OR REPLACE FUNCTION reprieve.follow_cascades() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    released int;
BEGIN
    SELECT reprieve.let_go() INTO released;
    RETURN cardinality(reprieve.take_in(NULL)) > 0 OR released > 0;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'reprieve: cascades could not be followed: %', SQLERRM;
    RETURN false;
END $$;

-- Tables that are not enabled and whose rows go along with rows of a table that is not enabled either.
CREATE OR REPLACE FUNCTION reprieve.goes_along(relid oid) RETURNS TABLE (child oid, parent oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE lost(child, parent) AS (
        SELECT k.child, k.parent FROM reprieve.cascades k WHERE k.parent = $1 AND k.child NOT IN (SELECT t.relid FROM reprieve.tables t)
        UNION
        SELECT k.child, k.parent FROM lost JOIN reprieve.cascades k ON k.parent = lost.child
        WHERE k.child NOT IN (SELECT t.relid FROM reprieve.tables t)
    ) SELECT lost.child, min(lost.parent) FROM lost WHERE lost.child <> $1 GROUP BY 1
$$;

-- Tables whose rows go along with rows of an enabled table and are not kept, and why. Nothing is taken in beyond a
-- table that is left out: its rows could not come back without it.
CREATE OR REPLACE FUNCTION reprieve.unkept(relid oid) RETURNS TABLE (child oid, why text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH direct AS MATERIALIZED (
        SELECT k.child, reprieve.left_out(k.child) AS why FROM reprieve.cascades k WHERE k.parent = $1
    ), lost AS (
        SELECT d.child, d.why, 1 AS distance FROM direct d WHERE d.why IS NOT NULL
        UNION ALL
        SELECT g.child, format('goes along with %s', reprieve.qualified(g.parent)), 2
        FROM direct d, LATERAL reprieve.goes_along(d.child) AS g WHERE d.why IS NOT NULL AND g.child <> $1
    ) SELECT DISTINCT ON (lost.child) lost.child, lost.why FROM lost ORDER BY lost.child, lost.distance, lost.why
$$;

-- What a DBA must know of an enabled table, beyond the reason of its mode; NULL if there is nothing.
CREATE OR REPLACE FUNCTION reprieve.caution(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT nullif(concat_ws('; ',
        (SELECT 'a cascade takes rows along that are NOT kept: ' || string_agg(format('%s %s', reprieve.qualified(u.child), u.why), ', '
                                                                               ORDER BY reprieve.qualified(u.child))
         FROM reprieve.unkept($1) AS u),
        (SELECT 'references that deletes set to null or a default are NOT remembered: '
                || string_agg(DISTINCT format('%s %s', reprieve.qualified(c.oid), reprieve.refuses(c.oid)), ', ')
         FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid
         WHERE x.contype = 'f' AND x.conparentid = 0 AND x.confrelid = $1 AND x.confdeltype IN ('n', 'd') AND NOT pg_has_role(c.relowner, 'USAGE'))), '')
$$;

-- Notes in the ledger that deletion `id` took `n` rows of a table along that nobody keeps. Two foreign keys that lead
-- to one row may count it twice. What goes along with those rows in turn nobody counts.
CREATE OR REPLACE FUNCTION reprieve.count_lost(id bigint, relid oid, n bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    IF n > 0 THEN
        PERFORM reprieve.count_deletion(id, relid, n, 0);
        UPDATE reprieve.deletion_tables d SET discarded = d.discarded + n WHERE d.deletion_id = id AND d.relid = relid;
        PERFORM reprieve.note_uncounted(id, g.child) FROM reprieve.goes_along(relid) AS g;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION reprieve.note_uncounted(id bigint, relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO reprieve.deletion_tables AS t (deletion_id, relid, schema_name, table_name, uncounted)
    SELECT id, c.oid, n.nspname, c.relname, true
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = note_uncounted.relid
    ON CONFLICT ON CONSTRAINT deletion_tables_pkey DO UPDATE SET uncounted = true WHERE NOT t.uncounted;
END $$;

-- True if the keeper sees every row of a table.
CREATE OR REPLACE FUNCTION reprieve.readable(relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT has_table_privilege($1, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE') AND NOT row_security_active($1)
    FROM pg_class c WHERE c.oid = $1
$$;

-- BEFORE DELETE ROW of an enabled table: rows of a table that is not enabled are about to go along. Where the keeper may
-- not read them, the ledger says that nobody counted.
CREATE OR REPLACE FUNCTION reprieve.lose() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    link reprieve.links;
    lost bigint;
BEGIN
    SELECT l.* INTO link FROM reprieve.links l WHERE l.conoid = TG_ARGV[0]::oid;
    IF NOT FOUND THEN
        RETURN OLD;
    END IF;
    IF NOT reprieve.readable(link.child) THEN
        -- A tombstone that is evicted takes nothing along.
        IF reprieve.has_marks(TG_RELID) AND to_jsonb(OLD) -> 'deletion_id' <> 'null' THEN
            RETURN OLD;
        END IF;
        PERFORM reprieve.open_ledger(reprieve.begin_deletion_v1(NULL));
        PERFORM reprieve.note_uncounted(reprieve.open_deletion(), link.child);
        RETURN OLD;
    END IF;
    EXECUTE format('SELECT count(*) FROM %s c, (SELECT ($1).*) AS p WHERE %s', link.child_sql, link.match_sql) INTO lost USING OLD;
    IF lost > 0 THEN
        PERFORM reprieve.count_lost(reprieve.begin_deletion_v1(NULL), link.child, lost);
    END IF;
    RETURN OLD;
END $$;

-- TRUNCATE of an enabled table empties every table that refers to it, whatever the foreign key says. Rows of those that
-- are not enabled go to the graveyard, or are counted as lost, once for each deletion.
CREATE OR REPLACE FUNCTION reprieve.truncate_along(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    along oid;
    id bigint;
    taken bigint;
    source text;
BEGIN
    FOR along IN
        WITH RECURSIVE referring(child) AS (
            SELECT x.conrelid FROM pg_constraint x WHERE x.contype = 'f' AND x.confrelid = truncate_along.relid
            UNION
            SELECT x.conrelid FROM referring r JOIN pg_constraint x ON x.contype = 'f' AND x.confrelid = r.child
        ) SELECT r.child FROM referring r WHERE r.child NOT IN (SELECT t.relid FROM reprieve.tables t) LOOP
        CONTINUE WHEN EXISTS (SELECT FROM reprieve.deletion_tables d WHERE d.deletion_id = reprieve.open_deletion() AND d.relid = along);
        IF NOT reprieve.readable(along) THEN
            id := reprieve.begin_deletion_v1(NULL);
            PERFORM reprieve.open_ledger(id), reprieve.note_uncounted(id, along);
            CONTINUE;
        END IF;
        source := reprieve.read_source(along);
        EXECUTE format('SELECT count(*) FROM %s', source) INTO taken;
        IF taken > 0 THEN
            id := reprieve.begin_deletion_v1(NULL);
            IF reprieve.left_out(along) IS NULL AND reprieve.truncate_fits(along, source) THEN
                EXECUTE reprieve.bury_sql(along, source || ' o') USING id, 'truncate'::text;
                PERFORM reprieve.count_deletion(id, along, taken, 0);
            ELSE
                PERFORM reprieve.count_lost(id, along, taken);
            END IF;
        END IF;
        PERFORM reprieve.end_read(along);
    END LOOP;
END $$;
