-- What the ledger keeps of a statement's text: its literals only if the setting ledger.literals does not say `mask`, and the tags that a
-- sqlcommenter put into it, in a column of their own.

-- Keys and values of a comment /*key='value',...*/, see https://google.github.io/sqlcommenter/spec.
ALTER TABLE reprieve.deletions ADD COLUMN IF NOT EXISTS tags jsonb;

-- A text whose bytes were written as %41.
CREATE OR REPLACE FUNCTION reprieve.url_decoded(value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN convert_from((SELECT string_agg(CASE WHEN m[1] ~ '^%' THEN decode(substr(m[1], 2), 'hex') ELSE convert_to(m[1], 'UTF8') END, ''::bytea ORDER BY n)
                         FROM regexp_matches(value, '(%[0-9A-Fa-f]{2}|[^%]+|%)', 'g') WITH ORDINALITY AS r(m, n)), 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN value;
END $$;

-- The tags of a statement: of its last comment that is nothing but keys and values. NULL if it has none.
CREATE OR REPLACE FUNCTION reprieve.tags_of(statement text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    pair CONSTANT text := '([^=,*/[:space:]]+)=''((?:[^''\\]|\\.)*)''';
    comment text;
BEGIN
    SELECT p.piece INTO comment FROM reprieve.pieces(statement) p
     WHERE p.kind = 'k' AND p.piece ~ format('^/\*\s*%1$s(?:\s*,\s*%1$s)*\s*\*/$', pair) ORDER BY p.place DESC LIMIT 1;
    RETURN (SELECT jsonb_object_agg(reprieve.url_decoded(m[1]), reprieve.url_decoded(regexp_replace(m[2], '\\(.)', '\1', 'g')))
            FROM regexp_matches(comment, pair, 'g') AS m);
END $$;

-- A statement without its literals and comments.
CREATE OR REPLACE FUNCTION reprieve.masked(statement text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
BEGIN
    RETURN (SELECT btrim(string_agg(CASE p.kind WHEN 's' THEN '?' WHEN 'k' THEN ' ' WHEN 'i' THEN p.piece
                                                ELSE regexp_replace(p.piece, '(?<![$])\m[0-9][[:alnum:]_.]*', '?', 'g') END, '' ORDER BY p.place), E' \n\t\r')
            FROM reprieve.pieces(statement) AS p);
END $$;

-- BEFORE INSERT of a ledger row, where statements are to be kept without their literals.
CREATE OR REPLACE FUNCTION reprieve.mask_line() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.statement := reprieve.masked(NEW.statement);
    RETURN NEW;
END $$;

-- The trigger is there only while the setting asks for it. To make or drop it waits for the deletions that are under way.
CREATE OR REPLACE FUNCTION reprieve.follow_literals() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('reprieve.reconciling', true), '');
    wanted boolean := coalesce(reprieve.setting('ledger.literals') = 'mask', false);
BEGIN
    IF wanted <> EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = 'reprieve.deletions'::regclass AND t.tgname = 'mask_line') THEN
        PERFORM set_config('reprieve.reconciling', '1', true);
        IF wanted THEN
            CREATE TRIGGER mask_line BEFORE INSERT ON reprieve.deletions FOR EACH ROW EXECUTE FUNCTION reprieve.mask_line();
        ELSE
            DROP TRIGGER mask_line ON reprieve.deletions;
        END IF;
        PERFORM set_config('reprieve.reconciling', before, true);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION reprieve.literals_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.follow_literals();
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER literals_changed AFTER INSERT OR UPDATE ON reprieve.settings
    FOR EACH ROW WHEN (NEW.key = 'ledger.literals') EXECUTE FUNCTION reprieve.literals_changed();
CREATE OR REPLACE TRIGGER literals_gone AFTER DELETE ON reprieve.settings
    FOR EACH ROW WHEN (OLD.key = 'ledger.literals') EXECUTE FUNCTION reprieve.literals_changed();
