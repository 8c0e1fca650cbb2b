//! What the ledger keeps of a statement, the seals over it, and its export.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use support::Database;
use undelete_support::{assert_sound, database, mark};

const FAMILY: &str = "
    CREATE TABLE p (id int PRIMARY KEY, v text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
    CREATE INDEX ON c (p_id);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 20) i;
    INSERT INTO c SELECT i, 1 + i % 20 FROM generate_series(1, 80) i;";

async fn findings(db: &Database) -> String {
    db.value("SELECT finding, detail FROM reprieve.check_v1()")
        .await
}

#[tokio::test]
async fn literals_are_masked_where_they_shall_be() {
    let db = database("masked", FAMILY, &[("p", "bin"), ("c", "bin")]).await;
    for (statement, masked) in [
        (
            "DELETE FROM t WHERE a = 'x''y' AND b = 15",
            "DELETE FROM t WHERE a = ? AND b = ?",
        ),
        (
            r"DELETE FROM t WHERE a = E'\'; --' AND b",
            "DELETE FROM t WHERE a = ? AND b",
        ),
        (
            "DELETE FROM t WHERE a = $$it's$$ OR a = $x$ $$ $x$",
            "DELETE FROM t WHERE a = ? OR a = ?",
        ),
        (
            "DELETE FROM t1 WHERE c2 = $1 AND d = 1.5e10",
            "DELETE FROM t1 WHERE c2 = $1 AND d = ?",
        ),
        (
            r#"DELETE FROM "t 1" WHERE "a'b" = 0x1F -- secret"#,
            r#"DELETE FROM "t 1" WHERE "a'b" = ?"#,
        ),
        ("DELETE /* 'a' /* b */ c */ FROM t", "DELETE   FROM t"),
        (
            "DELETE FROM t WHERE a = 'cut o",
            "DELETE FROM t WHERE a = ?",
        ),
        (
            "DELETE FROM t WHERE a = N'x' AND b = U&'y' AND c = B'1'",
            "DELETE FROM t WHERE a = N? AND b = U&? AND c = B?",
        ),
    ] {
        let got = db
            .value(&format!("SELECT reprieve.masked($mask${statement}$mask$)"))
            .await;
        assert_eq!(got, masked);
    }
    db.run("INSERT INTO reprieve.settings VALUES ('ledger.literals', 'mask')")
        .await;
    db.run("DELETE FROM p WHERE id = 1 AND v = 'p1' -- who\n")
        .await;
    let last = "SELECT statement, tags FROM reprieve.deletions ORDER BY id DESC LIMIT 1";
    assert_eq!(
        db.value(last).await,
        "DELETE FROM p WHERE id = ? AND v = ?|"
    );
    db.run("UPDATE reprieve.settings SET value = 'keep' WHERE key = 'ledger.literals'")
        .await;
    db.run("DELETE FROM p WHERE id = 2").await;
    assert_eq!(db.value(last).await, "DELETE FROM p WHERE id = 2|");
}

#[tokio::test]
async fn tags_of_a_sqlcommenter_have_a_column() {
    let db = database("tagged", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    let last = "SELECT tags ->> 'action', tags ->> 'traceparent', tags ->> 'quoted' FROM reprieve.deletions ORDER BY id DESC LIMIT 1";
    let comment = r"/*action='%2Forders*d',quoted='it\'s',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/";
    for statement in [mark("p", "id = 1"), "DELETE FROM p WHERE id = 2".to_owned()] {
        db.run(&format!("{statement} {comment}")).await;
        assert_eq!(
            db.value(last).await,
            "/orders*d|00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01|it's"
        );
    }
    // A text that looks like one is none.
    for statement in [
        "DELETE FROM c WHERE id = 3 AND '/*a=''b''*/' <> ''",
        "DELETE FROM c WHERE id = 4 /* a = b */",
    ] {
        db.run(statement).await;
        assert_eq!(
            db.value("SELECT tags IS NULL FROM reprieve.deletions ORDER BY id DESC LIMIT 1")
                .await,
            "t"
        );
    }
    db.run("SELECT reprieve.erase_subject_v1('p', 'false', '{5bd66ef5}')")
        .await;
    assert_eq!(
        db.value("SELECT count(*) FROM reprieve.deletions WHERE tags IS NOT NULL")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_seal_names_what_was_changed_behind_it() {
    let db = database("sealed", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    let seal = "SELECT seal, deletions, length(digest) FROM reprieve.seal_v1()";
    db.run(&mark("p", "id = 1")).await;
    // What is on its way is sealed later.
    let open = db.session().await;
    open.batch_execute(&format!("BEGIN; {}", mark("p", "id = 2")))
        .await
        .unwrap();
    db.run(&mark("p", "id = 3")).await;
    assert_eq!(db.value(seal).await, "1|2|64");
    open.batch_execute("COMMIT").await.unwrap();
    assert_eq!(findings(&db).await, "");
    assert_eq!(db.value(seal).await, "2|1|64");
    assert_eq!(db.value(seal).await, "2|1|64", "nothing new");
    db.run("SELECT * FROM reprieve.undelete_deletion_v1((SELECT min(id) FROM reprieve.deletions))")
        .await;
    db.run(&mark("p", "id = 4")).await;
    assert_sound(&db).await;
    let first = db.value("SELECT min(id) FROM reprieve.deletions").await;
    for (change, finding) in [
        (
            "UPDATE reprieve.deletion_tables SET rows = rows + 1 WHERE deletion_id = $",
            "sealed deletions that were changed|the first is deletion $ of seal 1",
        ),
        (
            "UPDATE reprieve.deletions SET session_role = 'x' WHERE id = $",
            "sealed deletions that were changed|the first is deletion $ of seal 1",
        ),
        (
            "UPDATE reprieve.deletions SET statement = 'x' WHERE id = $",
            "sealed deletions whose texts were changed|the first is deletion $ of seal 1",
        ),
        (
            "DELETE FROM reprieve.deletions WHERE id = $",
            "sealed deletions that are gone|the first is deletion $ of seal 1",
        ),
        (
            "INSERT INTO reprieve.deletions (id, xid, deleted_at, role_name, session_role) VALUES (7000001, '7', now(), 'x', 'x')",
            "deletions that were added behind a seal|the first is deletion 7000001",
        ),
        (
            "UPDATE reprieve.sealed SET facts = sha256('x') WHERE seal = 2",
            "a broken chain of seals|the first broken link is seal 2 of",
        ),
        (
            "DELETE FROM reprieve.seals WHERE no = 1",
            "a broken chain of seals|the first broken link is seal 2 of",
        ),
    ] {
        let session = db.session().await;
        session
            .batch_execute(&format!("BEGIN; {}", change.replace('$', &first)))
            .await
            .unwrap();
        let got = undelete_support::rows(
            &session,
            "SELECT finding, detail FROM reprieve.check_seals()",
        )
        .await
        .join("\n");
        assert!(
            got.contains(&finding.replace('$', &first)),
            "{change}: {got}"
        );
        session.batch_execute("ROLLBACK").await.unwrap();
    }
    // Who erases by the rules breaks nothing.
    db.run("SELECT reprieve.erase_subject_v1('p', 'id = 3', '{DELETE FROM p}')")
        .await;
    assert_eq!(
        db.value("SELECT count(*) FROM reprieve.deletions WHERE statement IS NOT NULL")
            .await,
        "0"
    );
    assert_sound(&db).await;
    // Sidecars do it by themselves, if somebody wants it.
    db.run("SELECT reprieve.purge_in_background_v1()").await;
    assert_eq!(db.value("SELECT count(*) FROM reprieve.seals").await, "2");
    db.run("SELECT reprieve.seal_background_v1(true); SELECT reprieve.purge_in_background_v1()")
        .await;
    assert_eq!(db.value("SELECT count(*) FROM reprieve.seals").await, "3");
    assert_sound(&db).await;
}

#[tokio::test]
async fn an_export_has_a_line_for_each_deletion() {
    let db = database("exported", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    db.run(&mark("p", "id = 1")).await;
    db.run("SELECT reprieve.seal_v1()").await;
    db.run("SET reprieve.actor = 'ann'").await;
    db.run("DELETE FROM c WHERE id = 8 /*route='%2Fx'*/").await;
    let lines = db.rows("SELECT line FROM reprieve.export_v1()").await;
    assert_eq!(lines.len(), 2);
    assert_eq!(
        db.value(
            "SELECT l ->> 'statement', l ->> 'actor', l -> 'tags' ->> 'route', l -> 'seal', l -> 'tables' -> 0 ->> 'table', l -> 'tables' -> 0 -> 'rows'
               FROM (SELECT line::jsonb AS l FROM reprieve.export_v1()) x"
        )
        .await,
        "DELETE FROM p WHERE id = 1|||1|c|4\nDELETE FROM c WHERE id = 8 /*route='%2Fx'*/|ann|/x|null|c|1"
    );
    assert!(lines.iter().all(|line| !line.contains('\n')));
    assert_eq!(
        db.value("SELECT count(*) FROM reprieve.export_v1(since => now() + interval '1 hour')")
            .await,
        "0"
    );
}
