-- Tables that an older keeper has prepared get what this one runs with each write.
DO $$
DECLARE
    old record;
    gone text;
BEGIN
    IF (SELECT k.value FROM reprieve.settings k WHERE k.key = 'keeper_version') IS DISTINCT FROM current_setting('reprieve.upgrades_to', true) THEN
        DELETE FROM reprieve.links_made;
    END IF;
    FOR old IN SELECT t.relid, t.mode FROM reprieve.tables t JOIN pg_catalog.pg_class c ON c.oid = t.relid
               WHERE t.signature IS DISTINCT FROM 'preparing'
                 AND (SELECT k.value FROM reprieve.settings k WHERE k.key = 'keeper_version')
                     IS DISTINCT FROM current_setting('reprieve.upgrades_to', true) LOOP
        PERFORM reprieve.ensure_capture(old.relid);
        IF old.mode = 'mark' THEN
            PERFORM reprieve.ensure_mark(old.relid), reprieve.follow_schema(ARRAY[old.relid]);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgfoid = to_regprocedure('reprieve.capture()')) THEN
        DROP FUNCTION IF EXISTS reprieve.capture();
    END IF;
    FOREACH gone IN ARRAY ARRAY['note_upsert', 'note_insert', 'note_update'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgfoid = to_regprocedure(format('reprieve.%s()', gone))) THEN
            EXECUTE format('DROP FUNCTION IF EXISTS reprieve.%s()', gone);
        END IF;
    END LOOP;
END $$;

-- Rows that one statement both changed and took, deleted before the keeper gave them their references back.
DO $$
BEGIN
    IF current_setting('reprieve.new_before_images') = '1' THEN
        PERFORM reprieve.before_images(d.deletion_id) FROM (SELECT DISTINCT r.deletion_id FROM reprieve.relinks r) d;
    END IF;
END $$;
