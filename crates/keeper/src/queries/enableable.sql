-- $1: a name or glob; $2: true for a glob. Partitions follow their root.
SELECT c.oid, reprieve.qualified(c.oid) AS name
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND NOT c.relispartition
  AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('reprieve', 'information_schema')
  AND n.nspname !~ '^pg_'
  AND reprieve.matches(n.nspname, c.relname, $1)
  AND NOT ($2::bool AND (
        reprieve.matches(n.nspname, c.relname, reprieve.setting('tables.exclude'))
        OR EXISTS (SELECT FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')))
ORDER BY 2
