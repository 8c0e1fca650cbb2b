//! Rights and row security around a delete, as PostgreSQL judges them (S21).

mod support;
mod undelete_support;

use undelete_support::{assert_sound, database, failure, last, mark, rows};

/// What the rewriter puts in front of a condition names our column: whoever may read one column may do so, and no more than before.
#[tokio::test]
async fn s21b_rights_on_single_columns() {
    let schema = "
        CREATE TABLE t (id int PRIMARY KEY, name text);
        INSERT INTO t VALUES (1, 'a'), (2, 'b');
        CREATE ROLE s21_reader LOGIN; GRANT SELECT (id) ON t TO s21_reader;
        CREATE ROLE s21_writer LOGIN; GRANT SELECT, UPDATE ON t TO s21_writer;
        CREATE ROLE s21_deleter LOGIN; GRANT SELECT, UPDATE, DELETE ON t TO s21_deleter";
    let db = database("s21b", schema, &[("t", "mark")]).await;
    let reader = db.session_as("s21_reader").await;
    assert_eq!(
        rows(&reader, "SELECT id FROM t WHERE t.deleted_at IS NULL").await,
        ["1", "2"]
    );
    let (code, message, _) =
        failure(&reader, "SELECT name FROM t WHERE t.deleted_at IS NULL").await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("42501", "permission denied for table t")
    );
    for role in ["s21_reader", "s21_writer"] {
        let session = db.session_as(role).await;
        let (code, message, _) = failure(&session, &mark("t", "id = 1")).await;
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("42501", "permission denied for table t"),
            "{role}"
        );
    }
    let deleter = db.session_as("s21_deleter").await;
    rows(&deleter, &mark("t", "id = 1")).await;
    assert_eq!(
        rows(&reader, "SELECT id FROM t WHERE t.deleted_at IS NULL").await,
        ["2"]
    );
    assert_sound(&db).await;
}

/// A policy for DELETE and none for UPDATE: own rows go, those of others stay, and nothing speaks of an UPDATE.
#[tokio::test]
async fn s21d_a_policy_for_delete_only() {
    let schema = "
        CREATE TABLE t (id int PRIMARY KEY, owner text);
        CREATE ROLE s21_ann LOGIN; GRANT SELECT, DELETE, UPDATE ON t TO s21_ann;
        INSERT INTO t VALUES (1, 's21_ann'), (2, 's21_bob'), (3, 's21_ann');
        ALTER TABLE t ENABLE ROW LEVEL SECURITY;
        CREATE POLICY reads ON t FOR SELECT USING (true);
        CREATE POLICY deletes ON t FOR DELETE USING (owner = current_user)";
    let db = database("s21d", schema, &[]).await;
    assert_eq!(
        db.rows("SELECT mode, reason FROM reprieve.enable_v1('t')")
            .await,
        ["bin|it has row security"]
    );
    let ann = db.session_as("s21_ann").await;
    assert_eq!(
        rows(&ann, "DELETE FROM t WHERE id < 3 RETURNING id").await,
        ["1"]
    );
    assert_eq!(
        rows(&ann, "DELETE FROM t WHERE id = 2 RETURNING id").await,
        Vec::<String>::new()
    );
    let deletion = last(&db).await;
    assert_eq!(
        db.rows("SELECT id, role, rows FROM reprieve.show_deletions")
            .await,
        [format!("{deletion}|s21_ann|1")]
    );
    db.run(&format!("SELECT reprieve.undelete_deletion_v1({deletion})"))
        .await;
    assert_eq!(db.rows("SELECT id FROM t ORDER BY id").await.len(), 3);
    assert_sound(&db).await;
}
