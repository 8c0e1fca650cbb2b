//! What the verbs say of tables that are not enabled, and of conditions and numbers that are none.

mod support;
mod undelete_support;

use undelete_support::{assert_sound, database, delete, failure, last, undelete};

const SCHEMA: &str = "
    CREATE TABLE p (id int PRIMARY KEY);
    CREATE TABLE other (id int PRIMARY KEY);
    CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
    CREATE VIEW seen AS SELECT * FROM other;
    INSERT INTO p SELECT generate_series(1, 5);
    INSERT INTO other VALUES (1)";

#[tokio::test]
async fn a_table_that_is_not_enabled_and_has_nothing_in_the_bin() {
    let db = database("not_enabled", SCHEMA, &[("p", "mark"), ("parts", "bin")]).await;
    let session = db.session().await;
    for table in ["other", "seen"] {
        for call in [
            "undelete_where_v1('@', 'true')",
            "preview_undelete_where_v1('@', 'true')",
            "preview_undelete_where_v1('@', 'true', rehearse => true)",
            "retain_v1('@', '1 day')",
            "retain_v1('@', NULL)",
            "hold_v1(relation => '@')",
        ] {
            let call = call.replace('@', table);
            let (code, message, _) =
                failure(&session, &format!("SELECT * FROM reprieve.{call}")).await;
            assert_eq!(
                (code.as_str(), message),
                (
                    "55000",
                    format!(
                        "soft delete is not enabled on public.{table}, and nothing of it is in the bin"
                    )
                ),
                "{call}"
            );
        }
    }
    let erase = "SELECT * FROM reprieve.erase_subject_v1('other', 'true')";
    assert_eq!(failure(&session, erase).await.0, "55000");
    let written = db
        .value("SELECT (SELECT count(*) FROM reprieve.retention) + (SELECT count(*) FROM reprieve.holds)")
        .await;
    assert_eq!(written, "0");
    // A partition has what its root is enabled for.
    db.run("SELECT reprieve.retain_v1('parts_1', '1 day'), reprieve.hold_v1(relation => 'parts_1'), reprieve.undelete_where_v1('parts_1', 'true')")
        .await;
}

#[tokio::test]
async fn a_table_that_was_enabled_and_has_something_in_the_bin() {
    let db = database("was_enabled", SCHEMA, &[("p", "mark")]).await;
    delete(&db, "p", "id IN (1, 2)").await;
    db.run("SELECT reprieve.disable_v1('p')").await;
    db.run("SELECT reprieve.retain_v1('p', '1 day'), reprieve.hold_v1(relation => 'p'), reprieve.release_v1(relation => 'p')")
        .await;
    assert_eq!(
        undelete(&db, "where_v1('p', 'id = 1')").await,
        ["public.p|1|0|0|COMPLETE", "(all)|1|0|0|COMPLETE"]
    );
    let deletion = last(&db).await;
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(db.rows("SELECT id FROM p").await.len(), 5);
    let session = db.session().await;
    let (code, ..) = failure(&session, "SELECT reprieve.undelete_where_v1('p', 'true')").await;
    assert_eq!(code, "55000", "nothing is left in the bin");
    // What was set is taken away all the same.
    db.run("SELECT reprieve.retain_v1('p', NULL)").await;
    assert_eq!(
        db.value("SELECT count(*) FROM reprieve.retention").await,
        "0"
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn conditions_with_unbalanced_brackets_and_deletions_of_no_rows() {
    let db = database("no_condition", SCHEMA, &[("p", "mark")]).await;
    let session = db.session().await;
    let trick = "id = 1) OR (true";
    for (call, expected) in [
        (format!("preview_delete_v1('p', '{trick}')"), "42601"),
        (format!("preview_delete_tree_v1('p', '{trick}')"), "42601"),
        (format!("request_deletion_v1('p', '{trick}')"), "42601"),
        (format!("request_deletion_v1('p', '{trick}', 5)"), "42601"),
        (format!("undelete_where_v1('p', '{trick}')"), "42601"),
        (
            format!("preview_undelete_where_v1('p', '{trick}')"),
            "42601",
        ),
        (format!("erase_subject_v1('p', '{trick}')"), "42601"),
        ("request_deletion_v1('p', 'nothing', 5)".to_owned(), "42703"),
        ("request_deletion_v1('p', 'id = 1', 0)".to_owned(), "22023"),
        ("request_deletion_v1('p', 'id = 99')".to_owned(), "22023"),
    ] {
        let (code, ..) = failure(&session, &format!("SELECT * FROM reprieve.{call}")).await;
        assert_eq!(code, expected, "{call}");
    }
    let asked = db
        .value("SELECT condition, rows FROM reprieve.request_deletion_v1('p', 'id < 3')")
        .await;
    assert_eq!(asked, "id < 3|2");
    // A volatile condition is not run by asking whether it is one.
    db.run("CREATE SEQUENCE s; SELECT reprieve.preview_delete_v1('p', 'nextval($$s$$) > 0')")
        .await;
    assert_eq!(db.value("SELECT is_called FROM s").await, "f");
}
