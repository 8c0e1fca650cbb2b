-- Guards: how much one statement, or one transaction, may delete. GUARD, UNGUARD, SHOW GUARDS, and the settings guards.*.
--
-- Each line of the ledger that says how many rows a deletion took goes through guard_line(), a trigger of reprieve.deletion_tables, before it
-- is written. What it asks is generated from the guards that there are: nothing where there are none. It asks too often rather than too
-- seldom; reprieve.judge() then looks closely. Whatever is over a limit is an error, so nothing of the statement stays.

-- relid 0: every table; role_name '': every role. Of several guards that set the same limit the most special one counts: a table goes
-- before a role, a role before a group that it is in.
CREATE TABLE IF NOT EXISTS reprieve.guards (
    relid        oid NOT NULL DEFAULT 0,
    role_name    text NOT NULL DEFAULT '',
    per          text NOT NULL DEFAULT 'statement' CHECK (per IN ('statement', 'transaction')),
    max_rows     bigint CHECK (max_rows >= 0),          -- of all tables together, cascades included; 9223372036854775807: any number
    max_share    numeric CHECK (max_share >= 0),        -- percent of the rows of the table; 100: all of them
    no_where     text CHECK (no_where IN ('refuse', 'allow')),
    on_truncate  text CHECK (on_truncate IN ('refuse', 'allow')),
    on_drop      text CHECK (on_drop IN ('refuse', 'allow')),
    wait         interval,
    set_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    set_by       text NOT NULL DEFAULT session_user,
    PRIMARY KEY (relid, role_name, per)
);

-- Tables of which nearly all rows are tombstones, as the monitor has found: how many rows lie in one says nothing of how many are live.
CREATE TABLE IF NOT EXISTS reprieve.crowded (
    relid  oid PRIMARY KEY
);

-- Rows of earlier deletions of the same transaction that took rows of this table, too. NULL where nobody asked.
ALTER TABLE reprieve.deletion_tables ADD COLUMN IF NOT EXISTS taken_before bigint;

-- The guards that there are, those of the configuration among them. The greater `rank`, the more special.
CREATE OR REPLACE VIEW reprieve.guards_set AS
    SELECT g.relid, g.role_name, g.per, g.max_rows, g.max_share, g.no_where, g.on_truncate, g.on_drop, g.wait, g.set_at, g.set_by,
           CASE WHEN g.relid <> 0 THEN 4 ELSE 0 END AS rank
      FROM reprieve.guards g
    UNION ALL
    SELECT 0::oid, '', 'statement', s.max_rows::bigint, s.max_share::numeric, s.no_where, s.on_truncate, s.on_drop, s.wait::interval, NULL, 'configuration', -1
      FROM (SELECT pg_catalog.max(nullif(k.value, '')) FILTER (WHERE k.key = 'guards.max_rows') AS max_rows,
                   pg_catalog.max(nullif(k.value, '')) FILTER (WHERE k.key = 'guards.max_share') AS max_share,
                   pg_catalog.max(nullif(k.value, '')) FILTER (WHERE k.key = 'guards.no_where') AS no_where,
                   pg_catalog.max(nullif(k.value, '')) FILTER (WHERE k.key = 'guards.truncate') AS on_truncate,
                   pg_catalog.max(nullif(k.value, '')) FILTER (WHERE k.key = 'guards.drop') AS on_drop,
                   pg_catalog.max(nullif(k.value, '')) FILTER (WHERE k.key = 'guards.wait') AS wait
              FROM reprieve.settings k WHERE k.key LIKE 'guards.%') s
     WHERE pg_catalog.num_nonnulls(s.max_rows, s.max_share, s.no_where, s.on_truncate, s.on_drop) > 0;

-- How much of a role this session is: 2 if it is that role, 1 if it is in it, else 0. By who logged in and by SET ROLE, neither of which
-- can be forged. A superuser is in every role for PostgreSQL, but not here.
CREATE OR REPLACE FUNCTION reprieve.acts_as(role_name text) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF role_name IN (session_user::text, current_setting('role')) THEN
        RETURN 2;
    END IF;
    RETURN (WITH RECURSIVE own AS (
                SELECT r.oid FROM pg_roles r WHERE r.rolname IN (session_user, current_setting('role'))
                UNION SELECT m.roleid FROM pg_auth_members m JOIN own ON m.member = own.oid
            ) SELECT count(*)::int FROM own JOIN pg_roles r ON r.oid = own.oid WHERE r.rolname = role_name);
END $$;

-- The limits that hold for this session and a table, and who set each.
CREATE OR REPLACE FUNCTION reprieve.limits_on(relid oid, per text, OUT max_rows bigint, OUT max_share numeric, OUT no_where text,
                                              OUT on_truncate text, OUT on_drop text, OUT wait interval)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    SELECT (array_agg(g.max_rows ORDER BY g.rank_here DESC, g.max_rows) FILTER (WHERE g.max_rows IS NOT NULL))[1],
           (array_agg(g.max_share ORDER BY g.rank_here DESC, g.max_share) FILTER (WHERE g.max_share IS NOT NULL))[1],
           (array_agg(g.no_where ORDER BY g.rank_here DESC, g.no_where DESC) FILTER (WHERE g.no_where IS NOT NULL))[1],
           (array_agg(g.on_truncate ORDER BY g.rank_here DESC, g.on_truncate DESC) FILTER (WHERE g.on_truncate IS NOT NULL))[1],
           (array_agg(g.on_drop ORDER BY g.rank_here DESC, g.on_drop DESC) FILTER (WHERE g.on_drop IS NOT NULL))[1],
           (array_agg(g.wait ORDER BY g.rank_here DESC, g.wait) FILTER (WHERE g.wait IS NOT NULL))[1]
      INTO max_rows, max_share, no_where, on_truncate, on_drop, wait
      FROM (SELECT s.*, s.rank + reprieve.acts_as(s.role_name) AS rank_here FROM reprieve.guards_set s
             WHERE s.relid IN (0, $1, reprieve.root_of($1)) AND s.per = $2) AS g
     WHERE g.role_name = '' OR reprieve.acts_as(g.role_name) > 0;
END $$;

-- The condition that this session may be in a role: by its name, as a role may be dropped and made again.
CREATE OR REPLACE FUNCTION reprieve.member_sql(role_name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('coalesce(pg_catalog.pg_has_role(session_user, pg_catalog.to_regrole(%L)::pg_catalog.oid, ''MEMBER''), false)', quote_ident(role_name))
$$;

-- What guard_line() asks of one guard; NULL if it has no limit on rows.
CREATE OR REPLACE FUNCTION reprieve.guard_asks(g reprieve.guards_set) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Members of a hierarchy come and go.
    simple boolean := NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = g.relid AND c.relkind = 'p')
                      AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = g.relid);
    here text := format('NEW.relid OPERATOR(pg_catalog.=) %s::pg_catalog.oid', g.relid);
    asks text[] := '{}';
    taken text := CASE g.per WHEN 'statement' THEN 'NEW.rows' ELSE '(coalesce(NEW.taken_before, 0) OPERATOR(pg_catalog.+) NEW.rows)' END;
BEGIN
    IF g.max_share < 100 THEN
        asks := asks || CASE WHEN simple THEN reprieve.large_share_sql(taken, g.max_share) ELSE 'true' END;
    END IF;
    IF g.no_where = 'refuse' THEN
        asks := asks || 'NEW.rows OPERATOR(pg_catalog.>) 1'::text;
    END IF;
    IF g.relid <> 0 AND simple AND asks <> '{}' THEN
        asks := ARRAY[format('%s AND (%s)', here, array_to_string(asks, ' OR '))];
    END IF;
    -- What is taken of other tables counts, too.
    IF g.max_rows < 9223372036854775807 THEN
        asks := asks || concat(CASE WHEN g.relid <> 0 AND simple THEN format('(others OPERATOR(pg_catalog.>) 0 OR %s) AND ', here) END,
            '(', CASE g.per WHEN 'transaction' THEN 'others OPERATOR(pg_catalog.>) 0 OR ' END,
            format('(%s OPERATOR(pg_catalog.+) others) OPERATOR(pg_catalog.>) %s::pg_catalog.int8)', taken, g.max_rows));
    END IF;
    IF asks = '{}' THEN
        RETURN NULL;
    END IF;
    RETURN concat_ws(' AND ', CASE WHEN g.role_name <> '' THEN reprieve.member_sql(g.role_name) END, '(' || array_to_string(asks, ' OR ') || ')');
END $$;

-- True if so many rows may be a share of a table that is worth counting: by the planner's estimate, with a hundredfold margin.
CREATE OR REPLACE FUNCTION reprieve.is_large_share(relid oid, taken bigint, share numeric) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    estimate pg_catalog.float4 := (SELECT c.reltuples FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) is_large_share.relid);
BEGIN
    RETURN (taken::pg_catalog.float8 OPERATOR(pg_catalog.*) 10000::pg_catalog.float8) OPERATOR(pg_catalog.>=)
           (share::pg_catalog.float8 OPERATOR(pg_catalog.*) estimate::pg_catalog.float8);
END $$;

-- The same of the line that guard_line() is asked of. From PostgreSQL 15 on the statistics of a table lie in shared memory and cost no
-- query: https://www.postgresql.org/docs/15/monitoring-stats.html. They count tombstones as rows; see reprieve.crowded.
CREATE OR REPLACE FUNCTION reprieve.large_share_sql(taken text, share numeric) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slow text := format('reprieve.is_large_share(NEW.relid, %s, %s)', taken, share);
    crowded text := (SELECT string_agg(format(' OR NEW.relid OPERATOR(pg_catalog.=) %s::pg_catalog.oid', c.relid), '' ORDER BY c.relid) FROM reprieve.crowded c);
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RETURN slow || coalesce(crowded, '');
    END IF;
    RETURN format('CASE WHEN pg_catalog.pg_stat_get_live_tuples(NEW.relid) OPERATOR(pg_catalog.>) 0'
                  ' THEN (%s OPERATOR(pg_catalog.*) 10000) OPERATOR(pg_catalog.>=) (%s::pg_catalog.float8 OPERATOR(pg_catalog.*) pg_catalog.pg_stat_get_live_tuples(NEW.relid))'
                  ' ELSE %s END%s', taken, share, slow, coalesce(crowded, ''));
END $$;

-- What the other deletions of this transaction took that had rows of a table, but for those that were approved. Each line of the ledger
-- remembers it, so only what came since is added up; unless somebody forged the number of a deletion, and the last one is not the greatest.
CREATE OR REPLACE FUNCTION reprieve.taken_before(id bigint, relid oid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    base pg_catalog.int8 := pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.*) 1000000::pg_catalog.int8;
    top pg_catalog.int8 := base OPERATOR(pg_catalog.+) 1000000::pg_catalog.int8;
    previous pg_catalog.int8;
    known pg_catalog.int8;
BEGIN
    PERFORM FROM reprieve.deletion_tables e
    WHERE e.deletion_id OPERATOR(pg_catalog.>) taken_before.id AND e.deletion_id OPERATOR(pg_catalog.<=) top LIMIT 1;
    IF FOUND THEN
        RETURN reprieve.taken_elsewhere(id, relid, base, top);
    END IF;
    SELECT e.deletion_id, e.taken_before INTO previous, known FROM reprieve.deletion_tables e
    WHERE e.deletion_id OPERATOR(pg_catalog.>) base AND e.deletion_id OPERATOR(pg_catalog.<) taken_before.id AND e.relid OPERATOR(pg_catalog.=) taken_before.relid
    ORDER BY e.deletion_id DESC LIMIT 1;
    IF previous IS NULL THEN
        RETURN 0;
    ELSIF known IS NULL THEN
        RETURN reprieve.taken_elsewhere(id, relid, base, top);
    END IF;
    RETURN known OPERATOR(pg_catalog.+) coalesce((SELECT pg_catalog.sum(e.rows) FROM reprieve.deletion_tables e WHERE e.deletion_id OPERATOR(pg_catalog.=) previous
               AND NOT EXISTS (SELECT FROM reprieve.requests r WHERE r.used_for OPERATOR(pg_catalog.=) previous)), 0)::pg_catalog.int8;
END $$;

-- The same, added up anew.
CREATE OR REPLACE FUNCTION reprieve.taken_elsewhere(id bigint, relid oid, base bigint, top bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT sum(e.rows) FROM reprieve.deletion_tables e
                     WHERE e.deletion_id > base AND e.deletion_id <= top AND e.deletion_id <> $1
                       AND EXISTS (SELECT FROM reprieve.deletion_tables o WHERE o.deletion_id = e.deletion_id AND o.relid = $2)
                       AND NOT EXISTS (SELECT FROM reprieve.requests r WHERE r.used_for = e.deletion_id)), 0);
END $$;

-- Makes guard_line() anew. No lock on the ledger is taken: a deletion that is under way goes on by the old one.
CREATE OR REPLACE FUNCTION reprieve.make_guard_line() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asks text;
    whole boolean;
    budgets text;
    body text;
    before text := coalesce(current_setting('reprieve.reconciling', true), '');
BEGIN
    -- One after the other, each of which sees what the one before has set.
    LOCK TABLE reprieve.guards IN SHARE ROW EXCLUSIVE MODE;
    SELECT string_agg(format(E'\n       OR %s', a.ask), '' ORDER BY a.ask), coalesce(bool_or(g.per = 'transaction'), false) INTO asks, whole
      FROM reprieve.guards_set g, LATERAL (SELECT reprieve.guard_asks(g) AS ask) a WHERE a.ask IS NOT NULL;
    SELECT string_agg(reprieve.member_sql(b.role_name), E'\n       OR ' ORDER BY b.role_name) INTO budgets FROM reprieve.budgets b;
    body := format($f$
DECLARE
    others pg_catalog.int8 := 0;
    ignored pg_catalog.bool;
BEGIN
    IF NEW.rows OPERATOR(pg_catalog.<=) 0 THEN
        RETURN NEW;
    END IF;%1$s
    IF coalesce(pg_catalog.current_setting('reprieve.max_rows', true), '') OPERATOR(pg_catalog.<>) ''%2$s THEN
        ignored := reprieve.judge(NEW.deletion_id, NEW.relid, NEW.rows, NEW.taken_before);
    END IF;%3$s
    RETURN NEW;
END $f$,
        CASE WHEN strpos(asks, 'others') > 0 THEN E'
    IF NEW.is_first IS NOT TRUE OR TG_OP OPERATOR(pg_catalog.<>) ''INSERT'' THEN
        PERFORM FROM reprieve.deletion_tables e WHERE e.deletion_id OPERATOR(pg_catalog.=) NEW.deletion_id AND e.relid OPERATOR(pg_catalog.<>) NEW.relid LIMIT 1;
        IF FOUND THEN
            others := (SELECT pg_catalog.sum(e.rows) FROM reprieve.deletion_tables e
                       WHERE e.deletion_id OPERATOR(pg_catalog.=) NEW.deletion_id AND e.relid OPERATOR(pg_catalog.<>) NEW.relid);
        END IF;
    END IF;' ELSE '' END || CASE WHEN whole THEN '
    IF NEW.taken_before IS NULL THEN
        PERFORM FROM reprieve.deletion_tables e
        WHERE e.deletion_id OPERATOR(pg_catalog.>) (NEW.deletion_id OPERATOR(pg_catalog.-) 1 OPERATOR(pg_catalog./) 1000000 OPERATOR(pg_catalog.*) 1000000)
          AND e.deletion_id OPERATOR(pg_catalog.<=) (NEW.deletion_id OPERATOR(pg_catalog.-) 1 OPERATOR(pg_catalog./) 1000000 OPERATOR(pg_catalog.*) 1000000 OPERATOR(pg_catalog.+) 1000000)
          AND e.deletion_id OPERATOR(pg_catalog.<>) NEW.deletion_id LIMIT 1;
        IF FOUND THEN
            NEW.taken_before := reprieve.taken_before(NEW.deletion_id, NEW.relid);
        END IF;
    END IF;' ELSE '' END,
        coalesce(asks, ''),
        CASE WHEN budgets IS NOT NULL THEN format(E'\n    IF %s THEN\n        ignored := reprieve.charge(NEW.deletion_id, NEW.relid, NEW.rows);\n    END IF;', budgets) ELSE '' END);
    IF NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = to_regprocedure('reprieve.guard_line()') AND p.prosrc = body) THEN
        PERFORM set_config('reprieve.reconciling', '1', true);
        EXECUTE format('CREATE OR REPLACE FUNCTION reprieve.guard_line() RETURNS trigger LANGUAGE plpgsql AS %L', body);
        REVOKE ALL ON FUNCTION reprieve.guard_line() FROM PUBLIC;
        PERFORM set_config('reprieve.reconciling', before, true);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION reprieve.guards_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.make_guard_line();
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER guards_changed AFTER INSERT OR UPDATE OR DELETE ON reprieve.guards
    FOR EACH STATEMENT EXECUTE FUNCTION reprieve.guards_changed();
CREATE OR REPLACE TRIGGER guards_changed AFTER INSERT OR UPDATE ON reprieve.settings
    FOR EACH ROW WHEN (NEW.key LIKE 'guards.%') EXECUTE FUNCTION reprieve.guards_changed();
CREATE OR REPLACE TRIGGER guards_gone AFTER DELETE ON reprieve.settings
    FOR EACH ROW WHEN (OLD.key LIKE 'guards.%') EXECUTE FUNCTION reprieve.guards_changed();

CREATE OR REPLACE VIEW reprieve.show_guards AS
    SELECT CASE g.relid WHEN 0 THEN '(all)' ELSE coalesce((SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = g.relid), 'dropped: ' || g.relid) END AS "table",
           CASE g.role_name WHEN '' THEN '(all)' ELSE g.role_name END AS role, g.per,
           CASE g.max_rows WHEN 9223372036854775807 THEN 'none' ELSE g.max_rows::text END AS max_rows, g.max_share, g.no_where,
           g.on_truncate AS "truncate", g.on_drop AS "drop", g.wait, g.set_at, g.set_by
      FROM reprieve.guards_set g ORDER BY 1, 2, 3, g.rank;

-- Guards are set one after the other, and each sees those before.
CREATE OR REPLACE FUNCTION reprieve.require_read_committed(what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION '% runs at READ COMMITTED only', what USING ERRCODE = 'invalid_transaction_state',
            HINT = 'It must see what others have done meanwhile: BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION reprieve.require_role(role_name text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name) THEN
        RAISE EXCEPTION 'role "%" does not exist', role_name USING ERRCODE = 'undefined_object';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION reprieve.guard_name(relation oid, for_role text, per text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN concat_ws(' ', coalesce('TABLE ' || coalesce(reprieve.qualified(nullif(relation, 0)), relation::text), 'ALL TABLES'),
                     CASE per WHEN 'transaction' THEN 'PER TRANSACTION' END, 'FOR ' || quote_ident(nullif(for_role, '')));
END $$;

-- GUARD TABLE t | ALL TABLES: sets the limits that are given and leaves the others as they are.
CREATE OR REPLACE FUNCTION reprieve.guard_v1(relation regclass DEFAULT NULL, for_role text DEFAULT NULL, per text DEFAULT 'statement', max_rows bigint DEFAULT NULL,
                                             max_share numeric DEFAULT NULL, no_where text DEFAULT NULL, on_truncate text DEFAULT NULL,
                                             on_drop text DEFAULT NULL, wait interval DEFAULT NULL)
RETURNS SETOF reprieve.show_guards
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    key record;
BEGIN
    PERFORM reprieve.require_admin('GUARD'), reprieve.require_read_committed('GUARD');
    IF for_role IS NOT NULL THEN
        PERFORM reprieve.require_role(for_role);
    END IF;
    IF relation IS NOT NULL AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relation) THEN
        RAISE EXCEPTION 'table % is not under soft delete', reprieve.qualified(relation)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('ENABLE SOFT DELETE ON %s first: guards see what the ledger sees.', reprieve.qualified(relation));
    END IF;
    IF num_nonnulls(max_rows, max_share, no_where, on_truncate, on_drop, wait) = 0 THEN
        RAISE EXCEPTION 'a guard needs a limit' USING ERRCODE = 'invalid_parameter_value';
    ELSIF max_share NOT BETWEEN 0 AND 100 OR max_rows < 0 THEN
        RAISE EXCEPTION 'a guard allows 0 or more rows, and a share from 0 to 100 percent' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE reprieve.guards IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO reprieve.guards AS g (relid, role_name, per, max_rows, max_share, no_where, on_truncate, on_drop, wait)
    VALUES (coalesce($1, 0), coalesce($2, ''), $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (relid, role_name, per) DO UPDATE SET max_rows = coalesce(excluded.max_rows, g.max_rows), max_share = coalesce(excluded.max_share, g.max_share),
        no_where = coalesce(excluded.no_where, g.no_where), on_truncate = coalesce(excluded.on_truncate, g.on_truncate),
        on_drop = coalesce(excluded.on_drop, g.on_drop), wait = coalesce(excluded.wait, g.wait), set_at = excluded.set_at, set_by = excluded.set_by;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('guard', reprieve.guard_name($1, $2, $3), jsonb_strip_nulls(jsonb_build_object('max_rows', $4, 'max_share', $5, 'no_where', $6, 'truncate', $7, 'drop', $8, 'wait', $9)));
    RETURN QUERY SELECT s.* FROM reprieve.show_guards s
     WHERE s."table" = coalesce(reprieve.qualified($1), '(all)') AND s.role = coalesce($2, '(all)') AND s.per = $3 AND s.set_at IS NOT NULL;
END $$;

-- UNGUARD TABLE t | ALL TABLES [PER ...] [FOR role]: ends the guards of exactly this table and role.
CREATE OR REPLACE FUNCTION reprieve.unguard_v1(relation regclass DEFAULT NULL, for_role text DEFAULT NULL, per text DEFAULT NULL)
RETURNS TABLE (guard text, set_at timestamptz, set_by text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    gone text;
BEGIN
    PERFORM reprieve.require_admin('UNGUARD'), reprieve.require_read_committed('UNGUARD');
    LOCK TABLE reprieve.guards IN SHARE ROW EXCLUSIVE MODE;
    RETURN QUERY DELETE FROM reprieve.guards g
     WHERE g.relid = coalesce($1::oid, 0) AND g.role_name = coalesce($2, '') AND ($3 IS NULL OR g.per = $3)
    RETURNING reprieve.guard_name(g.relid, g.role_name, g.per), g.set_at, g.set_by;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no guard on %', reprieve.guard_name($1, $2, $3)
            USING ERRCODE = 'no_data_found', HINT = 'SHOW GUARDS lists what there is. Those of the configuration (guards.*) end there.';
    END IF;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('unguard', reprieve.guard_name($1, $2, $3), NULL);
END $$;
