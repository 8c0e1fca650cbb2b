-- Columns of enabled tables that are renamed: what the graveyard and the remembered references call by name is called by the new one.

-- Names as of the last look.
CREATE TABLE IF NOT EXISTS reprieve.column_names (
    relid   oid NOT NULL,
    attnum  int2 NOT NULL,
    name    text NOT NULL,
    PRIMARY KEY (relid, attnum)
);

-- `columns` with new names. Where a row has both, the name that another column has taken belonged to one that is no more; a row that has the
-- new name only came behind the change.
CREATE OR REPLACE FUNCTION reprieve.renamed(columns text[], changed jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(coalesce(changed ->> u.c, CASE WHEN EXISTS (SELECT FROM jsonb_each_text(changed) AS n WHERE n.value = u.c AND n.key = ANY (columns))
                                                            THEN u.c || ' (dropped)' ELSE u.c END) ORDER BY u.i), '{}')
    FROM unnest(columns) WITH ORDINALITY AS u(c, i)
$$;

CREATE OR REPLACE FUNCTION reprieve.follow_renames(table_id oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed jsonb := (SELECT jsonb_object_agg(k.name, a.attname) FROM reprieve.column_names k
                      JOIN pg_attribute a ON a.attrelid = k.relid AND a.attnum = k.attnum AND NOT a.attisdropped
                      WHERE k.relid = table_id AND k.name <> a.attname);
BEGIN
    IF changed IS NOT NULL THEN
        UPDATE reprieve.graveyard g SET columns = reprieve.renamed(g.columns, changed) WHERE g.relid = table_id;
        UPDATE reprieve.relinks l SET key_columns = reprieve.renamed(l.key_columns, changed), columns = reprieve.renamed(l.columns, changed)
         WHERE l.relid = table_id;
        UPDATE reprieve.relinked r SET link.key_columns = reprieve.renamed((r.link).key_columns, changed),
                                       link.columns = reprieve.renamed((r.link).columns, changed) WHERE (r.link).relid = table_id;
    END IF;
    DELETE FROM reprieve.column_names k
     WHERE k.relid = table_id AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.relid AND a.attnum = k.attnum AND NOT a.attisdropped);
    INSERT INTO reprieve.column_names AS k (relid, attnum, name)
    SELECT a.attrelid, a.attnum, a.attname FROM pg_attribute a WHERE a.attrelid = table_id AND a.attnum > 0 AND NOT a.attisdropped
    ON CONFLICT ON CONSTRAINT column_names_pkey DO UPDATE SET name = excluded.name WHERE k.name <> excluded.name;
END $$;

DO $$
BEGIN
    PERFORM reprieve.follow_renames(c.oid) FROM reprieve.tables t JOIN pg_catalog.pg_class c ON c.oid = t.relid
      WHERE NOT EXISTS (SELECT FROM reprieve.column_names k WHERE k.relid = c.oid);
END $$;
