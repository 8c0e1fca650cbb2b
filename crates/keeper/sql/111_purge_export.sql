-- PURGE EXPORT: what a purge takes is written to a file on the database server first, one row a line as JSON. The file is there before the
-- purge commits: of a purge that fails a file may be left whose rows are still in the bin, never the other way round.

-- Lines of purges that are under way. Nothing of it outlives its transaction.
CREATE UNLOGGED TABLE IF NOT EXISTS reprieve.purging (
    xid   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    line  text NOT NULL
);

-- Notes rows of the graveyard that are about to go, if they are to be exported.
CREATE OR REPLACE FUNCTION reprieve.purge_note(places tid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF reprieve.setting('retention.export') IS NOT NULL THEN
        INSERT INTO reprieve.purging (line)
        SELECT json_build_object('table', format('%I.%I', g.schema_name, g.table_name), 'deletion', g.deletion_id, 'deleted_at', g.deleted_at, 'cause', g.cause,
                                 'row', json_object(g.columns, g.data))::text
          FROM reprieve.graveyard g WHERE g.ctid = ANY (places);
    END IF;
END $$;

-- Writes what this transaction noted to a file named by the receipt. Returns its path; NULL if nothing is exported.
CREATE OR REPLACE FUNCTION reprieve.purge_write(receipt bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    file text := format('%s/purge-%s.jsonl', reprieve.setting('retention.export'), receipt);
BEGIN
    IF reprieve.setting('retention.export') IS NULL THEN
        RETURN NULL;
    END IF;
    -- JSON has no control characters, so nothing is quoted and a line is a line.
    EXECUTE format('COPY (WITH noted AS (DELETE FROM reprieve.purging p WHERE p.xid = pg_current_xact_id() RETURNING p.line) SELECT line FROM noted)'
                   ' TO %L (FORMAT csv, QUOTE %L, DELIMITER %L, ENCODING ''UTF8'')', file, chr(1), chr(2));
    RETURN file;
END $$;

-- PURGE EXPORT TO 'directory' | OFF. A directory of the database server.
CREATE OR REPLACE FUNCTION reprieve.purge_export_v1(directory text) RETURNS TABLE (export text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('PURGE');
    IF directory IS NULL THEN
        DELETE FROM reprieve.settings s WHERE s.key = 'retention.export';
    ELSE
        IF NOT pg_has_role(session_user, 'pg_write_server_files', 'MEMBER') THEN
            RAISE EXCEPTION 'permission denied to write files on the database server'
                USING ERRCODE = 'insufficient_privilege', HINT = 'PURGE EXPORT takes a DBA who is a superuser or a member of pg_write_server_files.';
        ELSIF directory !~ '^/' THEN
            RAISE EXCEPTION 'the directory "%" is no absolute path', directory
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a directory on the database server, such as ''/var/lib/postgresql/purged''.';
        END IF;
        directory := rtrim(directory, '/');
        -- Now rather than with the first purge it is told that nothing can be written there.
        EXECUTE format('COPY (SELECT WHERE false) TO %L', directory || '/purge-0.jsonl');
        INSERT INTO reprieve.settings AS s VALUES ('retention.export', directory) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    END IF;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('purge export', coalesce(directory, 'off'), NULL);
    RETURN QUERY SELECT coalesce(reprieve.setting('retention.export'), 'off');
END $$;
