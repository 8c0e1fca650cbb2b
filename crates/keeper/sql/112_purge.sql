-- PURGE: deleted rows whose time is over go for good. The oldest deletions first, of each the children first, at most so many rows with
-- each call: call it again until it says DONE. Whoever purges holds the ledger rows of the deletions it works on, so two purges, or a
-- purge and an undelete, never have the same rows. Purged rows are `discarded` in the ledger: an undelete says that they are lost.

-- What may go, per deletion and table, as the ledger counts it.
CREATE OR REPLACE FUNCTION reprieve.due(relation oid, deletion bigint, before timestamptz)
RETURNS TABLE (deletion_id bigint, relid oid, label text, rows bigint, statement_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH cutoffs AS MATERIALIZED (
        SELECT r.relid, reprieve.cutoff(r.relid, before, relation IS NOT NULL OR deletion IS NOT NULL) AS cutoff
          FROM (SELECT DISTINCT e.relid FROM reprieve.deletion_tables e
                 WHERE (deletion IS NULL OR e.deletion_id = deletion)
                   AND (relation IS NULL OR e.relid = ANY (reprieve.members_of(relation) || reprieve.root_of(relation)))) r
         WHERE NOT reprieve.is_held(r.relid)
    )
    SELECT e.deletion_id, e.relid, format('%I.%I', e.schema_name, e.table_name), e.rows - e.restored - e.discarded, d.statement_at
      FROM reprieve.deletions d JOIN reprieve.deletion_tables e ON e.deletion_id = d.id JOIN cutoffs c ON c.relid = e.relid
     WHERE (deletion IS NULL OR d.id = deletion) AND d.statement_at < c.cutoff
       AND (e.rows > e.restored + e.discarded OR EXISTS (SELECT FROM reprieve.relinks r WHERE r.deletion_id = d.id AND r.relid = e.relid))
       AND NOT EXISTS (SELECT FROM reprieve.holds h WHERE h.deletion_id = d.id)
$$;

-- Turns off the users' own triggers that a physical delete of tombstones would fire: for them these rows were deleted long ago. Returns
-- the commands that turn them on again, or NULL if a rule would act on the delete.
CREATE OR REPLACE FUNCTION reprieve.purge_quiet(relid oid) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    again text[] := '{}';
BEGIN
    IF EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = relid AND r.ev_type = '4' AND r.ev_enabled IN ('O', 'A')) THEN
        RETURN NULL;
    END IF;
    FOR t IN SELECT g.tgname, g.tgenabled FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
             WHERE g.tgrelid = relid AND NOT g.tgisinternal AND g.tgtype & 8 <> 0 AND g.tgenabled IN ('O', 'A')
               AND p.pronamespace <> 'reprieve'::regnamespace LOOP
        EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', reprieve.qualified(relid), t.tgname);
        again := again || format('ALTER TABLE ONLY %s ENABLE %sTRIGGER %I', reprieve.qualified(relid), CASE t.tgenabled WHEN 'A' THEN 'ALWAYS ' ELSE '' END, t.tgname);
    END LOOP;
    RETURN again;
END $$;

-- Moves tombstones of one deletion and table to the graveyard, at most `budget`, on which no row hangs that stays. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.purge_tombstones(deletion bigint, relid oid, budget int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    hangs text;
    places tid[];
    closed jsonb;
    again text[];
    command text;
BEGIN
    SELECT string_agg(format(' AND NOT EXISTS (SELECT FROM %s c WHERE %s%s)', l.child_sql, l.match_sql,
                             CASE WHEN l.child = l.parent THEN ' AND c.ctid <> p.ctid' ELSE '' END), '')
      INTO hangs FROM reprieve.links l WHERE l.parent = relid;
    EXECUTE format('SELECT array_agg(q.place) FROM (SELECT p.ctid AS place FROM ONLY %s p WHERE p.deletion_id = $1%s LIMIT $2 FOR UPDATE SKIP LOCKED) q',
                   reprieve.qualified(relid), hangs) INTO places USING deletion, budget;
    IF places IS NULL THEN
        -- Rows in a circle, or in a long chain: with all that hang on them, if that is all of this deletion.
        EXECUTE format('SELECT array_agg(q.place) FROM (SELECT p.ctid AS place FROM ONLY %s p WHERE p.deletion_id = $1 LIMIT $2 FOR UPDATE SKIP LOCKED) q',
                       reprieve.qualified(relid)) INTO places USING deletion, budget;
        IF places IS NULL THEN
            RETURN 0;
        END IF;
        closed := reprieve.hanging(relid, places);
        IF EXISTS (SELECT FROM jsonb_object_keys(closed) AS k WHERE NOT reprieve.purge_all_of(k::oid, closed -> k, deletion)) THEN
            RETURN 0;
        END IF;
    END IF;
    again := reprieve.purge_quiet(relid);
    IF again IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM reprieve.bury_tombstones(relid, places);
    FOREACH command IN ARRAY again LOOP
        EXECUTE command;
    END LOOP;
    RETURN cardinality(places);
END $$;

-- True if the rows of a table at these places all belong to one deletion.
CREATE OR REPLACE FUNCTION reprieve.purge_all_of(relid oid, places jsonb, deletion bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    others boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s t WHERE t.ctid = ANY (ARRAY(SELECT jsonb_array_elements_text($1))::tid[]) AND t.deletion_id IS DISTINCT FROM $2)',
                   reprieve.qualified(relid)) INTO others USING places, deletion;
    RETURN NOT others;
END $$;

-- Purges at most `budget` rows of a table that one deletion took. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.purge_part(deletion bigint, relid oid, budget int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    gone bigint;
BEGIN
    IF reprieve.qualified(relid) IS NOT NULL AND reprieve.has_marks(relid) THEN
        PERFORM reprieve.purge_tombstones(deletion, relid, budget);
    END IF;
    WITH part AS (
        SELECT g.ctid AS place FROM reprieve.graveyard g
         WHERE g.deletion_id = deletion AND g.relid = ANY (reprieve.members_of(relid)) LIMIT budget FOR UPDATE SKIP LOCKED
    )
    DELETE FROM reprieve.graveyard g USING part WHERE g.ctid = part.place;
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE reprieve.deletion_tables e SET discarded = e.discarded + gone WHERE gone > 0 AND e.deletion_id = deletion AND e.relid = relid;
    RETURN gone;
END $$;

-- How many foreign keys lie below a table, at most 50: children come before their parents.
CREATE OR REPLACE FUNCTION reprieve.depth_of(relids oid[]) RETURNS TABLE (relid oid, depth int)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    depths jsonb := coalesce((SELECT jsonb_object_agg(r, 0) FROM unnest(relids) AS r), '{}');
    deeper jsonb;
BEGIN
    FOR round IN 1 .. 50 LOOP
        SELECT jsonb_object_agg(x.confrelid, round) INTO deeper FROM pg_constraint x
         WHERE x.contype = 'f' AND x.confrelid <> x.conrelid AND x.confrelid = ANY (relids) AND (depths ->> x.conrelid::text)::int = round - 1;
        EXIT WHEN deeper IS NULL;
        depths := depths || deeper;
    END LOOP;
    RETURN QUERY SELECT d.key::oid, d.value::int FROM jsonb_each_text(depths) AS d;
END $$;

-- Purges until the budget is used. Returns per table what went, and how many of the rows that it looked at could not go.
CREATE OR REPLACE FUNCTION reprieve.purge_some(relation oid, deletion bigint, before timestamptz, budget int, OUT taken jsonb, OUT waiting bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    d record;
    e record;
    n bigint;
    left_over bigint;
    progress boolean;
BEGIN
    taken := '{}';
    waiting := 0;
    FOR d IN SELECT x.id FROM reprieve.deletions x
             WHERE x.id IN (SELECT u.deletion_id FROM reprieve.due(relation, deletion, before) u) ORDER BY x.statement_at, x.id FOR UPDATE SKIP LOCKED LOOP
        -- Tables until none of them gives anything more: what hung on a row may have gone meanwhile.
        LOOP
            progress := false;
            left_over := 0;
            FOR e IN SELECT u.*, k.depth FROM reprieve.due(relation, d.id, before) u
                     JOIN reprieve.depth_of(ARRAY(SELECT t.relid FROM reprieve.deletion_tables t WHERE t.deletion_id = d.id)) k USING (relid)
                     WHERE (deletion IS NOT NULL OR relation IS NOT NULL OR u.statement_at < reprieve.cutoff(u.relid, before, false))
                     ORDER BY k.depth, u.relid LOOP
                EXIT WHEN budget <= 0;
                n := reprieve.purge_part(d.id, e.relid, budget);
                IF n > 0 THEN
                    progress := true;
                    budget := budget - n;
                    taken := jsonb_set(taken, ARRAY[e.label], jsonb_build_object('table', e.label,
                        'deletions', coalesce((taken -> e.label ->> 'deletions')::bigint, 0) + CASE WHEN (taken -> e.label ->> 'last')::bigint = d.id THEN 0 ELSE 1 END,
                        'rows', coalesce((taken -> e.label ->> 'rows')::bigint, 0) + n, 'last', d.id));
                END IF;
                left_over := left_over + greatest(e.rows - n, 0);
            END LOOP;
            EXIT WHEN budget <= 0 OR NOT progress OR left_over = 0;
        END LOOP;
        EXIT WHEN budget <= 0;
        waiting := waiting + left_over;
        -- References that nobody can put back any more.
        DELETE FROM reprieve.relinks r WHERE r.deletion_id = d.id AND NOT reprieve.is_held(r.relid)
           AND NOT EXISTS (SELECT FROM reprieve.deletion_tables t WHERE t.deletion_id = d.id AND t.rows > t.restored + t.discarded);
    END LOOP;
    taken := (SELECT jsonb_agg(v.value - 'last') FROM jsonb_each(taken) AS v);
END $$;

-- One step: a transaction's worth, with its receipt.
CREATE OR REPLACE FUNCTION reprieve.purge_step(relation oid, deletion bigint, before timestamptz, budget int, OUT taken jsonb, OUT waiting bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    total bigint;
BEGIN
    PERFORM set_config('reprieve.reconciling', '1', true);
    -- A hold waits for the purge, or the purge for the hold.
    LOCK TABLE reprieve.holds IN SHARE MODE;
    SELECT p.taken, p.waiting INTO taken, waiting FROM reprieve.purge_some(relation, deletion, before, budget) p;
    SELECT sum(l.rows) INTO total FROM jsonb_to_recordset(coalesce(taken, '[]')) AS l(rows bigint);
    IF total > 0 THEN
        PERFORM reprieve.receipt('purge', total, jsonb_build_object('before', before, 'tables', taken));
    END IF;
    PERFORM set_config('reprieve.reconciling', '', true);
END $$;

-- PURGE [DRY RUN] [TABLE t | DELETION n] [BEFORE time] [LIMIT rows]. One row for each table and one for the whole: MORE (call it
-- again), DONE, NOTHING, or, of a dry run, WOULD.
CREATE OR REPLACE FUNCTION reprieve.purge_v1(relation regclass DEFAULT NULL, deletion bigint DEFAULT NULL, before timestamptz DEFAULT NULL,
                                             row_budget int DEFAULT 10000, dry_run boolean DEFAULT false)
RETURNS TABLE (table_name text, deletions bigint, rows bigint, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    taken jsonb;
    waiting bigint := 0;
    total bigint;
BEGIN
    PERFORM reprieve.require_admin('PURGE');
    IF row_budget IS NULL OR row_budget NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION 'PURGE takes between 1 and 1000000 rows with each call' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF dry_run THEN
        SELECT jsonb_agg(jsonb_build_object('table', u.label, 'deletions', u.n, 'rows', u.rows)) INTO taken
          FROM (SELECT max(d.label) AS label, count(*) AS n, sum(d.rows) AS rows FROM reprieve.due(relation, deletion, before) d GROUP BY d.relid) u;
    ELSE
        SELECT p.taken, p.waiting INTO taken, waiting FROM reprieve.purge_step(relation, deletion, before, row_budget) p;
    END IF;
    SELECT coalesce(sum(l.rows), 0) INTO total FROM jsonb_to_recordset(coalesce(taken, '[]')) AS l(rows bigint);
    RETURN QUERY SELECT l."table", l.deletions, l.rows, CASE WHEN dry_run THEN 'WOULD' ELSE 'PURGED' END, ''::text
      FROM jsonb_to_recordset(coalesce(taken, '[]')) AS l("table" text, deletions bigint, rows bigint) ORDER BY 1;
    RETURN QUERY SELECT '(all)', (SELECT count(DISTINCT d.deletion_id) FROM reprieve.due(relation, deletion, before) d), total,
        CASE WHEN total = 0 AND waiting = 0 THEN 'NOTHING' WHEN dry_run THEN 'WOULD' WHEN total >= row_budget THEN 'MORE' ELSE 'DONE' END,
        CASE WHEN waiting > 0 THEN format('%s row(s) wait: others that are kept hang on them, or somebody else has them', waiting) ELSE '' END;
END $$;

-- What sidecars call now and then, each call in a transaction of its own. Does nothing unless a DBA has switched it on: setting
-- retention.purge = on. Of many sidecars one purges at a time. True if there may be more to do. Not for clients: nobody else may execute it.
CREATE OR REPLACE FUNCTION reprieve.purge_in_background_v1() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off AS $$
DECLARE
    budget int := coalesce(reprieve.setting('retention.rows_per_step')::int, 1000);
    step record;
BEGIN
    PERFORM reprieve.seal_in_background();
    IF reprieve.setting('retention.purge') IS DISTINCT FROM 'on' OR NOT EXISTS (SELECT FROM reprieve.due(NULL, NULL, NULL) LIMIT 1)
       OR NOT pg_try_advisory_xact_lock('reprieve.receipts'::regclass::oid::bigint) THEN
        RETURN false;
    END IF;
    SELECT * INTO step FROM reprieve.purge_step(NULL, NULL, NULL, budget);
    RETURN step.taken IS NOT NULL;
END $$;

-- PURGE BACKGROUND ON | OFF: whether sidecars purge by themselves.
CREATE OR REPLACE FUNCTION reprieve.purge_background_v1(enabled boolean) RETURNS TABLE (background text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('PURGE');
    INSERT INTO reprieve.settings AS s VALUES ('retention.purge', CASE WHEN enabled THEN 'on' ELSE 'off' END)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('purge background', CASE WHEN enabled THEN 'on' ELSE 'off' END, NULL);
    RETURN QUERY SELECT reprieve.setting('retention.purge');
END $$;
