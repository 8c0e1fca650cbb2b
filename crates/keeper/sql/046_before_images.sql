-- A row that one statement of the client both changes by SET NULL or SET DEFAULT and takes by CASCADE is deleted as the statement found it:
-- its tombstone, or its row in the graveyard, gets the old reference back, and reprieve.relinks forgets it. At the end of the statement,
-- because only then it is known which rows are left.

-- Deletions of an older keeper get that in 190_upgrade.sql.
DO $$
BEGIN
    PERFORM set_config('reprieve.new_before_images', CASE WHEN to_regprocedure('reprieve.before_images(bigint)') IS NULL THEN '1' ELSE '' END, true);
END $$;

-- True if the statement that ends now has changed references: relink and remember_relinks say so. A hint only.
CREATE OR REPLACE FUNCTION reprieve.note_relinks(id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ignored text := set_config('reprieve.relinking', id::text, true);
BEGIN
END $$;

-- Columns as an array of texts: `theirs` is the text of one.
CREATE OR REPLACE FUNCTION reprieve.image_sql(columns text[], theirs text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('ARRAY[%s]::text[]', string_agg(format(theirs, u.c), ', ' ORDER BY u.place)) FROM unnest(columns) WITH ORDINALITY AS u(c, place)
$$;

-- The text of a column of a tombstone `t`, and of a row `t` of the graveyard.
CREATE OR REPLACE FUNCTION reprieve.text_sql(source "char") RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE source WHEN 't' THEN 'CASE WHEN t.%1$I IS DISTINCT FROM NULL THEN format(''%%s'', t.%1$I) END'
                       ELSE 't.data[array_position(t.columns, %L)]' END
$$;

-- Pairs of a row `t` that a condition finds and the entry `l` that tells of it, with more columns: the row is as the entry says that the
-- action left it (new_data), or as it was (old_data). Of rows that are equal each gets an entry of its own. $1 deletion, $2 table,
-- $3 key columns, $4 changed columns.
CREATE OR REPLACE FUNCTION reprieve.pairs_sql(key_columns text[], set_columns text[], state text, source text, condition text, theirs text, more text)
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- The key was noted before the action wrote: a changed column that is part of it is looked for as written.
    WITH c AS (SELECT array_agg(k.c ORDER BY k.place) FILTER (WHERE k.c <> ALL (set_columns)) AS kept,
                      string_agg(format('l.key_data[%s]', k.place), ', ' ORDER BY k.place) FILTER (WHERE k.c <> ALL (set_columns)) AS known
                 FROM unnest(key_columns) WITH ORDINALITY AS k(c, place))
    SELECT format('(SELECT t.reprieve_place, t.reprieve_leaf, l.reprieve_entry%1$s FROM'
                  ' (SELECT t.*, row_number() OVER (PARTITION BY t.reprieve_image ORDER BY t.reprieve_leaf, t.reprieve_place) AS reprieve_i'
                  '    FROM (SELECT t.*, t.tableoid AS reprieve_leaf, t.ctid AS reprieve_place, %2$s AS reprieve_image FROM %3$s t WHERE %4$s) t) t'
                  ' JOIN (SELECT l.*, row_number() OVER (PARTITION BY l.reprieve_image ORDER BY l.reprieve_entry) AS reprieve_i'
                  '         FROM (SELECT l.*, l.ctid AS reprieve_entry, ARRAY[%5$s]::text[] || l.%6$I AS reprieve_image FROM reprieve.relinks l'
                  '                WHERE l.deletion_id = $1 AND l.relid = $2 AND l.key_columns = $3 AND l.columns = $4) l) l'
                  ' ON l.reprieve_image = t.reprieve_image AND l.reprieve_i = t.reprieve_i)',
                  more, reprieve.image_sql(c.kept || set_columns, theirs), source, condition, c.known, state)
      FROM c
$$;

-- Runs a statement that counts what it did. Without nested loops: of rows deleted a moment ago the planner thinks that there is one.
CREATE OR REPLACE FUNCTION reprieve.run_pairs(statement text, id bigint, table_id oid, key_columns text[], set_columns text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE statement INTO n USING id, table_id, key_columns, set_columns;
    RETURN n;
END $$;

-- The old references of tombstones. Where a parent has left the table, they follow it: PostgreSQL checks their references too.
CREATE OR REPLACE FUNCTION reprieve.before_tombstones(id bigint, table_id oid, key_columns text[], set_columns text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    was text := (SELECT string_agg(', ' || CASE WHEN a.attname = ANY (set_columns)
                                                THEN reprieve.read_as(format('l.old_data[%s]', array_position(set_columns, a.attname::text)), a.atttypid)
                                                ELSE format('t.%I', a.attname) END || format(' AS %I', a.attname), '')
                   FROM pg_attribute a WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped);
    pairs text := reprieve.pairs_sql(key_columns, set_columns, 'new_data', reprieve.from_clause(table_id), 't.deletion_id = $1', reprieve.text_sql('t'), was);
    parents text := (SELECT string_agg(format(' AND (NOT (%s) OR EXISTS (SELECT FROM %s p WHERE %s))', reprieve.refers(k.con, 'n'),
                                              reprieve.from_clause(k.confrelid), reprieve.key_match(k.con, 'p', 'n')), '')
                       FROM reprieve.foreign_keys k WHERE k.conrelid = table_id AND reprieve.key_columns(k.con, 'c')::text[] && set_columns);
    n bigint := 0;
    places tid[];
BEGIN
    BEGIN
        n := reprieve.run_pairs(format('WITH u AS (UPDATE %s t SET %s FROM %s n WHERE t.ctid = n.reprieve_place%s RETURNING n.reprieve_entry AS entry),'
                                       ' d AS (DELETE FROM reprieve.relinks l USING u WHERE l.ctid = u.entry) SELECT count(*) FROM u',
                                       reprieve.from_clause(table_id), (SELECT string_agg(format('%1$I = n.%1$I', c), ', ') FROM unnest(set_columns) AS c),
                                       pairs, parents), id, table_id, key_columns, set_columns);
    EXCEPTION WHEN integrity_constraint_violation THEN
        NULL;
    END;
    EXECUTE format('SELECT array_agg(n.reprieve_place) FROM %s n', pairs) INTO places USING id, table_id, key_columns, set_columns;
    IF places IS NOT NULL THEN
        PERFORM reprieve.bury_tombstones(table_id, places);
        PERFORM reprieve.count_marked(id, d.relid) FROM reprieve.deletion_tables d JOIN reprieve.tables t ON t.relid = d.relid AND t.mode = 'mark'
          WHERE d.deletion_id = id AND id = reprieve.open_deletion();
    END IF;
    RETURN n;
END $$;

-- The old references of rows in the graveyard.
CREATE OR REPLACE FUNCTION reprieve.before_graves(id bigint, table_id oid, key_columns text[], set_columns text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN reprieve.run_pairs(format('WITH u AS (UPDATE reprieve.graveyard g SET data = (SELECT array_agg('
            ' CASE WHEN x.name = ANY ($4) THEN n.old_data[array_position($4, x.name)] ELSE x.value END ORDER BY x.i)'
            ' FROM unnest(g.columns, g.data) WITH ORDINALITY AS x(name, value, i)) FROM %s n WHERE g.ctid = n.reprieve_place RETURNING n.reprieve_entry AS entry),'
            ' d AS (DELETE FROM reprieve.relinks l USING u WHERE l.ctid = u.entry) SELECT count(*) FROM u',
            reprieve.pairs_sql(key_columns, set_columns, 'new_data', 'reprieve.graveyard',
                               format('t.deletion_id = $1 AND t.relid = ANY (%L::oid[])', reprieve.members_of(table_id)), reprieve.text_sql('g'), ', l.old_data')),
        id, table_id, key_columns, set_columns);
END $$;

-- Entries of rows that were taken before the action came to them, which in front of a DELETE nobody knows.
CREATE OR REPLACE FUNCTION reprieve.before_in_vain(id bigint, table_id oid, key_columns text[], set_columns text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement constant text := 'WITH d AS (DELETE FROM reprieve.relinks l USING %s n WHERE l.ctid = n.reprieve_entry RETURNING 1) SELECT count(*) FROM d';
    n bigint := 0;
BEGIN
    IF reprieve.has_marks(table_id) THEN
        n := reprieve.run_pairs(format(statement, reprieve.pairs_sql(key_columns, set_columns, 'old_data', reprieve.from_clause(table_id), 't.deletion_id = $1',
                                                                     reprieve.text_sql('t'), '')), id, table_id, key_columns, set_columns);
    END IF;
    RETURN n + reprieve.run_pairs(format(statement, reprieve.pairs_sql(key_columns, set_columns, 'old_data', 'reprieve.graveyard',
            format('t.deletion_id = $1 AND t.relid = ANY (%L::oid[])', reprieve.members_of(table_id)), reprieve.text_sql('g'), '')),
        id, table_id, key_columns, set_columns);
END $$;

-- What deletion `id` took bears the references that it had before, also where they were changed one after the other.
CREATE OR REPLACE FUNCTION reprieve.before_images(id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
#variable_conflict use_variable
DECLARE
    part record;
    n bigint;
    more boolean := true;
BEGIN
    WHILE more LOOP
        more := false;
        FOR part IN SELECT l.relid, l.key_columns, l.columns FROM reprieve.relinks l JOIN pg_class c ON c.oid = l.relid
                    WHERE l.deletion_id = id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LOOP
            n := CASE WHEN reprieve.has_marks(part.relid) THEN reprieve.before_tombstones(id, part.relid, part.key_columns, part.columns) ELSE 0 END;
            -- After tombstones: some of them may have left for there.
            n := n + reprieve.before_graves(id, part.relid, part.key_columns, part.columns);
            more := more OR n > 0;
            n := n + reprieve.before_in_vain(id, part.relid, part.key_columns, part.columns);
            -- They did not stay.
            UPDATE reprieve.deletion_tables d SET relinked = d.relinked - n WHERE n > 0 AND d.deletion_id = id AND d.relid = part.relid;
        END LOOP;
    END LOOP;
    DELETE FROM reprieve.deletion_tables d WHERE d.deletion_id = id AND d.rows = 0 AND d.relinked = 0 AND d.discarded = 0 AND NOT d.uncounted;
END $$;
