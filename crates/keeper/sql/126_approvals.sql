-- Approvals: a deletion that a guard or a budget holds goes through if somebody asked for it and somebody else agreed. REQUEST DELETION,
-- APPROVE and DENY DELETION REQUEST, SHOW REQUESTS.
--
-- Who asks and who agrees is who logged in (session_user), which no setting and no SET ROLE changes. An approval is used by the transaction
-- that deletes, with its row lock: who comes second waits, and finds it used, or given back by a ROLLBACK.

CREATE TABLE IF NOT EXISTS reprieve.requests (
    id            bigint PRIMARY KEY,          -- transaction id * 1,000,000 + running number, as deletions
    requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    requested_by  text NOT NULL DEFAULT session_user,
    reason        text,
    relid         oid,                         -- a table that the deletion takes rows of; NULL: any
    label         text NOT NULL,
    condition     text,                        -- what the requester said; for the eyes of who approves
    role_name     text NOT NULL,               -- who may use it
    max_rows      bigint NOT NULL CHECK (max_rows >= 0),
    valid_for     interval NOT NULL CHECK (valid_for > interval '0'),
    decided_at    timestamptz,
    decided_by    text,
    approved      boolean,
    valid_until   timestamptz,
    used_at       timestamptz,
    used_by       text,
    used_xid      xid8,
    used_for      bigint                       -- the deletion
);
CREATE INDEX IF NOT EXISTS requests_used_for ON reprieve.requests (used_for);

-- An approval that this deletion has used already, and that has room for it still.
CREATE OR REPLACE FUNCTION reprieve.is_approved(deletion bigint, rows bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM reprieve.requests r WHERE r.used_for = deletion AND r.used_xid = pg_current_xact_id() AND rows <= r.max_rows);
END $$;

-- Uses up an approval that fits, if there is one. A concurrent use of the same one is waited for.
CREATE OR REPLACE FUNCTION reprieve.use_approval(deletion bigint, tables oid[], rows bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    request bigint;
BEGIN
    LOOP
        SELECT r.id INTO request FROM reprieve.requests r
         WHERE r.approved AND r.used_at IS NULL AND r.valid_until > clock_timestamp() AND rows <= r.max_rows AND (r.relid IS NULL OR r.relid = ANY (tables))
           AND r.decided_by <> session_user AND reprieve.acts_as(r.role_name) > 0
         ORDER BY r.max_rows, r.id LIMIT 1;
        IF request IS NULL THEN
            RETURN false;
        END IF;
        UPDATE reprieve.requests r SET used_at = clock_timestamp(), used_by = session_user, used_xid = pg_current_xact_id(), used_for = deletion
         WHERE r.id = request AND r.approved AND r.used_at IS NULL AND r.valid_until > clock_timestamp();
        IF FOUND THEN
            INSERT INTO reprieve.acts (verb, target, result)
            VALUES ('use approval', 'deletion request ' || request, jsonb_build_object('deletion', deletion, 'rows', rows));
            RETURN true;
        END IF;
    END LOOP;
END $$;

-- A deletion that is over a limit: an approval lets it through, perhaps one that comes while the session waits, else it is an error.
CREATE OR REPLACE FUNCTION reprieve.hold_deletion(id bigint, line oid, line_rows bigint, over reprieve.overrun) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told record;
    tables oid[];
    name text := coalesce(reprieve.qualified((over).relid), (SELECT format('%I.%I', t.schema_name, t.table_name) FROM reprieve.tables t WHERE t.relid = (over).relid));
    -- Only here a session sees what others commit meanwhile.
    waits boolean := (over).wait > interval '0' AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    patience timestamptz := clock_timestamp() + (over).wait;
BEGIN
    SELECT * INTO told FROM reprieve.tell_lines(id, line, line_rows);
    IF reprieve.is_approved(id, greatest((over).rows, told.total)) THEN
        RETURN;
    END IF;
    tables := ARRAY(SELECT l.table_id FROM reprieve.lines_of(id, line, line_rows) l
                    UNION SELECT reprieve.root_of(l.table_id) FROM reprieve.lines_of(id, line, line_rows) l UNION SELECT (over).relid);
    LOOP
        IF reprieve.use_approval(id, tables, greatest((over).rows, told.total)) THEN
            RETURN;
        END IF;
        EXIT WHEN waits IS NOT TRUE OR clock_timestamp() >= patience;
        -- For SHOW REQUESTS: what others can see of a transaction that is not over.
        PERFORM pg_advisory_xact_lock_shared('reprieve.requests'::regclass::oid::int, least(greatest((over).rows, told.total), 2147483647)::int);
        PERFORM pg_sleep(greatest(0.01, least(0.2, extract(epoch FROM patience - clock_timestamp()))));
    END LOOP;
    RAISE EXCEPTION 'deletion held: %', (over).problem USING ERRCODE = 'RV001',
        DETAIL = concat_ws(' ', 'Counted so far: ' || told.told || '.', 'Nothing was deleted.'),
        HINT = format('A member of reprieve_admin can raise the limit (SHOW GUARDS, GUARD), or ask for this one on the admin port: REQUEST DELETION FROM %s ROWS %s FOR %s;'
                      ' another one must agree with APPROVE DELETION REQUEST.%s', name, greatest((over).rows, told.total, 1), quote_ident(session_user),
                      CASE WHEN (over).wait > interval '0' AND NOT waits THEN ' This transaction is not READ COMMITTED, so it could not wait for that.'
                           WHEN waits THEN format(' It was waited for %s in vain.', (over).wait) ELSE '' END);
END $$;

-- All requests, the newest first, and sessions that wait for an approval now.
CREATE OR REPLACE FUNCTION reprieve.requests_v1()
RETURNS TABLE (id bigint, state text, "table" text, condition text, rows bigint, role text, requested_by text, requested_at timestamptz, reason text,
               decided_by text, decided_at timestamptz, valid_until timestamptz, used_by text, used_at timestamptz, deletion bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM reprieve.require_admin('SHOW REQUESTS');
    RETURN QUERY
    SELECT NULL::bigint, 'session waits', NULL::text, a.query, max(l.objid)::bigint, a.usename::text, NULL::text, a.query_start, NULL::text,
           NULL::text, NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::timestamptz, NULL::bigint
      FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 'reprieve.requests'::regclass::oid AND l.granted
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND a.wait_event = 'PgSleep'
     GROUP BY a.pid, a.query, a.usename, a.query_start
    UNION ALL
    SELECT * FROM (SELECT r.id, CASE WHEN r.used_at IS NOT NULL THEN 'used' WHEN r.approved IS NULL THEN 'open' WHEN NOT r.approved THEN 'denied'
                                WHEN r.valid_until <= clock_timestamp() THEN 'expired' ELSE 'approved' END,
           r.label, r.condition, r.max_rows, r.role_name, r.requested_by, r.requested_at, r.reason, r.decided_by, r.decided_at, r.valid_until,
           r.used_by, r.used_at, r.used_for FROM reprieve.requests r ORDER BY r.requested_at DESC, r.id DESC) AS known;
END $$;

CREATE OR REPLACE VIEW reprieve.show_requests AS SELECT * FROM reprieve.requests_v1();

-- For request_deletion_v1.
CREATE OR REPLACE FUNCTION reprieve.request_v1(relation regclass, condition text, max_rows bigint, for_role text, valid_for interval, reason text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    request bigint;
BEGIN
    PERFORM reprieve.require_admin('REQUEST DELETION'), reprieve.require_role(coalesce(for_role, session_user));
    IF max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION 'a deletion of no rows needs no approval' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Say how many rows of all tables it may take: REQUEST DELETION FROM t ROWS n.';
    END IF;
    INSERT INTO reprieve.requests (id, relid, label, condition, max_rows, role_name, valid_for, reason)
    SELECT 1 + coalesce((SELECT max(r.id) FROM reprieve.requests r WHERE r.id > b.base AND r.id < b.base + 1000000), b.base),
           $1, coalesce(reprieve.qualified($1), '(any)'), $2, $3, coalesce($4, session_user), coalesce($5, interval '1 hour'), $6
      FROM (SELECT pg_current_xact_id()::text::bigint * 1000000 AS base) AS b
    RETURNING id INTO request;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('request deletion', coalesce(reprieve.qualified($1), '(any)'), jsonb_build_object('request', request, 'rows', $3, 'role', coalesce($4, session_user)));
    RETURN request;
END $$;

-- REQUEST DELETION FROM t [WHERE p] [ROWS n] [FOR role] [WITHIN i] [REASON r]. Without a number of rows: as many as a PREVIEW counts now,
-- with the caller's rights.
CREATE OR REPLACE FUNCTION reprieve.request_deletion_v1(relation regclass, condition text DEFAULT NULL, max_rows bigint DEFAULT NULL, for_role text DEFAULT NULL,
                                                        valid_for interval DEFAULT NULL, reason text DEFAULT NULL)
RETURNS SETOF reprieve.show_requests
LANGUAGE plpgsql AS $$
DECLARE
    request pg_catalog.int8;
BEGIN
    PERFORM reprieve.require_admin('REQUEST DELETION');
    IF relation IS NOT NULL AND condition IS NOT NULL THEN
        PERFORM reprieve.condition_query_v1(relation, condition);
    END IF;
    IF max_rows IS NULL THEN
        SELECT p.rows INTO max_rows FROM reprieve.preview_delete_v1(relation, coalesce(condition, 'true')) AS p WHERE p.table_name OPERATOR(pg_catalog.=) '(all)';
    END IF;
    request := reprieve.request_v1(relation, condition, max_rows, for_role, valid_for, reason);
    RETURN QUERY SELECT s.* FROM reprieve.show_requests s WHERE s.id OPERATOR(pg_catalog.=) request;
END $$;

-- APPROVE or DENY DELETION REQUEST n: by somebody who neither asked for it nor may use it.
CREATE OR REPLACE FUNCTION reprieve.decide_request_v1(request bigint, approve boolean) RETURNS SETOF reprieve.show_requests
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r reprieve.requests;
BEGIN
    PERFORM reprieve.require_admin(CASE WHEN approve THEN 'APPROVE' ELSE 'DENY' END);
    SELECT q.* INTO r FROM reprieve.requests q WHERE q.id = request FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no deletion request %', request USING ERRCODE = 'no_data_found', HINT = 'SHOW REQUESTS lists them.';
    ELSIF r.used_at IS NOT NULL OR r.approved = approve OR r.approved = false THEN
        RAISE EXCEPTION 'deletion request % was % by %', request, CASE WHEN r.used_at IS NOT NULL THEN 'used' WHEN r.approved THEN 'approved' ELSE 'denied' END,
            coalesce(r.used_by, r.decided_by) USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Ask anew: REQUEST DELETION.';
    ELSIF approve AND r.requested_by = session_user THEN
        RAISE EXCEPTION 'who asks for a deletion may not approve it' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Another member of reprieve_admin must: APPROVE DELETION REQUEST ' || request || '.';
    ELSIF approve AND reprieve.acts_as(r.role_name) > 0 THEN
        RAISE EXCEPTION 'who may use an approval may not give it' USING ERRCODE = 'insufficient_privilege',
            HINT = format('It is for %s. Another member of reprieve_admin must approve it.', quote_ident(r.role_name));
    END IF;
    UPDATE reprieve.requests q SET decided_at = clock_timestamp(), decided_by = session_user, approved = approve,
        valid_until = CASE WHEN approve THEN clock_timestamp() + q.valid_for END WHERE q.id = request;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES (CASE WHEN approve THEN 'approve' ELSE 'deny' END, 'deletion request ' || request, jsonb_build_object('requested_by', r.requested_by));
    RETURN QUERY SELECT s.* FROM reprieve.requests_v1() s WHERE s.id = request;
END $$;
