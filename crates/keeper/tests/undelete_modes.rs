//! UNDELETE in modes replace and force (U4, U14), and what they do while others write (U11).

mod support;
mod undelete_support;

use undelete_support::{
    assert_sound, blocked, content, database, delete, detail, failure, last, mark, pid, rows,
    undelete,
};

const FAMILY: &str = "
    CREATE TABLE p(id int PRIMARY KEY, v text UNIQUE);
    CREATE TABLE c(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v text);
    CREATE TABLE n(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL, u text UNIQUE);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 3) i;
    INSERT INTO c SELECT i, 1 + i % 3, 'c' || i FROM generate_series(1, 9) i;
    INSERT INTO n SELECT i, 1 + i % 3, 'n' || i FROM generate_series(1, 6) i;";
const MARKED: &[(&str, &str)] = &[("p", "mark"), ("c", "mark"), ("n", "mark")];
const BURIED: &[(&str, &str)] = &[("p", "bin"), ("c", "bin"), ("n", "bin")];
const TABLES: &[&str] = &["p", "c", "n"];

async fn replaces(name: &str, modes: &[(&str, &str)], delete_sql: &str) {
    let db = database(name, FAMILY, modes).await;
    let before = content(&db, TABLES).await;
    db.run(delete_sql).await;
    let deletion = last(&db).await;
    // One live row holds the primary key, another one the unique key, and both have children.
    db.run("INSERT INTO p VALUES (1, 'new'), (8, 'p1'); INSERT INTO c VALUES (77, 1, 'of 1'), (88, 8, 'of 8'); INSERT INTO n VALUES (99, 8, 'of 8')")
        .await;
    let meanwhile = content(&db, TABLES).await;
    let call = format!("deletion_v1({deletion}, 'replace')");
    let lines = undelete(&db, &call).await;
    let expected = [
        "public.c|3|0|0|COMPLETE",
        "public.n|0|2|0|COMPLETE",
        "public.p|1|0|0|COMPLETE",
        "(all)|4|2|0|COMPLETE",
    ];
    assert_eq!(lines, expected);
    assert_sound(&db).await;
    let replaced = last(&db).await;
    assert_ne!(replaced, deletion);
    let taken =
        "SELECT table_name, rows, relinked FROM reprieve.deletion_tables WHERE deletion_id = ";
    assert_eq!(
        db.rows(&format!("{taken}{replaced} ORDER BY 1")).await,
        ["c|2|0", "n|0|1", "p|2|0"]
    );
    let mut after = before.clone();
    after.push("n (99,,\"of 8\")".to_owned());
    after.sort();
    let mut now = content(&db, TABLES).await;
    now.sort();
    assert_eq!(now, after);

    // It can be taken back, step by step.
    let act = db.value("SELECT max(id) FROM reprieve.acts").await;
    db.run(&format!("SELECT * FROM reprieve.undo_undelete_v1({act})"))
        .await;
    let lines = undelete(&db, &format!("deletion_v1({replaced})")).await;
    assert_eq!(
        lines.last().map(String::as_str),
        Some("(all)|4|1|0|COMPLETE")
    );
    assert_eq!(content(&db, TABLES).await, meanwhile);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u4_replace_deletes_the_live_rows_first() {
    let marks = mark("p", "id = 1");
    replaces("replace_marks", MARKED, &marks).await;
    replaces("replace_bin", BURIED, "DELETE FROM p WHERE id = 1").await;
}

#[tokio::test]
async fn u4_what_refers_to_a_live_row_may_keep_it() {
    let schema = format!(
        "{FAMILY} CREATE TABLE r(id int PRIMARY KEY, n_id int REFERENCES n); CREATE TABLE fired(by text);
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fired VALUES (current_user); RETURN OLD; END $$;
         CREATE TABLE b(id int PRIMARY KEY); CREATE TRIGGER tell BEFORE DELETE ON b FOR EACH ROW EXECUTE FUNCTION tell();"
    );
    let db = database(
        "replace_refused",
        &schema,
        &[("n", "mark"), ("r", "mark"), ("b", "bin")],
    )
    .await;
    let deletion = delete(&db, "n", "id IN (1, 2)").await;
    db.run("INSERT INTO n VALUES (1, NULL, 'other'); INSERT INTO r VALUES (1, 1)")
        .await;
    let session = db.session().await;
    let call = format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion}, 'replace')");
    let (code, message, text) = failure(&session, &call).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        (
            "RV010",
            "cannot undelete: live rows of public.n hold keys and cannot be deleted"
        )
    );
    assert!(
        text.contains("violates foreign key constraint \"r_n_id_fkey\"")
            && text.contains("Key (id)=(1) is still referenced from table \"r\"."),
        "{text}"
    );
    assert_sound(&db).await;

    // No trigger of the owner's runs with the keeper's rights, and afterwards it is as it was.
    db.run("INSERT INTO b VALUES (1); DELETE FROM b; TRUNCATE fired")
        .await;
    let deletion = last(&db).await;
    db.run("INSERT INTO b VALUES (1)").await;
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'replace')")).await;
    assert_eq!(lines[0], "public.b|1|0|0|COMPLETE");
    assert_eq!(db.rows("SELECT * FROM fired").await, Vec::<String>::new());
    db.run("DELETE FROM b").await;
    assert_eq!(db.rows("SELECT * FROM fired").await, ["postgres"]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u14_force_brings_back_what_the_constraints_let() {
    let schema = format!(
        "{FAMILY} CREATE TABLE k(id int PRIMARY KEY, p_id int NOT NULL REFERENCES p); CREATE TABLE g(id int PRIMARY KEY, c_id int REFERENCES c);
         CREATE TABLE m(id int PRIMARY KEY, a int, b int, UNIQUE (a, b)); INSERT INTO m VALUES (1, 1, 1), (2, 2, 2);
         CREATE TABLE f(id int PRIMARY KEY, a int, b int NOT NULL, FOREIGN KEY (a, b) REFERENCES m (a, b) ON DELETE SET NULL (a));
         INSERT INTO k VALUES (1, 1); INSERT INTO g VALUES (1, 1), (3, 3); INSERT INTO f VALUES (1, 1, 1), (2, 2, 2);"
    );
    let mut modes = MARKED.to_vec();
    modes.extend([("k", "mark"), ("g", "mark"), ("f", "bin"), ("m", "mark")]);
    let db = database("force", &schema, &modes).await;
    // Everything in one transaction: f and g by themselves, then their parents, one of which is purged.
    db.run(&format!(
        "BEGIN; {}; {}; {}; DELETE FROM f; COMMIT",
        mark("g", "true"),
        mark("k", "true"),
        mark("n", "id IN (1, 3)")
    ))
    .await;
    let xid = db
        .value("SELECT xid FROM reprieve.deletions ORDER BY id DESC LIMIT 1")
        .await;
    delete(&db, "p", "id IN (1, 2)").await;
    delete(&db, "m", "id = 1").await;
    db.run("SET session_replication_role = replica; DELETE FROM p WHERE id IN (1, 2); DELETE FROM m WHERE id = 1; RESET session_replication_role;
            UPDATE reprieve.deletion_tables SET discarded = rows WHERE table_name IN ('p', 'm');
            INSERT INTO n VALUES (3, NULL, 'other')").await;
    let call = format!("transaction_v1('{xid}', 'force')");
    let text = db
        .rows(&format!(
            "BEGIN; SELECT table_name || ': ' || detail FROM reprieve.undelete_{call}; ROLLBACK"
        ))
        .await;
    assert!(
        text.contains(&"public.f: 1 reference(s) in (a) set to NULL, the parent of foreign key f_a_b_fkey is gone: (id)=(1) referred to (a, b)=(1, 1)".to_owned()),
        "{text:?}"
    );
    assert!(
        text.contains(&"public.k: 1 row(s) left in the bin, the first: (id)=(1) its parent in public.p, (id)=(1), is gone".to_owned()),
        "{text:?}"
    );
    let lines = undelete(&db, &call).await;
    let expected = [
        // The parents of g come along, and do without theirs.
        "public.c|2|0|0|INCOMPLETE",
        "public.f|2|0|0|INCOMPLETE",
        "public.g|2|0|0|COMPLETE",
        "public.k|0|0|1|INCOMPLETE",
        "public.m|0|0|0|COMPLETE",
        "public.n|2|0|0|INCOMPLETE",
        "public.p|0|0|0|COMPLETE",
        "(all)|8|0|1|INCOMPLETE",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        db.rows("SELECT * FROM f ORDER BY id").await,
        ["1||1", "2|2|2"]
    );
    assert_eq!(
        db.rows("SELECT id, p_id, u FROM n WHERE id IN (1, 3) AND deleted_at IS NULL ORDER BY id")
            .await,
        ["1||n1", "3||n3"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u9_a_foreign_key_that_leads_elsewhere_now() {
    let schema = format!("{FAMILY} CREATE TABLE q(id int PRIMARY KEY); INSERT INTO q VALUES (2);");
    let db = database("retargeted", &schema, MARKED).await;
    let deletion = delete(&db, "c", "id IN (1, 3)").await;
    db.run("DELETE FROM c; ALTER TABLE c DROP CONSTRAINT c_p_id_fkey; ALTER TABLE c ADD FOREIGN KEY (p_id) REFERENCES q")
        .await;
    let session = db.session().await;
    let call = format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})");
    let (code, _, text) = failure(&session, &call).await;
    assert_eq!(code, "RV010");
    assert_eq!(
        text,
        "public.c (id)=(3): its parent in public.q, (id)=(1), is gone"
    );
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'force')")).await;
    assert_eq!(lines[0], "public.c|2|0|0|INCOMPLETE");
    assert_sound(&db).await;
}

/// A row that stays in the bin for another reason keeps the reference that it would have had to lose.
#[tokio::test]
async fn force_takes_nothing_from_rows_that_stay() {
    let schema = "
        CREATE TABLE pa(id int PRIMARY KEY); CREATE TABLE pb(id int PRIMARY KEY);
        CREATE TABLE ch(id int PRIMARY KEY, a int REFERENCES pa, b int NOT NULL REFERENCES pb);
        INSERT INTO pa VALUES (1); INSERT INTO pb VALUES (1), (2); INSERT INTO ch VALUES (1, 1, 1), (2, 1, 2);";
    let enabled = &[("pa", "mark"), ("pb", "mark"), ("ch", "mark")];
    let db = database("force_stays", schema, enabled).await;
    let deletion = delete(&db, "ch", "true").await;
    // The parents are not kept, and the tombstones that hung on them are in the graveyard.
    db.run("DELETE FROM pa; DELETE FROM pb WHERE id = 1; DELETE FROM reprieve.graveyard WHERE table_name <> 'ch'")
        .await;
    db.run("UPDATE reprieve.deletion_tables SET discarded = rows WHERE table_name <> 'ch'")
        .await;
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'force')")).await;
    assert_eq!(lines[0], "public.ch|1|0|1|INCOMPLETE");
    assert_eq!(
        db.rows("SELECT id, a, b FROM ch").await,
        ["2||2"],
        "what came back"
    );
    assert_eq!(
        db.rows("SELECT data FROM reprieve.graveyard").await,
        ["{1,1,1}"]
    );
    assert_sound(&db).await;
}

/// Nothing is known any more of the deletion that took the parent.
#[tokio::test]
async fn force_lets_go_of_a_parent_that_nobody_remembers() {
    let schema = "
        CREATE TABLE pa(id int PRIMARY KEY); CREATE TABLE ch(id int PRIMARY KEY, a int REFERENCES pa);
        INSERT INTO pa VALUES (1); INSERT INTO ch VALUES (1, 1);";
    let db = database("force_forgotten", schema, &[("pa", "bin"), ("ch", "bin")]).await;
    db.run("DELETE FROM ch").await;
    let deletion = last(&db).await;
    db.run("DELETE FROM pa").await;
    db.run(&format!(
        "DELETE FROM reprieve.graveyard WHERE table_name = 'pa'; DELETE FROM reprieve.deletions WHERE id <> {deletion}"
    ))
    .await;
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'force')")).await;
    assert_eq!(lines[0], "public.ch|1|0|0|INCOMPLETE");
    assert_eq!(db.rows("SELECT id, a FROM ch").await, ["1|"]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn u7_what_nobody_kept_is_in_the_verdict() {
    let db = database("lost", FAMILY, BURIED).await;
    db.run("DELETE FROM p WHERE id = 1; DELETE FROM reprieve.graveyard WHERE table_name = 'c'")
        .await;
    let deletion = last(&db).await;
    assert_eq!(
        detail(&db, &format!("deletion_v1({deletion}, 'force')")).await,
        "public.c: 3 row(s) are no longer in the bin"
    );
}

/// While an undelete waits or is not committed, others write: one wins, and all agrees afterwards.
#[tokio::test]
async fn u11_replace_and_those_who_write_meanwhile() {
    let db = database("race", FAMILY, MARKED).await;
    let deletion = delete(&db, "n", "id = 1").await;
    let (one, two) = (db.session().await, db.session().await);
    let waiting = pid(&two).await;
    let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion}, 'replace')");

    // The live row is being changed: the undelete waits, and then finds what to do anew.
    db.run("INSERT INTO n VALUES (1, NULL, 'new')").await;
    rows(&one, "BEGIN; UPDATE n SET u = 'newer' WHERE id = 1").await;
    let again = call.clone();
    let second = tokio::spawn(async move { (two.simple_query(&again).await.is_ok(), two) });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let (_, two) = second.await.unwrap();
    assert_sound(&db).await;
    let verdict = rows(&two, &call).await;
    assert!(
        ["COMPLETE", "NOTHING"].contains(&verdict[0].as_str()),
        "{verdict:?}"
    );
    assert_eq!(
        db.rows("SELECT u FROM n WHERE id = 1 AND deleted_at IS NULL")
            .await,
        ["n1"]
    );
    assert_sound(&db).await;

    // An INSERT of the key that comes back waits for the undelete, and is a duplicate.
    let deletion = delete(&db, "n", "id = 1").await;
    let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion}, 'replace')");
    rows(&one, &format!("BEGIN; {call}")).await;
    let second = tokio::spawn(async move {
        let failed = failure(&two, "INSERT INTO n VALUES (1, NULL, 'late')").await;
        (failed, two)
    });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let ((code, ..), two) = second.await.unwrap();
    assert_eq!(code, "23505");
    assert_sound(&db).await;

    // A child of a row that is replaced waits, and is then told what PostgreSQL tells where a parent was deleted and inserted anew.
    let deletion = delete(&db, "p", "id = 1").await;
    db.run("INSERT INTO p VALUES (1, 'new')").await;
    let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion}, 'replace')");
    rows(&one, &format!("BEGIN; {call}")).await;
    let second = tokio::spawn(async move {
        let failed = failure(&two, "INSERT INTO c VALUES (55, 1, 'late')").await;
        (failed, two)
    });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let ((code, ..), two) = second.await.unwrap();
    assert_eq!(code, "23503");
    rows(&two, "INSERT INTO c VALUES (55, 1, 'late')").await;
    assert_eq!(
        db.rows("SELECT v FROM p WHERE id = 1 AND deleted_at IS NULL")
            .await,
        ["p1"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u11_undelete_and_purge() {
    let db = database("race_purge", FAMILY, BURIED).await;
    db.run("DELETE FROM p WHERE id = 1").await;
    let deletion = last(&db).await;
    let (one, two) = (db.session().await, db.session().await);
    let waiting = pid(&two).await;
    rows(&one, &format!("BEGIN; DELETE FROM reprieve.graveyard WHERE deletion_id = {deletion} AND table_name = 'c'; UPDATE reprieve.deletion_tables SET discarded = rows WHERE deletion_id = {deletion} AND table_name = 'c'")).await;
    let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion})");
    let second = tokio::spawn(async move {
        let said = two.simple_query(&call).await;
        (said.is_ok(), call, two)
    });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let (_, call, two) = second.await.unwrap();
    assert_sound(&db).await;
    // Whatever the first try came to, the whole comes back but for what was purged.
    let _ = two.simple_query(&call).await;
    assert_eq!(db.rows("SELECT count(*) FROM p WHERE id = 1").await, ["1"]);
    assert_eq!(
        db.rows("SELECT count(*) FROM c WHERE p_id = 1").await,
        ["0"]
    );
    assert_sound(&db).await;
}

/// A later row with the key of the parent was deleted, too: the child's own deletion goes first.
#[tokio::test]
async fn the_parent_that_comes_along_is_the_one_that_went_with_the_child() {
    const SCHEMA: &str = "CREATE TABLE p (id int PRIMARY KEY, v text);
        CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p VALUES (6, 'old'); INSERT INTO c VALUES (1, 6)";
    for mode in ["mark", "bin"] {
        for undelete_mode in ["cascade", "force"] {
            let name = format!("modes_parent_{mode}_{undelete_mode}");
            let db = database(&name, SCHEMA, &[("p", mode), ("c", mode)]).await;
            let remove = match mode {
                "mark" => mark("p", "id = 6"),
                _ => "DELETE FROM p WHERE id = 6".to_owned(),
            };
            db.run(&remove).await;
            db.run("INSERT INTO p VALUES (6, 'new')").await;
            db.run(&remove).await;
            let call = format!("where_v1('c', 'id = 1', '{undelete_mode}')");
            undelete(&db, &call).await;
            let live = if mode == "mark" {
                "SELECT v FROM p WHERE deletion_id IS NULL"
            } else {
                "SELECT v FROM p"
            };
            assert_eq!(db.rows(live).await, ["old"], "{mode} {undelete_mode}");
            assert_sound(&db).await;
        }
    }
}

/// The parent's table is younger than the child's, and a later tombstone holds the parent's key.
#[tokio::test]
async fn parents_come_before_children_whatever_their_tables_are_called() {
    const SCHEMA: &str = "CREATE TABLE c (id int PRIMARY KEY, p int NOT NULL); CREATE TABLE p (id int PRIMARY KEY);
        ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p; INSERT INTO p VALUES (6); INSERT INTO c VALUES (1, 6)";
    let db = database("modes_order", SCHEMA, &[("p", "mark"), ("c", "mark")]).await;
    db.run(&format!(
        "WITH d AS ({}) {}",
        mark("c", "true"),
        mark("p", "id = 6")
    ))
    .await;
    let first = last(&db).await;
    db.run(&mark("p", "id = 6")).await;
    db.run("INSERT INTO p VALUES (6)").await;
    db.run(&mark("p", "id = 6")).await;
    assert_eq!(
        undelete(&db, &format!("deletion_v1({first})")).await,
        [
            "public.c|1|0|0|COMPLETE",
            "public.p|1|0|0|COMPLETE",
            "(all)|2|0|0|COMPLETE"
        ]
    );
    assert_eq!(
        db.rows("SELECT c.id FROM c JOIN p ON p.id = c.p WHERE c.deletion_id IS NULL AND p.deletion_id IS NULL")
            .await,
        ["1"]
    );
    assert_sound(&db).await;
}

/// What a row's own check raises is that row's trouble.
#[tokio::test]
async fn a_row_that_its_check_does_not_take_stays_alone() {
    const SCHEMA: &str = "CREATE FUNCTION odd(n int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
            IF n = 2 AND current_setting('test.strict', true) = '1' THEN RAISE 'no %', n; END IF; RETURN true; END $$;
        CREATE TABLE t (id int PRIMARY KEY, n int CHECK (odd(n))); INSERT INTO t SELECT n, n FROM generate_series(1, 3) AS n";
    let db = database("modes_raises", SCHEMA, &[("t", "bin")]).await;
    db.run(
        "DELETE FROM t; ALTER DATABASE modes_raises SET test.strict = '1'; SET test.strict = '1'",
    )
    .await;
    let deletion = last(&db).await;
    let session = db.session().await;
    let (code, _, detail) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert_eq!(
        (code.as_str(), detail.as_str()),
        ("RV010", "public.t (id)=(2): no 2")
    );
    assert_eq!(
        undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await[0],
        "public.t|2|0|1|INCOMPLETE"
    );
    assert_sound(&db).await;
}

/// Nobody has analyzed the graveyard.
#[tokio::test]
async fn many_rows_come_back_from_a_graveyard_without_statistics() {
    const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
        INSERT INTO t SELECT n, 'v' FROM generate_series(1, 20000) AS n; ALTER TABLE reprieve.graveyard SET (autovacuum_enabled = off)";
    let db = database("modes_many", SCHEMA, &[("t", "bin")]).await;
    db.run("DELETE FROM t").await;
    let deletion = last(&db).await;
    let began = std::time::Instant::now();
    assert_eq!(
        undelete(&db, &format!("deletion_v1({deletion})")).await[0],
        "public.t|20000|0|0|COMPLETE"
    );
    let seconds = began.elapsed().as_secs();
    assert!(seconds < 30, "{seconds} s");
}

/// A reference is put back to the row that was deleted, not to another one that has its key by now; and into the row that lost it.
#[tokio::test]
async fn a_reference_does_not_go_to_another_row_with_the_same_key() {
    for mode in ["bin", "mark"] {
        let schema = "
            CREATE TABLE p(id int PRIMARY KEY, v text);
            CREATE TABLE n(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL, place int);
            INSERT INTO p SELECT i, 'old' FROM generate_series(1, 4) i;
            INSERT INTO n SELECT i, i FROM generate_series(1, 4) i";
        let tables = [("p", mode), ("n", mode)];
        let db = database(&format!("other_row_{mode}"), schema, &tables).await;
        let references = "SELECT id, p_id FROM n WHERE n IS DISTINCT FROM NULL ORDER BY 1";
        if mode == "mark" {
            delete(&db, "p", "true").await;
        } else {
            db.run("DELETE FROM p").await;
        }
        let deletion = last(&db).await;
        db.run("INSERT INTO p VALUES (1, 'new')").await;
        let whole = undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await;
        assert_eq!(
            whole,
            [
                "public.n|0|3|1|INCOMPLETE",
                "public.p|3|0|1|INCOMPLETE",
                "(all)|3|3|2|INCOMPLETE"
            ],
            "{mode}"
        );
        assert_eq!(
            db.rows(references).await,
            ["1|", "2|2", "3|3", "4|4"],
            "{mode}"
        );
        assert_sound(&db).await;
        // It goes back with the row that it was to.
        let whole = undelete(&db, &format!("deletion_v1({deletion}, 'replace')")).await;
        assert_eq!(whole.last().unwrap(), "(all)|1|1|0|COMPLETE", "{mode}");
        assert_eq!(
            db.rows(references).await,
            ["1|1", "2|2", "3|3", "4|4"],
            "{mode}"
        );

        // One that was in the way of the first undelete is put back by a second one.
        db.run("DELETE FROM p WHERE id = 3; INSERT INTO p VALUES (9); UPDATE n SET p_id = 9 WHERE id = 3")
            .await;
        let deletion = last(&db).await;
        let whole = undelete(&db, &format!("deletion_v1({deletion})")).await;
        assert_eq!(whole.last().unwrap(), "(all)|1|0|1|INCOMPLETE", "{mode}");
        db.run("UPDATE n SET p_id = NULL WHERE id = 3").await;
        let whole = undelete(&db, &format!("deletion_v1({deletion})")).await;
        assert_eq!(whole.last().unwrap(), "(all)|0|1|0|COMPLETE", "{mode}");

        // A row that was made anew never had the reference.
        db.run("DELETE FROM p WHERE id = 2").await;
        let deletion = last(&db).await;
        db.run("DELETE FROM n WHERE id = 2; INSERT INTO n VALUES (2)")
            .await;
        let whole = undelete(&db, &format!("deletion_v1({deletion})")).await;
        assert_eq!(whole.last().unwrap(), "(all)|1|0|1|INCOMPLETE", "{mode}");
        assert_eq!(
            db.rows(references).await,
            ["1|1", "2|", "3|3", "4|4"],
            "{mode}"
        );
        assert_sound(&db).await;
    }
}

/// Rows that the table does not take are found among many, without trying each by itself.
#[tokio::test]
async fn the_rows_that_do_not_fit_are_found_among_many() {
    let schema = "
        CREATE TABLE p(id int PRIMARY KEY, v text);
        CREATE TABLE c(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 2000) i;
        INSERT INTO c SELECT i, i FROM generate_series(1, 2000) i";
    let db = database("few_of_many", schema, &[("p", "bin"), ("c", "bin")]).await;
    db.run("DELETE FROM p; ALTER TABLE p ADD CHECK (v NOT IN ('p7', 'p1000', 'p2000'))")
        .await;
    let deletion = last(&db).await;
    let cannot = db
        .rows(&format!(
            "SELECT table_name, \"row\" FROM reprieve.preview_undelete_deletion_v1({deletion}) WHERE verdict = 'CANNOT' ORDER BY 1, length(\"row\"), 2"
        ))
        .await;
    assert_eq!(
        cannot,
        [
            "public.c|(id)=(7)",
            "public.c|(id)=(1000)",
            "public.c|(id)=(2000)",
            "public.p|(id)=(7)",
            "public.p|(id)=(1000)",
            "public.p|(id)=(2000)"
        ]
    );
    let whole = undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await;
    assert_eq!(whole.last().unwrap(), "(all)|3994|0|6|INCOMPLETE");
    assert_sound(&db).await;
}
