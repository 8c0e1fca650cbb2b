-- What is ours in the system catalogs. Clients' queries of them leave it out: for each system relation that a statement
-- reads, the proxy adds a condition on what stands here (`crates/rewrite/src/walk/cloak.rs`).
--
-- An object's schema is read from what a cast to regclass, regproc or regtype prints: a look into the server's caches,
-- where a join would have to be planned and would cost a scan for each statement. So the functions have no SET clause
-- and no subquery: the planner puts their bodies in place of the calls. An object prints without its schema to a client
-- that has `reprieve` in its search path: that client sees it.

-- Relations: those of our schema, our index on a marked table, what TOAST keeps of ours.
CREATE OR REPLACE FUNCTION reprieve.hidden_relation_v1(relid oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT relid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND CASE
        WHEN pg_catalog.starts_with(relid::pg_catalog.regclass::pg_catalog.text, 'reprieve.') THEN true
        -- Only the name of an index is worth a look at its first column, which no client can have named.
        WHEN pg_catalog.strpos(relid::pg_catalog.regclass::pg_catalog.text, 'reprieve_deletion') OPERATOR(pg_catalog.>) 0
            THEN pg_catalog.pg_get_indexdef(relid, 1, false) OPERATOR(pg_catalog.=) 'deletion_id'
        WHEN pg_catalog.starts_with(relid::pg_catalog.regclass::pg_catalog.text, 'pg_toast.pg_toast_')
            THEN pg_catalog.starts_with(pg_catalog.split_part(relid::pg_catalog.regclass::pg_catalog.text, '_', 4)
                                        ::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text, 'reprieve.')
        ELSE false END
$$;

CREATE OR REPLACE FUNCTION reprieve.hidden_routine_v1(routine oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.starts_with(routine::pg_catalog.regproc::pg_catalog.text, 'reprieve.')
$$;

-- What other catalogs refer to by catalog and number, as far as a number tells. The rest is in hidden_parts_v1.
CREATE OR REPLACE FUNCTION reprieve.hidden_object_v1(classid oid, objid oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT objid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND CASE classid
        WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN reprieve.hidden_relation_v1(objid)
        WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN reprieve.hidden_routine_v1(objid)
        WHEN 'pg_catalog.pg_type'::pg_catalog.regclass
            THEN pg_catalog.starts_with(objid::pg_catalog.regtype::pg_catalog.text, 'reprieve.')
        WHEN 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN objid OPERATOR(pg_catalog.=) 'reprieve'::pg_catalog.regnamespace
        ELSE false END
$$;

-- What has no such cast. Triggers are hidden that run our functions, and all that our own tables have.
-- Functions, not views: pg_dump forbids itself to read views that are not the system's (restrict_nonsystem_relation_kind).
CREATE OR REPLACE FUNCTION reprieve.hidden_parts_v1() RETURNS TABLE (classid oid, objid oid) LANGUAGE sql STABLE AS $$
    SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass::oid, g.oid
    FROM pg_catalog.pg_trigger g WHERE reprieve.hidden_routine_v1(g.tgfoid) OR reprieve.hidden_relation_v1(g.tgrelid)
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, g.tgconstraint
    FROM pg_catalog.pg_trigger g
    WHERE g.tgconstraint OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND reprieve.hidden_routine_v1(g.tgfoid)
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, x.oid
    FROM pg_catalog.pg_constraint x WHERE x.connamespace OPERATOR(pg_catalog.=) 'reprieve'::pg_catalog.regnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
    FROM pg_catalog.pg_rewrite r WHERE reprieve.hidden_relation_v1(r.ev_class)
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid
    FROM pg_catalog.pg_attrdef d WHERE reprieve.hidden_relation_v1(d.adrelid)
    UNION ALL
    SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, e.oid
    FROM pg_catalog.pg_event_trigger e WHERE reprieve.hidden_routine_v1(e.evtfoid)
$$;

-- Our columns. In these tables `deleted_at` and `deletion_id` are ours.
CREATE OR REPLACE FUNCTION reprieve.hidden_attributes_v1() RETURNS TABLE (attrelid oid, attnum int2) LANGUAGE sql STABLE AS $$
    SELECT a.attrelid, a.attnum
    FROM reprieve.tables t JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.relid
    WHERE t.mode OPERATOR(pg_catalog.=) 'mark' AND a.attname OPERATOR(pg_catalog.=) ANY ('{deleted_at,deletion_id}'::pg_catalog.name[])
$$;

-- Those of them behind which the client has no column, not even a dropped one: without them no number is missing.
CREATE OR REPLACE FUNCTION reprieve.trailing_attributes_v1() RETURNS TABLE (attrelid oid, attnum int2) LANGUAGE sql STABLE AS $$
    SELECT h.attrelid, h.attnum FROM reprieve.hidden_attributes_v1() AS h
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute b
        WHERE b.attrelid OPERATOR(pg_catalog.=) h.attrelid AND b.attnum OPERATOR(pg_catalog.>) h.attnum
          AND b.attname OPERATOR(pg_catalog.<>) ALL ('{deleted_at,deletion_id}'::pg_catalog.name[]))
$$;

-- The same by names, for what shows names only.
CREATE OR REPLACE FUNCTION reprieve.marked_names_v1() RETURNS TABLE (table_schema name, table_name name) LANGUAGE sql STABLE AS $$
    SELECT n.nspname, c.relname
    FROM reprieve.tables t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE t.mode OPERATOR(pg_catalog.=) 'mark'
$$;

CREATE OR REPLACE FUNCTION reprieve.hidden_index_names_v1() RETURNS TABLE (table_schema name, index_name name) LANGUAGE sql STABLE AS $$
    SELECT n.nspname, c.relname
    FROM reprieve.tables t JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) t.relid
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE t.mode OPERATOR(pg_catalog.=) 'mark' AND reprieve.hidden_relation_v1(i.indexrelid)
$$;

CREATE OR REPLACE FUNCTION reprieve.hidden_trigger_names_v1() RETURNS TABLE (table_schema name, table_name name, trigger_name name)
LANGUAGE sql STABLE AS $$
    SELECT n.nspname, c.relname, g.tgname
    FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE reprieve.hidden_routine_v1(g.tgfoid)
$$;
