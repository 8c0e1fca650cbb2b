-- How long deleted rows are kept, what is held, and PURGE. Nothing is purged unless somebody calls purge_v1: this only says what may be.

-- Tables whose rows are kept for another time than the setting retention.default (90 days).
CREATE TABLE IF NOT EXISTS reprieve.retention (
    relid   oid PRIMARY KEY,
    keep    interval                  -- NULL: for ever
);

-- Legal holds: what neither PURGE nor ERASE SUBJECT may touch.
CREATE TABLE IF NOT EXISTS reprieve.holds (
    target       text PRIMARY KEY,
    deletion_id  bigint,
    relid        oid,
    reason       text,
    held_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    held_by      text NOT NULL DEFAULT session_user
);

-- What was let go, by whom and when. No word of what it was.
CREATE TABLE IF NOT EXISTS reprieve.receipts (
    id         bigint PRIMARY KEY,    -- transaction id * 1,000,000 + running number, as deletions
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    role_name  text NOT NULL DEFAULT session_user,
    verb       text NOT NULL,
    rows       bigint NOT NULL,
    result     jsonb NOT NULL
);

CREATE OR REPLACE FUNCTION reprieve.receipt(verb text, rows bigint, result jsonb) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO reprieve.receipts (id, verb, rows, result)
    SELECT 1 + coalesce((SELECT max(r.id) FROM reprieve.receipts r WHERE r.id > b.base AND r.id < b.base + 1000000), b.base), $1, $2, $3
    FROM (SELECT pg_current_xact_id()::text::bigint * 1000000 AS base) AS b RETURNING id
$$;

-- The table and what it is a partition of.
CREATE OR REPLACE FUNCTION reprieve.lineage_of(relid oid) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT array_agg(a.relid::oid) FROM pg_class c, pg_partition_ancestors(c.oid) AS a(relid)
                      WHERE c.oid = $1 AND (c.relispartition OR c.relkind = 'p')), ARRAY[$1])
$$;

-- Where retention and holds are told apart in a table: its partitions, if one of these tables is among them, or else the table itself.
CREATE OR REPLACE FUNCTION reprieve.parts_of(relid oid, special oid[]) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN m.members && array_remove(special, $1)
                THEN ARRAY(SELECT c.oid FROM pg_class c WHERE c.oid = ANY (m.members) AND c.relkind <> 'p') ELSE ARRAY[$1] END
    FROM reprieve.members_of($1) AS m(members)
$$;

-- The condition that a row `alias` of the graveyard lies in one of these tables, or would if it came back: of a row that was deleted through
-- the root of a partition tree the graveyard does not know more than its values.
CREATE OR REPLACE FUNCTION reprieve.lies_in_sql(alias text, relids oid[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT format('(%s)', coalesce(string_agg(
        format('%s.relid = ANY (%L::oid[])', alias, reprieve.members_of(r))
        || coalesce(format(' OR %s.relid = ANY (%L::oid[]) AND (SELECT %s FROM (SELECT %s) AS x)', alias, array_remove(reprieve.lineage_of(r), r),
                           pg_get_partition_constraintdef(r),
                           (SELECT string_agg(format('%s AS %I', reprieve.grave_column(alias, r, a.attname, NULL), a.attname), ', ')
                              FROM pg_attribute a WHERE a.attrelid = r AND a.attnum > 0 AND NOT a.attisdropped)), ''), ' OR '), 'false'))
    FROM unnest(relids) AS r
$$;

-- The table that RETAIN named for the rows of this one: itself, or the nearest that it is a partition of.
CREATE OR REPLACE FUNCTION reprieve.retained_by(relid oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.relid FROM reprieve.lineage_of($1) AS l(lineage) JOIN reprieve.retention r ON r.relid = ANY (l.lineage)
    ORDER BY array_position(l.lineage, r.relid) LIMIT 1
$$;

-- How long rows of a table are kept; NULL: for ever.
CREATE OR REPLACE FUNCTION reprieve.keeps(relid oid) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN r.relid IS NOT NULL THEN r.keep ELSE coalesce(reprieve.setting('retention.default'), '90 days')::interval END
    FROM reprieve.retained_by($1) AS b(relid) LEFT JOIN reprieve.retention r ON r.relid = b.relid
$$;

-- Rows of a table deleted before this time may go. `before`, where it is given, stands for what is kept, but not for what is kept for
-- ever unless that is `named`.
CREATE OR REPLACE FUNCTION reprieve.cutoff(relid oid, before timestamptz, named boolean) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN before IS NOT NULL AND named THEN before
                WHEN k IS NULL THEN '-infinity'
                ELSE coalesce(before, now() - k) END
    FROM reprieve.keeps($1) AS k
$$;

CREATE OR REPLACE FUNCTION reprieve.is_held(relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM reprieve.holds h WHERE h.relid = ANY (reprieve.lineage_of($1)))
$$;

-- RETAIN TABLE t FOR keep: an interval, infinity, or NULL for the default.
CREATE OR REPLACE FUNCTION reprieve.retain_v1(relation regclass, keep text) RETURNS TABLE (table_name text, kept text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    PERFORM reprieve.require_admin('RETAIN');
    IF keep IS NULL THEN
        DELETE FROM reprieve.retention r WHERE r.relid = relation;
        PERFORM reprieve.require_bin_v1(relation) WHERE NOT FOUND;
    ELSE
        PERFORM reprieve.require_bin_v1(relation);
        IF keep <> 'infinity' AND keep::interval < interval '0' THEN
            RAISE EXCEPTION 'rows cannot be kept for less than no time' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        INSERT INTO reprieve.retention AS r (relid, keep) VALUES (relation, CASE WHEN keep <> 'infinity' THEN keep::interval END)
        ON CONFLICT ON CONSTRAINT retention_pkey DO UPDATE SET keep = excluded.keep;
    END IF;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('retain', reprieve.qualified(relation), jsonb_build_object('keep', coalesce(keep, 'default')));
    RETURN QUERY SELECT reprieve.qualified(relation), coalesce(reprieve.keeps(relation)::text, 'for ever');
END $$;

CREATE OR REPLACE FUNCTION reprieve.held_name(deletion bigint, relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (deletion IS NULL) = (relation IS NULL) THEN
        RAISE EXCEPTION 'a hold is on a deletion or on a table' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN coalesce('deletion ' || deletion, 'table ' || coalesce(reprieve.qualified(relation), relation::text));
END $$;

-- HOLD DELETION n | TABLE t. A second hold of the same gives the first.
CREATE OR REPLACE FUNCTION reprieve.hold_v1(deletion bigint DEFAULT NULL, relation regclass DEFAULT NULL, reason text DEFAULT NULL)
RETURNS TABLE (target text, because text, held_at timestamptz, held_by text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    name text := reprieve.held_name(deletion, relation);
BEGIN
    PERFORM reprieve.require_admin('HOLD');
    IF deletion IS NOT NULL AND NOT EXISTS (SELECT FROM reprieve.deletions d WHERE d.id = deletion) THEN
        RAISE EXCEPTION 'deletion % is not in the ledger', deletion
            USING ERRCODE = 'no_data_found', HINT = 'SHOW DELETIONS (or SELECT * FROM reprieve.show_deletions) lists them.';
    END IF;
    PERFORM reprieve.require_bin_v1(relation) WHERE relation IS NOT NULL;
    INSERT INTO reprieve.holds (target, deletion_id, relid, reason) VALUES (name, deletion, relation, reason) ON CONFLICT DO NOTHING;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('hold', name, jsonb_build_object('reason', reason));
    RETURN QUERY SELECT h.target, h.reason, h.held_at, h.held_by FROM reprieve.holds h WHERE h.target = name;
END $$;

CREATE OR REPLACE FUNCTION reprieve.release_v1(deletion bigint DEFAULT NULL, relation regclass DEFAULT NULL) RETURNS TABLE (target text, held_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    name text := reprieve.held_name(deletion, relation);
    since timestamptz;
BEGIN
    PERFORM reprieve.require_admin('RELEASE');
    DELETE FROM reprieve.holds h WHERE h.target = name RETURNING h.held_at INTO since;
    IF since IS NULL THEN
        RAISE EXCEPTION '% is not held', name USING ERRCODE = 'no_data_found', HINT = 'SHOW HOLDS lists what is.';
    END IF;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('release', name, jsonb_build_object('held_at', since));
    RETURN QUERY SELECT name, since;
END $$;

CREATE OR REPLACE VIEW reprieve.show_holds AS
    SELECT h.target, h.reason, h.held_at, h.held_by FROM reprieve.holds h ORDER BY h.held_at;

CREATE OR REPLACE VIEW reprieve.show_receipts AS
    SELECT r.id, r.at, r.role_name AS role, r.verb, r.rows, r.result FROM reprieve.receipts r ORDER BY r.at DESC, r.id DESC;

-- Per table what the ledger says lies in the bin: all of it, and what may go now.
CREATE OR REPLACE FUNCTION reprieve.retention_v1()
RETURNS TABLE ("table" text, keep text, held boolean, rows bigint, oldest timestamptz, due bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM reprieve.require_admin('SHOW RETENTION');
    RETURN QUERY
    SELECT t.label, coalesce(reprieve.keeps(t.relid)::text, 'for ever'), reprieve.is_held(t.relid), t.rows, t.oldest, coalesce(u.rows, 0)
      FROM (SELECT e.relid, coalesce(reprieve.qualified(e.relid), min(format('%I.%I', e.schema_name, e.table_name))) AS label,
                   sum(e.rows - e.restored - e.discarded)::bigint AS rows, min(d.statement_at) AS oldest
              FROM reprieve.deletion_tables e JOIN reprieve.deletions d ON d.id = e.deletion_id
             WHERE e.rows > e.restored + e.discarded OR EXISTS (SELECT FROM reprieve.retention r WHERE r.relid = e.relid)
             GROUP BY e.relid) t
      LEFT JOIN (SELECT x.relid, sum(x.rows)::bigint AS rows FROM reprieve.due(NULL, NULL, NULL, false) x GROUP BY x.relid) u ON u.relid = t.relid
     ORDER BY 1;
END $$;

CREATE OR REPLACE VIEW reprieve.show_retention AS SELECT * FROM reprieve.retention_v1();
