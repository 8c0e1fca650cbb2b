-- The ledger: which deletion is open, and what it took.
--
-- Settings of the transaction: reprieve.depth counts the deleting statements that are under way;
-- while it is above zero reprieve.deletion is their common id, reprieve.touched the tables in which
-- rows were marked, reprieve.role who deletes and reprieve.path that role's search path.
-- reprieve.following is 1 while our own statements follow foreign keys.

-- A new id: transaction id * 1,000,000 + running number. Not from a sequence: lastval() belongs to the client.
CREATE OR REPLACE FUNCTION reprieve.next_deletion() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base bigint := pg_current_xact_id()::text::bigint * 1000000;
BEGIN
    RETURN 1 + coalesce((SELECT max(d.id) FROM reprieve.deletions d WHERE d.id > base AND d.id < base + 1000000), base);
END $$;

-- The open deletion of this client statement, or NULL. What a client may have forged is not believed:
-- an id is only good for the transaction that made it.
CREATE OR REPLACE FUNCTION reprieve.open_deletion() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id text := current_setting('reprieve.deletion', true);
BEGIN
    IF id ~ '^[0-9]{7,18}$' AND (id::bigint / 1000000)::text = pg_current_xact_id()::text THEN
        RETURN id::bigint;
    END IF;
    RETURN NULL;
END $$;

-- The id under which the client's current statement deletes. Its ledger row is written once rows are
-- counted, so a statement that finds nothing leaves nothing.
CREATE OR REPLACE FUNCTION reprieve.begin_deletion_v1(statement text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint := reprieve.open_deletion();
BEGIN
    IF id IS NULL THEN
        id := reprieve.next_deletion();
        PERFORM set_config('reprieve.deletion', id::text, true),
                set_config('reprieve.statement', left(coalesce(statement, current_query()), 2000), true);
    END IF;
    RETURN id;
END $$;

-- Adds to what deletion `id` took from a table; writes the ledger row with the first.
CREATE OR REPLACE FUNCTION reprieve.count_deletion(id bigint, relid oid, rows bigint, relinked bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    IF rows = 0 AND relinked = 0 THEN
        RETURN;
    END IF;
    INSERT INTO reprieve.deletions AS d (id, deleted_at, role_name, session_role, application_name, client_addr,
                                         actor, reason, statement)
    VALUES (count_deletion.id, now(), coalesce(nullif(current_setting('reprieve.role', true), ''), session_user), session_user,
            nullif(current_setting('application_name', true), ''), inet_client_addr(),
            nullif(current_setting('reprieve.actor', true), ''), nullif(current_setting('reprieve.reason', true), ''),
            nullif(current_setting('reprieve.statement', true), ''))
    ON CONFLICT DO NOTHING;
    INSERT INTO reprieve.deletion_tables AS t (deletion_id, relid, schema_name, table_name, rows, relinked)
    SELECT count_deletion.id, c.oid, n.nspname, c.relname, count_deletion.rows, count_deletion.relinked
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = count_deletion.relid
    ON CONFLICT ON CONSTRAINT deletion_tables_pkey
    DO UPDATE SET rows = t.rows + excluded.rows, relinked = t.relinked + excluded.relinked;
END $$;

-- BEFORE STATEMENT of DELETE, and of UPDATE OF deleted_at. Runs as the client: it judges the client's rights. It may
-- also run as the keeper under a client's search path (see run_as_client): every name and operator is qualified.
CREATE OR REPLACE FUNCTION reprieve.begin_statement() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    depth int;
    path text := pg_catalog.current_setting('search_path');
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        IF NOT pg_catalog.has_table_privilege(TG_RELID, 'DELETE') THEN
            RAISE EXCEPTION USING ERRCODE = '42501',
                MESSAGE = pg_catalog.format('permission denied for table %s', TG_TABLE_NAME);
        END IF;
        -- Our own statements run within a trigger; a client's that says so is not believed.
        IF pg_catalog.current_setting('reprieve.following', true) OPERATOR(pg_catalog.=) '1'
           AND pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1 THEN
            RETURN NULL;
        END IF;
    END IF;
    depth := CASE WHEN pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.~) '^[0-9]{1,6}$'
                  THEN pg_catalog.current_setting('reprieve.depth', true)::int ELSE 0 END;
    IF depth OPERATOR(pg_catalog.<=) 0 THEN
        depth := 0;
        PERFORM pg_catalog.set_config('reprieve.deletion', '', true), pg_catalog.set_config('reprieve.touched', '', true),
                pg_catalog.set_config('reprieve.statement', '', true), pg_catalog.set_config('reprieve.following', '', true),
                pg_catalog.set_config('reprieve.role', current_user, true), pg_catalog.set_config('reprieve.path', path, true);
    END IF;
    PERFORM pg_catalog.set_config('reprieve.depth', (depth OPERATOR(pg_catalog.+) 1)::text, true);
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        PERFORM pg_catalog.set_config('reprieve.touched', pg_catalog.concat(
            pg_catalog.current_setting('reprieve.touched', true), ' ', TG_RELID::text), true);
    END IF;
    RETURN NULL;
END $$;

-- Ends one deleting statement; the outermost one follows the foreign keys of what was marked.
CREATE OR REPLACE FUNCTION reprieve.end_statement() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    depth int := CASE WHEN current_setting('reprieve.depth', true) ~ '^[0-9]{1,6}$'
                      THEN current_setting('reprieve.depth', true)::int - 1 ELSE 0 END;
    id bigint;
BEGIN
    IF depth <= 0 THEN
        id := reprieve.open_deletion();
        IF id IS NOT NULL AND current_setting('reprieve.touched', true) <> '' THEN
            PERFORM reprieve.follow(id);
        END IF;
        PERFORM set_config('reprieve.deletion', '', true), set_config('reprieve.touched', '', true);
    END IF;
    PERFORM set_config('reprieve.depth', greatest(depth, 0)::text, true);
END $$;

-- AFTER STATEMENT of UPDATE OF deleted_at.
CREATE OR REPLACE FUNCTION reprieve.after_mark() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('reprieve.following', true) = '1' AND pg_trigger_depth() > 1 THEN
        RETURN NULL;
    END IF;
    PERFORM reprieve.end_statement();
    RETURN NULL;
END $$;

-- How the client's columns of a table become graveyard text; `alias` is the row's name in the query.
CREATE OR REPLACE FUNCTION reprieve.row_sql(relid oid, alias text, OUT columns text[], OUT data_sql text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}'),
           'ARRAY[' || coalesce(string_agg(
               -- Not a cast to text: that strips char(n). Not IS NULL: a composite of nulls is a value.
               format('CASE WHEN %1$I.%2$I IS DISTINCT FROM NULL THEN format(''%%s'', %1$I.%2$I) END', alias, a.attname),
               ', ' ORDER BY a.attnum), '') || ']::text[]'
    FROM pg_attribute a
    WHERE a.attrelid = row_sql.relid AND a.attnum > 0 AND NOT a.attisdropped
      AND NOT (a.attname IN ('deleted_at', 'deletion_id')
               AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = row_sql.relid AND t.mode = 'mark'))
$$;

-- The INSERT that copies rows of `source` to the graveyard; $1 is the open deletion, $2 the cause of live rows.
-- Tombstones keep the deletion and the time that took them; `tombstone_cause` says why they left the table.
CREATE OR REPLACE FUNCTION reprieve.bury_sql(relid oid, source text, tombstone_cause text DEFAULT 'evict') RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row record;
    marked boolean := EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = bury_sql.relid AND t.mode = 'mark');
    name record;
BEGIN
    SELECT n.nspname, c.relname INTO name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = bury_sql.relid;
    SELECT * INTO row FROM reprieve.row_sql(relid, 'o');
    RETURN format('INSERT INTO reprieve.graveyard (deletion_id, relid, schema_name, table_name, columns, data, cause, deleted_at)'
                  ' SELECT %s, %s, %L, %L, %L, %s, %s, %s FROM %s',
        CASE WHEN marked THEN 'coalesce(o.deletion_id, $1)' ELSE '$1' END,
        relid, name.nspname, name.relname, row.columns, row.data_sql,
        CASE WHEN marked THEN 'CASE WHEN o.deletion_id IS NULL OR o.deletion_id = $1 THEN $2 ELSE '
            || quote_literal(tombstone_cause) || ' END' ELSE '$2' END,
        CASE WHEN marked THEN 'coalesce(o.deleted_at, now())' ELSE 'now()' END, source);
END $$;

-- AFTER DELETE STATEMENT: every row that physically left the table goes to the graveyard.
CREATE OR REPLACE FUNCTION reprieve.capture() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    id bigint;
    taken bigint;
    marked boolean;
BEGIN
    IF EXISTS (SELECT FROM reprieve_old) THEN
        marked := EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = TG_RELID AND t.mode = 'mark');
        id := reprieve.open_deletion();
        -- Rows deleted now, not evicted tombstones of earlier deletions.
        IF marked THEN
            EXECUTE 'SELECT count(*) FROM reprieve_old o WHERE o.deletion_id IS NULL OR o.deletion_id = $1' INTO taken USING id;
        ELSE
            SELECT count(*) INTO taken FROM reprieve_old;
        END IF;
        IF taken > 0 THEN
            id := reprieve.begin_deletion_v1(NULL);
        END IF;
        EXECUTE reprieve.bury_sql(TG_RELID, 'reprieve_old o') USING id, 'delete'::text;
        PERFORM reprieve.count_deletion(id, TG_RELID, taken, 0);
    END IF;
    PERFORM reprieve.end_statement();
    RETURN NULL;
END $$;

-- AFTER DELETE ROW, for inheritance hierarchies: there a transition table lacks the columns of the children.
CREATE OR REPLACE FUNCTION reprieve.capture_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    id bigint := reprieve.begin_deletion_v1(NULL);
BEGIN
    EXECUTE reprieve.bury_sql(TG_RELID, '(SELECT ($3).*) AS o') USING id, 'delete'::text, OLD;
    PERFORM reprieve.count_deletion(id, TG_RELID, 1, 0);
    RETURN NULL;
END $$;

-- BEFORE TRUNCATE: all rows go to the graveyard; tombstones keep their own deletion.
CREATE OR REPLACE FUNCTION reprieve.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    id bigint;
    taken bigint;
    marked boolean := EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = TG_RELID AND t.mode = 'mark');
BEGIN
    EXECUTE format('SELECT count(*) FROM ONLY %s o%s', reprieve.qualified(TG_RELID),
                   CASE WHEN marked THEN ' WHERE o.deletion_id IS NULL' ELSE '' END) INTO taken;
    IF taken > 0 THEN
        id := reprieve.begin_deletion_v1(NULL);
    END IF;
    EXECUTE reprieve.bury_sql(TG_RELID, 'ONLY ' || reprieve.qualified(TG_RELID) || ' o') USING id, 'truncate'::text;
    PERFORM reprieve.count_deletion(id, TG_RELID, taken, 0);
    RETURN NULL;
END $$;

-- AFTER TRUNCATE.
CREATE OR REPLACE FUNCTION reprieve.after_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.end_statement();
    RETURN NULL;
END $$;
