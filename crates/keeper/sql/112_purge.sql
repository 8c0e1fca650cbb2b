-- PURGE: deleted rows whose time is over go for good. The oldest deletions first, of each the children first, at most so many rows with
-- each call: call it again until it says DONE. Whoever purges holds the ledger rows of the deletions it works on, so two purges, or a
-- purge and an undelete, never have the same rows. Purged rows are `discarded` in the ledger: an undelete says that they are lost.

DROP FUNCTION IF EXISTS reprieve.due(oid, bigint, timestamptz), reprieve.purge_all_of(oid, jsonb, bigint), reprieve.purge_tombstones(bigint, oid, int),
    reprieve.purge_part(bigint, oid, int);

-- The rows `alias` of the graveyard that are filed under a table and lie in these of its partitions; NULL: all.
CREATE OR REPLACE FUNCTION reprieve.filed_sql(alias text, relid oid, leaves oid[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(%s.relid = ANY (%L::oid[])%s)', alias, reprieve.members_of($2),
                  CASE WHEN leaves IS NULL THEN '' WHEN cardinality(leaves) <= cardinality(o.others) THEN ' AND ' || reprieve.lies_in_sql(alias, leaves)
                       -- Also what lies nowhere, as its partition is no more.
                       ELSE format(' AND %s IS NOT TRUE', reprieve.lies_in_sql(alias, o.others)) END)
    FROM (SELECT ARRAY(SELECT c.oid FROM pg_class c WHERE c.oid = ANY (reprieve.members_of($2)) AND c.relkind <> 'p' AND c.oid <> ALL (leaves)) AS others) o
$$;

-- How many rows that is of a deletion. Where their values cannot be read nobody knows where they lie, and they stay.
CREATE OR REPLACE FUNCTION reprieve.filed(deletion bigint, relid oid, leaves oid[]) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM reprieve.graveyard g WHERE g.deletion_id = $1 AND %s', reprieve.filed_sql('g', relid, leaves)) INTO n USING deletion;
    RETURN n;
EXCEPTION WHEN OTHERS THEN
    IF NOT reprieve.is_about_rows(SQLSTATE) THEN
        RAISE;
    END IF;
    RETURN 0;
END $$;

-- What may go, per deletion (NULL: all) and table, as the ledger counts it. `leaves`: only what lies in these partitions; NULL: all of it. What is kept
-- for ever goes if it is named: its table, or (`named`) the deletion.
CREATE OR REPLACE FUNCTION reprieve.due_of(relation oid, ids bigint[], before timestamptz, named boolean)
RETURNS TABLE (deletion_id bigint, relid oid, leaves oid[], label text, rows bigint, statement_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH parts AS MATERIALIZED (
        SELECT f.relid, p.leaf, count(*) OVER (PARTITION BY f.relid) AS n
          FROM (SELECT DISTINCT e.relid FROM reprieve.deletion_tables e WHERE ids IS NULL OR e.deletion_id = ANY (ids)) f,
               unnest(reprieve.parts_of(f.relid, ARRAY(SELECT h.relid FROM reprieve.holds h WHERE h.relid IS NOT NULL
                                                       UNION ALL SELECT r.relid FROM reprieve.retention r UNION ALL SELECT relation WHERE relation IS NOT NULL))) AS p(leaf)
    ), cutoffs AS MATERIALIZED (
        SELECT p.relid, c.cutoff, CASE WHEN count(*) < p.n THEN array_agg(p.leaf) END AS leaves
          FROM parts p CROSS JOIN LATERAL reprieve.cutoff(p.leaf, before,
                   named OR relation IS NOT NULL AND coalesce(reprieve.retained_by(p.leaf) = ANY (reprieve.lineage_of(relation)), true)) AS c(cutoff)
         WHERE NOT reprieve.is_held(p.leaf) AND (relation IS NULL OR relation = ANY (reprieve.lineage_of(p.leaf)))
         GROUP BY p.relid, c.cutoff, p.n
    )
    SELECT u.deletion_id, u.relid, u.leaves, u.label, n.rows, u.statement_at
      FROM (SELECT e.deletion_id, e.relid, c.leaves, format('%I.%I', e.schema_name, e.table_name) AS label, e.rows - e.restored - e.discarded AS rows,
                   d.statement_at
              FROM reprieve.deletions d JOIN reprieve.deletion_tables e ON e.deletion_id = d.id JOIN cutoffs c ON c.relid = e.relid
             WHERE (ids IS NULL OR d.id = ANY (ids)) AND d.statement_at < c.cutoff
               AND NOT EXISTS (SELECT FROM reprieve.holds h WHERE h.deletion_id = d.id)) u
     CROSS JOIN LATERAL (SELECT CASE WHEN u.rows > 0 AND u.leaves IS NOT NULL THEN reprieve.filed(u.deletion_id, u.relid, u.leaves) ELSE u.rows END AS rows) n
     WHERE n.rows > 0 OR EXISTS (SELECT FROM reprieve.relinks r WHERE r.deletion_id = u.deletion_id AND r.relid = u.relid)
$$;

CREATE OR REPLACE FUNCTION reprieve.due(relation oid, deletion bigint, before timestamptz, named boolean)
RETURNS TABLE (deletion_id bigint, relid oid, leaves oid[], label text, rows bigint, statement_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM reprieve.due_of($1, CASE WHEN $2 IS NOT NULL THEN ARRAY[$2] END, $3, $4)
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

-- The values of a row in the graveyard, as text, that a foreign key compares; NULL if one of them is null. `g` is the row's alias.
CREATE OR REPLACE FUNCTION reprieve.erase_key(columns name[], alias text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'CASE WHEN ' || string_agg(format('%1$s.data[array_position(%1$s.columns, %2$L)] IS NOT NULL', alias, c), ' AND ' ORDER BY i)
        || ' THEN ARRAY[' || string_agg(format('%1$s.data[array_position(%1$s.columns, %2$L)]', alias, c), ', ' ORDER BY i) || '] END'
    FROM unnest(columns) WITH ORDINALITY AS u(c, i)
$$;

-- Rows of the graveyard that a condition finds, with the columns of a foreign key: typed, or as an array of texts, `key`.
CREATE OR REPLACE FUNCTION reprieve.key_rows(k reprieve.foreign_keys, side "char", typed boolean, more text, condition text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(SELECT g.tid, %s%s FROM (SELECT g.ctid AS tid, g.* FROM reprieve.graveyard g WHERE %s OFFSET 0) g)',
                  CASE WHEN typed THEN (SELECT string_agg(reprieve.grave_column('g', t.relid, c, NULL) || format(' AS %I', c), ', ') FROM unnest(t.columns) AS c)
                       ELSE reprieve.erase_key(t.columns, 'g') || ' AS key' END, more, condition)
    FROM (SELECT reprieve.key_columns((k).con, side) AS columns, CASE side WHEN 'c' THEN (k).conrelid ELSE (k).confrelid END AS relid) t
$$;

-- The deletions, `deletion` itself or among `waiting`, of which rows of the referencing table may be in the graveyard that were deleted with
-- or before rows of `deletion`: what was deleted later had another parent.
CREATE OR REPLACE FUNCTION reprieve.may_hang(k reprieve.foreign_keys, deletion bigint, waiting bigint[]) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT e.deletion_id FROM reprieve.deletions own, reprieve.deletion_tables e JOIN reprieve.deletions d ON d.id = e.deletion_id
                  WHERE own.id = deletion AND e.deletion_id = ANY (waiting || deletion) AND (d.statement_at, d.id) <= (own.statement_at, own.id)
                    AND e.relid = ANY (reprieve.lineage_of((k).conrelid) || reprieve.members_of((k).conrelid)) AND e.rows > e.restored + e.discarded)
$$;

-- Pairs of a row of this deletion in the graveyard (`parent`) and one that hangs on it (`child`), for the foreign keys that refer to one of
-- these tables; NULL if nothing hangs on them. `going`: which rows are about to go.
CREATE OR REPLACE FUNCTION reprieve.hanging_sql(relids oid[], deletion bigint, waiting bigint[], going text, typed boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k reprieve.foreign_keys;
    ids bigint[];
    pairs text[] := '{}';
BEGIN
    FOR k IN SELECT * FROM reprieve.foreign_keys f
             WHERE f.confrelid IN (SELECT unnest(reprieve.lineage_of(r) || reprieve.members_of(r)) FROM unnest(relids) AS r) LOOP
        ids := reprieve.may_hang(k, deletion, waiting);
        IF cardinality(ids) > 0 THEN
            pairs := pairs || format('SELECT p.tid AS parent, c.tid AS child, c.goes FROM %s p JOIN %s c ON %s WHERE p.tid <> c.tid',
                reprieve.key_rows(k, 'p', typed, '', format('g.deletion_id = %s AND g.relid = ANY (%L::oid[])', deletion,
                                                            reprieve.lineage_of(k.confrelid) || reprieve.members_of(k.confrelid))),
                reprieve.key_rows(k, 'c', typed, format(', g.deletion_id = %s AND (%s) AS goes', deletion, going),
                                  format('g.deletion_id = ANY (%L::bigint[]) AND g.relid = ANY (%L::oid[])', ids,
                                         reprieve.lineage_of(k.conrelid) || reprieve.members_of(k.conrelid))),
                CASE WHEN typed THEN reprieve.key_match(k.con, 'p', 'c') ELSE 'p.key = c.key' END);
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(pairs, ' UNION ALL '), '');
END $$;

-- Places of at most `budget` rows of a part in the graveyard on which none hangs; if `stuck`, also such as hang on each other in a circle.
CREATE OR REPLACE FUNCTION reprieve.purge_free(deletion bigint, part text, relids oid[], waiting bigint[], going text, stuck boolean, typed boolean, budget int)
RETURNS tid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    pairs text := reprieve.hanging_sql(relids, deletion, waiting, going, typed);
    places tid[];
BEGIN
    EXECUTE format('%s SELECT array_agg(q.place) FROM (SELECT g.ctid AS place FROM reprieve.graveyard g WHERE g.deletion_id = $1 AND %s%s LIMIT $2'
                   ' FOR UPDATE OF g SKIP LOCKED) q',
                   CASE WHEN pairs IS NOT NULL AND stuck THEN format('WITH RECURSIVE pairs AS MATERIALIZED (%s), kept AS (SELECT x.parent FROM pairs x WHERE NOT x.goes'
                       ' UNION SELECT x.parent FROM pairs x JOIN kept ON x.child = kept.parent)', pairs)
                        WHEN pairs IS NOT NULL THEN format('WITH kept AS MATERIALIZED (SELECT x.parent FROM (%s) x)', pairs) END,
                   part, CASE WHEN pairs IS NOT NULL THEN ' AND NOT EXISTS (SELECT FROM kept WHERE kept.parent = g.ctid)' END)
        INTO places USING deletion, budget;
    RETURN places;
END $$;

-- The condition that none of the rows in the graveyard hangs on a tombstone `p`.
CREATE OR REPLACE FUNCTION reprieve.bare_sql(relid oid, deletion bigint, waiting bigint[], typed boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(format(' AND NOT EXISTS (SELECT FROM %s c WHERE %s)',
        reprieve.key_rows(k, 'c', typed, '', format('g.deletion_id = ANY (%L::bigint[]) AND g.relid = ANY (%L::oid[])', h.ids,
                                                    reprieve.lineage_of((k).conrelid) || reprieve.members_of((k).conrelid))),
        CASE WHEN typed THEN reprieve.key_match((k).con, 'p', 'c')
             ELSE reprieve.values_sql('p', reprieve.key_columns((k).con, 'p')::text[]) || ' = c.key' END), ''), '')
    FROM reprieve.foreign_keys k, reprieve.may_hang(k, deletion, waiting) AS h(ids) WHERE k.confrelid = $1 AND cardinality(h.ids) > 0
$$;

-- Moves tombstones of one deletion and table to the graveyard, at most `budget`, on which no row hangs that stays. Returns how many.
CREATE OR REPLACE FUNCTION reprieve.purge_tombstones(deletion bigint, relid oid, waiting bigint[], whole oid[], typed boolean, budget int) RETURNS bigint
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
    EXECUTE format('SELECT array_agg(q.place) FROM (SELECT p.ctid AS place FROM ONLY %s p WHERE p.deletion_id = $1%s%s LIMIT $2 FOR UPDATE SKIP LOCKED) q',
                   reprieve.qualified(relid), hangs, reprieve.bare_sql(relid, deletion, waiting, typed)) INTO places USING deletion, budget;
    IF places IS NULL THEN
        -- Rows in a circle, or in a long chain: with all that hang on them, if that is all of this deletion and may go. In the graveyard they
        -- wait for what hangs on them there.
        EXECUTE format('SELECT array_agg(q.place) FROM (SELECT p.ctid AS place FROM ONLY %s p WHERE p.deletion_id = $1 AND EXISTS (SELECT FROM reprieve.links l WHERE l.parent = %s)'
                       ' LIMIT $2 FOR UPDATE SKIP LOCKED) q', reprieve.qualified(relid), relid) INTO places USING deletion, budget;
        IF places IS NULL THEN
            RETURN 0;
        END IF;
        closed := reprieve.hanging(relid, places);
        IF EXISTS (SELECT FROM jsonb_object_keys(closed) AS k WHERE k::oid <> ALL (whole) OR NOT reprieve.purge_all_of(k::oid, closed -> k, deletion)) THEN
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

-- Purges at most `budget` rows of a table, or of some of its partitions, that one deletion took: in the graveyard those that satisfy `part`. `tables`: those of which rows of this
-- deletion may go, `whole`: of which all may, `going`: the condition for these rows in the graveyard, `waiting`: deletions of which rows are
-- kept. Returns how many.
DROP FUNCTION IF EXISTS reprieve.purge_part(bigint, oid, oid[], oid[], oid[], text, bigint[], boolean, int);
CREATE OR REPLACE FUNCTION reprieve.purge_part(deletion bigint, relid oid, part text, tables oid[], whole oid[], going text, waiting bigint[], stuck boolean,
                                               budget int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    relids oid[] := CASE WHEN stuck THEN tables ELSE ARRAY[relid] END;
    marked boolean := reprieve.qualified(relid) IS NOT NULL AND reprieve.has_marks(relid);
    places tid[];
    gone bigint;
BEGIN
    BEGIN
        PERFORM reprieve.purge_tombstones(deletion, relid, waiting, whole, true, budget) WHERE marked;
        places := reprieve.purge_free(deletion, part, relids, waiting, going, stuck, true, budget);
    EXCEPTION WHEN OTHERS THEN
        IF NOT reprieve.is_about_rows(SQLSTATE) THEN
            RAISE;
        END IF;
        -- Values that their columns no longer take are compared as they were written down.
        PERFORM reprieve.purge_tombstones(deletion, relid, waiting, whole, false, budget) WHERE marked;
        places := reprieve.purge_free(deletion, part, relids, waiting, going, stuck, false, budget);
    END;
    PERFORM reprieve.purge_note(places);
    DELETE FROM reprieve.graveyard g WHERE g.ctid = ANY (places);
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

DO $$
BEGIN
    IF to_regtype('reprieve.purge_line') IS NULL THEN
        -- What of one deletion and table may go, with what purge_part asks for.
        CREATE TYPE reprieve.purge_line AS (deletion_id bigint, relid oid, leaves oid[], label text, rows bigint, part text, tables oid[], whole oid[], going text);
    END IF;
END $$;

-- What may go of these deletions, of each the children first. What is the same for all of them is asked for once.
CREATE OR REPLACE FUNCTION reprieve.purge_lines(relation oid, ids bigint[], before timestamptz, named boolean) RETURNS SETOF reprieve.purge_line
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH u AS MATERIALIZED (SELECT * FROM reprieve.due_of($1, $2, $3, $4)),
         k AS MATERIALIZED (SELECT * FROM reprieve.depth_of(ARRAY(SELECT DISTINCT t.relid FROM reprieve.deletion_tables t WHERE t.deletion_id = ANY ($2)))),
         f AS MATERIALIZED (SELECT x.relid, x.leaves, reprieve.filed_sql('g', x.relid, x.leaves) AS part FROM (SELECT DISTINCT u.relid, u.leaves FROM u) x)
    SELECT u.deletion_id, u.relid, u.leaves, u.label, u.rows, f.part, array_agg(u.relid) OVER d,
           array_remove(array_agg(CASE WHEN u.leaves IS NULL THEN u.relid END) OVER d, NULL), string_agg(f.part, ' OR ') OVER d
      FROM u JOIN k USING (relid) JOIN f ON f.relid = u.relid AND f.leaves IS NOT DISTINCT FROM u.leaves
    WINDOW d AS (PARTITION BY u.deletion_id) ORDER BY u.deletion_id, k.depth, u.relid, u.leaves
$$;

-- Purges until the budget is used. Returns per table what went, and how many of the rows that it looked at could not go.
CREATE OR REPLACE FUNCTION reprieve.purge_some(relation oid, deletion bigint, before timestamptz, budget int, OUT taken jsonb, OUT waiting bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' AS $$
#variable_conflict use_variable
DECLARE
    ids bigint[];
    kept bigint[];
    id bigint;
    at int := 0;
    locked bigint[];
    lines reprieve.purge_line[];
    own reprieve.purge_line[];
    e reprieve.purge_line;
    n bigint;
    left_over bigint;
    progress boolean;
    stuck boolean;
BEGIN
    taken := '{}';
    waiting := 0;
    WITH u AS MATERIALIZED (SELECT * FROM reprieve.due(relation, deletion, before, deletion IS NOT NULL))
    SELECT ARRAY(SELECT x.deletion_id FROM u x GROUP BY x.deletion_id, x.statement_at ORDER BY x.statement_at, x.deletion_id),
           ARRAY(SELECT DISTINCT t.deletion_id
                   FROM reprieve.deletions d JOIN reprieve.deletion_tables t ON t.deletion_id = d.id
                   LEFT JOIN (SELECT x.deletion_id, x.relid, sum(x.rows) AS rows FROM u x GROUP BY 1, 2) x ON x.deletion_id = t.deletion_id AND x.relid = t.relid
                  WHERE d.statement_at <= (SELECT max(x.statement_at) FROM u x) AND t.rows - t.restored - t.discarded > coalesce(x.rows, 0)) INTO ids, kept;
    FOREACH id IN ARRAY ids LOOP
        IF at % 200 = 0 THEN
            locked := ARRAY(SELECT d.id FROM reprieve.deletions d WHERE d.id = ANY (ids[at + 1:at + 200]) ORDER BY d.id FOR UPDATE SKIP LOCKED);
            lines := ARRAY(SELECT l FROM reprieve.purge_lines(relation, locked, before, deletion IS NOT NULL) l);
        END IF;
        at := at + 1;
        IF id <> ALL (locked) THEN
            kept := kept || id;
            CONTINUE;
        END IF;
        stuck := false;
        own := ARRAY(SELECT l FROM unnest(lines) l WHERE l.deletion_id = id);
        -- Tables until none of them gives anything more: what hung on a row may have gone meanwhile.
        LOOP
            progress := false;
            left_over := 0;
            FOREACH e IN ARRAY own LOOP
                EXIT WHEN budget <= 0;
                n := reprieve.purge_part(id, e.relid, e.part, e.tables, e.whole, e.going, kept, stuck, budget);
                IF n > 0 THEN
                    progress := true;
                    budget := budget - n;
                    taken := jsonb_set(taken, ARRAY[e.label], jsonb_build_object('table', e.label,
                        'deletions', coalesce((taken -> e.label ->> 'deletions')::bigint, 0) + CASE WHEN (taken -> e.label ->> 'last')::bigint = id THEN 0 ELSE 1 END,
                        'rows', coalesce((taken -> e.label ->> 'rows')::bigint, 0) + n, 'last', id));
                END IF;
                left_over := left_over + greatest(e.rows - n, 0);
            END LOOP;
            EXIT WHEN budget <= 0 OR left_over = 0 OR NOT progress AND stuck;
            stuck := NOT progress;
            own := ARRAY(SELECT l FROM reprieve.purge_lines(relation, ARRAY[id], before, deletion IS NOT NULL) l);
        END LOOP;
        EXIT WHEN budget <= 0;
        waiting := waiting + left_over;
        IF left_over > 0 THEN
            kept := kept || id;
        END IF;
        -- References that nobody can put back any more.
        DELETE FROM reprieve.relinks r WHERE r.deletion_id = id AND NOT reprieve.is_held(r.relid)
           AND NOT EXISTS (SELECT FROM reprieve.deletion_tables t WHERE t.deletion_id = id AND t.rows > t.restored + t.discarded);
    END LOOP;
    taken := (SELECT jsonb_agg(v.value - 'last') FROM jsonb_each(taken) AS v);
END $$;

-- One step: a transaction's worth, with its receipt.
CREATE OR REPLACE FUNCTION reprieve.purge_step(relation oid, deletion bigint, before timestamptz, budget int, OUT taken jsonb, OUT waiting bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    total bigint;
    receipt bigint;
    file text;
BEGIN
    PERFORM set_config('reprieve.reconciling', '1', true);
    -- A hold waits for the purge, or the purge for the hold.
    LOCK TABLE reprieve.holds IN SHARE MODE;
    SELECT p.taken, p.waiting INTO taken, waiting FROM reprieve.purge_some(relation, deletion, before, budget) p;
    SELECT sum(l.rows) INTO total FROM jsonb_to_recordset(coalesce(taken, '[]')) AS l(rows bigint);
    IF total > 0 THEN
        receipt := reprieve.receipt('purge', total, jsonb_build_object('before', before, 'tables', taken));
        file := reprieve.purge_write(receipt);
        UPDATE reprieve.receipts r SET result = r.result || jsonb_build_object('file', file) WHERE file IS NOT NULL AND r.id = receipt;
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
    IF isfinite(before) AND before > clock_timestamp() THEN
        RAISE EXCEPTION 'rows cannot be purged before a time that is still to come' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF deletion IS NOT NULL AND NOT EXISTS (SELECT FROM reprieve.deletions d WHERE d.id = deletion) THEN
        RAISE EXCEPTION 'deletion % is not in the ledger', deletion
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    IF dry_run THEN
        SELECT jsonb_agg(jsonb_build_object('table', u.label, 'deletions', u.n, 'rows', u.rows)) INTO taken
          FROM (SELECT max(d.label) AS label, count(DISTINCT d.deletion_id) AS n, sum(d.rows) AS rows FROM reprieve.due(relation, deletion, before, deletion IS NOT NULL) d GROUP BY d.relid) u;
    ELSE
        SELECT p.taken, p.waiting INTO taken, waiting FROM reprieve.purge_step(relation, deletion, before, row_budget) p;
    END IF;
    SELECT coalesce(sum(l.rows), 0) INTO total FROM jsonb_to_recordset(coalesce(taken, '[]')) AS l(rows bigint);
    RETURN QUERY SELECT l."table", l.deletions, l.rows, CASE WHEN dry_run THEN 'WOULD' ELSE 'PURGED' END, ''::text
      FROM jsonb_to_recordset(coalesce(taken, '[]')) AS l("table" text, deletions bigint, rows bigint) ORDER BY 1;
    RETURN QUERY SELECT '(all)', (SELECT count(DISTINCT d.deletion_id) FROM reprieve.due(relation, deletion, before, deletion IS NOT NULL) d), total,
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
    IF reprieve.setting('retention.purge') IS DISTINCT FROM 'on' OR NOT EXISTS (SELECT FROM reprieve.due(NULL, NULL, NULL, false) LIMIT 1)
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
