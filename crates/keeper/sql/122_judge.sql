-- Whether a deletion is within the guards, looked at closely: see guard_line() in 120_guards.sql.

DO $$
BEGIN
    IF to_regtype('reprieve.overrun') IS NULL THEN
        -- What is over which limit: `rows` of all tables together, and how long a session may wait for an approval.
        CREATE TYPE reprieve.overrun AS (relid oid, rows bigint, problem text, wait interval);
    END IF;
END $$;

-- What a deletion took, as the ledger has it; the line that is about to be written is `rows` of `relid`.
CREATE OR REPLACE FUNCTION reprieve.lines_of(id bigint, relid oid, rows bigint) RETURNS TABLE (table_id oid, taken bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT e.relid, e.rows FROM reprieve.deletion_tables e WHERE e.deletion_id = $1 AND e.relid IS DISTINCT FROM $2 AND e.rows > 0
                 UNION ALL SELECT $2, $3 WHERE $2 IS NOT NULL;
END $$;

-- The same in words, with what of it was not counted yet: tombstones and graveyard rows of this deletion.
CREATE OR REPLACE FUNCTION reprieve.tell_lines(id bigint, relid oid, rows bigint, OUT told text, OUT total bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tables oid[];
    counts bigint[];
    other oid;
    n bigint;
BEGIN
    SELECT array_agg(l.table_id), array_agg(l.taken) INTO tables, counts FROM reprieve.lines_of($1, $2, $3) l;
    FOR other IN SELECT t.relid FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid
                 WHERE t.mode = 'mark' AND to_regprocedure(format('reprieve.%I(bigint)', 'count_' || t.relid)) IS NOT NULL LOOP
        EXECUTE format('SELECT reprieve.%I($1)', 'count_' || other) INTO n USING id;
        IF n > 0 AND other <> ALL (coalesce(tables, '{}')) THEN
            tables := tables || other;
            counts := counts || n;
        END IF;
    END LOOP;
    FOR other, n IN SELECT g.relid, count(*) FROM reprieve.graveyard g WHERE g.deletion_id = id GROUP BY 1 LOOP
        IF other <> ALL (coalesce(tables, '{}')) THEN
            tables := tables || other;
            counts := counts || n;
        END IF;
    END LOOP;
    SELECT string_agg(format('%s %s', coalesce(reprieve.qualified(u.t), (SELECT format('%I.%I', t.schema_name, t.table_name) FROM reprieve.tables t WHERE t.relid = u.t)), u.n),
                      ', ' ORDER BY u.n DESC, u.t), coalesce(sum(u.n), 0)
      INTO told, total FROM unnest(tables, counts) AS u(t, n);
END $$;

-- How many live rows a table has, counted up to a limit. NULL where reading it would run code of its owner with the keeper's rights.
-- Our index has the live rows side by side, however many tombstones lie in front of them in the table.
CREATE OR REPLACE FUNCTION reprieve.live_rows(relid oid, at_most bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    n bigint;
BEGIN
    IF EXISTS (SELECT FROM unnest(reprieve.members_of(relid)) AS m WHERE reprieve.untrusted_index(m) IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s t%s LIMIT $1) AS few', reprieve.from_clause(relid),
                   CASE WHEN reprieve.has_marks(relid) THEN ' WHERE t.deletion_id IS NULL' ELSE '' END) INTO n USING at_most;
    RETURN n;
END $$;

-- True if `taken` rows are more than so many percent of those that there were.
CREATE OR REPLACE FUNCTION reprieve.is_share(relid oid, taken bigint, share numeric) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- They are more if fewer than this are left.
    enough bigint;
    remain bigint;
BEGIN
    IF share <= 0 OR taken <= 0 THEN
        RETURN taken > 0;
    END IF;
    enough := ceil(taken * (100 / share - 1));
    remain := reprieve.live_rows(relid, enough);
    IF remain IS NULL THEN
        RETURN (SELECT taken * 100.0 > share * greatest(sum(c.reltuples), 0)::numeric FROM pg_class c WHERE c.oid = ANY (reprieve.members_of(relid)));
    END IF;
    RETURN remain < enough;
END $$;

-- True if the text of the statement says that it takes all rows of a table, or if it has taken nearly all of many.
CREATE OR REPLACE FUNCTION reprieve.took_all(relid oid, taken bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := (SELECT c.relname FROM pg_class c WHERE c.oid = relid);
    hides boolean := EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = took_all.relid AND t.mode = 'mark');
BEGIN
    RETURN reprieve.is_unbounded(nullif(current_setting('reprieve.statement', true), ''), name, hides)
        OR reprieve.is_unbounded(current_query(), name, hides)
        OR taken > coalesce(reprieve.setting('guards.small_table')::bigint, 100) AND reprieve.is_share(relid, taken, 95);
END $$;

-- What this deletion has over the limits of one table and of one statement or transaction; NULL if nothing.
CREATE OR REPLACE FUNCTION reprieve.overrun_of(id bigint, line oid, line_rows bigint, before bigint, subject oid, per text) RETURNS reprieve.overrun
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    limits record;
    members oid[] := reprieve.members_of(subject);
    base bigint := pg_current_xact_id()::text::bigint * 1000000;
    total bigint;
    own bigint;
    problem text;
    name text := reprieve.qualified(subject);
    which text := CASE per WHEN 'transaction' THEN 'one transaction' ELSE 'one statement' END;
BEGIN
    SELECT * INTO limits FROM reprieve.limits_on(subject, per);
    SELECT sum(l.taken), sum(l.taken) FILTER (WHERE l.table_id = ANY (members)) INTO total, own FROM reprieve.lines_of(id, line, line_rows) l;
    IF per = 'transaction' AND num_nonnulls(limits.max_rows, limits.max_share) > 0 THEN
        total := total + coalesce((SELECT max(e.taken_before) FROM reprieve.deletion_tables e WHERE e.deletion_id = id AND e.relid = ANY (members) AND e.relid <> line),
                                  CASE WHEN line = ANY (members) THEN before END, reprieve.taken_before(id, subject));
        own := own + coalesce((SELECT sum(e.rows) FROM reprieve.deletion_tables e
                               WHERE e.deletion_id > base AND e.deletion_id <= base + 1000000 AND e.deletion_id <> id AND e.relid = ANY (members)
                                 AND NOT EXISTS (SELECT FROM reprieve.requests r WHERE r.used_for = e.deletion_id)), 0);
    END IF;
    IF total > limits.max_rows THEN
        problem := format('%s rows in %s, and the guard on %s allows %s', total, which, name, limits.max_rows);
    ELSIF limits.max_share < 100 AND reprieve.is_share(subject, own, limits.max_share) THEN
        problem := format('%s rows of %s in %s, and its guard allows %s %% of the table', own, name, which, limits.max_share);
    ELSIF per = 'statement' AND limits.no_where = 'refuse' AND own > 1 AND reprieve.took_all(subject, own) THEN
        problem := format('all rows of %s (%s), and its guard refuses a DELETE without a condition', name, own);
    END IF;
    IF problem IS NOT NULL THEN
        RETURN ROW(subject, total, problem, limits.wait)::reprieve.overrun;
    END IF;
    RETURN NULL;
END $$;

-- Looks at every limit that a deletion has to do with.
CREATE OR REPLACE FUNCTION reprieve.judge(id bigint, line oid, line_rows bigint, before bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    subject oid;
    per text;
    over reprieve.overrun;
    own_limit text := nullif(current_setting('reprieve.max_rows', true), '');
    total bigint;
BEGIN
    -- A table that may not be dropped after all, see guard_drops.
    IF EXISTS (SELECT FROM reprieve.dropped d WHERE d.deletion_id = id) THEN
        RETURN false;
    END IF;
    IF own_limit IS NOT NULL THEN
        total := (SELECT sum(l.taken) FROM reprieve.lines_of(id, line, line_rows) l);
        IF own_limit !~ '^[0-9]{1,18}$' OR total > own_limit::bigint THEN
            PERFORM reprieve.hold_deletion(id, line, line_rows, ROW(line, total, format('%s rows in one statement, and this session allows itself %s (reprieve.max_rows)',
                                                                                        total, own_limit), NULL)::reprieve.overrun);
        END IF;
    END IF;
    FOR subject IN SELECT reprieve.root_of(l.table_id) FROM reprieve.lines_of(id, line, line_rows) l
                   UNION SELECT l.table_id FROM reprieve.lines_of(id, line, line_rows) l JOIN reprieve.guards g ON g.relid = l.table_id LOOP
        FOREACH per IN ARRAY ARRAY['statement', 'transaction'] LOOP
            over := reprieve.overrun_of(id, line, line_rows, before, subject, per);
            IF over.problem IS NOT NULL THEN
                PERFORM reprieve.hold_deletion(id, line, line_rows, over);
            END IF;
        END LOOP;
    END LOOP;
    RETURN true;
END $$;

-- BEFORE TRUNCATE of an enabled table.
CREATE OR REPLACE FUNCTION reprieve.guard_truncate(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    limits record;
    many CONSTANT bigint := 1000001;
    rows bigint;
BEGIN
    -- limits_on() asks more than an unguarded table should pay for.
    IF NOT EXISTS (SELECT FROM reprieve.guards_set) THEN
        RETURN;
    END IF;
    SELECT * INTO limits FROM reprieve.limits_on(relid, 'statement');
    IF limits.on_truncate = 'refuse' OR limits.max_share < 100 THEN
        rows := coalesce(reprieve.live_rows(relid, many), 0);
        IF limits.on_truncate = 'refuse' OR rows > 0 THEN
            PERFORM reprieve.hold_deletion(reprieve.begin_deletion_v1(NULL), relid, rows, ROW(relid, rows, format('TRUNCATE of %s (%s rows), and its guard %s',
                reprieve.qualified(relid), CASE WHEN rows = many THEN 'more than 1000000' ELSE rows::text END,
                CASE limits.on_truncate WHEN 'refuse' THEN 'refuses that' ELSE format('allows %s %% of the table', limits.max_share) END), limits.wait)::reprieve.overrun);
        END IF;
    END IF;
END $$;

-- These tables have been dropped: for certain, unlike what keep_table() saw.
CREATE OR REPLACE FUNCTION reprieve.guard_drops(relations oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    limits record;
    problem text;
BEGIN
    FOR item IN SELECT t.relid, format('%I.%I', t.schema_name, t.table_name) AS name, d.deletion_id,
                       coalesce((SELECT e.rows FROM reprieve.deletion_tables e WHERE e.deletion_id = d.deletion_id AND e.relid = t.relid), 0) AS rows,
                       coalesce((SELECT sum(e.rows) FROM reprieve.deletion_tables e WHERE e.deletion_id = d.deletion_id), 0)::bigint AS total
                  FROM reprieve.tables t LEFT JOIN reprieve.dropped d ON d.relid = t.relid
                 WHERE t.relid = ANY (relations) AND EXISTS (SELECT FROM reprieve.guards_set) AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relid) LOOP
        SELECT * INTO limits FROM reprieve.limits_on(item.relid, 'statement');
        problem := CASE WHEN limits.on_drop = 'refuse' THEN 'refuses that'
                        WHEN item.total > limits.max_rows THEN format('allows %s rows with one statement', limits.max_rows)
                        WHEN item.rows > 0 AND limits.max_share < 100 THEN format('allows %s %% of the table', limits.max_share) END;
        IF problem IS NOT NULL THEN
            PERFORM reprieve.hold_deletion(item.deletion_id, NULL, 0, ROW(item.relid, item.total, format('DROP of %s (%s rows), and its guard %s', item.name, item.rows, problem),
                                                                         limits.wait)::reprieve.overrun);
        END IF;
    END LOOP;
END $$;
