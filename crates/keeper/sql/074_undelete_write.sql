-- The writing half of UNDELETE: tombstones are lifted, graveyard rows inserted, references put back.
-- All of it runs inside reprieve.undelete(), which has judged rights, locked the ledger rows and
-- looked for conflicts. $1 is the array of deletion ids, $2 the running act.

-- The INSERT that remembers the rows of `source` as restored: leaf, tid, deletion_id, cause, name. Of many deletions, whose rows may come
-- in any order, it sorts them.
DROP FUNCTION IF EXISTS reprieve.restored_sql(text);
CREATE OR REPLACE FUNCTION reprieve.restored_sql(source text, many boolean DEFAULT false) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('INSERT INTO reprieve.restored (relid, filenode, deletion_id, cause, tids, names)'
                  ' SELECT s.leaf, pg_catalog.pg_relation_filenode(s.leaf), s.deletion_id, s.cause, array_agg(s.tid), array_agg(s.name)'
                  ' FROM (SELECT b.*, row_number() OVER (%s) / 1000 AS line FROM %s b) s'
                  ' GROUP BY s.leaf, s.deletion_id, s.cause, s.line', CASE WHEN many THEN 'PARTITION BY b.leaf, b.deletion_id' ELSE '' END, source)
$$;

-- Lifts the tombstones of these deletions in a table, or, NULL, the picked ones, and remembers them. Returns how many.
DROP FUNCTION IF EXISTS reprieve.undelete_lift(oid, bigint[], xid8, bigint);
CREATE OR REPLACE FUNCTION reprieve.undelete_lift(table_id oid, act xid8, deletions bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target text := reprieve.from_clause(table_id);
    is_one boolean := cardinality(deletions) = 1;
    lifted bigint;
BEGIN
    EXECUTE format('WITH back AS (UPDATE %s t SET deleted_at = NULL, deletion_id = NULL%s'
                   ' RETURNING t.tableoid AS leaf, t.ctid AS tid, %s AS deletion_id, NULL::text AS cause, %s AS name),'
                   ' noted AS (%s) SELECT count(*) FROM back', target,
                   CASE WHEN is_one THEN ' WHERE t.deletion_id = $2[1]'
                        -- To itself: RETURNING knows no old value before PostgreSQL 18.
                        WHEN deletions IS NOT NULL THEN format(
                            ' FROM (SELECT o.ctid AS tid, o.deletion_id FROM %s o WHERE o.deletion_id = ANY ($2)) k'
                            ' WHERE k.tid = t.ctid AND k.deletion_id = t.deletion_id', target)
                        ELSE ' FROM reprieve.undelete_picks k WHERE k.act = $1 AND k.source = ''t'' AND k.relid = t.tableoid AND k.tid = t.ctid'
                             ' AND k.blocked IS NULL AND t.deletion_id = ANY (ARRAY(SELECT DISTINCT x.deletion_id FROM reprieve.undelete_picks x WHERE x.act = $1))' END,
                   CASE WHEN is_one THEN '$2[1]' ELSE 'k.deletion_id' END,
                   reprieve.row_name(table_id, 't'), reprieve.restored_sql('back', NOT coalesce(is_one, false)))
        INTO lifted USING act, deletions;
    RETURN lifted;
END $$;

-- Counts the rows about to come back in the ledger and lifts the tombstones of one table.
CREATE OR REPLACE FUNCTION reprieve.undelete_marks(table_id oid, ids bigint[], act xid8, picked boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    expected bigint;
    written bigint;
    more bigint;
    deletions bigint[];
BEGIN
    -- In one statement: there may be a million deletions. A marked table has no parts, so the ledger knows it by itself.
    EXECUTE format('WITH found AS (%s),'
                   ' counted AS (UPDATE reprieve.deletion_tables d SET restored = d.restored + f.n'
                   '             FROM found f WHERE d.deletion_id = f.deletion_id AND d.relid = $3)'
                   ' SELECT coalesce(sum(f.n), 0), array_agg(f.deletion_id) FROM found f',
                   CASE WHEN picked THEN
                       'SELECT k.deletion_id, count(*) AS n FROM reprieve.undelete_picks k'
                       ' WHERE k.act = $2 AND k.relid = $3 AND k.source = ''t'' AND k.blocked IS NULL GROUP BY 1'
                   ELSE format('SELECT t.deletion_id, count(*) AS n FROM %s t WHERE %s GROUP BY 1',
                               reprieve.from_clause(table_id), reprieve.chosen('t', table_id, 't', false))
                   END) INTO expected, deletions USING ids, act, table_id;
    IF expected = 0 THEN
        RETURN 0;
    END IF;
    written := reprieve.undelete_lift(table_id, act, CASE WHEN picked THEN NULL ELSE deletions END);
    -- Tombstones that somebody moved meanwhile (the key of a live parent changed) lie elsewhere now.
    WHILE NOT picked AND written < expected LOOP
        more := reprieve.undelete_lift(table_id, act, deletions);
        EXIT WHEN more = 0;
        written := written + more;
    END LOOP;
    IF written <> expected THEN
        RAISE EXCEPTION 'rows of % changed while they were being restored', table_id::regclass
            USING ERRCODE = 'serialization_failure', HINT = 'Nothing was restored. Run it again.';
    END IF;
    RETURN written;
END $$;

-- Adds n to what of a deletion was restored. The ledger knows the leaf or, where the statement named
-- the root, the root.
CREATE OR REPLACE FUNCTION reprieve.undelete_count(deletion bigint, leaf oid, n bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE reprieve.deletion_tables d SET restored = d.restored + n
     WHERE d.deletion_id = deletion
       AND d.relid = (SELECT e.relid FROM reprieve.deletion_tables e
                       WHERE e.deletion_id = deletion AND e.relid IN (leaf, reprieve.root_of(leaf))
                       ORDER BY (e.relid = leaf) DESC, e.rows - e.restored DESC LIMIT 1)
$$;

-- SQL that moves the graveyard rows with one column list back into their table: a DELETE, an INSERT and
-- the INSERT that remembers them as CTEs. Columns of ours, generated ones and those that are no more are left out.
-- What is inserted comes out in the order in which it went in.
CREATE OR REPLACE FUNCTION reprieve.undelete_insert(table_id oid, list text[], i int, chosen text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(
        'd%1$s AS (DELETE FROM reprieve.graveyard g WHERE %2$s AND g.columns = %3$L::pg_catalog.text[]'
        ' RETURNING g.deletion_id, g.relid, g.data, g.cause),'
        ' i%1$s AS (INSERT INTO %4$s AS t%5$s OVERRIDING SYSTEM VALUE SELECT %6$s FROM d%1$s'
        ' RETURNING t.tableoid AS leaf, t.ctid AS tid, %7$s AS name),'
        ' r%1$s AS (%8$s)',
        i, chosen, list, table_id::regclass,
        coalesce('(' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')', ''),
        string_agg(reprieve.grave_column('d' || i, table_id, a.attname, list), ', ' ORDER BY a.attnum),
        reprieve.row_name(table_id, 't'),
        -- Not joined by number: of the graveyard, which nobody may have analyzed, the planner expects a row.
        reprieve.restored_sql(format('(SELECT u.* FROM (SELECT array_agg(i.leaf) AS leaves, array_agg(i.tid) AS tids, array_agg(i.name) AS names FROM i%1$s i) x,'
            ' (SELECT array_agg(d.deletion_id) AS ids, array_agg(d.cause) AS causes FROM d%1$s d) y,'
            ' unnest(x.leaves, x.tids, y.ids, y.causes, x.names) AS u(leaf, tid, deletion_id, cause, name))', i)))
      FROM pg_attribute a
     WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       AND a.attname = ANY (list)
       AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND reprieve.has_marks(table_id))
$$;

-- Moves all chosen graveyard rows back, in ONE statement: PostgreSQL checks foreign keys at its end,
-- so parents, self references and cycles need no order.
CREATE OR REPLACE FUNCTION reprieve.undelete_graves(ids bigint[], act xid8, picked boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    list text[];
    ctes text[] := '{}';
    results text[] := '{}';
    statement text;
    moved record;
BEGIN
    -- Parents first: a parent that comes may evict a tombstone, and no child may refer to that yet.
    FOR t IN SELECT o.relid FROM reprieve.undelete_order($2) o ORDER BY o.above, o.relid LOOP
        FOR list IN EXECUTE format('SELECT DISTINCT g.columns FROM reprieve.graveyard g WHERE %s',
                                   reprieve.chosen('g', t.relid, 'g', picked)) USING ids, act LOOP
            ctes := ctes || reprieve.undelete_insert(t.relid, list, cardinality(ctes), reprieve.chosen('g', t.relid, 'g', picked));
            results := results || format(
                'SELECT %1$s::pg_catalog.oid AS root, d.deletion_id, d.relid, pg_catalog.count(*) AS n,'
                ' (SELECT pg_catalog.count(*) FROM i%2$s) AS written, (SELECT pg_catalog.count(*) FROM d%2$s) AS expected'
                ' FROM d%2$s d GROUP BY d.deletion_id, d.relid', t.relid, cardinality(results));
        END LOOP;
    END LOOP;
    IF cardinality(ctes) = 0 THEN
        RETURN;
    END IF;
    statement := format('WITH %s %s', array_to_string(ctes, ', '), array_to_string(results, ' UNION ALL '));
    FOR moved IN EXECUTE statement USING ids, act LOOP
        IF moved.written <> moved.expected THEN
            RAISE EXCEPTION 'table % took % of % rows', moved.root::regclass, moved.written, moved.expected
                USING ERRCODE = 'RV011', HINT = 'Something in the table swallows inserts. Nothing was restored.';
        END IF;
        PERFORM reprieve.undelete_count(moved.deletion_id, moved.relid, moved.n);
        UPDATE reprieve.undelete_tables w SET restored = w.restored + moved.n WHERE w.act = $2 AND w.relid = moved.root;
    END LOOP;
END $$;

-- True for errors that a row itself causes: by its values, or in what its table's owner lets run for each row.
CREATE OR REPLACE FUNCTION reprieve.is_about_rows(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT state !~ '^(25|40|53|54|57|58|RV|XX)' AND state NOT IN ('55P03', '42501')
$$;

-- Inserts graveyard rows of one table and column list, and of those that do not go in together each half by itself, down to the single rows
-- that the table does not take, with the reasons. Rows that merely miss a parent are `orphans`: it may come with others.
CREATE OR REPLACE FUNCTION reprieve.undelete_try(root oid, statement text, places tid[], OUT refused tid[], OUT reasons text[], OUT orphans tid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    message text;
    constraint_name text;
    detail text;
    middle int := cardinality(places) / 2;
    half record;
BEGIN
    refused := '{}';
    reasons := '{}';
    orphans := '{}';
    BEGIN
        EXECUTE statement USING places;
        RETURN;
    EXCEPTION
        WHEN foreign_key_violation THEN
            IF middle = 0 THEN
                orphans := places;
                RETURN;
            END IF;
        WHEN OTHERS THEN
            IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            IF middle = 0 THEN
                GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, constraint_name = CONSTRAINT_NAME, detail = PG_EXCEPTION_DETAIL;
                IF SQLSTATE IN ('23505', '23P01') THEN
                    message := format('its key is taken: constraint %s, %s', quote_ident(constraint_name),
                        coalesce('live row ' || (SELECT reprieve.key_holder(root, constraint_name, g.columns, g.data) FROM reprieve.graveyard g WHERE g.ctid = places[1]), detail));
                END IF;
                refused := places;
                reasons := ARRAY[message];
                RETURN;
            END IF;
    END;
    FOR half IN SELECT t.* FROM (VALUES (1, places[:middle]), (2, places[middle + 1:])) AS h(i, part),
                     LATERAL reprieve.undelete_try(root, statement, h.part) t ORDER BY h.i LOOP
        refused := refused || half.refused;
        reasons := reasons || half.reasons;
        orphans := orphans || half.orphans;
    END LOOP;
END $$;

-- The tables among these that have rows in the graveyard to restore, and how many others each depends on: parents have less than their children.
CREATE OR REPLACE FUNCTION reprieve.undelete_order(act xid8) RETURNS TABLE (relid oid, above bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE own AS MATERIALIZED (
        SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $1 AND w.graves > 0 AND NOT w.gone
    ), up(child, parent) AS (
        SELECT f.child_root, f.parent_root FROM own JOIN reprieve.foreign_keys f ON f.child_root = own.relid
        UNION SELECT u.child, f.parent_root FROM up u JOIN reprieve.foreign_keys f ON f.child_root = u.parent
    ) SELECT own.relid, (SELECT count(*) FROM up u WHERE u.child = own.relid) FROM own
$$;

-- Tries the picked graveyard rows after a set of them failed, blocks those that the table does not take, and undoes the trial. Returns how
-- many it blocked. Rows that merely miss a parent are left to the foreign key check, as that parent may come with them. Later deletions come
-- first: of two versions of a row with one key the last one is the one to have.
CREATE OR REPLACE FUNCTION reprieve.undelete_trial(ids bigint[], act xid8) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    run record;
    tried record;
    places tid[] := '{}';
    reasons text[] := '{}';
    waiting tid[];
    orphans tid[];
    before int;
BEGIN
    BEGIN
        PERFORM reprieve.undelete_quiet(act), reprieve.undelete_defer(act, false);
        FOR t IN SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.marked LOOP
            EXECUTE format('UPDATE %s t SET deleted_at = NULL, deletion_id = NULL WHERE %s', reprieve.from_clause(t.relid),
                           reprieve.chosen('t', t.relid, 't', true)) USING ids, act;
        END LOOP;
        SELECT array_agg(k.tid) INTO waiting FROM reprieve.undelete_picks k WHERE k.act = $2 AND k.source = 'g' AND k.blocked IS NULL;
        before := -1;
        WHILE cardinality(waiting) <> before AND cardinality(waiting) > 0 LOOP
            before := cardinality(waiting);
            orphans := '{}';
            -- Rows of one table and column list that follow each other.
            FOR run IN SELECT min(r.root) AS root, min(r.columns) AS columns, array_agg(r.tid ORDER BY r.i) AS places FROM (
                           SELECT o.*, count(*) FILTER (WHERE o.changed) OVER (ORDER BY o.i) AS part FROM (
                               SELECT x.*, (x.root, x.columns) IS DISTINCT FROM (lag(x.root) OVER w, lag(x.columns) OVER w) AS changed FROM (
                                   SELECT y.ctid AS tid, y.columns, l.root, row_number() OVER (ORDER BY u.above, l.root, y.deletion_id DESC, y.columns, y.ctid) AS i
                                     FROM unnest(waiting) AS p(tid) JOIN reprieve.graveyard y ON y.ctid = p.tid
                                     JOIN (SELECT DISTINCT k.relid, reprieve.root_of(k.relid) AS root FROM (
                                               SELECT DISTINCT q.relid FROM reprieve.undelete_picks q WHERE q.act = $2 AND q.source = 'g' OFFSET 0) k) l ON l.relid = y.relid
                                     LEFT JOIN reprieve.undelete_order($2) u ON u.relid = l.root) x
                               WINDOW w AS (ORDER BY x.i)) o) r GROUP BY r.part ORDER BY r.part LOOP
                SELECT * INTO tried FROM reprieve.undelete_try(run.root,
                    'WITH ' || reprieve.undelete_insert(run.root, run.columns, 0, 'g.ctid = ANY ($1)') || ' SELECT', run.places);
                places := places || tried.refused;
                reasons := reasons || tried.reasons;
                orphans := orphans || tried.orphans;
            END LOOP;
            waiting := orphans;
        END LOOP;
        RAISE EXCEPTION USING ERRCODE = 'RV019', MESSAGE = 'the trial is over';
    EXCEPTION WHEN SQLSTATE 'RV019' THEN
        NULL;
    END;
    UPDATE reprieve.undelete_picks k SET blocked = u.reason
      FROM unnest(places, reasons) AS u(tid, reason)
     WHERE k.act = $2 AND k.source = 'g' AND k.tid = u.tid;
    RETURN cardinality(places);
END $$;

-- The live row that holds a key which a graveyard row wants, as (id)=(5); NULL if it cannot be told.
CREATE OR REPLACE FUNCTION reprieve.key_holder(table_id oid, index_name text, columns text[], data text[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    key record;
    holder text;
BEGIN
    SELECT k.condition, c.relname INTO key FROM reprieve.keys(table_id) k JOIN pg_class c ON c.oid = k.index_oid
     WHERE c.relname = index_name;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT %s FROM (SELECT %s FROM (SELECT $1 AS columns, $2 AS data) g) AS new, %s t WHERE %s LIMIT 1',
                   reprieve.row_name(table_id, 't'),
                   (SELECT string_agg(CASE WHEN a.attname = ANY (columns) THEN reprieve.grave_column('g', table_id, a.attname, columns)
                                           ELSE format('NULL::%s', format_type(a.atttypid, -1)) END || format(' AS %I', a.attname), ', ')
                      FROM pg_attribute a WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped),
                   reprieve.from_clause(table_id), key.condition)
        INTO holder USING columns, data;
    RETURN holder;
EXCEPTION WHEN OTHERS THEN
    -- Only the wording of a report hangs on it.
    RETURN NULL;
END $$;

-- Puts back references that SET NULL or SET DEFAULT took, where the row still has what the action wrote and the row referred to is live, and
-- is the one that was deleted then. Later deletions first: each finds what it wrote itself.
CREATE OR REPLACE FUNCTION reprieve.undelete_relinks(ids bigint[], act xid8, report boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
    wanted bigint;
    done bigint;
BEGIN
    FOR r IN SELECT l.deletion_id, l.relid, l.key_columns, l.columns, count(*) AS n, reprieve.root_of(l.relid) AS root,
                    c.oid IS NULL AS gone
               FROM reprieve.relinks l LEFT JOIN pg_class c ON c.oid = l.relid
              WHERE l.deletion_id = ANY (ids)
              GROUP BY 1, 2, 3, 4, c.oid ORDER BY 1 DESC, 2 LOOP
        wanted := r.n;
        done := 0;
        IF NOT r.gone AND NOT EXISTS (SELECT FROM unnest(r.key_columns || r.columns) AS u(c) WHERE NOT EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = r.relid AND a.attname = u.c AND NOT a.attisdropped)) THEN
            done := reprieve.undelete_relink(r.deletion_id, r.relid, r.key_columns, r.columns, true, false);
            IF done < wanted THEN
                done := done + reprieve.undelete_relink(r.deletion_id, r.relid, r.key_columns, r.columns, false, wanted - done > 1000);
            END IF;
        END IF;
        PERFORM reprieve.undelete_add_table(r.root, act) WHERE NOT r.gone;
        UPDATE reprieve.undelete_tables w
           SET relinked = w.relinked + done,
               skipped = w.skipped + CASE WHEN report THEN wanted - done ELSE 0 END,
               notes = w.notes || CASE WHEN report AND wanted > done THEN ARRAY[format(
                   '%s reference(s) in (%s) not put back: the row changed since, or its parent is not live, or another row has the key of one of them',
                   wanted - done, array_to_string(r.columns, ', '))] ELSE '{}' END
         WHERE w.act = $2 AND w.relid = r.root;
    END LOOP;
END $$;

-- Puts back the references of one group; `came`: those to parents that this undelete has brought back, or else those to parents that came back
-- before. Returns how many. `many`: as in undelete_orphans.
CREATE OR REPLACE FUNCTION reprieve.undelete_relink(deletion bigint, table_id oid, key_columns text[], set_columns text[], came boolean, many boolean)
RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done bigint;
    leaves oid[];
    places tid[];
    tids tid[];
    statement text := reprieve.relink_sql(table_id, key_columns, set_columns, came);
    nested text := current_setting('enable_nestloop');
BEGIN
    PERFORM set_config('enable_nestloop', CASE WHEN many THEN 'off' ELSE nested END, true);
    EXECUTE statement INTO done, leaves, places, tids USING deletion, table_id, key_columns, set_columns;
    PERFORM set_config('enable_nestloop', nested, true);
    PERFORM reprieve.undelete_moved(leaves, places, tids) WHERE done > 0;
    RETURN done;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR undefined_object OR undefined_table THEN
    IF came THEN
        RAISE;
    END IF;
    -- Rows in the bin that do not fit their table any more: nobody knows whether one of them is the parent.
    RETURN 0;
END $$;

-- Rows that this undelete has written before, and has written again, lie elsewhere now.
CREATE OR REPLACE FUNCTION reprieve.undelete_moved(leaves oid[], places tid[], tids tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
BEGIN
    UPDATE reprieve.restored r SET tids = ARRAY(SELECT coalesce(u.tid, x.tid) FROM unnest(r.tids) WITH ORDINALITY AS x(tid, i)
           LEFT JOIN unnest($1, $2, $3) AS u(leaf, place, tid) ON u.place = x.tid AND u.leaf = r.relid ORDER BY x.i)
     WHERE r.act IS NULL AND r.xid = pg_current_xact_id() AND r.relid = ANY ($1) AND r.tids && $2;
    UPDATE reprieve.relinked r SET tid = u.tid FROM unnest($1, $2, $3) AS u(leaf, place, tid)
     WHERE r.act IS NULL AND r.xid = pg_current_xact_id() AND r.leaf = u.leaf AND r.tid = u.place;
END $$;

-- The condition that the parent of `n` by a foreign key is the row that deletion $1 took, and not another one with its key. It is, if this
-- undelete brought it back (`came`, see relink_sql). If it came back before, nobody knows for sure which row it is; but it is no other one as
-- long as all that the deletion took of its table is accounted for, and no row with the key is in the bin.
CREATE OR REPLACE FUNCTION reprieve.same_parent(k reprieve.foreign_keys, came boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    tree oid[] := reprieve.tree_of(k.confrelid);
BEGIN
    IF came THEN
        -- IS TRUE: looked up in memory; as a join the planner, who expects few rows, would compare each with each.
        RETURN format('EXISTS (SELECT FROM %s p WHERE %s AND ((p.tableoid, p.ctid) IN (SELECT c.leaf, c.tid FROM came c WHERE c.deletion_id = $1)) IS TRUE)',
                      reprieve.from_clause(k.confrelid), reprieve.key_match(k.con, 'p', 'n'));
    END IF;
    RETURN format('(EXISTS (SELECT FROM reprieve.deletion_tables d WHERE d.deletion_id = $1 AND d.relid = ANY (%1$L::oid[]) AND d.restored > 0)'
                  ' AND NOT EXISTS (SELECT FROM reprieve.deletion_tables d WHERE d.deletion_id = $1 AND d.relid = ANY (%1$L::oid[]) AND d.discarded > 0)'
                  ' AND NOT EXISTS (SELECT FROM %2$s p WHERE %3$s))', tree,
                  reprieve.key_rows(k, 'p', true, '', format('g.deletion_id >= $1 AND g.relid = ANY (%L::oid[])', tree)), reprieve.key_match(k.con, 'p', 'n'));
END $$;

-- The statement that puts references back, remembers where, and forgets what was to be put back. $1 deletion, $2 table, $3 key columns, $4 changed
-- columns. `came` has the rows that this undelete brought back; `others` the keys of rows that were deleted later: of a row that has such a key
-- nobody knows whether it is the one that lost the reference.
DROP FUNCTION IF EXISTS reprieve.relink_sql(oid, text[], text[]);
CREATE OR REPLACE FUNCTION reprieve.relink_sql(table_id oid, key_columns text[], set_columns text[], came boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    has_key boolean := reprieve.primary_key(table_id)::text[] = key_columns;
    was text := (SELECT string_agg(', ' || CASE WHEN a.attname = ANY (set_columns)
                                                THEN reprieve.read_as(format('l.old_data[%s]', array_position(set_columns, a.attname::text)), a.atttypid)
                                                ELSE format('t.%I', a.attname) END || format(' AS %I', a.attname), '')
                   FROM pg_attribute a WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped);
    found text;
    conditions text;
BEGIN
    IF has_key THEN
        -- The key was noted before the action wrote: a changed column that is part of it is looked for as written.
        SELECT string_agg(CASE WHEN c <> ALL (set_columns) THEN
                              reprieve.equal_sql(a.atttypid, format('t.%I', c), reprieve.read_as(format('l.key_data[%s]', i), a.atttypid)) END, ' AND ')
          INTO found
          FROM unnest(key_columns) WITH ORDINALITY AS u(c, i)
          JOIN pg_attribute a ON a.attrelid = table_id AND a.attname = u.c AND NOT a.attisdropped;
        found := concat_ws(' AND ', found,
            (SELECT string_agg(format('ROW(t.%I)::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(%s)::pg_catalog.record', c,
                                      reprieve.read_as(format('l.new_data[%s]', i), a.atttypid)), ' AND ')
               FROM unnest(set_columns) WITH ORDINALITY AS u(c, i)
               JOIN pg_attribute a ON a.attrelid = table_id AND a.attname = u.c AND NOT a.attisdropped));
        found := format('(SELECT t.ctid AS reprieve_place, t.tableoid AS reprieve_leaf, l.ctid AS reprieve_entry, l.key_data AS reprieve_key%s'
                        ' FROM %s t JOIN reprieve.relinks l ON %s'
                        ' WHERE l.deletion_id = $1 AND l.relid = $2 AND l.key_columns = $3 AND l.columns = $4 FOR UPDATE OF t)',
                        was, reprieve.from_clause(table_id), found);
        conditions := '(n.reprieve_key NOT IN (SELECT o.key FROM others o) OR (n.reprieve_leaf, n.reprieve_place) IN (SELECT c.leaf, c.tid FROM came c))';
    ELSE
        -- Of rows that look the same now each gets back a reference of its own.
        found := reprieve.pairs_sql(key_columns, set_columns, 'new_data', reprieve.from_clause(table_id), 'true', reprieve.text_sql('t'), was);
    END IF;
    -- Of several keys of the same columns one set them to null; to which of the rows referred to that was due only the others tell.
    SELECT concat_ws(' AND ', conditions,
                     string_agg(format('EXISTS (SELECT FROM %s p WHERE %s%s)', reprieve.from_clause(k.confrelid), reprieve.key_match(k.con, 'p', 'n'),
                                       CASE WHEN reprieve.has_marks(k.confrelid) THEN ' AND p.deleted_at IS NULL' ELSE '' END), ' AND '),
                     '(' || string_agg(reprieve.same_parent(k, came), ' OR ') || ')')
      INTO conditions
      FROM reprieve.foreign_keys k
     WHERE k.conrelid = table_id AND reprieve.key_columns(k.con, 'c')::text[] && set_columns
       AND reprieve.key_columns(k.con, 'c')::text[] @> set_columns;
    RETURN format(
        'WITH came AS MATERIALIZED (SELECT r.relid AS leaf, x.tid, r.deletion_id FROM reprieve.restored r, unnest(r.tids) AS x(tid)'
        ' WHERE r.act IS NULL AND r.xid = pg_catalog.pg_current_xact_id()),'
        ' others AS MATERIALIZED (SELECT DISTINCT %5$s AS key FROM reprieve.graveyard g WHERE g.relid = ANY (%6$L::oid[]) AND g.deletion_id > $1),'
        ' n AS %1$s,'
        ' u AS (UPDATE %2$s t SET %3$s FROM n WHERE t.ctid = n.reprieve_place AND t.tableoid = n.reprieve_leaf AND %4$s'
        ' RETURNING n.reprieve_entry AS entry, n.reprieve_place AS place, t.tableoid AS leaf, t.ctid AS tid),'
        ' d AS (DELETE FROM reprieve.relinks l USING (SELECT DISTINCT ON (u.entry) u.* FROM u) AS u WHERE l.ctid = u.entry'
        ' RETURNING l AS link, u.leaf, u.tid),'
        ' r AS (INSERT INTO reprieve.relinked (leaf, filenode, tid, link)'
        ' SELECT d.leaf, pg_catalog.pg_relation_filenode(d.leaf), d.tid, d.link FROM d)'
        ' SELECT pg_catalog.count(DISTINCT entry), pg_catalog.array_agg(u.leaf), pg_catalog.array_agg(u.place), pg_catalog.array_agg(u.tid) FROM u',
        found, reprieve.from_clause(table_id),
        (SELECT string_agg(format('%1$I = n.%1$I', c), ', ') FROM unnest(set_columns) AS c),
        coalesce(nullif(conditions, ''), 'true'), reprieve.image_sql(key_columns, 'g.data[array_position(g.columns, %L)]'), reprieve.tree_of(table_id));
END $$;

-- Turns off the users' own triggers that restoring would fire, and returns the commands that turn
-- them on again. Such tables are locked against writes until the transaction ends; tables without
-- such triggers are not. There is no lighter way without a superuser.
CREATE OR REPLACE FUNCTION reprieve.undelete_quiet(act xid8) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    again text[] := '{}';
BEGIN
    FOR t IN SELECT r.rulename, w.label FROM reprieve.undelete_tables w JOIN pg_rewrite r
                 ON r.ev_class = ANY (reprieve.members_of(w.relid)) AND r.ev_enabled IN ('O', 'A')
              WHERE w.act = $1 AND (r.ev_type = '3' AND w.graves > 0 OR r.ev_type = '2' AND w.tombstones + w.relinks > 0) LOOP
        RAISE EXCEPTION 'cannot undelete into %: rule % would act on it', t.label, quote_ident(t.rulename)
            USING ERRCODE = 'RV012', HINT = format('ALTER TABLE %s DISABLE RULE %I; and enable it again afterwards.', t.label, t.rulename);
    END LOOP;
    FOR t IN SELECT g.tgname, g.tgenabled, c.oid::regclass AS name
               FROM reprieve.undelete_tables w
               JOIN pg_class c ON c.oid = ANY (reprieve.members_of(w.relid))
               JOIN pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
               JOIN pg_proc p ON p.oid = g.tgfoid AND p.pronamespace <> 'reprieve'::regnamespace
              WHERE w.act = $1
                -- pg_trigger.tgtype: 4 INSERT, 16 UPDATE.
                AND (g.tgtype & 4 <> 0 AND w.graves > 0
                     OR g.tgtype & 16 <> 0 AND w.relinks > 0
                     OR g.tgtype & 16 <> 0 AND w.tombstones > 0
                        AND (g.tgattr = ''::int2vector OR EXISTS (
                            SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (g.tgattr::int2[])
                               AND a.attname IN ('deleted_at', 'deletion_id'))))
              ORDER BY c.oid, g.tgname LOOP
        EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', t.name, t.tgname);
        again := again || format('ALTER TABLE ONLY %s ENABLE %sTRIGGER %I', t.name,
                                 CASE t.tgenabled WHEN 'A' THEN 'ALWAYS ' ELSE '' END, t.tgname);
    END LOOP;
    RETURN again;
END $$;

-- Writes what is to be restored: whole deletions, or the rows picked.
CREATE OR REPLACE FUNCTION reprieve.undelete_write(ids bigint[], act xid8, picked boolean, report boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    n bigint;
    command text;
    again text[] := reprieve.undelete_quiet(act);
BEGIN
    FOR t IN SELECT w.relid FROM reprieve.undelete_tables w WHERE w.act = $2 AND w.marked AND w.tombstones > 0 ORDER BY w.relid LOOP
        n := reprieve.undelete_marks(t.relid, ids, act, picked);
        UPDATE reprieve.undelete_tables w SET restored = w.restored + n WHERE w.act = $2 AND w.relid = t.relid;
    END LOOP;
    PERFORM reprieve.undelete_graves(ids, act, picked);
    PERFORM reprieve.undelete_relinks(ids, act, report);
    -- Now, not at COMMIT: what is reported must hold, and ALTER TABLE refuses while checks are pending.
    PERFORM reprieve.undelete_defer(act, false);
    FOREACH command IN ARRAY again LOOP
        EXECUTE command;
    END LOOP;
    PERFORM reprieve.undelete_defer(act, true);
END $$;

-- Checks the deferrable constraints of the tables restored into, and foreign keys to them, at once, or puts those off again that are
-- INITIALLY DEFERRED. Until then PostgreSQL lets nobody alter such a table: its triggers are pending.
CREATE OR REPLACE FUNCTION reprieve.undelete_defer(act xid8, deferred boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list text;
BEGIN
    SELECT string_agg(DISTINCT format('%I.%I', n.nspname, x.conname), ', ') INTO list
      FROM reprieve.undelete_tables w
      JOIN pg_constraint x ON (x.conrelid = ANY (reprieve.members_of(w.relid)) OR x.contype = 'f' AND x.confrelid = ANY (reprieve.members_of(w.relid)))
                           AND x.condeferrable AND (x.condeferred OR NOT deferred)
      JOIN pg_namespace n ON n.oid = x.connamespace
     WHERE w.act = $1 AND w.graves + w.relinks > 0;
    IF list IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s %s', list, CASE WHEN deferred THEN 'DEFERRED' ELSE 'IMMEDIATE' END);
    END IF;
END $$;
