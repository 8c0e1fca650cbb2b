-- The row of a marked table as its clients know it: a composite type without our columns. The rewriter puts its name where the
-- table's stands as a type (NULL::t), and casts whole rows to it.

CREATE OR REPLACE FUNCTION reprieve.row_type_name(relid oid) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT 'row_' || relid $$;

-- The fields that the type of a table must have, as CREATE TYPE takes them.
CREATE OR REPLACE FUNCTION reprieve.row_fields(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                                'COLLATE ' || nullif(a.attcollation, 0)::regcollation::text), ', ' ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
      AND NOT (c.relkind = 'r' AND a.attname IN ('deleted_at', 'deletion_id'))
$$;

-- Makes the type, or makes it anew where the columns have changed.
CREATE OR REPLACE FUNCTION reprieve.ensure_row_type(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known oid := (SELECT y.typrelid FROM pg_type y WHERE y.typnamespace = 'reprieve'::regnamespace AND y.typname = reprieve.row_type_name(relid));
    fields text := reprieve.row_fields(relid);
BEGIN
    IF known IS NOT NULL AND reprieve.row_fields(known) IS NOT DISTINCT FROM fields THEN
        RETURN;
    END IF;
    PERFORM reprieve.drop_row_type(relid);
    EXECUTE format('CREATE TYPE reprieve.%I AS (%s)', reprieve.row_type_name(relid), fields);
END $$;

CREATE OR REPLACE FUNCTION reprieve.drop_row_type(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_type y WHERE y.typnamespace = 'reprieve'::regnamespace AND y.typname = reprieve.row_type_name(relid)) THEN
        EXECUTE format('DROP TYPE reprieve.%I', reprieve.row_type_name(relid));
    END IF;
END $$;

-- What the catalog document says of it: [name, oid, oid of its array type, oid of the table's own row type, and of that one's array type].
CREATE OR REPLACE FUNCTION reprieve.describe_row_type(relid oid) RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT json_build_object('name', ours.typname, 'oid', ours.oid::bigint, 'array', ours.typarray::bigint,
                             'of', theirs.oid::bigint, 'of_array', theirs.typarray::bigint)
    FROM pg_type ours, pg_type theirs
    WHERE ours.typnamespace = 'reprieve'::regnamespace AND ours.typname = reprieve.row_type_name(relid) AND theirs.typrelid = relid
      AND reprieve.row_fields(ours.typrelid) = reprieve.row_fields(relid)
$$;

-- Fails if one of these objects was made with such a type: it would be an object of the client's that is made of ours.
CREATE OR REPLACE FUNCTION reprieve.refuse_kept_rows(classes oid[], objects oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS what, t.relid INTO item
    FROM (SELECT * FROM unnest(classes, objects)
          UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r WHERE r.ev_class = ANY (objects)) AS o(class, object)
    JOIN pg_depend d ON d.classid = o.class AND d.objid = o.object AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'n'
    JOIN pg_type y ON d.refobjid IN (y.oid, y.typarray) AND y.typnamespace = 'reprieve'::regnamespace
    JOIN reprieve.tables t ON y.typname = reprieve.row_type_name(t.relid) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('%s would keep whole rows of soft-delete table %s', item.what, reprieve.qualified(item.relid)),
            HINT = format('Name the columns, or let an administrator run ENABLE SOFT DELETE ON %s MODE bin on the admin port first.', reprieve.qualified(item.relid));
    END IF;
END $$;
