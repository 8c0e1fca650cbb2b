-- $1: tables that were enabled. With them go those that were taken in because of their cascades.
WITH RECURSIVE chosen (relid) AS (
    SELECT unnest($1::oid[])
    UNION
    SELECT k.child FROM chosen JOIN reprieve.cascades k ON k.parent = chosen.relid
    JOIN reprieve.tables t ON t.relid = k.child AND t.requested = 'cascade'
)
SELECT reprieve.qualified(t.relid) AS name, t.mode, t.marking,
       concat_ws('; ', t.reason, reprieve.caution(t.relid)) AS reason
FROM reprieve.tables t JOIN chosen USING (relid) ORDER BY 1
