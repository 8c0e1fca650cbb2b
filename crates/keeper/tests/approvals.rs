//! Budgets over time, and deletions that somebody asked for and somebody else approved.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use std::time::{Duration, Instant};

use support::Database;
use tokio_postgres::Client;
use undelete_support::{assert_sound, blocked, database, failure, mark, pid, rows};

const FAMILY: &str = "
    CREATE TABLE p (id int PRIMARY KEY);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
    CREATE INDEX ON c (p_id);
    INSERT INTO p SELECT generate_series(1, 200);
    INSERT INTO c SELECT i, 1 + i % 200 FROM generate_series(1, 800) i;";

/// Two DBAs, and an agent that may delete three rows with one statement: each row of p has four children.
struct Office {
    db: Database,
    alice: Client,
    bob: Client,
    agent: Client,
    role: String,
}

async fn office(name: &str) -> Office {
    let db = database(name, FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    let role = |who: &str| format!("{name}_{who}");
    for (who, dba) in [
        ("alice", true),
        ("bob", true),
        ("agent", false),
        ("other", false),
    ] {
        let role = role(who);
        db.run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT ALL ON p, c TO {role}"
        ))
        .await;
        if dba {
            db.run(&format!("GRANT reprieve_admin TO {role}")).await;
        }
    }
    db.run("SELECT reprieve.guard_v1('p', max_rows => 3)").await;
    Office {
        alice: db.session_as(&role("alice")).await,
        bob: db.session_as(&role("bob")).await,
        agent: db.session_as(&role("agent")).await,
        role: role("agent"),
        db,
    }
}

impl Office {
    /// What alice asks for the agent.
    async fn request(&self, arguments: &str) -> String {
        let role = &self.role;
        let sql = format!(
            "SELECT id FROM reprieve.request_deletion_v1('p', for_role => '{role}'{arguments})"
        );
        rows(&self.alice, &sql).await.remove(0)
    }

    async fn approved(&self, arguments: &str) -> String {
        let request = self.request(arguments).await;
        self.bob.batch_execute(&approve(&request)).await.unwrap();
        request
    }

    async fn state(&self, request: &str) -> String {
        self.db
            .value(&format!(
                "SELECT state FROM reprieve.show_requests WHERE id = {request}"
            ))
            .await
    }
}

fn approve(request: &str) -> String {
    format!("SELECT reprieve.decide_request_v1({request}, true)")
}

#[track_caller]
fn is_held(result: Result<(), tokio_postgres::Error>) {
    let error = result.expect_err("RV001");
    assert_eq!(
        error.code().map(|code| code.code()),
        Some("RV001"),
        "{error:?}"
    );
}

async fn try_run(client: &Client, sql: &str) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(sql).await
}

#[tokio::test]
async fn an_approval_takes_two_and_is_used_once() {
    let office = office("eyes").await;
    let two = mark("p", "id <= 2");
    let request = office
        .request(", condition => 'id <= 2', reason => 'old'")
        .await;
    assert_eq!(
        office
            .db
            .value("SELECT state, rows, condition, reason FROM reprieve.show_requests")
            .await,
        "open|10|id <= 2|old"
    );
    is_held(try_run(&office.agent, &two).await);
    // Not by who asked, whatever role that one plays, nor by who is to use it.
    for sql in [
        approve(&request),
        format!("SET ROLE reprieve_admin; {}", approve(&request)),
    ] {
        let (code, message, _) = failure(&office.alice, &sql).await;
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("42501", "who asks for a deletion may not approve it")
        );
    }
    office.alice.batch_execute("RESET ROLE").await.unwrap();
    assert_eq!(failure(&office.agent, &approve(&request)).await.0, "42501");
    office
        .db
        .run(&format!("GRANT reprieve_admin TO {}", office.role))
        .await;
    assert_eq!(
        failure(&office.agent, &approve(&request)).await.1,
        "who may use an approval may not give it"
    );
    assert_eq!(failure(&office.bob, &approve("7")).await.0, "P0002");
    office.bob.batch_execute(&approve(&request)).await.unwrap();
    assert_eq!(failure(&office.bob, &approve(&request)).await.0, "55000");
    // Not for another role, not for more rows, not for a table that it does not name.
    is_held(try_run(&office.bob, &two).await);
    is_held(try_run(&office.agent, &mark("p", "id <= 3")).await);
    is_held(
        try_run(
            &office.agent,
            "SET reprieve.max_rows = 1; DELETE FROM c WHERE id <= 5",
        )
        .await,
    );
    office
        .agent
        .batch_execute("RESET reprieve.max_rows")
        .await
        .unwrap();
    // A rollback gives it back, to a savepoint too.
    office
        .agent
        .batch_execute(&format!(
            "BEGIN; {two}; ROLLBACK; BEGIN; SAVEPOINT s; {two}; ROLLBACK TO s; COMMIT"
        ))
        .await
        .unwrap();
    assert_eq!(office.state(&request).await, "approved");
    office.agent.batch_execute(&two).await.unwrap();
    assert_eq!(office.state(&request).await, "used");
    is_held(try_run(&office.agent, &mark("p", "id IN (3, 4)")).await);
    assert_eq!(
        office.db.value("SELECT q.used_for = d.id, q.used_by = d.session_role, q.requested_by <> q.decided_by FROM reprieve.requests q, reprieve.deletions d").await,
        "t|t|t"
    );
    assert_eq!(
        office.db.value("SELECT string_agg(verb, ', ' ORDER BY at) FROM reprieve.acts WHERE verb IN ('request deletion', 'approve', 'use approval')").await,
        "request deletion, approve, use approval"
    );
    assert_sound(&office.db).await;
}

#[tokio::test]
async fn an_approval_ends() {
    let office = office("ends").await;
    let two = mark("p", "id <= 2");
    let short = office.approved(", valid_for => '100 milliseconds'").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    is_held(try_run(&office.agent, &two).await);
    assert_eq!(office.state(&short).await, "expired");
    // Denied, at once or afterwards.
    let denied = office.request("").await;
    let deny = |request: &str| format!("SELECT reprieve.decide_request_v1({request}, false)");
    office.bob.batch_execute(&deny(&denied)).await.unwrap();
    assert_eq!(failure(&office.bob, &approve(&denied)).await.0, "55000");
    let withdrawn = office.approved("").await;
    office.alice.batch_execute(&deny(&withdrawn)).await.unwrap();
    is_held(try_run(&office.agent, &two).await);
    // An approval of a role is one for those in it, and not for who gave it.
    office
        .db
        .run("CREATE ROLE ends_group; GRANT ends_group TO ends_agent, ends_bob")
        .await;
    let request = rows(&office.alice, "SELECT id FROM reprieve.request_deletion_v1('p', max_rows => 10, for_role => 'ends_group')").await.remove(0);
    assert_eq!(failure(&office.bob, &approve(&request)).await.0, "42501");
    office.db.run("REVOKE ends_group FROM ends_bob").await;
    office.bob.batch_execute(&approve(&request)).await.unwrap();
    office.db.run("GRANT ends_group TO ends_bob").await;
    is_held(try_run(&office.bob, &two).await);
    office.agent.batch_execute(&two).await.unwrap();
    assert_sound(&office.db).await;
}

#[tokio::test]
async fn of_two_at_once_one_wins() {
    for winner_commits in [true, false] {
        let office = office(if winner_commits {
            "race_won"
        } else {
            "race_lost"
        })
        .await;
        office.approved(", max_rows => 10").await;
        let second = office.db.session_as(&office.role).await;
        let id = pid(&second).await;
        office
            .agent
            .batch_execute(&format!("BEGIN; {}", mark("p", "id <= 2")))
            .await
            .unwrap();
        let waits = tokio::spawn(async move { try_run(&second, &mark("p", "id IN (3, 4)")).await });
        blocked(&office.db, &id).await;
        let end = if winner_commits { "COMMIT" } else { "ROLLBACK" };
        office.agent.batch_execute(end).await.unwrap();
        let outcome = waits.await.unwrap();
        if winner_commits {
            is_held(outcome);
        } else {
            outcome.unwrap();
        }
        assert_eq!(
            office
                .db
                .value("SELECT count(*) FROM reprieve.deletions")
                .await,
            "1"
        );
        assert_sound(&office.db).await;
    }
}

#[tokio::test]
async fn truncate_and_drop_go_through_with_an_approval() {
    let office = office("wholly").await;
    office
        .db
        .run("ALTER TABLE p OWNER TO wholly_agent; ALTER TABLE c OWNER TO wholly_agent; GRANT CREATE ON SCHEMA public TO wholly_agent;
              SELECT reprieve.guard_v1('p', on_truncate => 'refuse', on_drop => 'refuse')")
        .await;
    is_held(try_run(&office.agent, "TRUNCATE p, c").await);
    office.approved(", max_rows => 1000").await;
    office.agent.batch_execute("TRUNCATE p, c").await.unwrap();
    is_held(try_run(&office.agent, "DROP TABLE p CASCADE").await);
    office.approved(", max_rows => 1").await;
    office
        .agent
        .batch_execute("DROP TABLE p CASCADE")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_session_waits_for_its_approval() {
    let office = office("waits").await;
    office
        .db
        .run("SELECT reprieve.guard_v1('p', wait => '20 s')")
        .await;
    let agent = office.db.session_as(&office.role).await;
    let waits = tokio::spawn(async move { try_run(&agent, &mark("p", "id <= 2")).await });
    let waiting = "SELECT role, rows FROM reprieve.show_requests WHERE state = 'session waits'";
    let patience = Instant::now();
    while office.db.value(waiting).await != "waits_agent|10" {
        assert!(patience.elapsed() < Duration::from_secs(15), "nobody waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    office.approved(", max_rows => 10").await;
    waits.await.unwrap().unwrap();
    assert_eq!(office.db.value(waiting).await, "");
    // It can be cancelled, it ends by itself, and it does not wait where it would not see the approval.
    let begun = Instant::now();
    let timeout = format!("SET statement_timeout = 300; {}", mark("p", "id IN (3, 4)"));
    assert_eq!(failure(&office.agent, &timeout).await.0, "57014");
    office
        .agent
        .batch_execute("RESET statement_timeout")
        .await
        .unwrap();
    let token = office.agent.cancel_token();
    let marking = mark("p", "id IN (3, 4)");
    let (failed, ()) = tokio::join!(failure(&office.agent, &marking), async {
        while office.db.value(waiting).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    });
    assert_eq!(failed.0, "57014");
    // A cancel that comes late is for this one.
    let _ = office.agent.simple_query("SELECT pg_sleep(0.3)").await;
    is_held(
        try_run(
            &office.agent,
            &format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ; {}",
                mark("p", "id IN (3, 4)")
            ),
        )
        .await,
    );
    office.agent.batch_execute("ROLLBACK").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15));
    office
        .db
        .run("SELECT reprieve.guard_v1('p', wait => '300 ms')")
        .await;
    is_held(try_run(&office.agent, &mark("p", "id IN (3, 4)")).await);
    assert_sound(&office.db).await;
}

#[tokio::test]
async fn a_budget_is_spent_and_comes_back() {
    let office = office("spent").await;
    office.db.run("SELECT reprieve.unguard_v1('p')").await;
    office
        .agent
        .batch_execute(&mark("p", "id = 1"))
        .await
        .unwrap();
    // What was deleted within the span counts from the beginning.
    assert_eq!(
        office.db.value("SELECT role, spent, \"left\" FROM reprieve.budget_v1('spent_agent', 12, '6 seconds', 2)").await,
        "spent_agent|5|7"
    );
    office
        .agent
        .batch_execute(&mark("p", "id = 2"))
        .await
        .unwrap();
    let error = office
        .agent
        .batch_execute(&mark("p", "id = 3"))
        .await
        .unwrap_err();
    let told = error.as_db_error().unwrap().message().to_owned();
    assert!(
        told.contains("5 rows, and 10 of the budget of spent_agent (12 rows in 00:00:06) are spent; there is room for it at 2"),
        "{told}"
    );
    let error = office
        .agent
        .batch_execute(&mark("p", "id > 150"))
        .await
        .unwrap_err();
    let told = error.as_db_error().unwrap().message().to_owned();
    assert!(told.contains("there is never room for it"), "{told}");
    // Others have their own.
    let other = office.db.session_as("spent_other").await;
    other.batch_execute(&mark("p", "id = 4")).await.unwrap();
    // An approval is not at its expense.
    office.approved(", max_rows => 5").await;
    office
        .agent
        .batch_execute(&mark("p", "id = 5"))
        .await
        .unwrap();
    assert_eq!(
        office
            .db
            .value("SELECT spent FROM reprieve.show_budgets")
            .await,
        "10"
    );
    tokio::time::sleep(Duration::from_millis(6300)).await;
    office
        .agent
        .batch_execute(&mark("p", "id IN (6, 7)"))
        .await
        .unwrap();
    // Tables.
    office
        .db
        .run("SELECT reprieve.budget_v1('spent_agent', 1000, '1 hour', 1)")
        .await;
    let error = office
        .agent
        .batch_execute(&mark("p", "id = 8"))
        .await
        .unwrap_err();
    let told = error.as_db_error().unwrap().message().to_owned();
    assert!(
        told.contains(
            "rows of 2 tables with one statement, and the budget of spent_agent allows 1"
        ),
        "{told}"
    );
    office
        .db
        .run("SELECT reprieve.budget_v1('spent_agent', NULL)")
        .await;
    office
        .agent
        .batch_execute(&mark("p", "id = 8"))
        .await
        .unwrap();
    assert_sound(&office.db).await;
}

#[tokio::test]
async fn a_budget_is_not_overdrawn_by_many_at_once() {
    let office = office("overdrawn").await;
    office
        .db
        .run("SELECT reprieve.unguard_v1('p'); SELECT reprieve.budget_v1('overdrawn_agent', 50, '1 hour')")
        .await;
    let mut tasks = Vec::new();
    for worker in 0..4 {
        let session = office.db.session_as(&office.role).await;
        tasks.push(tokio::spawn(async move {
            let mut done = 0;
            for step in 0..5 {
                let id = 1 + worker * 5 + step;
                let isolation = if worker % 2 == 0 {
                    "READ COMMITTED"
                } else {
                    "REPEATABLE READ"
                };
                let sql = format!(
                    "BEGIN ISOLATION LEVEL {isolation}; {}; COMMIT",
                    mark("p", &format!("id = {id}"))
                );
                match session.batch_execute(&sql).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        let code = error.code().unwrap().code().to_owned();
                        assert!(code == "RV001" || code == "40001", "{code}");
                        session.batch_execute("ROLLBACK").await.unwrap();
                    }
                }
            }
            done
        }));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    let spent: i64 = office
        .db
        .value("SELECT coalesce(sum(rows), 0) FROM reprieve.deletion_tables")
        .await
        .parse()
        .unwrap();
    assert!(
        spent <= 50 && spent == 5 * done,
        "{spent} rows, {done} deletions"
    );
    assert_eq!(
        office
            .db
            .value("SELECT spent FROM reprieve.show_budgets")
            .await,
        spent.to_string()
    );
    // What the others left is still to be had, and no more.
    let mut more = 0;
    for id in 101..=120 {
        more += i64::from(
            office
                .agent
                .batch_execute(&mark("p", &format!("id = {id}")))
                .await
                .is_ok(),
        );
    }
    assert_eq!(spent + 5 * more, 50);
    assert_sound(&office.db).await;
}
