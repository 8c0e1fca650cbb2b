-- Seals: evidence that the ledger was changed behind everybody's back. SEAL LEDGER; CHECK INTEGRITY looks at them.
--
-- Deletions do not wait for one another: whoever seals takes all that are committed and not sealed yet, writes down a digest of each, and
-- one over these and the seal before. Who changes, removes or adds a deletion later must make all seals behind it anew; who kept the
-- last digest elsewhere sees that. What is not sealed yet is not covered.

CREATE TABLE IF NOT EXISTS reprieve.seals (
    no         bigint PRIMARY KEY,
    at         timestamptz NOT NULL,
    -- No deletion of an older transaction was on its way any more.
    horizon    xid8 NOT NULL,
    deletions  bigint NOT NULL,
    digest     bytea NOT NULL,
    sealed_by  text NOT NULL DEFAULT session_user
);
CREATE TABLE IF NOT EXISTS reprieve.sealed (
    deletion_id  bigint PRIMARY KEY,
    seal         bigint NOT NULL,
    facts        bytea NOT NULL,
    texts        bytea[] NOT NULL           -- of statement, actor, reason, application, tags: what ERASE SUBJECT may take away
);
CREATE INDEX IF NOT EXISTS sealed_seal ON reprieve.sealed (seal, deletion_id);

-- What never changes about a deletion once it is committed.
CREATE OR REPLACE FUNCTION reprieve.facts_of(d reprieve.deletions) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$
BEGIN
    RETURN sha256(convert_to(jsonb_build_array(d.id, d.xid::text, d.deleted_at, d.statement_at, d.role_name, d.session_role, host(d.client_addr),
        (SELECT jsonb_agg(jsonb_build_array(e.schema_name, e.table_name, e.rows, e.relinked) ORDER BY e.schema_name, e.table_name, e.rows, e.relinked)
           FROM reprieve.deletion_tables e WHERE e.deletion_id = d.id))::text, 'UTF8'));
END $$;

CREATE OR REPLACE FUNCTION reprieve.texts_of(d reprieve.deletions) RETURNS bytea[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT CASE WHEN t IS NOT NULL THEN sha256(convert_to(t, 'UTF8')) END
                 FROM unnest(ARRAY[d.statement, d.actor, d.reason, d.application_name, d.tags::text]) WITH ORDINALITY AS u(t, n) ORDER BY n);
END $$;

-- The digest of a seal: over the one before, and over those of its deletions.
CREATE OR REPLACE FUNCTION reprieve.seal_digest(no bigint, at timestamptz, before bytea) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN sha256(coalesce(before, ''::bytea) || convert_to(format('%s %s', no, extract(epoch FROM at)), 'UTF8')
        || coalesce((SELECT string_agg(sha256(convert_to(s.deletion_id || ' ' || encode(s.facts, 'hex') || ' ' || s.texts::text, 'UTF8')), ''::bytea ORDER BY s.deletion_id)
                     FROM reprieve.sealed s WHERE s.seal = seal_digest.no), ''::bytea));
END $$;

-- Seals what is committed and not sealed. NULL if there is nothing.
CREATE OR REPLACE FUNCTION reprieve.seal() RETURNS reprieve.seals
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET bytea_output = 'hex' AS $$
DECLARE
    last reprieve.seals;
    link reprieve.seals;
BEGIN
    PERFORM pg_advisory_xact_lock('reprieve.seals'::regclass::oid::bigint);
    SELECT s.* INTO last FROM reprieve.seals s ORDER BY s.no DESC LIMIT 1;
    link.no := coalesce(last.no, 0) + 1;
    link.at := clock_timestamp();
    -- Before the deletions are read: what is older is done by then.
    link.horizon := pg_snapshot_xmin(pg_current_snapshot());
    link.sealed_by := session_user;
    INSERT INTO reprieve.sealed SELECT d.id, link.no, reprieve.facts_of(d), reprieve.texts_of(d) FROM reprieve.deletions d
     WHERE d.xid >= coalesce(last.horizon, '0'::xid8) AND NOT EXISTS (SELECT FROM reprieve.sealed s WHERE s.deletion_id = d.id);
    GET DIAGNOSTICS link.deletions = ROW_COUNT;
    IF link.deletions = 0 THEN
        RETURN NULL;
    END IF;
    link.digest := reprieve.seal_digest(link.no, link.at, last.digest);
    INSERT INTO reprieve.seals SELECT link.*;
    RETURN link;
END $$;

-- SEAL LEDGER. The last line of the chain, whether or not there was anything new: keep its digest where nobody who can write here can.
CREATE OR REPLACE FUNCTION reprieve.seal_v1() RETURNS TABLE (seal bigint, sealed_at timestamptz, deletions bigint, digest text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ignored reprieve.seals;
BEGIN
    PERFORM reprieve.require_admin('SEAL LEDGER'), reprieve.require_read_committed('SEAL LEDGER');
    ignored := reprieve.seal();
    RETURN QUERY SELECT s.no, s.at, s.deletions, encode(s.digest, 'hex') FROM reprieve.seals s ORDER BY s.no DESC LIMIT 1;
END $$;

CREATE OR REPLACE VIEW reprieve.show_seals AS
    SELECT s.no AS seal, s.at AS sealed_at, s.deletions, s.sealed_by, pg_catalog.encode(s.digest, 'hex') AS digest FROM reprieve.seals s ORDER BY s.no DESC;

-- SEAL BACKGROUND ON | OFF: whether sidecars seal by themselves.
CREATE OR REPLACE FUNCTION reprieve.seal_background_v1(enabled boolean) RETURNS TABLE (background text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM reprieve.require_admin('SEAL LEDGER');
    INSERT INTO reprieve.settings AS s VALUES ('ledger.seal', CASE WHEN enabled THEN 'on' ELSE 'off' END)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    INSERT INTO reprieve.acts (verb, target, result) VALUES ('seal background', CASE WHEN enabled THEN 'on' ELSE 'off' END, NULL);
    RETURN QUERY SELECT reprieve.setting('ledger.seal');
END $$;

-- What sidecars call now and then.
CREATE OR REPLACE FUNCTION reprieve.seal_in_background() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ignored reprieve.seals;
BEGIN
    IF reprieve.setting('ledger.seal') = 'on' AND pg_try_advisory_xact_lock('reprieve.seals'::regclass::oid::bigint) THEN
        ignored := reprieve.seal();
    END IF;
END $$;

-- Where the ledger is not what was sealed. Each finding names the first broken link.
CREATE OR REPLACE FUNCTION reprieve.check_seals()
RETURNS TABLE (severity text, finding text, table_name text, count bigint, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET bytea_output = 'hex' AS $$
BEGIN
    RETURN QUERY
    WITH chain AS (
        SELECT s.no, s.at, s.digest, s.no - 1 <> coalesce(lag(s.no) OVER w, 0) AS gap, lag(s.digest) OVER w AS before FROM reprieve.seals s WINDOW w AS (ORDER BY s.no)
    ), broken AS (
        SELECT c.no, c.at FROM chain c WHERE c.gap OR c.digest <> reprieve.seal_digest(c.no, c.at, c.before)
    )
    SELECT 'error', 'a broken chain of seals', NULL::text, count(*), format('the first broken link is seal %s of %s', min(b.no), min(b.at)) FROM broken b HAVING count(*) > 0;
    RETURN QUERY
    WITH changed AS (
        SELECT s.deletion_id, s.seal, CASE WHEN d.id IS NULL THEN 'sealed deletions that are gone'
                                           WHEN s.facts <> reprieve.facts_of(d) THEN 'sealed deletions that were changed'
                                           -- Erased texts are gone, and a receipt says so.
                                           WHEN EXISTS (SELECT FROM unnest(s.texts, reprieve.texts_of(d)) AS t(old, new)
                                                        WHERE t.old IS DISTINCT FROM t.new
                                                          AND NOT (t.new IS NULL AND EXISTS (SELECT FROM reprieve.receipts r WHERE r.verb = 'erase' AND r.at > l.at)))
                                           THEN 'sealed deletions whose texts were changed' END AS finding
          FROM reprieve.sealed s JOIN reprieve.seals l ON l.no = s.seal LEFT JOIN reprieve.deletions d ON d.id = s.deletion_id
        UNION ALL
        SELECT d.id, NULL, 'deletions that were added behind a seal' FROM reprieve.deletions d
         WHERE d.xid < (SELECT l.horizon FROM reprieve.seals l ORDER BY l.horizon DESC LIMIT 1) AND NOT EXISTS (SELECT FROM reprieve.sealed s WHERE s.deletion_id = d.id)
    )
    SELECT 'error', c.finding, NULL::text, count(*), concat(format('the first is deletion %s', min(c.deletion_id)), ' of seal ' || min(c.seal))
      FROM changed c WHERE c.finding IS NOT NULL GROUP BY c.finding;
END $$;
