-- What DBAs call, beyond 098_grants.sql. Each of these checks the caller's membership itself, too; require_admin,
-- undelete_may and has_marks are called by undelete_where_v1, which runs as the caller.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'reprieve_admin') THEN
        GRANT EXECUTE ON FUNCTION
            reprieve.undelete_deletion_v1(bigint, text), reprieve.undelete_transaction_v1(xid8, text),
            reprieve.undelete_where_v1(regclass, text, text), reprieve.undelete_since_v1(timestamptz, timestamptz, text, text),
            reprieve.undelete_rows_v1(regclass, oid[], tid[], tid[], text, text), reprieve.undelete_may(text),
            reprieve.say_unread(text, text, text, bigint), reprieve.require_bin_v1(regclass), reprieve.require_condition_v1(regclass, text),
            reprieve.undo_undelete_v1(bigint, text), reprieve.undo_undelete_of_v1(bigint, text),
            reprieve.graves_v1(anyelement), reprieve.buried_v1(anyelement), reprieve.tombstones(oid), reprieve.check_v1(),
            reprieve.require_admin(text), reprieve.has_marks(oid) TO reprieve_admin;
    END IF;
END $$;
