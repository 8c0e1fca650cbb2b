-- From samples to findings, and SHOW HEALTH.

-- Notes that something is wrong: a new finding, or one that was there before, with what it looks like now.
CREATE OR REPLACE FUNCTION reprieve.find(finding text, place text, severity text, how_bad text, value float8, what_to_do text,
                                         role_name text DEFAULT NULL, began timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO reprieve.monitor_findings AS f (finding, place, severity, how_bad, value, what_to_do, role_name, began)
    VALUES (finding, place, severity, how_bad, value, what_to_do, role_name, began)
    ON CONFLICT ON CONSTRAINT monitor_findings_pkey DO UPDATE
    SET seen = excluded.seen, severity = excluded.severity, how_bad = excluded.how_bad, value = excluded.value, what_to_do = excluded.what_to_do,
        role_name = excluded.role_name, began = excluded.began,
        -- One that came back before its end was told is the same one.
        since = CASE f.told WHEN 'over' THEN excluded.since ELSE f.since END, told = CASE f.told WHEN 'over' THEN '' ELSE f.told END,
        is_over = false;
END $$;

-- Losses since the last tick that is as old as the window, from the ledger: deletions that were not visible then and are now. So a long
-- transaction counts when it commits. What was brought back meanwhile does not count.
CREATE OR REPLACE FUNCTION reprieve.monitor_count_losses(lost_since reprieve.monitor_ticks, minute reprieve.monitor_ticks, span interval) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM reprieve.monitor_losses;
    WITH fresh AS MATERIALIZED (
        SELECT d.id, d.role_name, d.statement_at, CASE WHEN minute.at IS NULL THEN d.statement_at >= now() - interval '1 minute'
                                       ELSE NOT pg_visible_in_snapshot(d.xid, minute.snapshot) END AS is_last_minute
          FROM reprieve.deletions d
         WHERE lost_since.at IS NOT NULL AND d.xid >= pg_snapshot_xmin(lost_since.snapshot) AND NOT pg_visible_in_snapshot(d.xid, lost_since.snapshot)
           -- A ledger that came from another cluster has transactions that are none here.
           AND d.xid < pg_snapshot_xmax(pg_current_snapshot())
        UNION ALL
        SELECT d.id, d.role_name, d.statement_at, d.statement_at >= now() - interval '1 minute' FROM reprieve.deletions d
         WHERE lost_since.at IS NULL AND d.statement_at >= now() - span
    ), sums AS MATERIALIZED (
        SELECT e.relid, f.role_name, min(format('%I.%I', e.schema_name, e.table_name)) AS label, sum(e.rows - e.restored) AS lost, count(*) AS deletions,
               coalesce(sum(e.rows) FILTER (WHERE f.is_last_minute), 0) AS per_minute, min(f.statement_at) AS first_at
          FROM fresh f JOIN reprieve.deletion_tables e ON e.deletion_id = f.id GROUP BY 1, 2 ORDER BY 4 DESC LIMIT 1000
    ), roots AS MATERIALIZED (
        SELECT r.relid, reprieve.root_of(r.relid) AS root FROM (SELECT DISTINCT s.relid FROM sums s) r
    )
    INSERT INTO reprieve.monitor_losses (relid, label, role_name, lost, deletions, per_minute, first_at, base)
    SELECT x.root, coalesce(reprieve.qualified(x.root), x.label), x.role_name, x.lost, x.deletions, x.per_minute, x.first_at, b.live
      FROM (SELECT r.root, s.role_name, min(s.label) AS label, sum(s.lost)::bigint AS lost, sum(s.deletions)::bigint AS deletions, sum(s.per_minute)::bigint AS per_minute,
                   min(s.first_at) AS first_at
              FROM sums s JOIN roots r USING (relid) GROUP BY 1, 2) x
      LEFT JOIN LATERAL (SELECT m.live FROM reprieve.monitor_rows m WHERE m.relid = x.root
                          ORDER BY m.at > coalesce(lost_since.at, now() - span), CASE WHEN m.at <= coalesce(lost_since.at, now() - span) THEN m.at END DESC, m.at LIMIT 1) b ON true;
END $$;

-- The share of each table that was lost, in percent of what it had when the window began.
CREATE OR REPLACE VIEW reprieve.monitor_shares AS
    SELECT l.relid, l.label, sum(l.lost)::bigint AS lost, max(l.base) AS base,
           CASE WHEN sum(l.lost) > 0 THEN least(100, 100.0 * sum(l.lost) / greatest(max(l.base), sum(l.lost)))::float8 ELSE 0 END AS percent,
           (array_agg(l.role_name ORDER BY l.lost DESC, l.role_name))[1] AS role_name, (array_agg(l.lost ORDER BY l.lost DESC, l.role_name))[1] AS by_role,
           sum(l.deletions)::bigint AS deletions, min(l.first_at) AS first_at
      FROM reprieve.monitor_losses l GROUP BY l.relid, l.label;

-- How much of a table may be lost, in percent; NULL: everything.
CREATE OR REPLACE FUNCTION reprieve.loss_limit(relation oid, settings jsonb) RETURNS float8
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN m.relid IS NULL THEN (settings ->> 'loss_percent')::float8 ELSE m.percent::float8 END
    FROM (SELECT 1) AS one LEFT JOIN reprieve.monitor_limits m ON m.relid = relation
$$;

-- Tables of which more was lost than is usual. What is proposed reaches back to where it began, in whichever table, also when the window
-- has moved on.
CREATE OR REPLACE FUNCTION reprieve.find_losses(settings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.find('rows lost', s.label, 'critical',
            format('%s of about %s rows (%s %%) deleted within %s and not brought back, %s of them by role %s; %s deletion(s), the first at %s', s.lost, greatest(s.base, s.lost),
                   round(s.percent::numeric, 1), make_interval(secs => (settings ->> 'loss_window_seconds')::float8), s.by_role, s.role_name, s.deletions,
                   to_char(b.began, 'YYYY-MM-DD HH24:MI:SS TZ')), s.percent,
            format('SHOW DELETIONS FROM %1$s SINCE %2$L BY %3$s; if that was a mistake: UNDELETE SINCE %2$L BY %3$s; if it is usual for this table: WATCH TABLE %1$s AT n PERCENT',
                   s.label, date_trunc('second', b.began), quote_ident(s.role_name)), s.role_name, b.began)
       FROM reprieve.monitor_shares s
      CROSS JOIN LATERAL (SELECT least((SELECT min(o.first_at) FROM reprieve.monitor_losses o WHERE o.role_name = s.role_name),
                                       (SELECT min(f.began) FROM reprieve.monitor_findings f WHERE f.role_name = s.role_name AND NOT f.is_over)) AS began) b
      WHERE s.lost >= (settings ->> 'loss_rows')::bigint AND s.base IS NOT NULL
        AND s.percent >= reprieve.loss_limit(s.relid, settings)
      ORDER BY s.percent DESC LIMIT 100;
END $$;

-- The newest sample of each enabled table.
CREATE OR REPLACE VIEW reprieve.monitor_now AS
    SELECT t.relid, reprieve.qualified(t.relid) AS label, r.at, r.live, r.is_exact, r.tombstones, r.graves, r.dead, r.bytes
      FROM reprieve.tables t
      CROSS JOIN LATERAL (SELECT s.* FROM reprieve.monitor_rows s WHERE s.relid = t.relid ORDER BY s.at DESC LIMIT 1) r
     WHERE reprieve.qualified(t.relid) IS NOT NULL;

-- Tables with many tombstones or many dead rows, and rows that are kept longer than they should be.
CREATE OR REPLACE FUNCTION reprieve.find_ballast(settings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.find('many tombstones', n.label, 'notice',
            format('%s of %s rows in the table are deleted ones (%s %%)', n.tombstones, n.live + n.tombstones, round(100.0 * n.tombstones / (n.live + n.tombstones))),
            100.0 * n.tombstones / (n.live + n.tombstones),
            format('reads get slower and the table bigger: RETAIN TABLE %1$s FOR a shorter time, then PURGE TABLE %1$s; or ENABLE SOFT DELETE ON %1$s MODE bin', n.label))
       FROM reprieve.monitor_now n WHERE n.tombstones >= 10000 AND 100.0 * n.tombstones / (n.live + n.tombstones) >= (settings ->> 'tombstone_percent')::float8
      ORDER BY n.tombstones DESC LIMIT 100;
    PERFORM reprieve.find('bloat', n.label, 'notice',
            format('%s dead row versions beside %s rows, %s in all', n.dead, n.live + n.tombstones, pg_size_pretty(n.bytes)),
            100.0 * n.dead / (n.live + n.tombstones + n.dead),
            format('VACUUM %s; if that does not help, something holds old snapshots: SELECT * FROM pg_stat_activity ORDER BY backend_xmin', n.label))
       FROM reprieve.monitor_now n WHERE n.dead >= 100000 AND n.dead > n.live + n.tombstones ORDER BY n.dead DESC LIMIT 100;
    PERFORM reprieve.find('kept too long', b.label, 'notice', format('the oldest deleted rows are of %s and are to be kept for %s', b.oldest::date, b.keeps),
            extract(epoch FROM now() - b.oldest - b.keeps) / 86400, 'PURGE, or PURGE BACKGROUND ON')
       FROM (SELECT reprieve.qualified(b.relid) AS label, b.oldest, reprieve.keeps(b.relid) AS keeps FROM reprieve.monitor_bin b
              WHERE b.oldest IS NOT NULL AND NOT reprieve.is_held(b.relid)) b
      WHERE b.label IS NOT NULL AND b.oldest < now() - b.keeps - interval '7 days' ORDER BY b.oldest LIMIT 100;
END $$;

CREATE OR REPLACE FUNCTION reprieve.find_orphans() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.find('orphans', format('%s, foreign key %I', reprieve.qualified(x.conrelid), x.conname), 'warning',
            CASE WHEN k.is_whole THEN format('%s live rows refer to no live row of %s', k.orphans, reprieve.qualified(x.confrelid))
                 ELSE format('%s of the rows looked at last time one was found refer to no live row of %s', k.found, reprieve.qualified(x.confrelid)) END,
            k.found, 'CHECK INTEGRITY names them; then UNDELETE the parents, or delete the rows')
       FROM reprieve.monitor_keys k JOIN pg_constraint x ON x.oid = k.con
      WHERE k.found_at > now() - interval '1 day' ORDER BY k.found DESC LIMIT 100;
END $$;

-- Whether anybody has tried lately what an incident would need.
CREATE OR REPLACE FUNCTION reprieve.find_rehearsals(settings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last reprieve.rehearsals;
    days int := (settings ->> 'rehearsal_days')::int;
BEGIN
    SELECT r.* INTO last FROM reprieve.rehearsals r ORDER BY r.at DESC LIMIT 1;
    IF days > 0 AND (last.at IS NULL OR last.at < now() - make_interval(days => days))
       AND EXISTS (SELECT FROM reprieve.monitor_bin b WHERE b.oldest < now() - make_interval(days => days)) THEN
        PERFORM reprieve.find('no rehearsal', 'this database', 'notice', coalesce('the last rehearsed undelete was on ' || last.at::date, 'no undelete was ever rehearsed'),
            coalesce(extract(epoch FROM now() - last.at) / 86400, 0), 'REHEARSE UNDELETE DELETION n, of any deletion that SHOW DELETIONS lists');
    END IF;
    IF last.verdict = 'REFUSED' THEN
        PERFORM reprieve.find('rehearsal failed', last.target, 'warning', format('%s on %s', last.verdict, last.at::date), 1,
            'PREVIEW UNDELETE names the rows that cannot come back, and why');
    END IF;
END $$;

-- A loss stays for an hour after the last delete, also when the window has moved on, unless so many rows are back that it would be none.
CREATE OR REPLACE FUNCTION reprieve.is_still_lost(f reprieve.monitor_findings, settings jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation oid;
    lost bigint;
BEGIN
    IF f.finding <> 'rows lost' OR f.seen <= now() - interval '1 hour' THEN
        RETURN false;
    END IF;
    relation := to_regclass(f.place);
    SELECT sum(e.rows - e.restored) INTO lost FROM reprieve.deletions d JOIN reprieve.deletion_tables e ON e.deletion_id = d.id
     WHERE d.statement_at >= f.began AND e.relid = ANY (reprieve.members_of(relation));
    RETURN EXISTS (SELECT FROM reprieve.monitor_now n WHERE n.relid = relation AND lost >= (settings ->> 'loss_rows')::bigint
                      AND 100.0 * lost / greatest(n.live + lost, 1) >= reprieve.loss_limit(relation, settings));
END $$;

-- Looks at the ledger and at what was sampled. The caller holds the lock by which sidecars elect one of them.
CREATE OR REPLACE FUNCTION reprieve.monitor_tick_v1(settings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
    span interval := make_interval(secs => (settings ->> 'loss_window_seconds')::float8);
    lost_since reprieve.monitor_ticks;
    minute reprieve.monitor_ticks;
BEGIN
    SELECT t.* INTO lost_since FROM reprieve.monitor_ticks t WHERE t.at <= now() - span ORDER BY t.at DESC LIMIT 1;
    SELECT t.* INTO minute FROM reprieve.monitor_ticks t WHERE t.at <= now() - interval '1 minute' ORDER BY t.at DESC LIMIT 1;
    -- After a time without any sidecar the window is as long as ever.
    IF lost_since.at < now() - span * 2 THEN
        lost_since := NULL;
    END IF;
    IF minute.at < now() - interval '2 minutes' THEN
        minute := NULL;
    END IF;
    INSERT INTO reprieve.monitor_ticks VALUES (now(), pg_current_snapshot(), make_interval(secs => (settings ->> 'interval_seconds')::float8));
    DELETE FROM reprieve.monitor_ticks t WHERE t.at < now() - greatest(span, interval '1 minute') * 2;
    PERFORM reprieve.monitor_count_losses(lost_since, minute, span);
    DELETE FROM reprieve.monitor_keys k WHERE NOT EXISTS (SELECT FROM pg_constraint x WHERE x.oid = k.con);
    DELETE FROM reprieve.monitor_rows r WHERE NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = r.relid);
    PERFORM reprieve.find_losses(settings), reprieve.find_ballast(settings), reprieve.find_orphans(), reprieve.find_rehearsals(settings);
    UPDATE reprieve.monitor_findings f SET is_over = true WHERE f.seen < now() AND NOT f.is_over AND NOT reprieve.is_still_lost(f, settings);
    DELETE FROM reprieve.monitor_findings f WHERE f.is_over AND (f.told <> 'raised' OR f.seen < now() - interval '1 day');
END $$;

-- Findings that were not told yet, or whose end was not.
CREATE OR REPLACE FUNCTION reprieve.monitor_news_v1() RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('finding', n.finding, 'place', n.place, 'severity', n.severity, 'since', n.since, 'seen', n.seen,
                    'how_bad', n.how_bad, 'value', n.value, 'what_to_do', n.what_to_do, 'is_over', n.is_over) ORDER BY n.since, n.finding, n.place), '[]')
      FROM (SELECT f.* FROM reprieve.monitor_findings f WHERE CASE WHEN f.is_over THEN f.told = 'raised' ELSE f.told = '' END
             ORDER BY f.since, f.finding, f.place LIMIT 100) n
$$;

CREATE OR REPLACE FUNCTION reprieve.monitor_told_v1(finding text, place text, since timestamptz, is_over boolean) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE reprieve.monitor_findings f SET told = CASE WHEN monitor_told_v1.is_over THEN 'over' ELSE 'raised' END
     WHERE f.finding = monitor_told_v1.finding AND f.place = monitor_told_v1.place AND f.since = monitor_told_v1.since
$$;

-- What /metrics shows of this database: at most `most` tables, foreign keys, and pairs of table and role; the rest added up as (other).
CREATE OR REPLACE FUNCTION reprieve.monitor_report_v1(most int) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH tables AS MATERIALIZED (
        SELECT CASE WHEN row_number() OVER w > most THEN '(other)' ELSE n.label END AS label, n.live, n.tombstones, n.graves, n.dead, n.bytes,
               coalesce(s.lost, 0) AS lost, coalesce(s.percent, 0) / 100 AS lost_ratio,
               (SELECT extract(epoch FROM b.oldest)::float8 FROM reprieve.monitor_bin b WHERE b.relid = n.relid) AS oldest
          FROM reprieve.monitor_now n LEFT JOIN reprieve.monitor_shares s ON s.relid = n.relid
        WINDOW w AS (ORDER BY coalesce(s.percent, 0) DESC, n.bytes DESC, n.label)
    ), losses AS (
        SELECT CASE WHEN row_number() OVER w > most THEN '(other)' ELSE l.label END AS label,
               CASE WHEN row_number() OVER w > most THEN '(other)' ELSE l.role_name END AS role, l.per_minute
          FROM reprieve.monitor_losses l WINDOW w AS (ORDER BY l.per_minute DESC, l.lost DESC, l.label, l.role_name)
    ), keys AS (
        SELECT k.*, format('%s.%I', reprieve.qualified(x.conrelid), x.conname) AS label
          FROM reprieve.monitor_keys k JOIN pg_constraint x ON x.oid = k.con ORDER BY k.orphans DESC, x.conname LIMIT most
    )
    SELECT jsonb_build_object(
        'sampled', (SELECT extract(epoch FROM max(t.at))::float8 FROM reprieve.monitor_ticks t),
        'tables', coalesce((SELECT jsonb_agg(to_jsonb(t) ORDER BY t."table")
            FROM (SELECT x.label AS "table", sum(x.live) AS live, sum(x.tombstones) AS tombstones, sum(x.graves) AS graves, sum(x.dead) AS dead,
                         sum(x.bytes) AS bytes, sum(x.lost) AS lost, max(x.lost_ratio) AS lost_ratio, min(x.oldest) AS oldest
                    FROM tables x GROUP BY x.label) t), '[]'),
        'deletes', coalesce((SELECT jsonb_agg(jsonb_build_object('table', d.label, 'role', d.role, 'per_minute', d.n) ORDER BY d.label, d.role)
            FROM (SELECT l.label, l.role, sum(l.per_minute) AS n FROM losses l GROUP BY 1, 2) d), '[]'),
        'keys', coalesce((SELECT jsonb_agg(jsonb_build_object('key', k.label, 'rows', k.rows, 'orphans', k.orphans) ORDER BY k.label) FROM keys k), '[]'),
        'findings', coalesce((SELECT jsonb_agg(jsonb_build_object('finding', f.finding, 'severity', f.severity, 'n', f.n) ORDER BY f.finding, f.severity)
            FROM (SELECT x.finding, x.severity, count(*) AS n FROM reprieve.monitor_findings x WHERE NOT x.is_over GROUP BY 1, 2) f), '[]'),
        'rehearsal', (SELECT jsonb_build_object('at', extract(epoch FROM r.at)::float8, 'seconds', (r.duration_ms / 1000)::float8, 'is_complete', r.verdict = 'COMPLETE')
                        FROM reprieve.rehearsals r ORDER BY r.at DESC LIMIT 1))
$$;

-- SHOW HEALTH: what is wrong now. No row means that all is well, as far as it is watched.
CREATE OR REPLACE FUNCTION reprieve.health_v1()
RETURNS TABLE (severity text, finding text, place text, since timestamptz, how_bad text, what_to_do text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM reprieve.require_admin('SHOW HEALTH');
    RETURN QUERY SELECT * FROM (
        SELECT f.severity, f.finding, f.place, f.since, f.how_bad, f.what_to_do FROM reprieve.monitor_findings f WHERE NOT f.is_over
        UNION ALL
        SELECT 'warning', 'nobody watches', 'this database', t.at, CASE WHEN t.at IS NULL THEN 'no sidecar has ever sampled it' ELSE 'no sidecar has sampled it since' END,
               'a sidecar watches as long as it has clients of this database and monitor.interval_seconds is not 0; its log says what fails'
          FROM (SELECT max(t.at) AS at, max(t.pause) AS pause FROM reprieve.monitor_ticks t) t
         WHERE t.at IS NULL OR t.at < now() - greatest(t.pause * 4, interval '1 minute')) h
     ORDER BY array_position(ARRAY['critical', 'warning', 'notice'], h.severity), h.since, h.finding, h.place;
END $$;

CREATE OR REPLACE VIEW reprieve.show_health AS SELECT * FROM reprieve.health_v1();

-- SHOW ROWS: rows of each table over time, newest first.
CREATE OR REPLACE VIEW reprieve.show_rows AS
    SELECT r.relid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS "table", r.at, r.live AS rows, CASE WHEN r.is_exact THEN 'counted' ELSE 'estimate' END AS how,
           r.tombstones, r.graves AS graveyard_rows, r.dead AS dead_rows, r.bytes
      FROM reprieve.monitor_rows r JOIN pg_catalog.pg_class c ON c.oid = r.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     ORDER BY r.at DESC, 2;

-- WATCH TABLE t AT n PERCENT | NEVER | DEFAULT: how much of it may be lost within the window before that is a finding.
CREATE OR REPLACE FUNCTION reprieve.watch_v1(relation regclass, percent numeric DEFAULT NULL, never boolean DEFAULT false)
RETURNS TABLE (table_name text, watched text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    PERFORM reprieve.require_admin('WATCH');
    IF NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relation) THEN
        RAISE EXCEPTION '% is not enabled', relation USING ERRCODE = 'undefined_table', HINT = 'SHOW TABLES lists what is.';
    END IF;
    IF percent NOT BETWEEN 0.001 AND 100 OR percent IS NOT NULL AND never THEN
        RAISE EXCEPTION 'a limit is between 0.001 and 100 percent' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF percent IS NULL AND NOT never THEN
        DELETE FROM reprieve.monitor_limits m WHERE m.relid = relation;
    ELSE
        INSERT INTO reprieve.monitor_limits AS m (relid, percent) VALUES (relation, percent)
        ON CONFLICT ON CONSTRAINT monitor_limits_pkey DO UPDATE SET percent = excluded.percent;
    END IF;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('watch', reprieve.qualified(relation), jsonb_build_object('percent', percent, 'never', never));
    RETURN QUERY SELECT reprieve.qualified(relation), CASE WHEN never THEN 'never' WHEN percent IS NULL THEN 'as configured' ELSE 'at ' || percent || ' percent' END;
END $$;

DO $$
BEGIN
    REVOKE ALL ON FUNCTION reprieve.monitor_lead_v1(), reprieve.monitor_graves(oid[]), reprieve.follow_crowd(oid, bigint, bigint), reprieve.monitor_table_v1(oid), reprieve.monitor_bin_v1(), reprieve.monitor_key_v1(oid),
        reprieve.monitor_due_v1(int), reprieve.find(text, text, text, text, float8, text, text, timestamptz),
        reprieve.monitor_count_losses(reprieve.monitor_ticks, reprieve.monitor_ticks, interval), reprieve.find_losses(jsonb), reprieve.loss_limit(oid, jsonb),
        reprieve.find_ballast(jsonb), reprieve.find_orphans(), reprieve.find_rehearsals(jsonb),
        reprieve.is_still_lost(reprieve.monitor_findings, jsonb), reprieve.monitor_tick_v1(jsonb), reprieve.monitor_news_v1(),
        reprieve.monitor_told_v1(text, text, timestamptz, boolean), reprieve.monitor_report_v1(int), reprieve.health_v1(),
        reprieve.watch_v1(regclass, numeric, boolean) FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
        GRANT EXECUTE ON FUNCTION reprieve.health_v1(), reprieve.watch_v1(regclass, numeric, boolean) TO reprieve_admin;
    END IF;
END $$;
