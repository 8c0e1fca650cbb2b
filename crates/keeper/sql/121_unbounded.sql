-- DELETE without a condition, or with one that is always true, as far as its text tells. For guards, and for the ledger's literals.

-- The pieces of a statement's text: code, a string or dollar-quoted (s), a quoted identifier (i), a comment (k). Joined they are the text.
CREATE OR REPLACE FUNCTION reprieve.pieces(rest text) RETURNS TABLE (place int, kind text, piece text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    opening text;
    stop int;
    depth int;
    mark text;
BEGIN
    place := 0;
    WHILE rest <> '' LOOP
        opening := substring(rest FROM '((?:[^[:alnum:]_$]|^)[eE]''|''|"|--|/\*|(?:[^[:alnum:]_$]|^)\$(?:[[:alpha:]_]\w*)?\$)');
        stop := CASE WHEN opening IS NULL THEN length(rest) ELSE strpos(rest, opening) - 1 END;
        IF opening ~ '^[^$]\$|^.[eE]''$' THEN
            -- What stands in front of E'...' or $tag$ is code.
            stop := stop + 1;
            opening := substr(opening, 2);
        END IF;
        IF stop > 0 THEN
            place := place + 1;
            kind := 'code';
            piece := left(rest, stop);
            RETURN NEXT;
            rest := substr(rest, stop + 1);
        END IF;
        EXIT WHEN opening IS NULL;
        kind := CASE WHEN opening ~ '^(--|/\*)' THEN 'k' WHEN opening = '"' THEN 'i' ELSE 's' END;
        IF opening ~* '^e''' OR opening = '''' AND current_setting('standard_conforming_strings') = 'off' THEN
            piece := substring(rest FROM '^[eE]?''(?:[^''\\]|\\.|'''')*''');
        ELSIF opening = '''' THEN
            piece := substring(rest FROM '^''(?:[^'']|'''')*''');
        ELSIF opening = '"' THEN
            piece := substring(rest FROM '^"(?:[^"]|"")*"');
        ELSIF opening = '--' THEN
            piece := substring(rest FROM '^[^\n]*');
        ELSIF opening = '/*' THEN
            depth := 1;
            stop := 2;
            WHILE depth > 0 LOOP
                mark := substring(substr(rest, stop + 1) FROM '(/\*|\*/)');
                EXIT WHEN mark IS NULL;
                stop := stop + strpos(substr(rest, stop + 1), mark) + 1;
                depth := depth + CASE mark WHEN '/*' THEN 1 ELSE -1 END;
            END LOOP;
            piece := CASE WHEN depth = 0 THEN left(rest, stop) END;
        ELSE
            stop := strpos(substr(rest, length(opening) + 1), opening);
            piece := CASE WHEN stop > 0 THEN left(rest, stop - 1 + 2 * length(opening)) END;
        END IF;
        -- One that is not closed goes on to the end.
        piece := coalesce(piece, rest);
        place := place + 1;
        RETURN NEXT;
        rest := substr(rest, length(piece) + 1);
    END LOOP;
END $$;

-- The words, literals and operators of a text: lower case, without comments; a string is 'its md5'.
CREATE OR REPLACE FUNCTION reprieve.words(statement text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    plain text := (SELECT string_agg(CASE p.kind WHEN 'code' THEN lower(p.piece) WHEN 's' THEN format('''%s''', md5(p.piece))
                                                 WHEN 'i' THEN CASE WHEN p.piece ~ '^"[a-z_][a-z0-9_]*"$' THEN btrim(p.piece, '"') ELSE p.piece END
                                                 ELSE ' ' END, '' ORDER BY p.place)
                   FROM reprieve.pieces(statement) AS p);
BEGIN
    RETURN ARRAY(SELECT m[1] FROM regexp_matches(plain, '(''[0-9a-f]+''|"(?:[^"]|"")*"|[[:alnum:]_$]+(?:\.[0-9]+)?|<>|!=|<=|>=|::|[-+*/<>=~!@#%^&|?]+|[^[:space:]])', 'g') AS m);
END $$;

-- Splits a condition at a word (and, or) that stands in no brackets.
CREATE OR REPLACE FUNCTION reprieve.split_at(words text[], word text) RETURNS SETOF text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    depth int := 0;
    between boolean := false;
    start int := 1;
BEGIN
    FOR i IN 1 .. cardinality(words) LOOP
        depth := depth + CASE WHEN words[i] IN ('(', '[', 'case') THEN 1 WHEN words[i] IN (')', ']', 'end') THEN -1 ELSE 0 END;
        IF depth = 0 AND words[i] = 'between' THEN
            between := true;
        ELSIF depth = 0 AND words[i] = 'and' AND between THEN
            between := false;
        ELSIF depth = 0 AND words[i] = word THEN
            RETURN NEXT words[start : i - 1];
            start := i + 1;
        END IF;
    END LOOP;
    RETURN NEXT words[start : cardinality(words)];
END $$;

-- A condition without the brackets around all of it.
CREATE OR REPLACE FUNCTION reprieve.unwrap(words text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    depth int;
BEGIN
    WHILE words[1] = '(' AND words[cardinality(words)] = ')' LOOP
        depth := 0;
        FOR i IN 1 .. cardinality(words) - 1 LOOP
            depth := depth + CASE words[i] WHEN '(' THEN 1 WHEN ')' THEN -1 ELSE 0 END;
            IF depth = 0 THEN
                RETURN words;
            END IF;
        END LOOP;
        words := words[2 : cardinality(words) - 1];
    END LOOP;
    RETURN words;
END $$;

-- What a condition asks, and whether it is denied: of `a` and its denial one is true of every row in which nothing is NULL. An operator says
-- so of the whole condition only where it stands alone, outside of brackets.
CREATE OR REPLACE FUNCTION reprieve.asked(words text[], OUT asks text, OUT denied boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    opposites CONSTANT text[] := ARRAY['<>', '=', '!=', '=', '>=', '<', '<=', '>', '!~', '~', '!~*', '~*'];
    opposite int;
    depth int := 0;
    compound boolean;
BEGIN
    denied := false;
    words := reprieve.unwrap(words);
    LOOP
        compound := (SELECT count(*) FROM reprieve.split_at(words, 'and')) > 1 OR (SELECT count(*) FROM reprieve.split_at(words, 'or')) > 1;
        EXIT WHEN compound OR words[1] IS DISTINCT FROM 'not';
        denied := NOT denied;
        words := reprieve.unwrap(words[2 : cardinality(words)]);
    END LOOP;
    FOR i IN 1 .. cardinality(words) LOOP
        EXIT WHEN compound;
        depth := depth + CASE WHEN words[i] IN ('(', '[', 'case') THEN 1 WHEN words[i] IN (')', ']', 'end') THEN -1 ELSE 0 END;
        CONTINUE WHEN depth <> 0;
        opposite := array_position(opposites, words[i]);
        IF opposite % 2 = 1 THEN
            denied := NOT denied;
            words[i] := opposites[opposite + 1];
        ELSIF words[i] = 'not' AND words[i + 1] IN ('like', 'ilike', 'in', 'between', 'similar') OR words[i] = 'not' AND words[i - 1] = 'is' THEN
            denied := NOT denied;
            words := words[1 : i - 1] || words[i + 1 : cardinality(words)];
        END IF;
    END LOOP;
    asks := array_to_string(words, ' ');
END $$;

-- True or false if a condition is that for every row in which nothing is NULL, else NULL.
CREATE OR REPLACE FUNCTION reprieve.truth(condition text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    words text[] := reprieve.unwrap(condition);
    number CONSTANT text := '^[0-9]+(\.[0-9]+)?$';
    parts boolean[];
    sides record;
BEGIN
    IF (SELECT count(*) FROM reprieve.split_at(words, 'or')) > 1 THEN
        IF EXISTS (SELECT FROM reprieve.split_at(words, 'or') a(w), reprieve.split_at(words, 'or') b(w), reprieve.asked(a.w) x, reprieve.asked(b.w) y
                   WHERE x.asks = y.asks AND x.denied AND NOT y.denied) THEN
            RETURN true;
        END IF;
        parts := ARRAY(SELECT reprieve.truth(p) FROM reprieve.split_at(words, 'or') AS p);
        RETURN CASE WHEN true = ANY (parts) THEN true WHEN false = ALL (parts) THEN false END;
    ELSIF (SELECT count(*) FROM reprieve.split_at(words, 'and')) > 1 THEN
        parts := ARRAY(SELECT reprieve.truth(p) FROM reprieve.split_at(words, 'and') AS p);
        RETURN CASE WHEN false = ANY (parts) THEN false WHEN true = ALL (parts) THEN true END;
    ELSIF words[1] = 'not' THEN
        RETURN NOT reprieve.truth(words[2 : cardinality(words)]);
    ELSIF words IN (ARRAY['true'], ARRAY['''' || md5('''t''') || '''', '::', 'boolean'], ARRAY['exists', '(', 'select', '1', ')']) THEN
        RETURN true;
    ELSIF words = ARRAY['false'] THEN
        RETURN false;
    END IF;
    SELECT words[1 : o.place - 1] AS l, o.sign, words[o.place + 1 : cardinality(words)] AS r INTO sides
      FROM unnest(words) WITH ORDINALITY AS o(sign, place) WHERE o.sign IN ('=', '<>', '!=', '<', '>', '<=', '>=');
    IF sides.l = sides.r AND sides.l <> '{}' THEN
        RETURN sides.sign IN ('=', '<=', '>=');
    ELSIF cardinality(sides.l) = 1 AND cardinality(sides.r) = 1 AND sides.l[1] ~ number AND sides.r[1] ~ number THEN
        RETURN CASE sides.sign WHEN '=' THEN sides.l[1]::numeric = sides.r[1]::numeric WHEN '<' THEN sides.l[1]::numeric < sides.r[1]::numeric
                               WHEN '>' THEN sides.l[1]::numeric > sides.r[1]::numeric WHEN '<=' THEN sides.l[1]::numeric <= sides.r[1]::numeric
                               WHEN '>=' THEN sides.l[1]::numeric >= sides.r[1]::numeric ELSE sides.l[1]::numeric <> sides.r[1]::numeric END;
    ELSIF sides.l[1] ~ '^''' AND sides.r[1] ~ '^''' AND cardinality(sides.l) = 1 AND cardinality(sides.r) = 1 AND sides.sign IN ('=', '<>', '!=') THEN
        RETURN sides.sign <> '=';
    END IF;
    RETURN NULL;
END $$;

-- True if a text has a DELETE FROM a table of this name that has no condition, or one that is always true. A text that the ledger cut
-- off does not tell. With `hides` the condition may begin with ours: a DELETE from a table that is not marked yet is sent so.
DROP FUNCTION IF EXISTS reprieve.is_unbounded(text, text);
CREATE OR REPLACE FUNCTION reprieve.is_unbounded(statement text, table_name text, hides boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    words text[];
    name text := CASE WHEN table_name ~ '^[a-z_][a-z0-9_]*$' THEN table_name ELSE '"' || replace(table_name, '"', '""') || '"' END;
    at int;
    depth int;
    condition int;
    asked text[];
    ours int;
BEGIN
    IF statement IS NULL OR length(statement) >= 2000 OR statement !~* '\mdelete\M' THEN
        RETURN false;
    END IF;
    words := reprieve.words(statement);
    FOR start IN 1 .. cardinality(words) - 2 LOOP
        CONTINUE WHEN words[start] <> 'delete' OR words[start + 1] <> 'from';
        at := start + 2 + CASE words[start + 2] WHEN 'only' THEN 1 ELSE 0 END;
        WHILE words[at + 1] = '.' LOOP
            at := at + 2;
        END LOOP;
        CONTINUE WHEN words[at] IS DISTINCT FROM name;
        depth := 0;
        condition := NULL;
        LOOP
            at := at + 1;
            EXIT WHEN at > cardinality(words) OR depth = 0 AND words[at] IN (')', ';', 'returning');
            depth := depth + CASE words[at] WHEN '(' THEN 1 WHEN ')' THEN -1 ELSE 0 END;
            condition := coalesce(condition, CASE WHEN depth = 0 AND words[at] = 'where' THEN at END);
        END LOOP;
        asked := words[condition + 1 : at - 1];
        ours := array_position(asked, 'deleted_at');
        IF hides AND asked[ours - 1 : ours + 2] = ARRAY['.', 'deleted_at', 'is', 'null'] AND asked[1 : ours - 1] && ARRAY['(', 'not', 'or', 'and'] IS FALSE THEN
            asked := asked[ours + 3 + (asked[ours + 3] IS NOT DISTINCT FROM 'and')::int : cardinality(asked)];
        END IF;
        IF condition IS NULL OR asked = '{}' OR reprieve.truth(asked) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;
