-- sqlsmith makes statements of what it reads here, and nobody runs them here: what is volatile, tells of the server, or only
-- makes errors (pseudo-types) goes. Aggregates and window functions that depend on the order of rows go too.
SET allow_system_table_mods = on;
UPDATE pg_proc SET prorettype = 'internal'::regtype WHERE pronamespace = 'pg_catalog'::regnamespace AND proname NOT IN ('format', 'unnest') AND (
    provolatile = 'v'
    OR proname ~ '^(pg_|lo_|txid|inet_|has_|row_security|current_|session_user|user|to_reg|ts_debug|query_to|table_to|schema_to|database_to|cursor_to|col_desc|obj_desc|shobj|now|transaction_timestamp|age$|format_type|array_agg|string_agg|json_agg|jsonb_agg|json_object_agg|jsonb_object_agg|xmlagg|range_agg|row_number|first_value|last_value|nth_value|lag|lead|ntile|getdatabase|float|corr|covar|regr|stddev|var_|variance|numeric_inc|timenow)'
    OR EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (array_append(proargtypes::oid[], prorettype))
        AND (t.typtype = 'p' OR t.typname ~ '^(reg|oid|xid|cid|tid|pg_|acl|int2vector|refcursor|timestamptz|internal|cstring|json$|xml|jsonpath|anym|txid)')));
DELETE FROM pg_operator WHERE EXISTS (SELECT FROM pg_type t WHERE t.oid IN (oprleft, oprright, oprresult)
    AND (t.typtype = 'p' OR t.typname ~ '^(xid|cid|tid|pg_|acl|jsonpath|json$|xml|point|polygon|line|lseg|path|box|circle|refcursor)'));
