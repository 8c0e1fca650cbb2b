-- Which mode a table can have, and the way into and out of it.

-- True if the keeper's role can do what this owner of a table cannot: everything, as a superuser, or with tables of others.
CREATE OR REPLACE FUNCTION reprieve.mightier(owner oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT pg_has_role(owner, k.oid, 'USAGE')
       AND (k.rolsuper OR EXISTS (SELECT FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid WHERE NOT pg_has_role($1, c.relowner, 'USAGE')))
      FROM pg_proc p JOIN pg_roles k ON k.oid = p.proowner WHERE p.oid = 'reprieve.follow(bigint,oid)'::regprocedure
$$;

-- Code of users that a cascade into this table would run: triggers, and functions in its indexes, checks and defaults.
CREATE OR REPLACE FUNCTION reprieve.foreign_code(relid oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('trigger %I', g.tgname) FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE g.tgrelid = $1 AND NOT g.tgisinternal AND p.pronamespace <> 'reprieve'::regnamespace
    UNION ALL
    SELECT format('function %s', d.refobjid::regprocedure) FROM pg_depend d
    WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid >= 16384
      AND (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = $1)
           OR d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT x.oid FROM pg_constraint x WHERE x.conrelid = $1)
           OR d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT f.oid FROM pg_attrdef f WHERE f.adrelid = $1))
$$;

-- Partitioned tables, among these or (NULL) all, whose columns are those of this table, but for ours. ALTER TABLE ... ATTACH PARTITION
-- takes no table with a column more. None where an event trigger ends the marking in time.
CREATE OR REPLACE FUNCTION reprieve.may_join(relid oid, among oid[]) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH own AS MATERIALIZED (
        SELECT a.attname, a.atttypid, a.atttypmod FROM pg_attribute a
        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
          AND NOT (a.attname IN ('deleted_at', 'deletion_id') AND EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = $1 AND t.mode = 'mark'))
    )
    SELECT p.oid FROM pg_class p
    WHERE p.relkind = 'p' AND p.oid <> $1 AND (among IS NULL OR p.oid = ANY (among)) AND NOT reprieve.sees_ddl_start()
      AND NOT EXISTS (SELECT FROM own WHERE NOT EXISTS (
          SELECT FROM pg_attribute a WHERE a.attrelid = p.oid AND a.attname = own.attname AND a.atttypid = own.atttypid
             AND a.atttypmod = own.atttypmod AND a.attnum > 0))
      AND (SELECT count(*) FROM own) = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped)
$$;

-- Marked tables that one of these partitioned tables (NULL: any) may want to attach.
CREATE OR REPLACE FUNCTION reprieve.may_be_attached(among oid[]) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT t.relid FROM reprieve.tables t
                 WHERE EXISTS (SELECT FROM pg_class p WHERE p.relkind = 'p' AND (among IS NULL OR p.oid = ANY (among)))
                   AND t.mode = 'mark' AND t.requested = 'auto' AND EXISTS (SELECT FROM reprieve.may_join(t.relid, among)))
$$;

-- True if code may name a table: as a word, or, where the name is none, anywhere. With escapes a name may be spelt in any way.
CREATE OR REPLACE FUNCTION reprieve.names_table(code text, name text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT CASE WHEN name ~ '^[a-z_][a-z0-9_]*$' THEN strpos(lower(code), name) > 0 AND code ~* ('\m' || name || '\M')
                ELSE strpos(lower(code), lower(name)) > 0 OR strpos(code, replace(name, '"', '""')) > 0 END OR code ~* '\mu&"'
$$;

-- A CHECK or NOT NULL that a row of the table need not satisfy any more: an UPDATE asks again, a DELETE does not. NULL if there is none.
CREATE OR REPLACE FUNCTION reprieve.unsure_check(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
    SELECT x.conname FROM pg_constraint x
    WHERE x.conrelid = $1 AND (x.contype IN ('c', 'n') AND NOT x.convalidated
                               OR x.contype = 'c' AND (x.conbin::text ~ '\{(SQLVALUEFUNCTION|NEXTVALUEEXPR)\M' OR EXISTS (
                                   SELECT FROM regexp_matches(x.conbin::text, ':(?:funcid|opfuncid) (\d+)', 'g') AS m
                                   JOIN pg_proc p ON p.oid = m[1]::oid WHERE p.provolatile <> 'i'))) LIMIT 1
$$;

-- Why rows of a table cannot be marked exactly. `hard` obstacles hold even if a DBA insists.
CREATE OR REPLACE FUNCTION reprieve.obstacles(relid oid, OUT hard boolean, OUT reason text) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
#variable_conflict use_variable
DECLARE
    c pg_class;
    found_name text;
    marked boolean := EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relid AND t.mode = 'mark');
BEGIN
    SELECT * INTO c FROM pg_class WHERE pg_class.oid = relid;
    hard := true;
    IF c.relkind = 'p' OR c.relispartition THEN
        reason := 'it is partitioned or a partition'; RETURN NEXT;
    ELSIF EXISTS (SELECT FROM pg_inherits h WHERE relid IN (h.inhrelid, h.inhparent)) THEN
        reason := 'it is part of an inheritance hierarchy'; RETURN NEXT;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relid AND i.indisprimary) THEN
        reason := 'it has no primary key'; RETURN NEXT;
    END IF;
    IF c.reloftype <> 0 THEN
        reason := 'it is a typed table'; RETURN NEXT;
    END IF;
    IF NOT marked THEN
        SELECT string_agg(quote_ident(a.attname), ' and ') INTO found_name FROM pg_attribute a
        WHERE a.attrelid = relid AND a.attname IN ('deleted_at', 'deletion_id') AND NOT a.attisdropped;
        IF found_name IS NOT NULL THEN
            reason := format('it has a column %s of its own', found_name); RETURN NEXT;
        END IF;
        IF (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = relid AND a.attnum > 0) > 1590 THEN
            reason := 'it has no room for two more columns'; RETURN NEXT;
        END IF;
    END IF;
    SELECT x.conname INTO found_name FROM pg_constraint x
    WHERE x.conrelid = relid AND x.contype IN ('p', 'u', 'x') AND x.condeferrable LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('its constraint %I is deferrable', found_name); RETURN NEXT;
    END IF;
    SELECT x.relname INTO found_name FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = relid AND (i.indisunique OR i.indisexclusion) AND EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = relid AND a.attgenerated <> ''
        -- A BEFORE trigger does not see the value yet. What an expression reads, its index depends on.
        AND (a.attnum = ANY (i.indkey::int2[]) OR EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = relid AND d.refobjsubid = a.attnum))) LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the key %I contains a generated column', found_name); RETURN NEXT;
    END IF;
    found_name := reprieve.untrusted_index(relid);
    IF found_name IS NOT NULL THEN
        reason := format('its indexes use the function %s, which would run with the keeper''s rights', found_name); RETURN NEXT;
    END IF;
    SELECT x.conname INTO found_name FROM pg_constraint x JOIN pg_class o ON o.oid IN (x.conrelid, x.confrelid) AND o.oid <> relid
    WHERE x.contype = 'f' AND relid IN (x.conrelid, x.confrelid)
      AND (o.relkind = 'p' OR o.relispartition OR EXISTS (SELECT FROM pg_inherits h WHERE o.oid IN (h.inhrelid, h.inhparent))) LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the foreign key %I leads to or from a partitioned or inherited table', found_name); RETURN NEXT;
    END IF;
    -- Several rows together may be the parent.
    SELECT x.conname INTO found_name FROM pg_constraint x
    WHERE x.contype = 'f' AND relid IN (x.conrelid, x.confrelid) AND (to_jsonb(x) ->> 'conperiod')::boolean LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the foreign key %I has a period', found_name); RETURN NEXT;
    END IF;
    SELECT o.relname INTO found_name FROM pg_constraint x JOIN pg_class o ON o.oid IN (x.conrelid, x.confrelid)
    WHERE x.contype = 'f' AND relid IN (x.conrelid, x.confrelid) AND NOT pg_has_role(o.relowner, 'USAGE') LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the keeper''s role has not the rights of the owner of table %I, which a foreign key leads to or from', found_name); RETURN NEXT;
    END IF;
    SELECT format('%s on %s', d.what, x.conrelid::regclass) INTO found_name
    FROM pg_constraint x JOIN pg_class o ON o.oid = x.conrelid, LATERAL reprieve.foreign_code(x.conrelid) AS d(what)
    WHERE x.contype = 'f' AND x.confrelid = relid AND x.confdeltype IN ('c', 'n', 'd')
      AND reprieve.mightier(o.relowner) LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('a foreign key leads to it, and there the %s would run with the keeper''s rights, which its owner has not', found_name);
        RETURN NEXT;
    END IF;
    -- A foreign key sees every row, whatever policies say.
    SELECT o.relname INTO found_name FROM pg_class o
    WHERE row_security_active(o.oid) AND (o.oid = relid OR EXISTS (
        SELECT FROM pg_constraint x WHERE x.contype = 'f' AND relid IN (x.conrelid, x.confrelid) AND o.oid IN (x.conrelid, x.confrelid))) LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the row security of table %I holds for the keeper''s role, too', found_name); RETURN NEXT;
    END IF;
    hard := false;
    SELECT g.tgname INTO found_name FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE g.tgrelid = relid AND NOT g.tgisinternal AND p.pronamespace <> 'reprieve'::regnamespace LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('it has a trigger of its own, %I', found_name); RETURN NEXT;
    END IF;
    -- PostgreSQL's own action is a statement there even if it finds no row.
    SELECT format('%I on %s', g.tgname, reprieve.qualified(g.tgrelid)) INTO found_name
    FROM pg_constraint x JOIN pg_trigger g ON g.tgrelid = x.conrelid JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE x.contype = 'f' AND x.confrelid = relid AND x.conrelid <> relid AND NOT g.tgisinternal AND p.pronamespace <> 'reprieve'::regnamespace
      AND g.tgtype & 1 = 0 AND g.tgtype & CASE x.confdeltype WHEN 'c' THEN 8 WHEN 'n' THEN 16 WHEN 'd' THEN 16 ELSE 0 END <> 0 LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('a foreign key leads to it, and the trigger %s is for statements', found_name); RETURN NEXT;
    END IF;
    found_name := reprieve.unsure_check(relid);
    IF found_name IS NOT NULL THEN
        reason := format('its rows need not satisfy the constraint %I any more', found_name); RETURN NEXT;
    END IF;
    SELECT r.rulename INTO found_name FROM pg_rewrite r WHERE r.ev_class = relid LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('it has a rule, %I', found_name); RETURN NEXT;
    END IF;
    SELECT reprieve.qualified(j) INTO found_name FROM reprieve.may_join(relid, NULL) AS j LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('it could become a partition of %s, whose columns it has', found_name); RETURN NEXT;
    END IF;
    IF c.relrowsecurity OR c.relforcerowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = relid) THEN
        reason := 'it has row security'; RETURN NEXT;
    END IF;
    SELECT pub.pubname INTO found_name FROM pg_publication_tables pub
    WHERE pub.schemaname = (SELECT nspname FROM pg_namespace n WHERE n.oid = c.relnamespace) AND pub.tablename = c.relname LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('it is a member of the publication %I', found_name); RETURN NEXT;
    END IF;
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid) INTO found_name
    FROM pg_depend d JOIN pg_type y ON y.oid = d.refobjid OR y.typarray = d.refobjid
    WHERE d.refclassid = 'pg_type'::regclass AND y.typrelid = relid AND d.deptype <> 'i' LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('its row type is used by %s', found_name); RETURN NEXT;
    END IF;
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid) INTO found_name
    FROM pg_depend d LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = relid
      AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass)
      AND r.ev_class IS DISTINCT FROM relid AND d.deptype = 'n'
      -- A view made through the proxy reads deleted_at itself.
      AND NOT (r.oid IS NOT NULL AND marked AND EXISTS (
          SELECT FROM pg_depend e JOIN pg_attribute a ON a.attrelid = e.refobjid AND a.attnum = e.refobjsubid
          WHERE e.classid = d.classid AND e.objid = d.objid AND e.refclassid = d.refclassid AND e.refobjid = relid
            AND a.attname = 'deleted_at'))
      AND NOT EXISTS (SELECT FROM pg_policy p WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid AND p.polrelid = relid)
    LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('%s reads it', found_name); RETURN NEXT;
    END IF;
    -- OFFSET 0: only the sources of users' functions are searched, not the thousands of the system and of ours.
    SELECT p.oid::regprocedure::text INTO found_name
    FROM (SELECT f.oid, f.prosrc FROM pg_proc f JOIN pg_language l ON l.oid = f.prolang
          WHERE f.oid >= 16384 AND f.pronamespace <> 'reprieve'::regnamespace AND l.lanname NOT IN ('internal', 'c') OFFSET 0) AS p
    -- Most functions name few tables.
    WHERE (strpos(lower(p.prosrc), lower(c.relname)) > 0 OR strpos(c.relname, '"') > 0 OR strpos(lower(p.prosrc), 'u&"') > 0)
      AND reprieve.names_table(p.prosrc, c.relname)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the function %s names it', found_name); RETURN NEXT;
    END IF;
    IF EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relid AND t.in_block) THEN
        reason := 'a DO block has named it'; RETURN NEXT;
    END IF;
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END INTO found_name
    FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
    WHERE a.privilege_type = 'DELETE' AND CASE a.grantee WHEN 0
        THEN 2 <> (SELECT count(DISTINCT b.privilege_type) FROM aclexplode(c.relacl) AS b
                   WHERE b.grantee = 0 AND b.privilege_type IN ('SELECT', 'UPDATE'))
        ELSE NOT (has_table_privilege(a.grantee, relid, 'SELECT') AND has_table_privilege(a.grantee, relid, 'UPDATE')) END
    LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the role %s may delete from it, but not read and update it', found_name); RETURN NEXT;
    END IF;
    -- With a right to read our columns it could count rows.
    SELECT quote_ident(pg_get_userbyid(u.grantee)) INTO found_name
    FROM (SELECT a.grantee FROM aclexplode(c.relacl) AS a WHERE a.privilege_type = 'UPDATE' AND a.grantee <> 0
          UNION SELECT b.grantee FROM pg_attribute a, aclexplode(a.attacl) AS b
          WHERE a.attrelid = relid AND NOT a.attisdropped AND b.privilege_type = 'UPDATE' AND b.grantee <> 0) AS u
    WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped
                      AND a.attname NOT IN ('deleted_at', 'deletion_id') AND has_column_privilege(u.grantee, relid, a.attnum, 'SELECT')) LIMIT 1;
    IF found_name IS NOT NULL THEN
        reason := format('the role %s may update it, but not read it', found_name); RETURN NEXT;
    END IF;
END $$;

-- Why a relation cannot be enabled at all, or NULL.
CREATE OR REPLACE FUNCTION reprieve.refuses(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN c.relkind NOT IN ('r', 'p') THEN 'is not a table'
        WHEN c.relpersistence = 't' THEN 'is a temporary table'
        WHEN n.nspname IN ('pg_catalog', 'information_schema', 'reprieve', 'pg_toast') OR n.nspname ~ '^pg_(temp|toast)' THEN 'is a system table'
        WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
            THEN 'belongs to an extension'
        WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN 'belongs to a role whose rights the keeper''s role has not' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relid
$$;

-- The mode that `requested` comes to, and why. Errors where `mark` is impossible.
CREATE OR REPLACE FUNCTION reprieve.decide(relid oid, requested text, OUT mode text, OUT reason text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hard text;
    any_reason text;
BEGIN
    IF requested = 'cascade' THEN
        mode := 'bin';
        reason := coalesce('a cascade from ' || reprieve.reached_from(relid) || ' reaches it', 'no cascade reaches it any more');
        RETURN;
    END IF;
    IF requested NOT IN ('auto', 'mark', 'bin') OR requested IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('unknown mode "%s"', requested), HINT = 'Modes are auto, mark and bin.';
    END IF;
    IF requested = 'bin' THEN
        mode := 'bin'; reason := 'as requested';
        RETURN;
    END IF;
    SELECT string_agg(o.reason, '; ') FILTER (WHERE o.hard), string_agg(o.reason, '; ') INTO hard, any_reason
    FROM reprieve.obstacles(relid) AS o;
    IF requested = 'mark' AND hard IS NULL THEN
        mode := 'mark'; reason := coalesce('as requested, although ' || any_reason, 'as requested');
    ELSIF requested = 'mark' AND NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = decide.relid) THEN
        RAISE EXCEPTION USING ERRCODE = '0A000',
            MESSAGE = format('rows of table %s cannot be marked', reprieve.qualified(relid)), DETAIL = hard,
            HINT = 'Enable it in mode bin: deletes stay physical and every row goes to the graveyard.';
    ELSIF any_reason IS NULL THEN
        mode := 'mark'; reason := 'marking is exact here';
    ELSE
        mode := 'bin'; reason := any_reason;
    END IF;
END $$;

-- Explains without changing anything.
CREATE OR REPLACE FUNCTION reprieve.judge_v1(relation regclass)
RETURNS TABLE (table_name text, mode text, reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT reprieve.qualified(relation), coalesce(d.mode, 'none'),
                        coalesce(d.reason || coalesce('; ' || reprieve.caution(relation), ''), 'it ' || reprieve.refuses(relation))
    FROM (SELECT reprieve.refuses(relation) AS no) AS r LEFT JOIN LATERAL reprieve.decide(relation, 'auto') AS d ON r.no IS NULL;
END $$;

-- Our columns, index, grants and triggers.
CREATE OR REPLACE FUNCTION reprieve.add_marks(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target text := reprieve.qualified(relid);
    index_name text := reprieve.index_name(relid);
    key_list text := (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
                      FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place), pg_attribute a
                      WHERE i.indrelid = relid AND i.indisprimary AND k.place <= i.indnkeyatts
                        AND a.attrelid = relid AND a.attnum = k.attnum);
    ready boolean;
    pages int;
    tuples real;
    built boolean := false;
BEGIN
    SELECT c.relpages, c.reltuples INTO pages, tuples FROM pg_class c WHERE c.oid = relid;
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relid AND attname = 'deletion_id' AND NOT attisdropped) THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN deleted_at timestamptz, ADD COLUMN deletion_id bigint', target);
        -- Every read of a client asks for deleted_at IS NULL: without statistics the planner takes that for rare.
        IF (SELECT c.reltuples > 0 FROM pg_class c WHERE c.oid = relid) THEN
            EXECUTE format('ANALYZE %s (deleted_at, deletion_id)', target);
        END IF;
    END IF;
    -- deletion_id must be a key column: only then does the UPDATE that marks lock like a DELETE.
    SELECT bool_or(i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL) INTO ready
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = relid AND x.relname = index_name;
    IF ready IS NOT TRUE THEN
        IF ready IS NOT NULL THEN
            EXECUTE format('DROP INDEX %I.%I', (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                                WHERE c.oid = relid), index_name);
        END IF;
        EXECUTE format('CREATE UNIQUE INDEX %I ON %s (deletion_id, %s)', index_name, target, key_list);
        built := true;
    END IF;
    -- To build an index is to count the rows, and where they are counted other plans are made: a small table is no longer read in the
    -- order of its key. Nobody but us has counted. Only superusers may write there.
    IF built AND (SELECT k.rolsuper FROM pg_roles k WHERE k.rolname = current_user) THEN
        UPDATE pg_class c SET relpages = pages, reltuples = tuples
        WHERE c.oid = relid AND (c.relpages <> pages OR c.reltuples <> tuples);
    END IF;
    PERFORM reprieve.mirror_grants(relid);
    PERFORM reprieve.ensure_row_type(relid);
    PERFORM reprieve.ensure_mark(relid);
END $$;

-- Who may read or update some columns must be able to read ours, as the rewritten statement names them; and nobody else, or a role that
-- has lost its rights could not be dropped.
CREATE OR REPLACE FUNCTION reprieve.mirror_grants(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g record;
BEGIN
    FOR g IN SELECT DISTINCT x.grantee FROM (
                 SELECT (aclexplode(c.relacl)).* FROM pg_class c WHERE c.oid = relid
                 UNION ALL
                 SELECT (aclexplode(a.attacl)).* FROM pg_attribute a WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped
                                                                     AND a.attname NOT IN ('deleted_at', 'deletion_id')) AS x
             WHERE x.privilege_type IN ('SELECT', 'UPDATE', 'DELETE')
               AND CASE x.grantee WHEN 0 THEN NOT EXISTS (
                       SELECT FROM pg_class c, aclexplode(c.relacl) AS p WHERE c.oid = relid AND p.grantee = 0 AND p.privilege_type = 'SELECT')
                   ELSE NOT has_column_privilege(x.grantee, relid, 'deleted_at', 'SELECT') END LOOP
        EXECUTE format('GRANT SELECT (deleted_at, deletion_id) ON %s TO %s', reprieve.qualified(relid),
                       CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END);
    END LOOP;
    FOR g IN SELECT DISTINCT b.grantee FROM pg_attribute a, aclexplode(a.attacl) AS b
             WHERE a.attrelid = relid AND a.attname IN ('deleted_at', 'deletion_id') AND NOT a.attisdropped
             EXCEPT SELECT x.grantee FROM (
                 SELECT (aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))).* FROM pg_class c WHERE c.oid = relid
                 UNION ALL
                 SELECT (aclexplode(a.attacl)).* FROM pg_attribute a WHERE a.attrelid = relid AND a.attnum > 0 AND NOT a.attisdropped
                                                                     AND a.attname NOT IN ('deleted_at', 'deletion_id')) AS x
             WHERE x.privilege_type IN ('SELECT', 'UPDATE', 'DELETE') LOOP
        EXECUTE format('REVOKE ALL (deleted_at, deletion_id) ON %s FROM %s', reprieve.qualified(relid),
                       CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END);
    END LOOP;
END $$;

-- Tombstones to the graveyard, then triggers, index and columns go. What was deleted can still be restored.
CREATE OR REPLACE FUNCTION reprieve.remove_marks(relid oid, cause text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = '1' SET bytea_output = 'hex'
SET TimeZone = 'UTC' SET lc_monetary = 'C' AS $$
DECLARE
    target text := reprieve.qualified(relid);
    moved bigint := 0;
    f record;
BEGIN
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = relid AND attname = 'deletion_id' AND NOT attisdropped) THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
        PERFORM reprieve.free_views(relid);
        EXECUTE reprieve.bury_sql(relid, format('ONLY %s o WHERE o.deleted_at IS NOT NULL', target), cause) USING NULL::bigint, cause;
        GET DIAGNOSTICS moved = ROW_COUNT;
        PERFORM reprieve.drop_triggers(relid, '.');
        IF moved > 0 THEN
            PERFORM reprieve.drop_tombstones(relid);
        END IF;
        PERFORM reprieve.see_no_tombstones(relid);
    END IF;
    PERFORM reprieve.drop_triggers(relid, '.');
    UPDATE reprieve.tables t SET mode = 'bin', marking = false WHERE t.relid = remove_marks.relid;
    -- Now that it is not marked, its foreign keys need fewer triggers.
    FOR f IN SELECT l.* FROM reprieve.links l WHERE relid IN (l.parent, l.child) LOOP
        PERFORM reprieve.drop_link(f.conoid, f.parent, f.child);
        DELETE FROM reprieve.links l WHERE l.conoid = f.conoid;
    END LOOP;
    PERFORM reprieve.follow_schema(ARRAY[relid]);
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = relid AND attname = 'deletion_id' AND NOT attisdropped) THEN
        EXECUTE format('ALTER TABLE %s DROP COLUMN deleted_at, DROP COLUMN deletion_id', target);
    END IF;
    PERFORM reprieve.drop_functions(relid);
    PERFORM reprieve.drop_row_type(relid);
    RETURN moved;
END $$;

-- Fails if there are tombstones that the snapshot of this transaction does not show, above READ COMMITTED: without our columns they would be
-- live rows, for a new foreign key parents. PostgreSQL validates a constraint by what is committed.
CREATE OR REPLACE FUNCTION reprieve.see_no_tombstones(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT "reprieve: no row is deleted" CHECK (deleted_at IS NULL)', reprieve.qualified(relid));
        RAISE SQLSTATE 'RV000';
    END IF;
EXCEPTION WHEN SQLSTATE 'RV000' THEN
    NULL;
WHEN check_violation THEN
    RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure',
        DETAIL = format('Rows of table %s were deleted since this transaction began.', reprieve.qualified(relid)),
        HINT = 'The transaction might succeed if retried.';
END $$;

-- Turns off the triggers of users on a marked table and on those whose tombstones may hang on its own: they have seen those
-- rows go, or were made after that. Returns the statements that turn them on again.
CREATE OR REPLACE FUNCTION reprieve.silence(relid oid) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noisy record;
    again text := '';
BEGIN
    FOR noisy IN
        WITH RECURSIVE family AS (
            SELECT silence.relid AS member
            UNION SELECT l.child FROM family f JOIN reprieve.links l ON l.parent = f.member
                  JOIN reprieve.tables t ON t.relid = l.child AND t.mode = 'mark')
        SELECT reprieve.qualified(g.tgrelid) AS name, g.tgname, CASE g.tgenabled WHEN 'R' THEN 'REPLICA ' WHEN 'A' THEN 'ALWAYS ' ELSE '' END AS kind
        FROM family f JOIN pg_trigger g ON g.tgrelid = f.member JOIN pg_proc p ON p.oid = g.tgfoid
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND p.pronamespace <> 'reprieve'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', noisy.name, noisy.tgname);
        again := again || format('ALTER TABLE ONLY %s ENABLE %sTRIGGER %I; ', noisy.name, noisy.kind, noisy.tgname);
    END LOOP;
    RETURN again;
END $$;

-- Deletes tombstones that are in the graveyard already. Their children's tombstones go to the graveyard
-- first; a self reference is satisfied because all of them go in one statement.
CREATE OR REPLACE FUNCTION reprieve.drop_tombstones(relid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    link reprieve.links;
    places tid[];
    again text := reprieve.silence(relid);
BEGIN
    -- A table may have been renamed since they were read.
    UPDATE reprieve.links l SET parent_sql = r.parent_sql, child_sql = r.child_sql, match_sql = r.match_sql, same_sql = r.same_sql
      FROM reprieve.read_links(ARRAY[relid]) r WHERE r.conoid = l.conoid AND r IS DISTINCT FROM l;
    FOR link IN SELECT l.* FROM reprieve.links l JOIN reprieve.tables t ON t.relid = l.child AND t.mode = 'mark'
                WHERE l.parent = drop_tombstones.relid AND l.child <> l.parent LOOP
        EXECUTE format('SELECT array_agg(DISTINCT c.ctid) FROM %s c, %s p WHERE p.deleted_at IS NOT NULL AND c.deleted_at IS NOT NULL AND %s',
                       link.child_sql, link.parent_sql, link.match_sql) INTO places;
        IF places IS NOT NULL THEN
            PERFORM reprieve.bury_tombstones(link.child, places);
        END IF;
    END LOOP;
    EXECUTE format('DELETE FROM ONLY %s WHERE deleted_at IS NOT NULL', reprieve.qualified(relid));
    EXECUTE again;
END $$;

-- Changes of the catalog that sidecars have yet to be told of. One row each, so that no transaction waits for another.
CREATE TABLE IF NOT EXISTS reprieve.publications (xid xid8 NOT NULL DEFAULT pg_current_xact_id());

-- Tells the sidecars that the catalog has changed, once this transaction commits. PostgreSQL does not PREPARE a transaction
-- that has notified anybody: where there may be such, a sidecar finds the row and notifies (announce_v1).
CREATE OR REPLACE FUNCTION reprieve.publish() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('max_prepared_transactions')::int = 0 THEN
        PERFORM pg_notify('reprieve_catalog', '');
    ELSE
        INSERT INTO reprieve.publications DEFAULT VALUES;
    END IF;
END $$;

-- Sidecars call this all the time. Returns true if there was something to announce.
CREATE OR REPLACE FUNCTION reprieve.announce_v1() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM reprieve.publications) THEN
        RETURN false;
    END IF;
    DELETE FROM reprieve.publications p WHERE p.ctid = ANY (ARRAY(SELECT q.ctid FROM reprieve.publications q FOR UPDATE SKIP LOCKED));
    IF FOUND THEN
        PERFORM pg_notify('reprieve_catalog', '');
    END IF;
    RETURN FOUND;
END $$;

-- Brings one table to `mode`. New marks are prepared; they begin once every sidecar knows (advance_v1).
CREATE OR REPLACE FUNCTION reprieve.set_mode(relid oid, requested text, mode text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old reprieve.tables;
BEGIN
    SELECT * INTO old FROM reprieve.tables t WHERE t.relid = set_mode.relid;
    IF old.mode = 'mark' AND set_mode.mode = 'bin' THEN
        PERFORM reprieve.remove_marks(relid, 'disable');
    END IF;
    INSERT INTO reprieve.tables AS t (relid, schema_name, table_name, mode, requested, reason)
    SELECT c.oid, n.nspname, c.relname, set_mode.mode, set_mode.requested, set_mode.reason
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = set_mode.relid
    ON CONFLICT ON CONSTRAINT tables_pkey DO UPDATE SET mode = excluded.mode, requested = excluded.requested, reason = excluded.reason,
        schema_name = excluded.schema_name, table_name = excluded.table_name,
        marking = t.marking AND excluded.mode = 'mark', signature = NULL;
    PERFORM reprieve.follow_renames(relid);
    PERFORM reprieve.enable_triggers(ARRAY[relid]), reprieve.ensure_capture(relid);
    IF mode = 'mark' THEN
        PERFORM reprieve.add_marks(relid);
    END IF;
    PERFORM reprieve.follow_schema(ARRAY[relid]);
END $$;

-- Enables soft delete on a table, `auto` marks only where that is exact, and says why not; takes in the tables that
-- its cascades reach. `cascade` is for tables that are taken in. The table comes first.
CREATE OR REPLACE FUNCTION reprieve.enable_v1(relation regclass, requested text DEFAULT 'auto')
RETURNS TABLE (table_name text, mode text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    verdict record;
    no text := reprieve.refuses(relation);
    member oid;
    family oid[] := ARRAY[relation];
BEGIN
    -- The event trigger must not reconcile what is half done.
    PERFORM set_config('reprieve.reconciling', '1', true);
    IF no IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '42809', MESSAGE = format('%s %s', reprieve.qualified(relation), no);
    END IF;
    requested := lower(requested);
    IF requested = 'cascade' AND reprieve.reached_from(relation) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('no cascade of an enabled table reaches %s', reprieve.qualified(relation));
    END IF;
    UPDATE reprieve.tables t SET in_block = false WHERE t.relid = relation AND t.in_block;
    SELECT d.* INTO verdict FROM reprieve.decide(relation, requested) AS d;
    PERFORM reprieve.remember_disabled(relation, false);
    PERFORM reprieve.set_mode(relation, requested, verdict.mode, verdict.reason);
    -- A delete on the root does not fire the statement triggers of its members, nor the reverse.
    FOR member IN SELECT m.relid FROM reprieve.members(relation) AS m LOOP
        PERFORM reprieve.set_mode(member, requested, 'bin', (SELECT d.reason FROM reprieve.decide(member, 'auto') AS d));
        family := family || member;
    END LOOP;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('enable', reprieve.qualified(relation), jsonb_build_object('mode', verdict.mode, 'reason', verdict.reason));
    family := relation || reprieve.take_in(family);
    PERFORM reprieve.publish(), reprieve.advance_v1();
    PERFORM set_config('reprieve.reconciling', '', true);
    RETURN QUERY SELECT reprieve.qualified(t.relid), t.mode, concat_ws('; ', t.reason, reprieve.caution(t.relid))
                 FROM unnest(family) WITH ORDINALITY AS f(relid, place) JOIN reprieve.tables t USING (relid) ORDER BY f.place;
END $$;

-- The other members of a partition tree or inheritance hierarchy, downwards.
CREATE OR REPLACE FUNCTION reprieve.members(root oid) RETURNS TABLE (relid oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE tree AS (
        SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = root
        UNION SELECT h.inhrelid FROM pg_inherits h JOIN tree ON h.inhparent = tree.inhrelid
    ) SELECT c.oid FROM tree JOIN pg_class c ON c.oid = tree.inhrelid WHERE c.relkind IN ('r', 'p')
$$;

-- A table that a DBA disabled stays so, whatever tables.enable says.
CREATE OR REPLACE FUNCTION reprieve.remember_disabled(relid oid, disabled boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[] := array_remove(string_to_array(coalesce(reprieve.setting('tables.disabled'), ''), E'\n'), reprieve.qualified(relid));
BEGIN
    IF disabled THEN
        names := names || reprieve.qualified(relid);
    END IF;
    IF array_to_string(names, E'\n') IS DISTINCT FROM coalesce(reprieve.setting('tables.disabled'), '') THEN
        INSERT INTO reprieve.settings VALUES ('tables.disabled', array_to_string(names, E'\n'))
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    END IF;
END $$;

-- Disables soft delete: tombstones go to the graveyard and stay restorable, the table is as it was.
CREATE OR REPLACE FUNCTION reprieve.disable_v1(relation regclass)
RETURNS TABLE (table_name text, mode text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    moved bigint;
    member oid;
BEGIN
    -- The event trigger must not reconcile what is half done.
    PERFORM set_config('reprieve.reconciling', '1', true);
    IF NOT EXISTS (SELECT FROM reprieve.tables t WHERE t.relid = relation) THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('soft delete is not enabled on %s', reprieve.qualified(relation));
    END IF;
    moved := reprieve.remove_marks(relation, 'disable');
    PERFORM reprieve.remember_disabled(relation, true);
    DELETE FROM reprieve.tables t WHERE t.relid = relation;
    FOR member IN SELECT m.relid FROM reprieve.members(relation) AS m JOIN reprieve.tables t USING (relid) LOOP
        PERFORM reprieve.remove_marks(member, 'disable');
        DELETE FROM reprieve.tables t WHERE t.relid = member;
    END LOOP;
    PERFORM reprieve.let_go();
    -- Tables whose cascades lead here lose rows from now on.
    PERFORM reprieve.follow_schema(ARRAY[relation]);
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('disable', reprieve.qualified(relation), jsonb_build_object('to_graveyard', moved));
    PERFORM reprieve.publish();
    PERFORM set_config('reprieve.reconciling', '', true);
    RETURN QUERY SELECT reprieve.qualified(relation), 'none'::text, format('%s tombstones went to the graveyard', moved);
END $$;
