-- What runs behind each DELETE that takes rows out of a table, generated for each table as 045_marked.sql does: a statement whose plan a
-- session keeps copies the rows to the graveyard. Where the columns are not those that it was made for (a schema change that nobody has
-- told us of), the text is made on the spot, as it is for tables of which a transition table does not hold all columns.

-- The settings under which values become text, as in a SET of a function; nothing where no column's type asks for them. Types are named one by
-- one: of one that nobody thought of all that may matter is set, the path too (regclass).
CREATE OR REPLACE FUNCTION reprieve.print_settings(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN bool_and(a.atttypid = ANY (known.always)) THEN NULL
                WHEN bool_and(a.atttypid = ANY (known.always || known.by_date)) THEN 'SET DateStyle = ''ISO, YMD'' SET TimeZone = ''UTC'''
                ELSE 'SET search_path = pg_catalog, pg_temp SET DateStyle = ''ISO, YMD'' SET IntervalStyle = ''postgres'' SET extra_float_digits = ''1'''
                     ' SET bytea_output = ''hex'' SET TimeZone = ''UTC'' SET lc_monetary = ''C''' END
    FROM pg_attribute a,
         (SELECT ARRAY['bool', 'int2', 'int4', 'int8', 'numeric', 'text', 'varchar', 'bpchar', '"char"', 'name', 'uuid', 'json', 'jsonb', 'oid', 'bit',
                       'varbit', 'inet', 'cidr', 'macaddr', 'macaddr8', 'tsvector', 'xml', 'time']::regtype[]::oid[],
                 ARRAY['date', 'timestamp', 'timestamptz', 'timetz']::regtype[]::oid[]) AS known(always, by_date)
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- Sets these for the rest of the transaction; returns what they were, to be set again. Without a SET of its own: that would end with it.
CREATE OR REPLACE FUNCTION reprieve.pin_output(settings text[] DEFAULT ARRAY['ISO, YMD', 'postgres', '1', 'hex', 'UTC', 'C', 'pg_catalog, pg_temp'])
RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    names pg_catalog.text[] := ARRAY['DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'TimeZone', 'lc_monetary', 'search_path'];
    former pg_catalog.text[] := ARRAY(SELECT pg_catalog.current_setting(n) FROM pg_catalog.unnest(names) WITH ORDINALITY AS u(n, place) ORDER BY place);
BEGIN
    PERFORM pg_catalog.set_config(n, v, true) FROM ROWS FROM (pg_catalog.unnest(names), pg_catalog.unnest(settings)) AS u(n, v);
    RETURN former;
END $$;

-- A query for one number that tells the client's columns of a table from others: their names, types and places.
CREATE OR REPLACE FUNCTION reprieve.shape_sql(relid oid, target text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('SELECT pg_catalog.bit_xor(pg_catalog.hashtextextended(a.attname::pg_catalog.text, a.attnum::pg_catalog.int8'
                  ' OPERATOR(pg_catalog.*) 4294967296 OPERATOR(pg_catalog.+) a.atttypid::pg_catalog.int8))%s FROM pg_catalog.pg_attribute a'
                  ' WHERE a.attrelid OPERATOR(pg_catalog.=) %s::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped%s',
                  target, $1, CASE WHEN EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = $1 AND t.mode = 'mark')
                              THEN ' AND a.attname OPERATOR(pg_catalog.<>) ''deleted_at'' AND a.attname OPERATOR(pg_catalog.<>) ''deletion_id''' ELSE '' END)
$$;

-- The INSERT that counts what a deletion took from a table, the first time. `is_first`: right behind ledger_alone_sql().
DROP FUNCTION IF EXISTS reprieve.count_sql(oid);
CREATE OR REPLACE FUNCTION reprieve.count_sql(relid oid, is_first boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('INSERT INTO reprieve.deletion_tables (deletion_id, relid, schema_name, table_name, rows%s) VALUES (id, %s, %L, %L, taken%s)',
                  CASE WHEN is_first THEN ', is_first, taken_before' END, c.oid, n.nspname, c.relname,
                  CASE WHEN is_first THEN ', true, CASE WHEN alone THEN 0 END' END)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
$$;

-- AFTER DELETE STATEMENT: every row that physically left the table goes to the graveyard. Rows deleted now are counted, evicted
-- tombstones of earlier deletions have been.
CREATE OR REPLACE FUNCTION reprieve.ensure_capture_function(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    marked boolean := EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relid AND t.mode = 'mark');
    shape bigint;
BEGIN
    EXECUTE reprieve.shape_sql(relid, '') INTO shape;
    PERFORM reprieve.ensure_function('capture_' || relid, '', 'trigger', reprieve.print_settings(relid), ARRAY[relid], format($f$
#variable_conflict use_variable
DECLARE
    id pg_catalog.int8;
    taken pg_catalog.int8;
    leaving pg_catalog.int8;
    shape pg_catalog.int8;
    cause pg_catalog.text := CASE WHEN pg_catalog.current_setting('reprieve.cause', true) OPERATOR(pg_catalog.=) 'disable' THEN 'disable' ELSE 'evict' END;
    former pg_catalog.text[];
    alone pg_catalog.bool;
    ignored pg_catalog.text;
BEGIN
%1$s
    IF leaving OPERATOR(pg_catalog.>) 0 THEN
        IF taken OPERATOR(pg_catalog.>) 0 THEN
            id := reprieve.begin_deletion_v1(NULL);
        END IF;
        %2$s;
        IF shape OPERATOR(pg_catalog.=) %3$s AND cause OPERATOR(pg_catalog.=) 'evict' THEN
            %4$s;
        ELSE
            former := reprieve.pin_output();
            EXECUTE reprieve.bury_sql(%5$s, 'reprieve_old o', cause) USING id, 'delete'::pg_catalog.text;
            former := reprieve.pin_output(former);
        END IF;
        IF taken OPERATOR(pg_catalog.>) 0 THEN
            %6$s;
            IF FOUND THEN
                %7$s;
                ignored := pg_catalog.set_config('reprieve.last', id::pg_catalog.text, true);
                IF pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.=) '1' THEN
                    ignored := pg_catalog.set_config('reprieve.deletion', '', true) OPERATOR(pg_catalog.||) pg_catalog.set_config('reprieve.depth', '0', true);
                    RETURN NULL;
                END IF;
            ELSE
                ignored := reprieve.count_deletion(id, %5$s, taken, 0);
            END IF;
        END IF;
    END IF;
    ignored := reprieve.end_statement();
    RETURN NULL;
END $f$,
        CASE WHEN marked THEN
'    IF pg_catalog.current_setting(''reprieve.deletion'', true) OPERATOR(pg_catalog.<>) '''' THEN
        id := reprieve.open_deletion();
    END IF;
    SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE o.deletion_id IS NULL OR o.deletion_id OPERATOR(pg_catalog.=) id)
    INTO leaving, taken FROM reprieve_old o;'
        ELSE
'    SELECT pg_catalog.count(*) INTO taken FROM reprieve_old;
    leaving := taken;' END,
        reprieve.shape_sql(relid, ' INTO shape'), shape,
        reprieve.bury_sql(relid, 'reprieve_old o', 'evict', 'id', quote_literal('delete')), relid, reprieve.ledger_alone_sql('id'), reprieve.count_sql(relid, true)));
END $$;
