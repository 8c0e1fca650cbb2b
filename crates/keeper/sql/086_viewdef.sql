-- Definitions of views that were made through the proxy, as PostgreSQL would print them had the client's own text been sent.

-- Where the parenthesis at `start` closes; NULL if it does not. Strings and quoted names are skipped.
CREATE OR REPLACE FUNCTION reprieve.closing(sql text, start int) RETURNS int
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place int := start;
    depth int := 0;
    piece text;
BEGIN
    LOOP
        piece := substring(substr(sql, place) FROM '^(?:[^()''"]+|''[^'']*''|"[^"]*"|[()])');
        IF piece IS NULL THEN
            RETURN NULL;
        END IF;
        depth := depth + CASE piece WHEN '(' THEN 1 WHEN ')' THEN -1 ELSE 0 END;
        IF depth = 0 THEN
            RETURN place;
        END IF;
        place := place + length(piece);
    END LOOP;
END $$;

-- Tables with a column `deleted_at` that a view reads: ours where `columns`, as the client knows them, is not NULL.
DROP FUNCTION IF EXISTS reprieve.marks_in_view(oid);
CREATE FUNCTION reprieve.marks_in_view(view oid) RETURNS TABLE (oid oid, relation text, columns text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT c.oid, quote_ident(c.relname), CASE WHEN t.relid IS NOT NULL THEN ARRAY(
        SELECT quote_ident(b.attname) FROM pg_attribute b
        WHERE b.attrelid = t.relid AND b.attnum > 0 AND NOT b.attisdropped AND b.attname NOT IN ('deleted_at', 'deletion_id')
        ORDER BY b.attnum) END
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = 'deleted_at'
    JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN reprieve.tables t ON t.relid = a.attrelid AND t.mode = 'mark'
    WHERE r.ev_class = view
$$;

-- A regular expression for our conditions in the text of a view; NULL where they cannot be told from the client's.
CREATE OR REPLACE FUNCTION reprieve.marks_pattern(view oid, definition text) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    word CONSTANT text := '(?:"(?:[^"]|"")+"|[^\s().,"'']+)';
    ours text[] := ARRAY(SELECT m.relation FROM reprieve.marks_in_view(view) AS m WHERE m.columns IS NOT NULL);
    theirs text[] := ARRAY(SELECT m.relation FROM reprieve.marks_in_view(view) AS m WHERE m.columns IS NULL);
    qualifiers text[];
    qualifier text;
    is_ours boolean;
    is_theirs boolean;
BEGIN
    IF ours = '{}' THEN
        RETURN NULL;
    ELSIF theirs = '{}' THEN
        RETURN format('(?:%s\.)?deleted_at IS NULL', word);
    END IF;
    -- Both kinds: by the names that stand behind the tables' names. From PostgreSQL 16 on, some columns have none.
    IF definition ~ '(?:^|[^.])\mdeleted_at IS NULL' THEN
        RETURN NULL;
    END IF;
    FOR qualifier IN SELECT DISTINCT m[1] FROM regexp_matches(definition, '(' || word || ')\.deleted_at\M', 'g') AS m LOOP
        SELECT coalesce(bool_or(r = ANY (ours)), false), coalesce(bool_or(r = ANY (theirs)), false) INTO is_ours, is_theirs
        FROM unnest(ours || theirs) AS r WHERE r = qualifier OR strpos(definition, r || ' ' || qualifier) > 0;
        IF is_ours = is_theirs THEN
            RETURN NULL;
        ELSIF is_ours THEN
            qualifiers := qualifiers || regexp_replace(qualifier, '([^[:alnum:]_ ])', '\\\1', 'g');
        END IF;
    END LOOP;
    RETURN format('(?:%s)\.deleted_at IS NULL', array_to_string(qualifiers, '|'));
END $$;

-- Subqueries that the proxy put in the place of a table: the table again.
CREATE OR REPLACE FUNCTION reprieve.without_wraps(view oid, definition text) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    word CONSTANT text := '(?:"(?:[^"]|"")+"|[^\s().,"'']+)';
    wrap CONSTANT text := format('\( SELECT ((?:%1$s\.)?%1$s(?:,\s+(?:%1$s\.)?%1$s)*)\s+FROM ((?:ONLY )?(?:%1$s\.)?)(%1$s)(?: %1$s)?'
                                 '\s+WHERE \(?(?:%1$s\.)?deleted_at IS NULL\)?\) (%1$s)', word);
    sql text := definition;
    parts text[];
    listed text[];
BEGIN
    FOR parts IN SELECT m FROM regexp_matches(definition, '(' || wrap || ')', 'g') AS m LOOP
        listed := ARRAY(SELECT regexp_replace(c, '^' || word || '\.', '') FROM regexp_split_to_table(parts[2], ',\s+') AS c);
        IF EXISTS (SELECT FROM reprieve.marks_in_view(view) AS m WHERE m.relation = parts[4] AND m.columns = listed) THEN
            sql := replace(sql, parts[1], parts[3] || parts[4] || CASE parts[5] WHEN parts[4] THEN '' ELSE ' ' || parts[5] END);
        END IF;
    END LOOP;
    RETURN sql;
END $$;

-- `definition`, as pg_get_viewdef() prints it, without our conditions; as it is where it is not sure that all of them
-- would go. The proxy writes them in front of the client's: ours AND (theirs).
CREATE OR REPLACE FUNCTION reprieve.without_marks_v1(view oid, definition text) RETURNS text
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET standard_conforming_strings = on AS $$
DECLARE
    strings text[];
    sql text;
    ours text;
    rest text;
    found_text text;
    place int;
    stop int;
BEGIN
    IF strpos(definition, 'deleted_at IS NULL') = 0 THEN
        RETURN definition;
    END IF;
    -- What is within a string, or an odd name, is none of ours: an empty string stands there meanwhile.
    SELECT array_agg(t.m[1] ORDER BY t.n) FILTER (WHERE k.is_kept),
           string_agg(CASE WHEN k.is_kept THEN '''''' ELSE t.m[1] END, '' ORDER BY t.n)
    INTO strings, sql
    FROM regexp_matches(definition, '([^''"]+|''[^'']*''|"[^"]*")', 'g') WITH ORDINALITY AS t(m, n),
         LATERAL (SELECT t.m[1] ~ '^(?:''|".*(?:''|deleted_at))') AS k(is_kept);
    ours := reprieve.marks_pattern(view, sql);
    IF ours IS NULL THEN
        RETURN definition;
    END IF;
    sql := replace(reprieve.without_wraps(view, sql), ', deleted_at, deletion_id)', ')');
    LOOP
        found_text := substring(sql FROM '\((?:\(' || ours || '\) AND(?: |(?=\n)))+');
        EXIT WHEN found_text IS NULL;
        place := strpos(sql, found_text);
        stop := reprieve.closing(sql, place);
        IF stop IS NULL THEN
            RETURN definition;
        END IF;
        rest := substr(sql, place + length(found_text), stop - place - length(found_text));
        sql := CASE WHEN starts_with(rest, E'\n') THEN rtrim(left(sql, place - 1)) ELSE left(sql, place - 1) END || rest || substr(sql, stop + 1);
    END LOOP;
    -- Printed with as few parentheses as can be: only OR still has some, and needs them no more.
    LOOP
        found_text := substring(sql FROM '\m(?:WHERE|ON) (?:' || ours || ' AND(?: |(?=\n)))+');
        EXIT WHEN found_text IS NULL;
        place := strpos(sql, found_text);
        rest := substr(sql, place + length(found_text));
        IF rest ~ '^\((?! ?(?:SELECT|WITH|VALUES)\M)' THEN
            stop := reprieve.closing(rest, 1);
            IF substr(rest, stop + 1, 1) IN (';', ',', ')', E'\n', '') THEN
                rest := substr(rest, 2, stop - 2) || substr(rest, stop + 1);
            END IF;
        END IF;
        sql := left(sql, place - 1) || split_part(found_text, ' ', 1) || CASE WHEN starts_with(rest, E'\n') THEN '' ELSE ' ' END || rest;
    END LOOP;
    sql := regexp_replace(sql, format('\n *WHERE (?:\(%1$s\)|%1$s)(?=[;),\n]|$)', ours), '', 'g');
    IF sql ~ ours THEN
        RETURN definition;
    END IF;
    RETURN (SELECT string_agg(u.part || coalesce(strings[u.n], ''), '' ORDER BY u.n) FROM unnest(string_to_array(sql, '''''')) WITH ORDINALITY AS u(part, n));
END $$;

-- In the place of pg_get_viewdef(): of one name, so that the column of the result is called the same.
CREATE OR REPLACE FUNCTION reprieve.pg_get_viewdef(oid) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT reprieve.without_marks_v1($1, pg_catalog.pg_get_viewdef($1))
$$;
CREATE OR REPLACE FUNCTION reprieve.pg_get_viewdef(oid, boolean) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT reprieve.without_marks_v1($1, pg_catalog.pg_get_viewdef($1, $2))
$$;
CREATE OR REPLACE FUNCTION reprieve.pg_get_viewdef(oid, int) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT reprieve.without_marks_v1($1, pg_catalog.pg_get_viewdef($1, $2))
$$;
CREATE OR REPLACE FUNCTION reprieve.pg_get_viewdef(text) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT reprieve.without_marks_v1($1::pg_catalog.regclass, pg_catalog.pg_get_viewdef($1))
$$;
CREATE OR REPLACE FUNCTION reprieve.pg_get_viewdef(text, boolean) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT reprieve.without_marks_v1($1::pg_catalog.regclass, pg_catalog.pg_get_viewdef($1, $2))
$$;

-- What the system's views of views print.
CREATE OR REPLACE FUNCTION reprieve.view_definition_v1(schema_name name, view_name name, definition text) RETURNS text
LANGUAGE sql STABLE STRICT AS $$
    SELECT reprieve.without_marks_v1(c.oid, definition)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) view_name AND n.nspname OPERATOR(pg_catalog.=) schema_name
$$;

-- Makes the views that hide the tombstones of a table read it as it is: those and our columns are about to go. Other marked tables in
-- such a view lose their marks too: a view hides all tombstones or none. Tables to which that is happening already are in reprieve.freeing.
CREATE OR REPLACE FUNCTION reprieve.free_views(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    view record;
    other record;
    definition text;
    freeing text := coalesce(current_setting('reprieve.freeing', true), '');
BEGIN
    PERFORM set_config('reprieve.freeing', concat(freeing, ' ', relation), true);
    FOR view IN SELECT DISTINCT v.oid, v.relkind, v.reloptions
                FROM pg_attribute a
                JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                                AND d.classid = 'pg_rewrite'::regclass
                JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
                WHERE a.attrelid = relation AND a.attname IN ('deleted_at', 'deletion_id') AND v.relkind IN ('v', 'm') LOOP
        -- Another of its tables may have lost its marks meanwhile, and the view ours with them.
        CONTINUE WHEN NOT EXISTS (SELECT FROM reprieve.marks_in_view(view.oid) AS m WHERE m.oid = free_views.relation);
        definition := reprieve.without_marks_v1(view.oid, pg_get_viewdef(view.oid));
        IF view.relkind = 'm' OR definition = pg_get_viewdef(view.oid) THEN
            RAISE EXCEPTION USING ERRCODE = '0A000',
                MESSAGE = format('view %s hides deleted rows of table %s', reprieve.qualified(view.oid), reprieve.qualified(relation)),
                DETAIL = 'The table can no longer be marked, and this view cannot be made to read it as it is.',
                HINT = 'Drop the view and create it again behind this change.';
        END IF;
        EXECUTE format('CREATE OR REPLACE VIEW %s%s AS %s', reprieve.qualified(view.oid),
                       ' WITH (' || array_to_string(view.reloptions, ', ') || ')', definition);
        FOR other IN SELECT t.relid, t.requested FROM reprieve.tables t
                     WHERE t.mode = 'mark' AND t.relid::text <> ALL (string_to_array(current_setting('reprieve.freeing'), ' ')) AND EXISTS (
                         SELECT FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                         WHERE r.ev_class = view.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.relid) LOOP
            PERFORM reprieve.set_mode(other.relid, other.requested, 'bin', format('view %s reads it', reprieve.qualified(view.oid)));
        END LOOP;
    END LOOP;
    PERFORM set_config('reprieve.freeing', freeing, true);
END $$;
