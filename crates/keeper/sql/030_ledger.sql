-- The ledger: which deletion is open, and what it took.
--
-- Settings of the transaction: reprieve.depth counts the deleting statements that are under way; while it is above
-- zero reprieve.deletion is their common id, reprieve.role who deletes and reprieve.path that role's search path.
-- reprieve.following is 1 while our own statements follow foreign keys. Any client can forge them, so: what a
-- statement marked is followed and counted whatever they say, `following` is believed of the keeper only, and rows
-- marked under another id than the open one are an error (after_mark). The ledger's session_role cannot be forged.

-- A new id: transaction id * 1,000,000 + running number. Not from a sequence: lastval() belongs to the client. A serializable
-- transaction does not look at the ledger, to which all others write: it would depend on transactions that it has nothing to do with.
CREATE OR REPLACE FUNCTION reprieve.next_deletion() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base bigint := pg_current_xact_id()::text::bigint * 1000000;
    last text := current_setting('reprieve.last', true);
BEGIN
    IF current_setting('transaction_isolation') = 'serializable' THEN
        RETURN 1 + CASE WHEN last ~ '^[0-9]{7,18}$' AND last::bigint / 1000000 = base / 1000000 THEN last::bigint ELSE base END;
    END IF;
    RETURN 1 + coalesce((SELECT d.id FROM reprieve.deletions d WHERE d.id > base AND d.id < base + 1000000 ORDER BY d.id DESC LIMIT 1), base);
END $$;

-- The open deletion of this client statement, or NULL. What a client may have forged is not believed:
-- an id is only good for the transaction that made it. Runs under a client's search path, see 045_marked.sql.
CREATE OR REPLACE FUNCTION reprieve.open_deletion() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    id pg_catalog.text := pg_catalog.current_setting('reprieve.deletion', true);
BEGIN
    IF pg_catalog.length(id) OPERATOR(pg_catalog.>=) 7 AND pg_catalog.length(id) OPERATOR(pg_catalog.<=) 18
       AND pg_catalog.translate(id, '0123456789', '') OPERATOR(pg_catalog.=) ''
       AND (id::pg_catalog.int8 OPERATOR(pg_catalog./) 1000000)::pg_catalog.text OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.text THEN
        RETURN id::pg_catalog.int8;
    END IF;
    RETURN NULL;
END $$;

-- The id under which the client's current statement deletes. Its ledger row is written once rows are
-- counted, so a statement that finds nothing leaves nothing. Runs under a client's search path.
CREATE OR REPLACE FUNCTION reprieve.begin_deletion_v1(statement text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    id pg_catalog.int8;
    ignored pg_catalog.text;
BEGIN
    IF pg_catalog.current_setting('reprieve.deletion', true) OPERATOR(pg_catalog.<>) '' THEN
        id := reprieve.open_deletion();
    END IF;
    IF id IS NULL THEN
        -- A transaction that has not written yet has no other deletion.
        IF pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN
            id := pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.*) 1000000 OPERATOR(pg_catalog.+) 1;
        ELSE
            id := reprieve.next_deletion();
        END IF;
        ignored := pg_catalog.set_config('reprieve.deletion', id::pg_catalog.text, true) OPERATOR(pg_catalog.||)
                   pg_catalog.set_config('reprieve.statement', pg_catalog.left(coalesce(statement, pg_catalog.current_query()), 2000), true);
    END IF;
    RETURN id;
END $$;

-- A setting in SQL that runs under a client's search path; NULL if it is empty.
CREATE OR REPLACE FUNCTION reprieve.setting_sql(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('CASE WHEN pg_catalog.current_setting(%1$L, true) OPERATOR(pg_catalog.<>) '''' THEN pg_catalog.current_setting(%1$L, true) END', name)
$$;

-- The INSERT that writes the ledger row of deletion `id`, an expression, if there is none yet.
CREATE OR REPLACE FUNCTION reprieve.ledger_sql(id text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('INSERT INTO reprieve.deletions (id, deleted_at, role_name, session_role, application_name, client_addr, actor, reason, statement, tags)'
                  ' VALUES (%s, pg_catalog.now(), coalesce(pg_catalog.current_setting(''reprieve.role'', true), session_user), session_user, %s, pg_catalog.inet_client_addr(), %s, %s, %s,'
                  -- Of the whole message: what the proxy says of a statement begins and ends with its own words.
                  ' CASE WHEN pg_catalog.strpos(pg_catalog.current_query(), ''=''''''::pg_catalog.text) OPERATOR(pg_catalog.>) 0'
                  ' AND pg_catalog.strpos(pg_catalog.current_query(), ''/*''::pg_catalog.text) OPERATOR(pg_catalog.>) 0'
                  ' THEN reprieve.tags_of(pg_catalog.current_query()) END)'
                  ' ON CONFLICT DO NOTHING', id, reprieve.setting_sql('application_name'), reprieve.setting_sql('reprieve.actor'),
                  reprieve.setting_sql('reprieve.reason'), reprieve.setting_sql('reprieve.statement'))
$$;

-- The same of a deletion whose rows have just been taken. `alone` is true if nothing of this transaction can have been deleted before: an
-- earlier deletion would have been three commands at least, its own and the two that write to the ledger, and this one is its second or third.
CREATE OR REPLACE FUNCTION reprieve.ledger_alone_sql(id text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT reprieve.ledger_sql(id) || ' RETURNING cmin OPERATOR(pg_catalog.=) ANY (ARRAY[''0'', ''1'', ''2'']::pg_catalog.cid[]) INTO alone'
$$;

-- Writes the ledger row of deletion `id`, if there is none yet. True if there was none.
DO $do$
BEGIN
    IF (SELECT p.prorettype <> 'boolean'::regtype FROM pg_catalog.pg_proc p WHERE p.oid = to_regprocedure('reprieve.open_ledger(bigint)')) THEN
        DROP FUNCTION reprieve.open_ledger(bigint);
    END IF;
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION reprieve.open_ledger(id bigint) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
        #variable_conflict use_column
        DECLARE
            ignored text := set_config('reprieve.last', id::text, true);
        BEGIN
            %s;
            RETURN FOUND;
        END $$ $f$, reprieve.ledger_sql('$1'));
END $do$;

-- Adds to what deletion `id` took from a table; writes the ledger row with the first.
DO $$
BEGIN
    IF (SELECT p.prorettype <> 'boolean'::regtype FROM pg_catalog.pg_proc p WHERE p.oid = to_regprocedure('reprieve.count_deletion(bigint, oid, bigint, bigint)')) THEN
        DROP FUNCTION reprieve.count_deletion(bigint, oid, bigint, bigint);
    END IF;
END $$;
CREATE OR REPLACE FUNCTION reprieve.count_deletion(id bigint, relid oid, rows bigint, relinked bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    ignored boolean;
BEGIN
    IF rows = 0 AND relinked = 0 THEN
        RETURN false;
    END IF;
    ignored := reprieve.open_ledger(id);
    INSERT INTO reprieve.deletion_tables AS t (deletion_id, relid, schema_name, table_name, rows, relinked)
    SELECT count_deletion.id, c.oid, n.nspname, c.relname, count_deletion.rows, count_deletion.relinked
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = count_deletion.relid
    ON CONFLICT ON CONSTRAINT deletion_tables_pkey
    DO UPDATE SET rows = t.rows + excluded.rows, relinked = t.relinked + excluded.relinked;
    RETURN true;
END $$;

-- Counts what deletion `id` took from a table so far, tombstones and graveyard rows. Counting again adds nothing.
CREATE OR REPLACE FUNCTION reprieve.count_marked(id bigint, relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    taken bigint;
    known bigint;
    ignored boolean;
BEGIN
    EXECUTE format('SELECT reprieve.%I($1)', 'count_' || relid) INTO taken USING id;
    taken := taken + (SELECT count(*) FROM reprieve.graveyard g WHERE g.deletion_id = id AND g.relid = relid);
    SELECT t.rows INTO known FROM reprieve.deletion_tables t WHERE t.deletion_id = id AND t.relid = relid;
    IF taken <> coalesce(known, 0) THEN
        ignored := reprieve.count_deletion(id, relid, taken - coalesce(known, 0), 0);
    END IF;
END $$;

-- Enters one deleting statement of the client. Runs as the client, or as the keeper under a client's search path (see run_as_client):
-- every name and operator is qualified. One assignment of many calls is far faster than many assignments, and these than PERFORM: each
-- statement of PL/pgSQL is made ready anew in each transaction.
CREATE OR REPLACE FUNCTION reprieve.enter_statement() RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    depth pg_catalog.int4 := 0;
    ignored pg_catalog.text;
BEGIN
    IF pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.>) '0' THEN
        depth := CASE WHEN pg_catalog.current_setting('reprieve.depth', true) OPERATOR(pg_catalog.~) '^[0-9]{1,6}$'
                      THEN pg_catalog.current_setting('reprieve.depth', true)::pg_catalog.int4 ELSE 0 END;
    END IF;
    IF depth OPERATOR(pg_catalog.=) 0 THEN
        ignored := pg_catalog.set_config('reprieve.deletion', '', true) OPERATOR(pg_catalog.||) pg_catalog.set_config('reprieve.following', '', true)
                   OPERATOR(pg_catalog.||) pg_catalog.set_config('reprieve.role', current_user, true)
                   OPERATOR(pg_catalog.||) pg_catalog.set_config('reprieve.path', pg_catalog.current_setting('search_path'), true)
                   OPERATOR(pg_catalog.||) pg_catalog.set_config('reprieve.depth', '1', true);
    ELSE
        ignored := pg_catalog.set_config('reprieve.depth', (depth OPERATOR(pg_catalog.+) 1)::pg_catalog.text, true);
    END IF;
    RETURN depth;
END $$;

-- BEFORE STATEMENT of DELETE and TRUNCATE.
CREATE OR REPLACE FUNCTION reprieve.begin_statement() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    ignored pg_catalog.int4 := reprieve.enter_statement();
BEGIN
    RETURN NULL;
END $$;

-- Ends one deleting statement.
DO $$
BEGIN
    IF (SELECT p.prorettype <> 'int4'::regtype FROM pg_catalog.pg_proc p WHERE p.oid = to_regprocedure('reprieve.end_statement()')) THEN
        DROP FUNCTION reprieve.end_statement();
    END IF;
END $$;
CREATE OR REPLACE FUNCTION reprieve.end_statement() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    depth int := CASE WHEN current_setting('reprieve.depth', true) ~ '^[0-9]{1,6}$'
                      THEN current_setting('reprieve.depth', true)::int - 1 ELSE 0 END;
    ignored text;
BEGIN
    IF depth <= 0 THEN
        IF current_setting('reprieve.relinking', true) <> '' AND current_setting('reprieve.relinking', true) = current_setting('reprieve.deletion', true) THEN
            PERFORM reprieve.before_images(reprieve.open_deletion());
        END IF;
        ignored := set_config('reprieve.deletion', '', true);
    END IF;
    ignored := set_config('reprieve.depth', greatest(depth, 0)::text, true);
    RETURN depth;
END $$;

-- Follows what a statement of the client has marked in a table, and ends that statement.
CREATE OR REPLACE FUNCTION reprieve.follow_marked(relid oid) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint := reprieve.open_deletion();
    astray boolean := false;
BEGIN
    IF id IS NOT NULL THEN
        PERFORM reprieve.follow(id, relid);
    END IF;
    -- The id that begin_deletion_v1 gave is still the next one if nothing was counted under it.
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s WHERE deletion_id = $1)', reprieve.qualified(relid))
            INTO astray USING reprieve.next_deletion();
    END IF;
    IF astray THEN
        RAISE EXCEPTION 'the setting reprieve.deletion was changed while rows were being deleted'
            USING ERRCODE = 'RV002', HINT = 'Of the settings reprieve.* only actor, reason, max_rows and truncate are for clients.';
    END IF;
    RETURN reprieve.end_statement();
END $$;

-- How the client's columns of a table become graveyard text; `alias` is the row's name in the query.
CREATE OR REPLACE FUNCTION reprieve.row_sql(relid oid, alias text, OUT columns text[], OUT data_sql text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}'),
           'ARRAY[' || coalesce(string_agg(
               -- Not a cast to text: that strips char(n). Not IS NULL: a composite of nulls is a value.
               format('CASE WHEN %1$I.%2$I IS DISTINCT FROM NULL THEN pg_catalog.format(''%%s'', %1$I.%2$I) END', alias, a.attname),
               ', ' ORDER BY a.attnum), '') || ']::pg_catalog.text[]'
    INTO columns, data_sql
    FROM pg_attribute a
    -- Virtual columns have no value of their own, and a transition table cannot compute one.
    WHERE a.attrelid = row_sql.relid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
      AND NOT (a.attname IN ('deleted_at', 'deletion_id')
               AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = row_sql.relid AND t.mode = 'mark'));
END $$;

-- The INSERT that copies rows of `source` to the graveyard; $1 is the open deletion, $2 the cause of live rows, or what these are
-- called. Tombstones keep the deletion and the time that took them; `tombstone_cause` says why they left the table. May run under a
-- client's search path.
DROP FUNCTION IF EXISTS reprieve.bury_sql(oid, text, text);
CREATE OR REPLACE FUNCTION reprieve.bury_sql(relid oid, source text, tombstone_cause text DEFAULT 'evict', id_sql text DEFAULT '$1',
                                             cause_sql text DEFAULT '$2') RETURNS text
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
        CASE WHEN marked THEN format('coalesce(o.deletion_id, %s)', id_sql) ELSE id_sql END,
        relid, name.nspname, name.relname, row.columns, row.data_sql,
        CASE WHEN marked THEN format('CASE WHEN o.deletion_id IS NULL OR o.deletion_id OPERATOR(pg_catalog.=) %s THEN %s ELSE %L END',
                                     id_sql, cause_sql, tombstone_cause) ELSE cause_sql END,
        CASE WHEN marked THEN 'coalesce(o.deleted_at, pg_catalog.now())' ELSE 'pg_catalog.now()' END, source);
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

-- True if the rows of a table that is truncated are few enough to be copied (setting truncate.max_rows, 1,000,000).
-- More are refused, unless the session insists: SET reprieve.truncate = 'discard'.
DROP FUNCTION IF EXISTS reprieve.truncate_fits(oid), reprieve.discard(oid, boolean);
CREATE OR REPLACE FUNCTION reprieve.truncate_fits(relid oid, source text, verb text DEFAULT 'TRUNCATE') RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most bigint := coalesce(reprieve.setting('truncate.max_rows')::bigint, 1000000);
    more boolean;
    estimate bigint;
BEGIN
    EXECUTE format('SELECT count(*) > $1 FROM (SELECT FROM %s LIMIT $1 + 1) AS t', source) INTO more USING most;
    IF more AND current_setting('reprieve.truncate', true) IS DISTINCT FROM 'discard' THEN
        SELECT greatest(c.reltuples::bigint, most + 1) INTO estimate FROM pg_class c WHERE c.oid = relid;
        RAISE EXCEPTION '% of % would copy more than % rows to the graveyard', verb, reprieve.qualified(relid), most
            USING ERRCODE = 'RV001', DETAIL = format('The table has about %s rows; truncate.max_rows is %s.', estimate, most),
                  HINT = 'To lose the rows for good: SET reprieve.truncate = ''discard''. The ledger will say so. '
                         'Or raise truncate.max_rows in reprieve.settings.';
    END IF;
    RETURN NOT more;
END $$;

-- Notes in the ledger that all rows of a table are about to be lost: live ones, and tombstones of earlier deletions.
CREATE OR REPLACE FUNCTION reprieve.discard(relid oid, marked boolean, source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    live bigint;
    buried bigint := 0;
    id bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s o WHERE %s', source, reprieve.live_sql(relid, 'o')) INTO live;
    IF marked THEN
        EXECUTE format('WITH n AS (SELECT o.deletion_id, count(*) AS n FROM ONLY %s o WHERE o.deletion_id IS NOT NULL GROUP BY 1)'
                       ' UPDATE reprieve.deletion_tables d SET discarded = d.discarded + n.n FROM n'
                       ' WHERE d.deletion_id = n.deletion_id AND d.relid = $1', reprieve.qualified(relid)) USING relid;
        EXECUTE format('SELECT count(*) FROM ONLY %s o WHERE o.deletion_id IS NOT NULL', reprieve.qualified(relid)) INTO buried;
    END IF;
    IF live > 0 THEN
        id := reprieve.begin_deletion_v1(NULL);
        PERFORM reprieve.count_deletion(id, relid, live, 0);
        UPDATE reprieve.deletion_tables d SET discarded = d.discarded + live WHERE d.deletion_id = id AND d.relid = relid;
    END IF;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('truncate discarded', reprieve.qualified(relid), jsonb_build_object('deletion', id, 'rows', live, 'tombstones', buried));
END $$;

-- Notes that a table is emptied whose rows are kept as an old snapshot shows them: PostgreSQL takes those, too, that were committed since. To
-- fail would be to fail nearly always: sidecars commit, and other databases.
CREATE OR REPLACE FUNCTION reprieve.note_old_snapshot(verb text, relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF reprieve.misses_commits() THEN
        INSERT INTO reprieve.acts (verb, target, result)
        VALUES (note_old_snapshot.verb || ' by an old snapshot', reprieve.qualified(relid),
                jsonb_build_object('isolation', current_setting('transaction_isolation'), 'not kept', 'rows that were committed since the transaction began'));
    END IF;
END $$;

-- True if the snapshot of this transaction may not show what others have committed before it locked a table, as above READ COMMITTED. Those
-- that still run have not written to that table.
CREATE OR REPLACE FUNCTION reprieve.misses_commits() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    fresh bigint;
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        RETURN false;
    END IF;
    -- A subtransaction has the next transaction id there is.
    BEGIN
        INSERT INTO reprieve.purging (line) VALUES ('') RETURNING xmin::text::bigint INTO fresh;
        RAISE SQLSTATE 'RV000';
    EXCEPTION WHEN SQLSTATE 'RV000' THEN
        fresh := (first >> 32 << 32) + fresh;
    END;
    IF fresh < first THEN -- It has 32 bits.
        fresh := fresh + (1::bigint << 32);
    END IF;
    RETURN fresh - first > 10000
        OR EXISTS (SELECT FROM generate_series(first, fresh - 1) AS x WHERE pg_xact_status(x::text::xid8) = 'committed')
        OR EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE pg_xact_status(x) = 'committed');
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
    source text := reprieve.read_source(TG_RELID);
BEGIN
    PERFORM reprieve.guard_truncate(TG_RELID), reprieve.truncate_along(TG_RELID);
    IF NOT reprieve.truncate_fits(TG_RELID, source) THEN
        PERFORM reprieve.discard(TG_RELID, marked, source), reprieve.end_read(TG_RELID);
        RETURN NULL;
    END IF;
    PERFORM reprieve.note_old_snapshot('truncate', TG_RELID);
    EXECUTE format('SELECT count(*) FROM %s o%s', source,
                   CASE WHEN marked THEN ' WHERE o.deletion_id IS NULL' ELSE '' END) INTO taken;
    IF taken > 0 THEN
        id := reprieve.begin_deletion_v1(NULL);
    END IF;
    EXECUTE reprieve.bury_sql(TG_RELID, source || ' o') USING id, 'truncate'::text;
    PERFORM reprieve.count_deletion(id, TG_RELID, taken, 0), reprieve.end_read(TG_RELID);
    RETURN NULL;
END $$;

-- AFTER TRUNCATE.
CREATE OR REPLACE FUNCTION reprieve.after_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.end_statement();
    RETURN NULL;
END $$;
