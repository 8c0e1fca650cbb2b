-- $1: a name or glob; $2: true for a glob, which here chooses no differently.
SELECT t.relid AS oid, reprieve.qualified(t.relid) AS name
FROM reprieve.tables t
JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE reprieve.matches(n.nspname, c.relname, $1) AND $2::bool IS NOT NULL
ORDER BY 2
