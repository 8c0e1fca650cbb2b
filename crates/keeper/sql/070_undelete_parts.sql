-- What UNDELETE is made of: who may, which rows, how a table is spoken to. Internal: nobody but the
-- keeper's own functions may execute any of it.

-- Rows chosen one by one, where a whole deletion is not what is restored. Rows live here only while
-- the undelete runs; nothing is lost with them in a crash.
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.undelete_picks (
    act          xid8 NOT NULL,
    relid        oid NOT NULL,        -- where the row lies, or lay
    source       "char" NOT NULL,     -- t: a tombstone; g: a row of the graveyard
    tid          tid NOT NULL,        -- in the table, or in reprieve.graveyard
    deletion_id  bigint NOT NULL,
    blocked      text                 -- why the row cannot come back; NULL if it can
);
-- Where the row was before mode force took a reference away from it.
ALTER TABLE reprieve.undelete_picks ADD COLUMN IF NOT EXISTS was tid;
CREATE INDEX IF NOT EXISTS undelete_picks_row ON reprieve.undelete_picks (act, relid, source, tid);

-- The tables an undelete touches, while it runs.
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.undelete_tables (
    act          xid8 NOT NULL,
    relid        oid NOT NULL,        -- of a partition: its root
    label        text NOT NULL,
    marked       boolean NOT NULL,    -- it has our columns
    gone         boolean NOT NULL,    -- the table is no more
    tombstones   bigint NOT NULL DEFAULT 0,   -- to restore: of whole deletions 1 means some
    graves       bigint NOT NULL DEFAULT 0,
    relinks      bigint NOT NULL DEFAULT 0,
    restored     bigint NOT NULL DEFAULT 0,
    relinked     bigint NOT NULL DEFAULT 0,
    skipped      bigint NOT NULL DEFAULT 0,
    notes        text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (act, relid)
);

-- 42501 unless whoever called is a member of reprieve_admin. Read inside SECURITY DEFINER functions,
-- where current_user is the keeper: the caller is the role that SET ROLE chose, or session_user.
CREATE OR REPLACE FUNCTION reprieve.require_admin(what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller text := CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END;
BEGIN
    IF NOT pg_has_role(caller, 'reprieve_admin', 'MEMBER') THEN
        RAISE EXCEPTION 'permission denied: % is for members of reprieve_admin', what
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT reprieve_admin TO %I;', caller);
    END IF;
END $$;

-- 55000 unless soft delete is enabled on a table, on one of its partitions or on what it is a partition of, or something of it is in the bin
-- still: rows, or references to put back.
CREATE OR REPLACE FUNCTION reprieve.require_bin_v1(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tree oid[] := reprieve.tree_of(relation);
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = ANY (tree))
       AND NOT EXISTS (SELECT FROM reprieve.graveyard g WHERE g.relid = ANY (tree))
       AND NOT EXISTS (SELECT FROM reprieve.relinks r WHERE r.relid = ANY (tree)) THEN
        RAISE EXCEPTION 'soft delete is not enabled on %, and nothing of it is in the bin', coalesce(reprieve.qualified(relation), relation::text)
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SHOW TABLES lists what is enabled; ENABLE SOFT DELETE ON %s enables it.', coalesce(reprieve.qualified(relation), relation::text));
    END IF;
END $$;

-- Fails as a DELETE with this condition would, and runs nothing. The condition stands without brackets: with them `a) OR (b` would be one.
-- Runs with the caller's rights and search path.
CREATE OR REPLACE FUNCTION reprieve.require_condition_v1(t regclass, predicate text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE (SELECT pg_catalog.format('SELECT FROM %I.%I AS %2$I WHERE %3$s LIMIT 0', n.nspname, c.relname, predicate)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
              WHERE c.oid OPERATOR(pg_catalog.=) t);
END $$;

-- Why rows of a table that was dropped cannot come back, and what would help.
CREATE OR REPLACE FUNCTION reprieve.no_table(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'the table is no more' || coalesce(
        (SELECT format(' (UNDELETE DELETION %s makes it again)', d.deletion_id) FROM reprieve.dropped d
          WHERE d.relid = no_table.relid AND d.restored_at IS NULL), '')
$$;

-- The root of a partition tree; the table itself if it is in none, or is no more.
CREATE OR REPLACE FUNCTION reprieve.root_of(relid oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT pg_partition_root(c.oid)::oid FROM pg_class c
                      WHERE c.oid = $1 AND (c.relispartition OR c.relkind = 'p')), $1)
$$;

-- The table and its partitions, as an array of oids.
CREATE OR REPLACE FUNCTION reprieve.members_of(relid oid) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT array_agg(p.relid::oid) FROM pg_class c, pg_partition_tree(c.oid) p
                      WHERE c.oid = $1 AND (c.relispartition OR c.relkind = 'p')), ARRAY[$1])
$$;

-- How the table is named in FROM: with ONLY, unless its rows lie in partitions.
CREATE OR REPLACE FUNCTION reprieve.from_clause(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || c.oid::regclass::text
      FROM pg_class c WHERE c.oid = $1
$$;

-- True if rows of the table may be tombstones. Not by the columns alone: a table may have such of its own.
CREATE OR REPLACE FUNCTION reprieve.has_marks(relid oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = $1 AND t.mode = 'mark')
       AND (SELECT count(*) = 2 FROM pg_attribute a
             WHERE a.attrelid = $1 AND NOT a.attisdropped AND a.attname IN ('deleted_at', 'deletion_id'))
$$;

-- The condition that a row `alias` of a marked table, or of the graveyard, is to be restored.
-- $1 in the statement is the array of deletion ids, $2 the running act.
CREATE OR REPLACE FUNCTION reprieve.chosen(source "char", relid oid, alias text, picked boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN NOT picked AND source = 't' THEN format('%s.deletion_id = ANY ($1)', alias)
        WHEN NOT picked THEN format('%1$s.deletion_id = ANY ($1) AND %1$s.relid = ANY (%2$L::pg_catalog.oid[])',
                                    alias, reprieve.members_of(relid))
        -- By the index on deletion_id: a tid alone would mean to read the whole table.
        WHEN source = 't' THEN format(
            '%1$s.deletion_id = ANY (ARRAY(SELECT DISTINCT k.deletion_id FROM reprieve.undelete_picks k WHERE k.act = $2))'
            ' AND EXISTS (SELECT FROM reprieve.undelete_picks k WHERE k.act = $2 AND k.relid = %1$s.tableoid'
            ' AND k.source = ''t'' AND k.tid = %1$s.ctid AND k.blocked IS NULL)', alias)
        ELSE format(
            '%1$s.relid = ANY (%2$L::pg_catalog.oid[]) AND EXISTS (SELECT FROM reprieve.undelete_picks k'
            ' WHERE k.act = $2 AND k.relid = %1$s.relid AND k.source = ''g'' AND k.tid = %1$s.ctid'
            ' AND k.blocked IS NULL)', alias, reprieve.members_of(relid))
    END
$$;

-- SQL that reads the text `expression` as a value of a type exactly as its input function does. A
-- cast does that too, unless somebody made a cast function from text.
CREATE OR REPLACE FUNCTION reprieve.read_as(expression text, type_id oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base oid := type_id;
    input regprocedure;
BEGIN
    WHILE (SELECT typtype = 'd' FROM pg_type WHERE oid = base) LOOP
        SELECT typbasetype INTO base FROM pg_type WHERE oid = base;
    END LOOP;
    IF EXISTS (SELECT FROM pg_cast WHERE castsource = 'text'::regtype AND casttarget = base AND castmethod = 'f') THEN
        SELECT typinput::oid INTO input FROM pg_type WHERE oid = base;
        expression := format('%s(pg_catalog.textout(%s)%s)', input::oid::regproc, expression,
            (SELECT CASE pronargs WHEN 3 THEN format(', %s, -1', base) ELSE '' END FROM pg_proc WHERE oid = input));
        IF base = type_id THEN
            RETURN expression;
        END IF;
    END IF;
    RETURN format('(%s)::%s', expression, format_type(type_id, -1));
END $$;

-- A column of a graveyard row, typed. `columns` is the row's column list if it is known.
CREATE OR REPLACE FUNCTION reprieve.grave_column(alias text, relid oid, column_name name, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT reprieve.read_as(
        CASE WHEN columns IS NULL
             THEN format('%1$s.data[pg_catalog.array_position(%1$s.columns, %2$L::text)]', alias, column_name)
             ELSE format('%s.data[%s]', alias, array_position(columns, column_name::text)) END,
        a.atttypid)
      FROM pg_attribute a WHERE a.attrelid = $2 AND a.attname = $3 AND NOT a.attisdropped
$$;

-- `parent = child` as the foreign key itself compares: its operator, the referenced column's collation.
CREATE OR REPLACE FUNCTION reprieve.key_match(con oid, parent_alias text, child_alias text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(
        format('%s.%I%s OPERATOR(%I.%s) %s.%I%s%s',
               parent_alias, p.attname, CASE WHEN o.oprleft NOT IN (p.atttypid) AND lt.typtype <> 'p'
                                             THEN '::' || format_type(o.oprleft, -1) ELSE '' END,
               n.nspname, o.oprname,
               child_alias, c.attname, CASE WHEN o.oprright NOT IN (c.atttypid) AND rt.typtype <> 'p'
                                            THEN '::' || format_type(o.oprright, -1) ELSE '' END,
               CASE WHEN p.attcollation <> c.attcollation AND p.attcollation <> 0
                    THEN (SELECT format(' COLLATE %I.%I', ln.nspname, l.collname)
                            FROM pg_collation l JOIN pg_namespace ln ON ln.oid = l.collnamespace
                           WHERE l.oid = p.attcollation) ELSE '' END),
        ' AND ' ORDER BY k.i)
      FROM pg_constraint f
      CROSS JOIN LATERAL unnest(f.conkey, f.confkey, f.conpfeqop) WITH ORDINALITY AS k(child, parent, op, i)
      JOIN pg_attribute c ON c.attrelid = f.conrelid AND c.attnum = k.child
      JOIN pg_attribute p ON p.attrelid = f.confrelid AND p.attnum = k.parent
      JOIN pg_operator o ON o.oid = k.op
      JOIN pg_namespace n ON n.oid = o.oprnamespace
      JOIN pg_type lt ON lt.oid = o.oprleft
      JOIN pg_type rt ON rt.oid = o.oprright
     WHERE f.oid = con
$$;

-- Two values of a column are equal, as its type's default operator class for B-trees says; where there is none, byte for byte.
CREATE OR REPLACE FUNCTION reprieve.equal_sql(type_id oid, one text, other text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    base pg_type;
    found text;
BEGIN
    SELECT * INTO base FROM pg_type t WHERE t.oid = type_id;
    WHILE base.typtype = 'd' LOOP
        SELECT * INTO base FROM pg_type t WHERE t.oid = base.typbasetype;
    END LOOP;
    IF base.typtype <> 'b' OR base.typnamespace = 'pg_catalog'::regnamespace OR base.typcategory = 'A' THEN
        found := 'pg_catalog.=';
    ELSE
        SELECT format('%I.%s', n.nspname, o.oprname) INTO found
          FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
          JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amopstrategy = 3 AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
          JOIN pg_operator o ON o.oid = a.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
         WHERE c.opcdefault AND c.opcintype = base.oid;
    END IF;
    IF found IS NULL THEN
        RETURN format('ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(%s)::pg_catalog.record', one, other);
    END IF;
    RETURN format('%s OPERATOR(%s) %s', one, found, other);
END $$;

-- Foreign keys that bind: not the copies that partitions carry, not NOT ENFORCED ones.
CREATE OR REPLACE VIEW reprieve.foreign_keys AS
    SELECT f.oid AS con, f.conname, f.conrelid, f.confrelid, f.conkey, f.confkey, f.confdeltype,
           reprieve.root_of(f.conrelid) AS child_root, reprieve.root_of(f.confrelid) AS parent_root
      FROM pg_catalog.pg_constraint f
     WHERE f.contype = 'f' AND f.conparentid = 0
       AND coalesce((pg_catalog.to_jsonb(f) ->> 'conenforced')::boolean, true)
       AND NOT coalesce((pg_catalog.to_jsonb(f) ->> 'conperiod')::boolean, false);

-- SQL for `(names)=(values)`, with the values of columns of `alias`.
CREATE OR REPLACE FUNCTION reprieve.tuple_name(names name[], columns name[], alias text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('format(%L, %s)',
                  format('(%s)=(%s)', replace(array_to_string(names, ', '), '%', '%%'), string_agg('%s', ', ')),
                  string_agg(format('%s.%I', alias, c), ', ' ORDER BY i))
      FROM unnest(columns) WITH ORDINALITY AS u(c, i)
$$;

-- The columns of the primary key, in its order; NULL if there is none.
CREATE OR REPLACE FUNCTION reprieve.primary_key(relid oid) RETURNS name[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(a.attname ORDER BY k.i)
      FROM pg_index x CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, i)
      JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
     WHERE x.indrelid = $1 AND x.indisprimary AND k.i <= x.indnkeyatts
$$;

-- SQL for how a row is called in messages: (id)=(5), by its primary key, or else by its place.
CREATE OR REPLACE FUNCTION reprieve.row_name(relid oid, alias text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT reprieve.tuple_name(k, k, alias) FROM coalesce(reprieve.primary_key($1), '{ctid}') AS k
$$;

-- How a graveyard row with this primary key (NULL: none) is called in messages.
CREATE OR REPLACE FUNCTION reprieve.name_grave(key text[], columns text[], data text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(%s)=(%s)', string_agg(c, ', ' ORDER BY i), string_agg(coalesce(data[array_position(columns, c)], 'null'), ', ' ORDER BY i))
      FROM unnest(coalesce(key, columns)) WITH ORDINALITY AS u(c, i)
$$;

CREATE OR REPLACE FUNCTION reprieve.grave_name(relid oid, columns text[], data text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT reprieve.name_grave(reprieve.primary_key($1)::text[], $2, $3) $$;
