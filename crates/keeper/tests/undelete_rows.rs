//! UNDELETE: what comes back, and what does not. U1 to U11 are the cases of the specification.

mod support;
mod undelete_support;

use undelete_support::{
    FAMILY, MARKED, assert_sound, content, database, delete, detail, failure, last, mark, rows,
    undelete,
};

const TABLES: &[&str] = &["p", "c", "n"];

#[tokio::test]
async fn u1_a_cascade_comes_back_without_what_was_deleted_before() {
    let db = database("u1", FAMILY, MARKED).await;
    delete(&db, "c", "id = 3").await;
    let before = content(&db, TABLES).await;
    let cascade = delete(&db, "p", "id = 1").await;
    assert_eq!(
        db.rows("SELECT count(*) FROM c WHERE deleted_at IS NULL")
            .await,
        ["6"]
    );

    let lines = undelete(&db, &format!("deletion_v1({cascade})")).await;
    assert_eq!(
        lines,
        [
            "public.c|2|0|0|COMPLETE",
            "public.n|0|2|0|COMPLETE",
            "public.p|1|0|0|COMPLETE",
            "(all)|3|2|0|COMPLETE"
        ]
    );
    assert_eq!(content(&db, TABLES).await, before);
    assert_eq!(
        db.rows("SELECT id FROM c WHERE deleted_at IS NOT NULL")
            .await,
        ["3"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u2_deletes_of_one_transaction_are_one_each_and_all_together() {
    let db = database("u2", FAMILY, MARKED).await;
    let before = content(&db, TABLES).await;
    let both = format!(
        "BEGIN; {}; {}; COMMIT",
        mark("c", "id = 1"),
        mark("c", "id = 2")
    );
    db.run(&both).await;
    let first = db
        .rows("SELECT min(id) FROM reprieve.deletions")
        .await
        .remove(0);
    assert_eq!(
        undelete(&db, &format!("deletion_v1({first})")).await[1],
        "(all)|1|0|0|COMPLETE"
    );
    assert_eq!(
        db.rows("SELECT id FROM c WHERE deleted_at IS NOT NULL")
            .await,
        ["2"]
    );
    let xid = db
        .rows("SELECT DISTINCT xid FROM reprieve.deletions")
        .await
        .remove(0);
    assert_eq!(
        undelete(&db, &format!("transaction_v1('{xid}')")).await[1],
        "(all)|1|0|0|COMPLETE"
    );
    assert_eq!(content(&db, TABLES).await, before);

    db.run(&both).await;
    let xid = db
        .rows("SELECT xid FROM reprieve.deletions ORDER BY id DESC LIMIT 1")
        .await
        .remove(0);
    assert_eq!(
        undelete(&db, &format!("transaction_v1('{xid}')")).await[1],
        "(all)|2|0|0|COMPLETE"
    );
    assert_eq!(content(&db, TABLES).await, before);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u3_a_reference_that_changed_since_is_reported_and_left() {
    let db = database("u3", FAMILY, MARKED).await;
    let deletion = delete(&db, "p", "id = 1").await;
    db.run("UPDATE n SET p_id = 2 WHERE id = 3").await;
    let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert!(
        lines.contains(&"public.n|0|1|1|INCOMPLETE".to_owned()),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), "(all)|4|1|1|INCOMPLETE");
    assert_eq!(
        db.rows("SELECT p_id FROM n WHERE id IN (3, 6) ORDER BY id")
            .await,
        ["2", "1"]
    );
}

/// Neither the key nor the reference has an operator that a search path of ours would find.
#[tokio::test]
async fn u3_references_of_a_type_with_operators_of_its_own() {
    const SCHEMA: &str = "CREATE TYPE mint;
        CREATE FUNCTION mint_in(cstring) RETURNS mint IMMUTABLE STRICT LANGUAGE internal AS 'int4in';
        CREATE FUNCTION mint_out(mint) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';
        CREATE TYPE mint (INPUT = mint_in, OUTPUT = mint_out, LIKE = int4);
        CREATE FUNCTION mint_eq(mint, mint) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4eq';
        CREATE FUNCTION mint_lt(mint, mint) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4lt';
        CREATE FUNCTION mint_le(mint, mint) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4le';
        CREATE FUNCTION mint_cmp(mint, mint) RETURNS int IMMUTABLE STRICT LANGUAGE internal AS 'btint4cmp';
        CREATE OPERATOR = (LEFTARG = mint, RIGHTARG = mint, FUNCTION = mint_eq);
        CREATE OPERATOR < (LEFTARG = mint, RIGHTARG = mint, FUNCTION = mint_lt);
        CREATE OPERATOR <= (LEFTARG = mint, RIGHTARG = mint, FUNCTION = mint_le);
        CREATE OPERATOR CLASS mint_ops DEFAULT FOR TYPE mint USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, FUNCTION 1 mint_cmp(mint, mint);
        CREATE TABLE p (k mint PRIMARY KEY); CREATE TABLE n (k mint PRIMARY KEY, p mint REFERENCES p ON DELETE SET NULL);
        INSERT INTO p VALUES ('1'), ('2'); INSERT INTO n VALUES ('1', '1'), ('2', '2'), ('3', '1')";
    let db = database("u3_types", SCHEMA, &[("p", "mark"), ("n", "mark")]).await;
    let deletion = delete(&db, "p", "k = '1'").await;
    db.run("UPDATE n SET p = '2' WHERE k = '3'").await;
    assert_eq!(
        undelete(&db, &format!("deletion_v1({deletion})")).await,
        [
            "public.n|0|1|1|INCOMPLETE",
            "public.p|1|0|0|COMPLETE",
            "(all)|1|1|1|INCOMPLETE"
        ]
    );
    assert_eq!(
        db.rows("SELECT k, p FROM n ORDER BY k").await,
        ["1|1", "2|2", "3|2"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u3_a_row_that_lost_its_reference_and_was_deleted_then_gets_it_back_too() {
    let db = database("u3b", FAMILY, MARKED).await;
    let before = content(&db, TABLES).await;
    let parent = delete(&db, "p", "id = 1").await;
    let child = delete(&db, "n", "id = 3").await;
    undelete(&db, &format!("deletion_v1({parent})")).await;
    undelete(&db, &format!("deletion_v1({child})")).await;
    assert_eq!(content(&db, TABLES).await, before);
}

#[tokio::test]
async fn u4_a_key_taken_meanwhile_is_named_and_nothing_is_restored() {
    let db = database("u4", FAMILY, MARKED).await;
    let deletion = delete(&db, "n", "id IN (1, 2, 3)").await;
    db.run("INSERT INTO n VALUES (77, NULL, 'n1'), (2, NULL, 'other')")
        .await;
    let session = db.session().await;
    let (code, message, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("RV010", "cannot undelete: 2 of 3 row(s) cannot come back")
    );
    assert!(
        text.contains(
            "public.n (id)=(1): its key is taken: constraint n_u_key, live row (id)=(77)"
        ),
        "{text}"
    );
    assert!(
        text.contains("public.n (id)=(2): its key is taken: constraint n_pkey, live row (id)=(2)"),
        "{text}"
    );
    assert_eq!(
        db.rows("SELECT count(*) FROM n WHERE deleted_at IS NULL")
            .await,
        ["5"]
    );

    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await;
    assert_eq!(
        lines,
        ["public.n|1|0|2|INCOMPLETE", "(all)|1|0|2|INCOMPLETE"]
    );
    assert_sound(&db).await;
    db.run("DELETE FROM n WHERE id IN (77, 2)").await;
    let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(lines, ["public.n|2|0|0|COMPLETE", "(all)|2|0|0|COMPLETE"]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u4_children_of_what_cannot_come_back_stay_in_the_bin() {
    let db = database("u4b", FAMILY, &[("p", "bin"), ("c", "bin"), ("n", "bin")]).await;
    db.run("DELETE FROM p WHERE id IN (1, 2)").await;
    let deletion = last(&db).await;
    db.run("ALTER TABLE p ADD UNIQUE (v); INSERT INTO p VALUES (9, 'p1')")
        .await;
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await;
    assert_eq!(lines[0], "public.c|3|0|3|INCOMPLETE");
    assert_eq!(lines[lines.len() - 2], "public.p|1|0|1|INCOMPLETE");
    assert_eq!(
        db.rows("SELECT DISTINCT p_id FROM c ORDER BY 1").await,
        ["2", "3"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u5_a_child_does_not_return_without_its_parent() {
    let db = database("u5", FAMILY, MARKED).await;
    let child = delete(&db, "c", "id = 3").await;
    let parent = delete(&db, "p", "id = 1").await;
    let session = db.session().await;
    let call = format!("SELECT * FROM reprieve.undelete_deletion_v1({child})");
    let (code, _, text) = failure(&session, &call).await;
    assert_eq!(code, "RV010");
    assert_eq!(
        text,
        format!(
            "public.c (id)=(3): its parent in public.p, (id)=(1), is deleted (deletion {parent})"
        )
    );

    let lines = undelete(&db, &format!("deletion_v1({child}, 'nonconflict_only')")).await;
    assert_eq!(lines, ["(all)|0|0|1|NOTHING"]);
    let lines = undelete(&db, &format!("deletion_v1({child}, 'cascade')")).await;
    assert_eq!(
        lines,
        [
            "public.c|1|0|0|COMPLETE",
            "public.p|1|0|0|COMPLETE",
            "(all)|2|0|0|COMPLETE"
        ]
    );
    assert_eq!(
        db.rows("SELECT id FROM c WHERE p_id = 1 AND deleted_at IS NULL")
            .await,
        ["3"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u5_a_parent_that_was_purged_is_gone() {
    let db = database("u5b", FAMILY, &[("p", "bin"), ("c", "bin"), ("n", "bin")]).await;
    db.run("DELETE FROM c WHERE id = 3").await;
    let child = last(&db).await;
    db.run("DELETE FROM p WHERE id = 1; DELETE FROM reprieve.graveyard WHERE table_name = 'p'")
        .await;
    let session = db.session().await;
    for mode in ["nocascade", "cascade"] {
        let call = format!("SELECT * FROM reprieve.undelete_deletion_v1({child}, '{mode}')");
        let (code, _, text) = failure(&session, &call).await;
        assert_eq!(
            (code.as_str(), text.as_str()),
            (
                "RV010",
                "public.c (id)=(3): its parent in public.p, (id)=(1), is gone"
            )
        );
    }
    let parents = last(&db).await;
    let lines = undelete(&db, &format!("deletion_v1({parents}, 'nonconflict_only')")).await;
    assert_eq!(lines.last().unwrap(), "(all)|0|0|4|NOTHING");
}

#[tokio::test]
async fn u5_a_graveyard_child_of_a_tombstone_needs_it_back() {
    let db = database("u5c", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    let before = content(&db, TABLES).await;
    db.run("DELETE FROM c WHERE id = 3").await;
    let child = last(&db).await;
    let parent = delete(&db, "p", "id = 1").await;
    let session = db.session().await;
    let (code, _, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({child})"),
    )
    .await;
    assert_eq!(code, "RV010");
    assert!(
        text.contains(&format!("is deleted (deletion {parent})")),
        "{text}"
    );
    let lines = undelete(&db, &format!("deletion_v1({parent})")).await;
    assert_eq!(lines.last().unwrap(), "(all)|3|2|0|COMPLETE");
    let lines = undelete(&db, &format!("deletion_v1({child})")).await;
    assert_eq!(lines.last().unwrap(), "(all)|1|0|0|COMPLETE");
    assert_eq!(content(&db, TABLES).await, before);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u6_rows_of_a_cascade_alone_with_descendants_and_with_ancestors() {
    let schema = format!(
        "{FAMILY} CREATE TABLE g(id int PRIMARY KEY, c_id int REFERENCES c ON DELETE CASCADE); INSERT INTO g SELECT i, 1 + i % 9 FROM generate_series(1, 18) i;"
    );
    let db = database(
        "u6",
        &schema,
        &[("p", "mark"), ("c", "mark"), ("n", "mark"), ("g", "mark")],
    )
    .await;
    let before = content(&db, &["p", "c", "n", "g"]).await;
    let all = delete(&db, "p", "id IN (1, 2)").await;

    let call = "where_v1('p', 'id = 1')";
    let text = detail(&db, call).await;
    assert_eq!(
        text,
        "still in the bin, went with these rows: 3 row(s) of public.c"
    );
    assert_eq!(
        db.rows("SELECT id FROM p WHERE deleted_at IS NULL ORDER BY 1")
            .await,
        ["1", "3"]
    );
    let lines = undelete(
        &db,
        "where_v1('c', 'c.id = 6 AND v LIKE ''c%''', 'cascade')",
    )
    .await;
    assert_eq!(
        lines,
        [
            "public.c|1|0|0|COMPLETE",
            "public.g|2|0|0|COMPLETE",
            "(all)|3|0|0|COMPLETE"
        ]
    );
    // Bottom up: the grandchild brings child and parent, and none of their other children.
    let lines = undelete(&db, "where_v1('g', 'c_id = 4', 'cascade')").await;
    assert_eq!(lines[0], "public.c|1|0|0|COMPLETE");
    assert_eq!(lines.last().unwrap().split('|').nth(4), Some("COMPLETE"));
    assert_eq!(
        undelete(&db, "where_v1('p', 'id = 99')").await,
        ["(all)|0|0|0|NOTHING"]
    );
    assert_sound(&db).await;
    undelete(&db, &format!("deletion_v1({all})")).await;
    assert_eq!(content(&db, &["p", "c", "n", "g"]).await, before);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u6_rows_of_the_graveyard_by_predicate() {
    let db = database("u6b", FAMILY, &[("p", "bin"), ("c", "bin"), ("n", "bin")]).await;
    let before = content(&db, &["p", "c"]).await;
    db.run("DELETE FROM p WHERE id IN (1, 2)").await;
    let session = db.session().await;
    let (code, _, text) = failure(
        &session,
        "SELECT * FROM reprieve.undelete_where_v1('c', 'id = 3')",
    )
    .await;
    assert_eq!(
        (code.as_str(), text.as_str()),
        (
            "RV010",
            "public.c (id)=(3): its parent in public.p, (id)=(1), is gone"
        )
    );
    let lines = undelete(&db, "where_v1('c', 'id = 3', 'cascade')").await;
    assert_eq!(lines[0], "public.c|1|0|0|COMPLETE");
    let lines = undelete(&db, "where_v1('p', 'true', 'cascade')").await;
    assert_eq!(lines[0], "public.c|3|0|0|COMPLETE");
    let deletion = last(&db).await;
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(content(&db, &["p", "c"]).await, before);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u7_what_was_purged_is_reported_missing() {
    let db = database("u7", FAMILY, &[("p", "bin"), ("c", "bin")]).await;
    db.run("DELETE FROM p WHERE id = 1; DELETE FROM reprieve.graveyard WHERE table_name = 'c' AND data[1] <> '3'")
        .await;
    let deletion = last(&db).await;
    let call = format!("deletion_v1({deletion})");
    let details = db
        .rows(&format!(
            "BEGIN; SELECT detail FROM reprieve.undelete_{call}; ROLLBACK"
        ))
        .await;
    assert_eq!(details[0], "2 row(s) are no longer in the bin");
    let lines = undelete(&db, &call).await;
    assert_eq!(lines[0], "public.c|1|0|0|INCOMPLETE");
    assert!(lines.last().unwrap().ends_with("INCOMPLETE"));
}

#[tokio::test]
async fn deferred_constraints_are_checked_before_the_verdict() {
    let schema = "CREATE TABLE p(id int PRIMARY KEY);
        CREATE TABLE t(id int PRIMARY KEY, k int UNIQUE DEFERRABLE INITIALLY DEFERRED, p_id int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO p VALUES (1), (2), (3); INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3);";
    let db = database("deferred", schema, &[("t", "bin")]).await;
    db.run("DELETE FROM t").await;
    let deletion = last(&db).await;
    db.run("INSERT INTO t VALUES (9, 1, NULL); DELETE FROM p WHERE id = 2")
        .await;
    let session = db.session().await;
    let (code, _, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert_eq!(code, "RV010");
    assert_eq!(
        text,
        "public.t (id)=(1): its key is taken: constraint t_k_key, live row (id)=(9)\n\
         public.t (id)=(2): its parent in public.p, (id)=(2), is gone"
    );
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await;
    assert_eq!(
        lines,
        ["public.t|1|0|2|INCOMPLETE", "(all)|1|0|2|INCOMPLETE"]
    );
    // They are deferred again for the rest of the transaction.
    db.run("DELETE FROM t WHERE id = 3").await;
    let deletion = last(&db).await;
    db.run(&format!("BEGIN; SELECT * FROM reprieve.undelete_deletion_v1({deletion}); INSERT INTO t VALUES (10, 3, NULL); DELETE FROM t WHERE id = 3; COMMIT"))
        .await;
}

#[tokio::test]
async fn u8_twice_is_a_clean_no_op_and_deleting_again_is_a_new_deletion() {
    let db = database("u8", FAMILY, MARKED).await;
    let before = content(&db, TABLES).await;
    let first = delete(&db, "p", "id = 1").await;
    undelete(&db, &format!("deletion_v1({first})")).await;
    let call = format!("deletion_v1({first})");
    assert_eq!(undelete(&db, &call).await, ["(all)|0|0|0|NOTHING"]);
    let text = detail(&db, &call).await;
    assert!(
        text.starts_with("already undone at ") && text.ends_with(" by postgres"),
        "{text}"
    );
    assert_eq!(
        db.rows("SELECT count(*) FROM reprieve.acts WHERE verb ~ '^undelete'")
            .await,
        ["1"]
    );

    let second = delete(&db, "p", "id = 1").await;
    assert_ne!(first, second);
    assert_eq!(
        undelete(&db, &format!("deletion_v1({first})")).await,
        ["(all)|0|0|0|NOTHING"]
    );
    assert_eq!(
        undelete(&db, &format!("deletion_v1({second})"))
            .await
            .last()
            .unwrap(),
        "(all)|4|2|0|COMPLETE"
    );
    assert_eq!(content(&db, TABLES).await, before);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u10_no_trigger_of_the_users_fires_and_all_of_them_still_do_afterwards() {
    let schema = "CREATE TABLE t(id int PRIMARY KEY, n int DEFAULT 0, k int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := NEW.n + 1; RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER always BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();
        ALTER TABLE t ENABLE ALWAYS TRIGGER always;
        CREATE TABLE m(id int PRIMARY KEY, n int DEFAULT 0, t_id int REFERENCES t ON DELETE SET NULL);
        CREATE TRIGGER touch BEFORE UPDATE ON m FOR EACH ROW EXECUTE FUNCTION touch();
        INSERT INTO t VALUES (1), (2); INSERT INTO m VALUES (1, 0, 1);";
    let db = database("u10", schema, &[("t", "bin"), ("m", "bin")]).await;
    let before = db.rows("SELECT * FROM t ORDER BY id").await;
    db.run("DELETE FROM t WHERE id = 1").await;
    let deletion = last(&db).await;
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(db.rows("SELECT * FROM t ORDER BY id").await, before);
    let state = "SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal AND tgname !~ '^~'";
    assert_eq!(db.rows(state).await, ["alwaysA,touchO"]);
    db.run("INSERT INTO t VALUES (3)").await;
    assert_eq!(db.rows("SELECT n FROM t WHERE id = 3").await, ["2"]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn of_two_versions_of_a_row_the_last_one_comes_back() {
    let db = database("versions", FAMILY, &[("n", "mark")]).await;
    db.run(&format!(
        "BEGIN; {0}; INSERT INTO n VALUES (1, NULL, 'second'); {0}; INSERT INTO n VALUES (1, NULL, 'third'); {0}; COMMIT",
        mark("n", "id = 1")
    ))
    .await;
    let xid = db
        .rows("SELECT DISTINCT xid FROM reprieve.deletions")
        .await
        .remove(0);
    let session = db.session().await;
    let (code, ..) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_transaction_v1('{xid}')"),
    )
    .await;
    assert_eq!(code, "RV010");
    let lines = undelete(&db, &format!("transaction_v1('{xid}', 'nonconflict_only')")).await;
    assert_eq!(
        lines,
        ["public.n|1|0|2|INCOMPLETE", "(all)|1|0|2|INCOMPLETE"]
    );
    assert_eq!(
        db.rows("SELECT u FROM n WHERE id = 1 AND deleted_at IS NULL")
            .await,
        ["third"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn an_old_version_evicts_the_tombstone_of_a_newer_one() {
    let db = database("older", FAMILY, &[("n", "mark")]).await;
    let old = delete(&db, "n", "id = 1").await;
    db.run("INSERT INTO n VALUES (1, NULL, 'second')").await;
    let new = delete(&db, "n", "id = 1").await;
    undelete(&db, &format!("deletion_v1({old})")).await;
    assert_eq!(
        db.rows("SELECT u FROM n WHERE id = 1 AND deleted_at IS NULL")
            .await,
        ["n1"]
    );
    delete(&db, "n", "id = 1").await;
    undelete(&db, &format!("deletion_v1({new})")).await;
    assert_eq!(
        db.rows("SELECT u FROM n WHERE id = 1 AND deleted_at IS NULL")
            .await,
        ["second"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn since_until_and_by_whom() {
    let db = database("since", FAMILY, MARKED).await;
    let before = content(&db, TABLES).await;
    db.run("CREATE ROLE since_app; GRANT ALL ON p, c, n TO since_app")
        .await;
    delete(&db, "c", "id = 1").await;
    let middle = db.rows("SELECT clock_timestamp()").await.remove(0);
    db.run(&format!(
        "SET ROLE since_app; {}; RESET ROLE",
        mark("c", "id = 2")
    ))
    .await;
    delete(&db, "c", "id = 3").await;
    assert_eq!(
        undelete(&db, &format!("since_v1('{middle}', NULL, 'since_app')")).await[1],
        "(all)|1|0|0|COMPLETE"
    );
    assert_eq!(
        undelete(&db, &format!("since_v1('-infinity', '{middle}')")).await[1],
        "(all)|1|0|0|COMPLETE"
    );
    assert_eq!(
        undelete(&db, "since_v1('-infinity', mode => 'cascade')").await[1],
        "(all)|1|0|0|COMPLETE"
    );
    assert_eq!(
        undelete(&db, "since_v1('-infinity')").await,
        ["(all)|0|0|0|NOTHING"]
    );
    assert_eq!(content(&db, TABLES).await, before);
}

#[tokio::test]
async fn only_members_of_reprieve_admin_may_and_the_keeper_need_not_be_a_superuser() {
    let db = database("rights", "SELECT", &[]).await;
    db.run("CREATE ROLE rights_app LOGIN; CREATE ROLE rights_dba LOGIN IN ROLE reprieve_admin; CREATE TABLE secret(id int PRIMARY KEY); SELECT reprieve.enable_v1('secret', 'bin');
            INSERT INTO secret VALUES (1); DELETE FROM secret; GRANT SELECT ON secret TO rights_dba").await;
    let deletion = last(&db).await;
    let session = db.session().await;
    for call in [
        format!("undelete_deletion_v1({deletion})"),
        "undelete_transaction_v1('3')".to_owned(),
        "undelete_since_v1('-infinity')".to_owned(),
        "undelete_where_v1('secret', 'true')".to_owned(),
        "undelete_rows_v1('secret', '{}', '{}', '{\"(0,1)\"}', '', 'nocascade')".to_owned(),
        "buried_v1(NULL::secret)".to_owned(),
        "graves_v1(NULL::secret)".to_owned(),
        "check_v1()".to_owned(),
        "undelete('a', 'b', 'nocascade', '{1}', false)".to_owned(),
        "show_deletions".to_owned(),
        "show_tables".to_owned(),
    ] {
        rows(&session, "SET ROLE rights_app").await;
        assert_eq!(
            failure(&session, &format!("SELECT * FROM reprieve.{call}"))
                .await
                .0,
            "42501",
            "{call}"
        );
    }
    // Whoever owns a function that DBAs may call lends its right, not its membership.
    rows(&session, &format!(
        "RESET ROLE; CREATE FUNCTION lend() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT verdict FROM reprieve.undelete_deletion_v1({deletion})';
         SET SESSION AUTHORIZATION rights_app"
    )).await;
    assert_eq!(failure(&session, "SELECT lend()").await.0, "42501");
    rows(&session, "SET SESSION AUTHORIZATION rights_dba").await;
    let (code, ..) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion}, 'sideways')"),
    )
    .await;
    assert_eq!(code, "22023");
    let (code, ..) = failure(&session, "SELECT * FROM reprieve.undelete_deletion_v1(42)").await;
    assert_eq!(code, "P0002");
    assert_eq!(
        rows(
            &session,
            "SELECT id FROM (SELECT (b.\"row\").* FROM reprieve.buried_v1(NULL::secret) b) x"
        )
        .await,
        ["1"]
    );
    // The predicate runs with the caller's rights, not with the keeper's.
    let (code, ..) = failure(
        &session,
        "SELECT * FROM reprieve.undelete_where_v1('secret', 'EXISTS (SELECT FROM pg_authid)')",
    )
    .await;
    assert_eq!(code, "42501");
    assert_eq!(
        rows(
            &session,
            "SELECT verdict FROM reprieve.undelete_where_v1('secret', 'id = 1')"
        )
        .await,
        ["COMPLETE", "COMPLETE"]
    );
    assert_eq!(
        rows(&session, "SELECT count(*) FROM reprieve.show_deletions").await,
        ["1"]
    );
    assert_eq!(
        rows(&session, "SELECT count(*) FROM reprieve.show_tables").await,
        ["1"]
    );
}
