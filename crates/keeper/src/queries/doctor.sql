-- Findings about this database: severity (0 info, 1 warning, 2 problem), subject, text, hint.
WITH enabled AS (
    SELECT t.*, c.relowner, c.oid AS oid, reprieve.qualified(t.relid) AS name,
           reprieve.index_name(c.oid) AS index_name, c.relname
    FROM reprieve.tables t LEFT JOIN pg_class c ON c.oid = t.relid
), marked AS (
    SELECT * FROM enabled WHERE oid IS NOT NULL AND mode = 'mark'
), keeper AS (
    SELECT nspowner AS role, pg_get_userbyid(nspowner) AS name FROM pg_namespace WHERE nspname = 'reprieve'
), readers AS (
    -- Functions are text to the server: words are all there is to find.
    SELECT m.name AS target, l.line,
           format('%s %s line %s', CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
                  p.oid::regprocedure, l.line) AS subject
    FROM marked m
    JOIN pg_proc p ON strpos(lower(p.prosrc), lower(m.relname)) > 0
    JOIN pg_language g ON g.oid = p.prolang AND g.lanname NOT IN ('internal', 'c')
    CROSS JOIN LATERAL regexp_split_to_table(p.prosrc, '\n') WITH ORDINALITY AS l(text, line)
    WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'reprieve'::regnamespace)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
      AND l.text ~* ('\m' || regexp_replace(m.relname, '([^[:alnum:]_])', '\\\1', 'g') || '\M')
    UNION ALL
    SELECT DISTINCT m.name, 0, pg_describe_object(d.classid, d.objid, 0)
    FROM marked m
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = m.oid AND d.deptype = 'n'
                    AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass)
    WHERE NOT EXISTS (
        SELECT FROM pg_depend e JOIN pg_attribute a ON a.attrelid = e.refobjid AND a.attnum = e.refobjsubid
        WHERE e.classid = d.classid AND e.objid = d.objid AND e.refclassid = d.refclassid
          AND e.refobjid = m.oid AND a.attname = 'deleted_at')
), findings (severity, subject, text, hint) AS (
    SELECT 0, 'table ' || name,
           CASE mode WHEN 'mark' THEN 'deletes are marks' ELSE 'deletes are physical, rows go to the graveyard' END
               || ' (' || reason || ')', NULL
    FROM enabled WHERE oid IS NOT NULL AND (mode = 'bin' OR marking)
    UNION ALL
    SELECT 1, 'table ' || name, c.text,
           'enable the tables named here too (`reprieve enable`), or give the keeper''s role the rights of their owners'
    FROM enabled, LATERAL (SELECT reprieve.caution(enabled.oid)) AS c(text) WHERE oid IS NOT NULL AND c.text IS NOT NULL
    UNION ALL
    SELECT 1, 'table ' || name, 'does not mark yet: a running sidecar has not followed, or enabling was interrupted',
           format('run `reprieve enable %s` again; SELECT * FROM reprieve.proxies shows the sidecars', name)
    FROM marked WHERE NOT marking
    UNION ALL
    SELECT 1, format('table %I.%I', schema_name, table_name), 'is enabled, but was dropped',
           'its rows in the graveyard stay; nothing to do'
    FROM enabled WHERE oid IS NULL
    UNION ALL
    SELECT 2, 'table ' || e.name,
           format('belongs to %I, of whom the keeper''s role %I is not a member', pg_get_userbyid(e.relowner), k.name),
           format('GRANT %I TO %I', pg_get_userbyid(e.relowner), k.name)
    FROM enabled e, keeper k WHERE e.oid IS NOT NULL AND NOT pg_has_role(k.role, e.relowner, 'USAGE')
    UNION ALL
    SELECT 2, 'table ' || name, format('its index %I is missing or not valid', index_name),
           format('run `reprieve enable %s` again', name)
    FROM marked m WHERE NOT EXISTS (
        SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = m.oid AND x.relname = m.index_name AND i.indisvalid AND i.indisunique)
    UNION ALL
    SELECT CASE m.mode WHEN 'mark' THEN 2 ELSE 0 END, 'publication ' || quote_ident(p.pubname), 'publishes table ' || m.name
               || CASE m.mode WHEN 'mark' THEN ', so subscribers see marks as updates and stop at columns they lack' ELSE '' END,
           CASE m.mode WHEN 'mark' THEN format('run `reprieve disable %1$s`, then enable it in mode bin', m.name) END
    FROM enabled m JOIN pg_class c ON c.oid = m.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_publication_tables p ON p.schemaname = n.nspname AND p.tablename = c.relname
    UNION ALL
    SELECT 1, 'publication ' || quote_ident(p.pubname), 'publishes all tables, so the keeper''s own too: a subscriber stops where it has no schema reprieve',
           'publish tables or schemas by name, or create the schema at the subscriber: pg_dump -s -n reprieve'
    FROM pg_publication p WHERE p.puballtables
    UNION ALL
    SELECT 1, subject, format('reads table %s as it is: it sees deleted rows', target),
           'add `deleted_at IS NULL`, create it again through the app port (views), or use mode bin'
    FROM readers
    UNION ALL
    SELECT 2, format('trigger %I on %s', g.tgname, reprieve.qualified(g.tgrelid)),
           CASE g.tgenabled WHEN 'D' THEN 'is disabled' ELSE 'fires on replicas only' END || ': deletes are not captured in full',
           format('ALTER TABLE %s ENABLE TRIGGER %I', reprieve.qualified(g.tgrelid), g.tgname)
    FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid AND p.pronamespace = 'reprieve'::regnamespace
    WHERE g.tgenabled IN ('D', 'R') AND NOT reprieve.stays_off(g.oid)
    UNION ALL
    SELECT 2, 'table ' || name, 'has no trigger that captures deletes', format('run `reprieve enable %s` again', name)
    FROM enabled e WHERE oid IS NOT NULL AND signature IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_trigger g WHERE g.tgrelid = e.oid AND g.tgname = '~reprieve_begin_delete')
    UNION ALL
    SELECT 1, format('trigger %I on %s', g.tgname, reprieve.qualified(g.tgrelid)), 'is left over: the table is not enabled',
           format('DROP TRIGGER %I ON %s', g.tgname, reprieve.qualified(g.tgrelid))
    FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid AND p.pronamespace = 'reprieve'::regnamespace
    WHERE NOT g.tgisinternal AND g.tgname ~ '^~reprieve_(begin|capture|trunc)'
      AND NOT EXISTS (SELECT FROM enabled e WHERE e.oid = g.tgrelid)
    UNION ALL
    SELECT 1, 'role reprieve_admin', 'does not exist: nobody but superusers may use the admin port',
           'let a superuser run: CREATE ROLE reprieve_admin NOLOGIN, then run `reprieve install`'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reprieve_admin')
    UNION ALL
    SELECT 1, 'database ' || quote_ident(current_database()),
           'has no event trigger of ours: schema changes that bypass the proxy are followed at the next reconciliation only',
           'let a superuser run `reprieve install`'
    WHERE NOT EXISTS (SELECT FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
                      WHERE p.pronamespace = 'reprieve'::regnamespace AND e.evtenabled <> 'D')
    UNION ALL
    SELECT CASE WHEN p.catalog_md5 = md5(reprieve.catalog_v1()) THEN 0 ELSE 1 END, 'sidecar ' || p.id,
           'version ' || p.version || CASE WHEN p.catalog_md5 = md5(reprieve.catalog_v1()) THEN ', up to date'
                                           ELSE ', has not read the last catalog yet' END, NULL
    FROM reprieve.proxies p WHERE p.lease_until > now()
)
SELECT severity, subject, text, hint FROM findings ORDER BY severity DESC, subject, text
