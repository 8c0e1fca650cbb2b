-- SHOW DELETIONS with filters, and what it says per table.

CREATE OR REPLACE FUNCTION reprieve.is_called(e reprieve.deletion_tables, in_schema text, of_table text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (e).table_name = of_table AND (in_schema IS NULL OR (e).schema_name = in_schema)
        OR EXISTS (SELECT FROM pg_class c WHERE c.oid = (e).relid AND c.relname = of_table
                      AND (in_schema IS NULL OR c.relnamespace = to_regnamespace(quote_ident(in_schema))))
$$;

-- Deletions whose statement began at or after `since` and before `until`, by a role, that took rows of a table: by the name that the
-- ledger has for it, or the one that it has now.
CREATE OR REPLACE FUNCTION reprieve.show_deletions_v1(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, by_role text DEFAULT NULL,
                                                      in_schema text DEFAULT NULL, of_table text DEFAULT NULL)
RETURNS SETOF reprieve.show_deletions
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('SHOW DELETIONS');
    RETURN QUERY SELECT s.* FROM reprieve.show_deletions s
     WHERE (since IS NULL OR s.statement_at >= since) AND (until IS NULL OR s.statement_at < until)
       AND (by_role IS NULL OR by_role IN (s.role, s.session_role))
       AND (of_table IS NULL OR EXISTS (SELECT FROM reprieve.deletion_tables e WHERE e.deletion_id = s.id AND reprieve.is_called(e, in_schema, of_table)))
     ORDER BY s.statement_at DESC, s.id DESC;
END $$;

-- The same deletions, added up for each table.
CREATE OR REPLACE FUNCTION reprieve.deletions_per_table_v1(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, by_role text DEFAULT NULL,
                                                           in_schema text DEFAULT NULL, of_table text DEFAULT NULL)
RETURNS TABLE ("table" text, deletions bigint, rows bigint, relinked bigint, restored bigint, discarded bigint, in_bin bigint,
               first_at timestamptz, last_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM reprieve.require_admin('SHOW DELETIONS');
    RETURN QUERY
    SELECT coalesce(reprieve.qualified(e.relid), max(format('%I.%I', e.schema_name, e.table_name))), count(*), sum(e.rows)::bigint, sum(e.relinked)::bigint,
           sum(e.restored)::bigint, sum(e.discarded)::bigint, sum(e.rows - e.restored - e.discarded)::bigint, min(d.statement_at), max(d.statement_at)
      FROM reprieve.deletion_tables e JOIN reprieve.deletions d ON d.id = e.deletion_id
     WHERE (since IS NULL OR d.statement_at >= since) AND (until IS NULL OR d.statement_at < until)
       AND (by_role IS NULL OR by_role IN (d.role_name, d.session_role))
       AND (of_table IS NULL OR reprieve.is_called(e, in_schema, of_table))
     GROUP BY e.relid ORDER BY 3 DESC, 1;
END $$;
