-- $1: table; $2: requested mode; $3: bytes from which a table is big. One row if the table is about to be
-- marked and big enough that its index should be built while others write.
SELECT target,
       format('%I.%I', schema_name, index_name) AS index,
       -- The event trigger would take the columns for the table's own.
       format('SELECT set_config(''reprieve.reconciling'', ''1'', true);
               ALTER TABLE %s ADD COLUMN deleted_at timestamptz, ADD COLUMN deletion_id bigint;
               ANALYZE %1$s (deleted_at, deletion_id);
               INSERT INTO reprieve.tables (relid, schema_name, table_name, mode, requested, reason, signature)
               VALUES (%s, %L, %L, ''mark'', %L, %L, ''preparing'')
               ON CONFLICT (relid) DO UPDATE SET mode = excluded.mode, requested = excluded.requested,
                   reason = excluded.reason, signature = excluded.signature;
               SELECT reprieve.mirror_grants(%2$s), reprieve.publish()',
              target, oid, schema_name, table_name, $2::text, reason) AS add_columns,
       known IS DISTINCT FROM 'preparing' AS needs_columns,
       format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s (deletion_id, %s)', index_name, target, key_list) AS create_index
FROM (
    SELECT c.oid, reprieve.qualified(c.oid) AS target, n.nspname AS schema_name, c.relname AS table_name,
           reprieve.index_name(c.oid) AS index_name, t.signature AS known, d.mode, d.reason,
           (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
            FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place), pg_attribute a
            WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
              AND a.attrelid = c.oid AND a.attnum = k.attnum) AS key_list
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN reprieve.tables t ON t.relid = c.oid
    CROSS JOIN LATERAL reprieve.decide(c.oid, $2) AS d
    WHERE c.oid = $1 AND c.relkind = 'r' AND pg_relation_size(c.oid) >= $3::bigint
      AND (t.relid IS NULL OR t.mode = 'bin' OR t.signature = 'preparing')
) AS big
WHERE mode = 'mark'
