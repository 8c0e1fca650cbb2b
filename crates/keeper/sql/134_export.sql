-- EXPORT DELETIONS: the ledger as JSON, one deletion a line.

CREATE OR REPLACE FUNCTION reprieve.export_v1(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS TABLE (line text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$
BEGIN
    PERFORM reprieve.require_admin('EXPORT DELETIONS');
    RETURN QUERY
    SELECT json_build_object('id', d.id, 'transaction', d.xid::text, 'deleted_at', d.deleted_at, 'statement_at', d.statement_at, 'role', d.role_name,
               'session_role', d.session_role, 'application', d.application_name, 'client', host(d.client_addr), 'actor', d.actor, 'reason', d.reason,
               'statement', d.statement, 'tags', d.tags,
               'tables', (SELECT coalesce(json_agg(json_build_object('schema', e.schema_name, 'table', e.table_name, 'rows', e.rows, 'relinked', e.relinked,
                                                            'restored', e.restored, 'discarded', e.discarded) ORDER BY e.schema_name, e.table_name), '[]')
                            FROM reprieve.deletion_tables e WHERE e.deletion_id = d.id),
               'approval', (SELECT json_build_object('request', r.id, 'requested_by', r.requested_by, 'approved_by', r.decided_by)
                              FROM reprieve.requests r WHERE r.used_for = d.id ORDER BY r.id LIMIT 1),
               'seal', s.seal, 'digest', encode(s.facts, 'hex'))::text
      FROM reprieve.deletions d LEFT JOIN reprieve.sealed s ON s.deletion_id = d.id
     WHERE (since IS NULL OR d.statement_at >= since) AND (until IS NULL OR d.statement_at < until)
     ORDER BY d.id;
END $$;
