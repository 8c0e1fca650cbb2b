-- Referential actions of marked rows, as PostgreSQL's own triggers would do them, but set by set.
--
-- READ COMMITTED: exact, with two limits. A row inserted and marked within one transaction holds its key for a
-- concurrent INSERT of the same key until it commits, and then makes it fail (23505); a statement that marks a row
-- and inserts its key again while live NO ACTION children remain fails early. Such statements should be sent as DELETE.
-- Above READ COMMITTED the rows leave the table and PostgreSQL's own triggers act (bury_marked); tombstones
-- that others made since the snapshot may raise 40001 or 23503 where plain PostgreSQL finds nothing.

DO $$
BEGIN
    IF to_regtype('reprieve.work') IS NULL THEN
        -- Rows of one table whose foreign keys are still to be followed: those at `rows`, or, if that is NULL, all
        -- that the deletion has marked.
        CREATE TYPE reprieve.work AS (relid oid, rows tid[]);
    END IF;
END $$;

-- Whether the client may be told the values of a key: as PostgreSQL asks it, not where row security hides rows from them.
-- Whoever calls it is the keeper, so the client is the role of the session.
CREATE OR REPLACE FUNCTION reprieve.may_see_key(relation oid, columns text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (NOT c.relrowsecurity OR r.rolsuper OR r.rolbypassrls
            OR NOT c.relforcerowsecurity AND pg_has_role(r.oid, c.relowner, 'USAGE'))
       AND (has_table_privilege(r.oid, c.oid, 'SELECT')
            OR (SELECT bool_and(has_column_privilege(r.oid, c.oid, k, 'SELECT')) FROM unnest(columns) AS k))
    FROM pg_class c, pg_roles r
    WHERE c.oid = relation
      AND r.rolname = CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END
$$;

-- PostgreSQL's own error for a parent that is still referenced.
CREATE OR REPLACE FUNCTION reprieve.raise_referenced(link reprieve.links, key text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    restricts boolean := link.action = 'r' AND current_setting('server_version_num')::int >= 180000;
    parent_name text := (SELECT relname FROM pg_class WHERE oid = link.parent);
    child record;
BEGIN
    SELECT c.relname, n.nspname INTO child
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = link.child;
    RAISE EXCEPTION USING
        ERRCODE = CASE WHEN restricts THEN '23001' ELSE '23503' END,
        MESSAGE = format(CASE WHEN restricts
            THEN 'update or delete on table "%s" violates RESTRICT setting of foreign key constraint "%s" on table "%s"'
            ELSE 'update or delete on table "%s" violates foreign key constraint "%s" on table "%s"' END,
            parent_name, link.name, child.relname),
        DETAIL = format(CASE WHEN restricts THEN 'Key%s is referenced from table "%s".'
                             ELSE 'Key%s is still referenced from table "%s".' END,
            CASE WHEN reprieve.may_see_key(link.parent, link.parent_columns) THEN
                format(' (%s)=(%s)', array_to_string(link.parent_columns, ', '), array_to_string(key, ', ', 'null')) END,
            child.relname),
        SCHEMA = child.nspname, TABLE = child.relname, CONSTRAINT = link.name;
END $$;

-- PostgreSQL's own error for a row whose parent is not there.
CREATE OR REPLACE FUNCTION reprieve.raise_absent(link reprieve.links, key text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent_name text := (SELECT relname FROM pg_class WHERE oid = link.parent);
    child record;
BEGIN
    SELECT c.relname, n.nspname INTO child
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = link.child;
    RAISE EXCEPTION USING ERRCODE = '23503',
        MESSAGE = format('insert or update on table "%s" violates foreign key constraint "%s"', child.relname, link.name),
        DETAIL = format('Key%s is not present in table "%s".',
            CASE WHEN reprieve.may_see_key(link.child, link.child_columns) THEN
                format(' (%s)=(%s)', array_to_string(link.child_columns, ', '), array_to_string(key, ', ', 'null')) END,
            parent_name),
        SCHEMA = child.nspname, TABLE = child.relname, CONSTRAINT = link.name;
END $$;

-- Values of columns as a text array, as their types' output functions print them under the settings in force.
CREATE OR REPLACE FUNCTION reprieve.values_sql(alias text, columns text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT 'ARRAY[' || string_agg(format('CASE WHEN %1$s.%2$I IS DISTINCT FROM NULL THEN pg_catalog.format(''%%s'', %1$s.%2$I) END',
                                                 alias, c), ', ' ORDER BY place) || ']::pg_catalog.text[]'
            FROM unnest(columns) WITH ORDINALITY AS u(c, place));
END $$;

-- Which parents `p` are meant: $1 are their places, or NULL for all that deletion $2 has marked.
CREATE OR REPLACE FUNCTION reprieve.marked_sql(parents tid[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN parents IS NULL THEN 'p.deletion_id OPERATOR(pg_catalog.=) $2' ELSE 'p.ctid OPERATOR(pg_catalog.=) ANY ($1)' END;
END $$;

-- Runs a statement on a child under the search path of the client, as triggers of the child would see it
-- in a native cascade. Returns the number of rows.
CREATE OR REPLACE FUNCTION reprieve.run_as_client(statement text, parents tid[], id bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken bigint;
BEGIN
    PERFORM set_config('search_path', current_setting('reprieve.path'), true);
    EXECUTE statement USING parents, id;
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $$;

-- The same for a statement that returns numbers.
CREATE OR REPLACE FUNCTION reprieve.read_as_client(statement text, parents tid[], id bigint) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    numbers bigint[];
BEGIN
    PERFORM set_config('search_path', current_setting('reprieve.path'), true);
    EXECUTE statement INTO numbers USING parents, id;
    RETURN numbers;
END $$;

-- The columns by which a row is found again: its primary key, or all of them.
CREATE OR REPLACE FUNCTION reprieve.row_key(relid oid) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT array_agg(a.attname::text ORDER BY k.place)
                     FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place), pg_attribute a
                     WHERE i.indrelid = $1 AND i.indisprimary AND k.place <= i.indnkeyatts
                       AND a.attrelid = i.indrelid AND a.attnum = k.attnum),
                    (reprieve.row_sql($1, 'c')).columns);
END $$;

-- What SET NULL / SET DEFAULT writes, as a text array.
CREATE OR REPLACE FUNCTION reprieve.assigned_sql(link reprieve.links) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
    RETURN (SELECT 'ARRAY[' || string_agg(CASE WHEN (link).action = 'n' OR d.adbin IS NULL THEN 'NULL'
               ELSE format('format(''%%s'', (%s)::%s)', pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod)) END,
               ', ' ORDER BY u.place) || ']::text[]'
    FROM unnest((link).set_columns) WITH ORDINALITY AS u(name, place)
    JOIN pg_attribute a ON a.attrelid = (link).child AND a.attname = u.name
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum);
END $$;

-- The INSERT that remembers what SET NULL / SET DEFAULT is about to change in the children `c` of `source`; $2 is the deletion.
CREATE OR REPLACE FUNCTION reprieve.remember_sql(link reprieve.links, source text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text[] := reprieve.row_key((link).child);
BEGIN
    RETURN format('INSERT INTO reprieve.relinks (deletion_id, relid, key_columns, key_data, columns, old_data, new_data)'
                  ' SELECT $2, %s, %L, %s, %L, %s, %s FROM %s',
                  (link).child, key, reprieve.values_sql('c', key), (link).set_columns,
                  reprieve.values_sql('c', (link).set_columns), reprieve.assigned_sql(link), source);
END $$;

-- SET DEFAULT leaves alone what a later CASCADE of the same rows takes along: PostgreSQL does not check a default whose row is gone.
CREATE OR REPLACE FUNCTION reprieve.spared_sql(link reprieve.links, parents tid[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(format(' AND NOT EXISTS (SELECT FROM %s p WHERE %s AND %s)', k.parent_sql, reprieve.marked_sql(parents), k.match_sql), ''), '')
      FROM reprieve.links k
     WHERE (link).action = 'd' AND k.parent = (link).parent AND k.child = (link).child AND k.action = 'c' AND k.position > (link).position
$$;

-- SET NULL / SET DEFAULT of marked parents: remembers what it is about to change.
CREATE OR REPLACE FUNCTION reprieve.relink(link reprieve.links, id bigint, parents tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    source text := format('%s c, %s p WHERE %s AND %s AND %s%s', link.child_sql, link.parent_sql, reprieve.marked_sql(parents),
                          link.match_sql, reprieve.live_sql(link.child, 'c'), reprieve.spared_sql(link, parents));
    changed bigint;
BEGIN
    -- Locked first, so that what is remembered is what the update then finds.
    EXECUTE format('SELECT $2 FROM %s FOR UPDATE OF c', source) USING parents, id;
    EXECUTE reprieve.remember_sql(link, source) USING parents, id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        PERFORM reprieve.count_deletion(id, link.child, 0, changed), reprieve.note_relinks(id);
    END IF;
END $$;

-- BEFORE DELETE ROW of an enabled parent that leaves physically: PostgreSQL's own SET NULL / SET DEFAULT comes next.
CREATE OR REPLACE FUNCTION reprieve.remember_relinks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    link reprieve.links;
    source text;
    changed bigint;
BEGIN
    SELECT l.* INTO link FROM reprieve.links l WHERE l.conoid = TG_ARGV[0]::oid;
    IF NOT FOUND THEN
        RETURN OLD;
    END IF;
    IF NOT (reprieve.readable(link.child) AND has_table_privilege(link.child, 'UPDATE')) THEN
        PERFORM reprieve.open_ledger(reprieve.begin_deletion_v1(NULL));
        PERFORM reprieve.note_uncounted(reprieve.open_deletion(), link.child);
        RETURN OLD;
    END IF;
    source := format('%s c, (SELECT ($1).*) AS p WHERE %s AND %s', link.child_sql, link.match_sql, reprieve.live_sql(link.child, 'c'));
    EXECUTE format('SELECT $2 FROM %s FOR UPDATE OF c', source) USING OLD, 0::bigint;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        EXECUTE reprieve.remember_sql(link, source) USING OLD, reprieve.begin_deletion_v1(NULL);
        PERFORM reprieve.count_deletion(reprieve.open_deletion(), link.child, 0, changed), reprieve.note_relinks(reprieve.open_deletion());
    END IF;
    RETURN OLD;
END $$;

-- The condition under which a row of this table exists for clients.
CREATE OR REPLACE FUNCTION reprieve.live_sql(relid oid, alias text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = live_sql.relid AND t.mode = 'mark')
                THEN alias || '.deleted_at IS NULL' ELSE 'true' END;
END $$;

-- NO ACTION and RESTRICT: raises if a live child refers to one of the rows. NO ACTION is content if
-- another live row bears the same key.
CREATE OR REPLACE FUNCTION reprieve.check_referenced(link reprieve.links, id bigint, parents tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text[];
    substitute text := '';
BEGIN
    IF link.action <> 'r' THEN
        substitute := format(' AND NOT EXISTS (SELECT FROM %s s WHERE s.deleted_at IS NULL AND %s)',
                             link.parent_sql, link.same_sql);
    END IF;
    EXECUTE format('SELECT %s FROM %s c, %s p WHERE %s AND %s AND %s%s%s LIMIT 1 FOR KEY SHARE OF c',
                   reprieve.values_sql('p', link.parent_columns), link.child_sql, link.parent_sql, reprieve.marked_sql(parents),
                   link.match_sql, reprieve.live_sql(link.child, 'c'), substitute, reprieve.spared_sql(link, parents))
        INTO key USING parents, id;
    IF key IS NOT NULL THEN
        PERFORM reprieve.raise_referenced(link, key);
    END IF;
END $$;

-- Marks the children of marked parents. Their places are only asked for where the deletion id does not tell them.
CREATE OR REPLACE FUNCTION reprieve.mark_children(link reprieve.links, id bigint, parents tid[], first boolean,
                                                  OUT taken bigint, OUT places tid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    update_sql text := format('UPDATE %s c SET deleted_at = now(), deletion_id = $2 FROM %s p WHERE %s AND %s AND c.deleted_at IS NULL',
                              link.child_sql, link.parent_sql, reprieve.marked_sql(parents), link.match_sql);
    nested text := current_setting('enable_nestloop');
    -- Of a deletion made a moment ago the planner thinks that it took one row: without an index it would compare each with each.
    indexed boolean := EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                               WHERE i.indrelid = link.child AND i.indisvalid AND i.indpred IS NULL AND a.attname = ANY (link.child_columns));
BEGIN
    IF first AND indexed AND parents IS NULL THEN
        EXECUTE format('SELECT reprieve.%I($1)', 'reach_' || link.conoid) INTO taken USING id;
        RETURN;
    END IF;
    IF NOT indexed THEN
        PERFORM set_config('enable_nestloop', 'off', true);
    END IF;
    IF first THEN
        EXECUTE update_sql USING parents, id;
        GET DIAGNOSTICS taken = ROW_COUNT;
    ELSE
        EXECUTE format('WITH marked AS (%s RETURNING c.ctid AS place) SELECT count(*), array_agg(place) FROM marked', update_sql)
            INTO taken, places USING parents, id;
    END IF;
    IF NOT indexed THEN
        PERFORM set_config('enable_nestloop', nested, true);
    END IF;
END $$;

-- Deletes the children of marked parents, in one statement: only at its end does PostgreSQL check foreign keys among the
-- children, as after a native cascade. Deletes that nothing reads run in reverse order, those that are counted first.
CREATE OR REPLACE FUNCTION reprieve.delete_children(links reprieve.links[], id bigint, parents tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    link reprieve.links;
    deletes text := '';
    counts text := '';
    uncounted oid[] := '{}';
    taken bigint[];
BEGIN
    IF cardinality(links) = 0 THEN
        RETURN;
    END IF;
    FOREACH link IN ARRAY links LOOP
        IF NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.child) THEN
            uncounted := uncounted || link.child;
            counts := counts || format(', (SELECT pg_catalog.count(*) FROM d%s)', link.conoid);
        END IF;
        deletes := format(', d%s AS (DELETE FROM %s c USING %s p WHERE %s AND %s AND %s%s)', link.conoid, link.child_sql, link.parent_sql,
                          reprieve.marked_sql(parents), link.match_sql, reprieve.live_sql(link.child, 'c'),
                          CASE WHEN link.child = ANY (uncounted) THEN ' RETURNING 1' ELSE '' END) || deletes;
    END LOOP;
    taken := reprieve.read_as_client(format('WITH %s SELECT ARRAY[%s]::pg_catalog.int8[]', substr(deletes, 3), substr(counts, 3)), parents, id);
    FOR i IN 1 .. cardinality(uncounted) LOOP
        PERFORM reprieve.count_lost(id, uncounted[i], taken[i]);
    END LOOP;
END $$;

-- One foreign key for one set of marked parents, unless children are marked or deleted.
CREATE OR REPLACE FUNCTION reprieve.follow_link(link reprieve.links, id bigint, parents tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    condition text := format('%s AND %s AND %s', reprieve.marked_sql(parents), link.match_sql, reprieve.live_sql(link.child, 'c'));
BEGIN
    IF link.action IN ('n', 'd') THEN
        PERFORM reprieve.relink(link, id, parents);
        PERFORM reprieve.run_as_client(format('UPDATE %s c SET %s FROM %s p WHERE %s', link.child_sql,
            (SELECT string_agg(format('%I = %s', s, CASE link.action WHEN 'n' THEN 'NULL' ELSE 'DEFAULT' END), ', ')
             FROM unnest(link.set_columns) AS s), link.parent_sql, condition || reprieve.spared_sql(link, parents)), parents, id);
        -- PostgreSQL checks after SET DEFAULT too: the default may be the very key that goes.
        IF link.action = 'd' THEN
            PERFORM reprieve.check_referenced(link, id, parents);
        END IF;
    ELSIF NOT (link.action = 'a' AND link.is_deferrable) THEN
        PERFORM reprieve.check_referenced(link, id, parents);
    END IF;
END $$;

-- Above READ COMMITTED our statements see no newer rows than the transaction does, PostgreSQL's own
-- referential triggers do. So there the marked rows leave the table, and those triggers act.
CREATE OR REPLACE FUNCTION reprieve.bury_marked(id bigint, relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Rows that hang on each other leave together: see unhang.
    PERFORM set_config('reprieve.leaving', id::text, true);
    PERFORM reprieve.run_as_client(format(
        'DELETE FROM ONLY %s WHERE deletion_id OPERATOR(pg_catalog.=) $2', reprieve.qualified(relid)), NULL, id);
    PERFORM set_config('reprieve.leaving', '', true);
END $$;

-- The places of the rows of one item, if they must be taken one by one: PostgreSQL goes row by row, and what a row has taken along
-- refers to no later one any more. That matters for a child that refers to two of them, by a CASCADE and by another foreign key.
CREATE OR REPLACE FUNCTION reprieve.one_by_one(id bigint, item reprieve.work) RETURNS tid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pair record;
    matters boolean;
    places tid[];
BEGIN
    FOR pair IN SELECT a.child, a.child_sql, a.parent_sql, a.match_sql AS stays, b.match_sql AS goes
                FROM reprieve.links a JOIN reprieve.links b ON b.parent = a.parent AND b.child = a.child AND b.action = 'c'
                WHERE a.parent = (item).relid AND (a.action = 'r' OR a.action = 'a' AND NOT a.is_deferrable) LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %1$s c WHERE %2$s AND EXISTS (SELECT FROM %3$s p WHERE %4$s AND %5$s)'
                       ' AND EXISTS (SELECT FROM %3$s p WHERE %4$s AND %6$s))', pair.child_sql, reprieve.live_sql(pair.child, 'c'),
                       pair.parent_sql, reprieve.marked_sql((item).rows), pair.stays, pair.goes)
            INTO matters USING (item).rows, id;
        IF matters THEN
            EXECUTE format('SELECT array_agg(p.ctid ORDER BY p.ctid) FROM %s p WHERE %s', pair.parent_sql, reprieve.marked_sql((item).rows))
                INTO places USING (item).rows, id;
            RETURN places;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Follows the foreign keys of what deletion `id` has marked in a table: first in, first out, as PostgreSQL
-- works through its queue of trigger events, so a chain of any length is one loop.
-- random_page_cost: PostgreSQL's own referential triggers always use an index if there is one.
CREATE OR REPLACE FUNCTION reprieve.follow(id bigint, start oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = '1.1' AS $$
#variable_conflict use_variable
DECLARE
    touched oid[] := ARRAY[start];
    queue reprieve.work[] := ARRAY[ROW(start, NULL)::reprieve.work];
    item reprieve.work;
    head int := 1;
    tail int := 1;
    link reprieve.links;
    deleted reprieve.links[];
    marked record;
    first boolean;
    relid oid;
    places tid[];
BEGIN
    -- Nor has a foreign key that is turned off an action; once it is on again, what still refers to a tombstone would be in its way.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')
       OR EXISTS (SELECT FROM reprieve.links l WHERE l.parent = start AND reprieve.is_off(l.conoid, start)) THEN
        PERFORM reprieve.bury_marked(id, start);
        RETURN;
    END IF;
    PERFORM set_config('reprieve.following', '1', true);
    WHILE head <= tail LOOP
        item := queue[head];
        places := reprieve.one_by_one(id, item);
        FOR part IN 1 .. coalesce(cardinality(places), 1) LOOP
            IF places IS NOT NULL THEN
                item.rows := ARRAY[places[part]];
            END IF;
            deleted := '{}';
            FOR link IN SELECT l.* FROM reprieve.links l WHERE l.parent = item.relid AND NOT reprieve.is_off(l.conoid, l.parent)
                        ORDER BY l.position LOOP
                IF link.action = 'c' AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = link.child AND t.mode = 'mark' AND t.marking) THEN
                    first := link.child <> ALL (touched);
                    marked := reprieve.mark_children(link, id, item.rows, first AND places IS NULL);
                    IF marked.taken > 0 THEN
                        touched := CASE WHEN first THEN touched || link.child ELSE touched END;
                        tail := tail + 1;
                        queue[tail] := ROW(link.child, marked.places)::reprieve.work;
                    END IF;
                ELSIF link.action = 'c' THEN
                    deleted := deleted || link;
                ELSE
                    PERFORM reprieve.delete_children(deleted, id, item.rows);
                    deleted := '{}';
                    PERFORM reprieve.follow_link(link, id, item.rows);
                END IF;
            END LOOP;
            PERFORM reprieve.delete_children(deleted, id, item.rows);
        END LOOP;
        queue[head] := NULL;
        head := head + 1;
    END LOOP;
    PERFORM set_config('reprieve.following', '', true);
    -- A row that was written before its parent, and deleted before the deferred check: as a tombstone that
    -- PostgreSQL's check would still find it, so it leaves the table.
    FOR link IN SELECT l.* FROM reprieve.links l WHERE l.child = ANY (touched) AND l.is_deferrable LOOP
        EXECUTE format('SELECT array_agg(c.ctid) FROM ONLY %s c WHERE c.deletion_id = $1 AND %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)',
                       reprieve.qualified(link.child),
                       (SELECT string_agg(format('c.%I IS NOT NULL', f), ' AND ') FROM unnest(link.child_columns) AS f),
                       link.parent_sql, link.match_sql) INTO places USING id;
        IF places IS NOT NULL THEN
            PERFORM reprieve.bury_tombstones(link.child, places);
        END IF;
    END LOOP;
    -- Counted last: what was evicted or buried meanwhile has been counted where it went.
    FOREACH relid IN ARRAY touched LOOP
        PERFORM reprieve.count_marked(id, relid);
    END LOOP;
END $$;
