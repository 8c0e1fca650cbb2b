-- Deleted rows of one table, wherever they lie, as SHOW DELETED has them: as buried_v1, and in `other_columns` what does not fit the table
-- as it is now: values of columns that it no longer has, or, where a value does not fit its column any more, all of the row.
CREATE OR REPLACE FUNCTION reprieve.deleted_v1(of_table anyelement)
RETURNS TABLE (deleted_at timestamptz, deletion_id bigint, buried text, "row" anyelement, other_columns jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    table_id oid := (SELECT t.typrelid FROM pg_type t WHERE t.oid = pg_typeof(of_table)::oid);
BEGIN
    PERFORM reprieve.require_admin('SHOW DELETED');
    IF coalesce(table_id, 0) = 0 THEN
        RAISE EXCEPTION 'type % is not the row type of a table', format_type(pg_typeof(of_table), NULL)
            USING ERRCODE = 'wrong_object_type', HINT = 'Call it as reprieve.deleted_v1(NULL::the_table).';
    END IF;
    IF reprieve.has_marks(table_id) THEN
        RETURN QUERY EXECUTE format('SELECT t.deleted_at, t.deletion_id, ''tombstone'', t, NULL::jsonb FROM %s t WHERE t.deletion_id IS NOT NULL',
                                    reprieve.from_clause(table_id));
    END IF;
    RETURN QUERY SELECT v.deleted_at, v.deletion_id, 'graveyard', v."row",
        (SELECT jsonb_object_agg(u.name, u.value) FROM unnest(g.columns, g.data) AS u(name, value)
          WHERE v."row" IS NOT DISTINCT FROM NULL
             OR NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = table_id AND a.attname = u.name AND a.attnum > 0 AND NOT a.attisdropped))
      FROM reprieve.graves_v1(of_table) v JOIN reprieve.graveyard g ON g.ctid = v.tid;
END $$;
