-- What DBAs look at: deletions, tables, deleted rows. For members of reprieve_admin.

-- Deletions, newest first.
CREATE OR REPLACE VIEW reprieve.show_deletions AS
    SELECT d.id, d.deleted_at, d.statement_at, d.role_name AS role, d.session_role, d.application_name AS application,
           pg_catalog.host(d.client_addr) AS client, d.actor, d.reason, t.tables, t.rows, t.restored,
           CASE WHEN t.discarded > 0 AND t.restored + t.discarded >= t.rows THEN 'discarded'
                WHEN t.restored = 0 THEN 'in bin' WHEN t.restored < t.rows THEN 'partly restored' ELSE 'restored' END AS state,
           d.xid, d.statement
      FROM reprieve.deletions d
      CROSS JOIN LATERAL (
          SELECT pg_catalog.string_agg(
                     CASE e.schema_name WHEN 'public' THEN '' ELSE pg_catalog.quote_ident(e.schema_name) || '.' END
                     || pg_catalog.quote_ident(e.table_name) || ' ' || pg_catalog.concat_ws(' and ',
                         CASE WHEN e.rows > 0 OR e.relinked = 0 THEN e.rows::text END,
                         CASE WHEN e.relinked > 0 THEN e.relinked || ' references' END),
                     ', ' ORDER BY e.rows DESC, e.schema_name, e.table_name) AS tables,
                 coalesce(pg_catalog.sum(e.rows), 0)::bigint AS rows,
                 coalesce(pg_catalog.sum(e.restored), 0)::bigint AS restored,
                 coalesce(pg_catalog.sum(e.discarded), 0)::bigint AS discarded
            FROM reprieve.deletion_tables e WHERE e.deletion_id = d.id) t
     ORDER BY d.statement_at DESC, d.id DESC;

-- Tombstones of one table, and the oldest of them.
CREATE OR REPLACE FUNCTION reprieve.tombstones(relid oid, OUT n bigint, OUT oldest timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('SHOW TABLES');
    n := 0;
    IF reprieve.has_marks(relid) THEN
        EXECUTE format('SELECT count(*), min(deleted_at) FROM %s t WHERE t.deletion_id IS NOT NULL', reprieve.from_clause(relid))
            INTO n, oldest;
    END IF;
END $$;

-- reprieve.caution() with the keeper's rights.
CREATE OR REPLACE FUNCTION reprieve.caution_v1(relid oid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('SHOW TABLES');
    RETURN reprieve.caution(relid);
END $$;

-- Enabled tables. Live rows are PostgreSQL's estimate, less the tombstones.
CREATE OR REPLACE VIEW reprieve.show_tables AS
    SELECT coalesce(n.nspname::text, t.schema_name) AS schema, coalesce(c.relname::text, t.table_name) AS "table", t.mode,
           CASE WHEN c.oid IS NULL THEN 'dropped' WHEN t.mode = 'mark' AND NOT t.marking THEN 'preparing'
                WHEN t.mode = 'mark' THEN 'marking' ELSE 'capturing' END AS state,
           pg_catalog.concat_ws('; ', t.reason, reprieve.caution_v1(t.relid)) AS reason,
           CASE WHEN c.reltuples >= 0 THEN greatest(c.reltuples::bigint - b.n, 0) END AS live_rows_estimate,
           b.n AS tombstones, g.n AS graveyard_rows,
           b.oldest AS oldest_tombstone
      FROM reprieve.tables t
      LEFT JOIN pg_catalog.pg_class c ON c.oid = t.relid
      LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      CROSS JOIN LATERAL reprieve.tombstones(t.relid) b
      CROSS JOIN LATERAL (SELECT count(*) AS n FROM reprieve.graveyard g WHERE g.relid = t.relid) g
     ORDER BY 1, 2;

-- The graveyard rows of a table as rows of it, and their places. A value that no longer fits its column makes
-- the row NULL: it is then to be read in reprieve.graveyard itself.
CREATE OR REPLACE FUNCTION reprieve.graves_v1(of_table anyelement)
RETURNS TABLE(tid tid, deletion_id bigint, deleted_at timestamptz, "row" anyelement)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' SET xmloption = 'content' AS $$
#variable_conflict use_column
DECLARE
    table_id oid := (SELECT t.typrelid FROM pg_type t WHERE t.oid = pg_typeof(of_table)::oid);
    members oid[] := reprieve.members_of(table_id);
    list text[];
    query text;
    place tid;
BEGIN
    PERFORM reprieve.require_admin('SHOW DELETED');
    of_table := NULL;
    FOR list IN SELECT DISTINCT g.columns FROM reprieve.graveyard g WHERE g.relid = ANY (members) LOOP
        query := reprieve.graves_sql(table_id, list);
        BEGIN
            -- Read once in vain: rows returned before an error are not taken back.
            EXECUTE format('SELECT count(q."row") FROM (%s) q(tid, deletion_id, deleted_at, "row")', query) USING members, list, NULL::tid;
            RETURN QUERY EXECUTE query USING members, list, NULL::tid;
        EXCEPTION WHEN OTHERS THEN
            IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                RAISE;
            END IF;
            FOR place IN SELECT g.ctid FROM reprieve.graveyard g WHERE g.relid = ANY (members) AND g.columns = list LOOP
                BEGIN
                    RETURN QUERY EXECUTE query USING members, list, place;
                EXCEPTION WHEN OTHERS THEN
                    IF NOT reprieve.is_about_rows(SQLSTATE) THEN
                        RAISE;
                    END IF;
                    RETURN QUERY SELECT g.ctid, g.deletion_id, g.deleted_at, of_table FROM reprieve.graveyard g WHERE g.ctid = place;
                END;
            END LOOP;
        END;
    END LOOP;
END $$;

-- The query of graves_v1 for one column list. $1 are the oids of the table, $2 the list, $3 one row's place or NULL.
CREATE OR REPLACE FUNCTION reprieve.graves_sql(table_id oid, list text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('SELECT g.tid, g.deletion_id, g.deleted_at, ROW(%s)::%s FROM (SELECT g.ctid AS tid, g.* FROM reprieve.graveyard g'
                  ' WHERE g.relid = ANY ($1) AND g.columns = $2 AND ($3 IS NULL OR g.ctid = $3) OFFSET 0) g',
                  string_agg(CASE WHEN reprieve.has_marks(table_id) AND a.attname IN ('deleted_at', 'deletion_id') THEN 'g.' || a.attname
                                  WHEN a.attname = ANY (list) THEN reprieve.grave_column('g', table_id, a.attname, list)
                                  ELSE 'NULL::' || format_type(a.atttypid, -1) END, ', ' ORDER BY a.attnum),
                  table_id::regclass)
      FROM pg_attribute a WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- Deleted rows of one table: buried is tombstone or graveyard. Call it with NULL::the_table.
CREATE OR REPLACE FUNCTION reprieve.buried_v1(of_table anyelement)
RETURNS TABLE(deleted_at timestamptz, deletion_id bigint, buried text, "row" anyelement)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    table_id oid := (SELECT t.typrelid FROM pg_type t WHERE t.oid = pg_typeof(of_table)::oid);
BEGIN
    PERFORM reprieve.require_admin('SHOW DELETED');
    IF coalesce(table_id, 0) = 0 THEN
        RAISE EXCEPTION 'type % is not the row type of a table', format_type(pg_typeof(of_table), NULL)
            USING ERRCODE = 'wrong_object_type', HINT = 'Call it as reprieve.buried_v1(NULL::the_table).';
    END IF;
    IF reprieve.has_marks(table_id) THEN
        RETURN QUERY EXECUTE format('SELECT t.deleted_at, t.deletion_id, ''tombstone'', t FROM %s t WHERE t.deletion_id IS NOT NULL',
                                    reprieve.from_clause(table_id));
    END IF;
    RETURN QUERY SELECT g.deleted_at, g.deletion_id, 'graveyard', g."row" FROM reprieve.graves_v1(of_table) g;
END $$;
