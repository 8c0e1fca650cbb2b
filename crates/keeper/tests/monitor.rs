//! What sidecars watch: rows over time, losses, orphans, findings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use keeper::{FindingSeverity, KeeperError, MonitorLimits, Sample};
use support::Database;
use undelete_support::{database, delete, failure, last, undelete};

const FAMILY: &str = "
    CREATE TABLE p (id int PRIMARY KEY, name text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, name text);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 1000) i;
    INSERT INTO c SELECT i, 1 + i % 1000, 'c' || i FROM generate_series(1, 5000) i;
    CREATE INDEX ON c (p_id); ANALYZE p; ANALYZE c;";
const MARKED: &[(&str, &str)] = &[("p", "mark"), ("c", "mark")];

fn limits() -> MonitorLimits {
    MonitorLimits {
        interval_seconds: 15,
        loss_percent: 1.0,
        loss_window_seconds: 300,
        loss_rows: 10,
        tombstone_percent: 50.0,
        rehearsal_days: 30,
    }
}

/// As a sidecar does it.
async fn look(db: &Database) {
    let keeper = db.keeper().await;
    for sample in keeper.monitor_due(100).await.unwrap() {
        keeper.monitor_sample(&sample).await.unwrap();
    }
    keeper.monitor_tick(&limits()).await.unwrap();
}

/// As if all that was sampled was sampled earlier.
async fn later(db: &Database, minutes: u32) {
    let back = format!("at - interval '{minutes} minutes'");
    db.run(&format!(
        "UPDATE reprieve.monitor_ticks SET at = {back}; UPDATE reprieve.monitor_rows SET at = {back};
         UPDATE reprieve.monitor_bin SET at = {back}; UPDATE reprieve.monitor_keys SET at = {back}, found_at = found_at - interval '{minutes} minutes';
         UPDATE reprieve.monitor_findings SET since = since - interval '{minutes} minutes', seen = seen - interval '{minutes} minutes', began = began - interval '{minutes} minutes';
         UPDATE reprieve.deletions SET statement_at = statement_at - interval '{minutes} minutes', deleted_at = deleted_at - interval '{minutes} minutes'"
    ))
    .await;
}

async fn losses(db: &Database) -> Vec<String> {
    db.rows("SELECT label, role_name, lost, deletions, per_minute, base FROM reprieve.monitor_losses ORDER BY 1, 2")
        .await
}

async fn health(db: &Database) -> Vec<String> {
    db.rows("SELECT severity, finding, place FROM reprieve.show_health")
        .await
}

#[tokio::test]
async fn a_loss_is_counted_from_the_ledger_and_ends_with_the_undelete() {
    let db = database("monitor_losses", FAMILY, MARKED).await;
    assert_eq!(health(&db).await, ["warning|nobody watches|this database"]);
    look(&db).await;
    assert_eq!(losses(&db).await, [""; 0]);
    assert_eq!(health(&db).await, [""; 0]);

    // Nine rows are no finding, be they what percentage they may.
    delete(&db, "p", "id <= 9").await;
    look(&db).await;
    assert_eq!(
        losses(&db).await,
        [
            "public.c|postgres|45|1|45|5000",
            "public.p|postgres|9|1|9|1000"
        ]
    );
    assert_eq!(health(&db).await, [""; 0]);

    let deletion = delete(&db, "p", "id <= 10").await;
    look(&db).await;
    assert_eq!(
        health(&db).await,
        ["critical|rows lost|public.c", "critical|rows lost|public.p"]
    );
    let told = db
        .rows("SELECT how_bad, what_to_do FROM reprieve.show_health WHERE place = 'public.p'")
        .await;
    assert!(
        told[0].starts_with("10 of about 1000 rows (1.0 %) deleted within 00:05:00 and not brought back, 10 of them by role postgres; 2 deletion(s), the first at ")
            && told[0].contains("|SHOW DELETIONS FROM public.p SINCE '"),
        "{told:?}"
    );

    undelete(&db, &format!("deletion_v1({deletion})")).await;
    look(&db).await;
    assert_eq!(
        losses(&db).await,
        [
            "public.c|postgres|45|2|50|5000",
            "public.p|postgres|9|2|10|1000"
        ]
    );
    assert_eq!(health(&db).await, [""; 0]);
}

#[tokio::test]
async fn the_window_moves_on_and_a_loss_is_shown_for_an_hour_more() {
    let db = database("monitor_window", FAMILY, MARKED).await;
    look(&db).await;
    delete(&db, "c", "id <= 100").await;
    look(&db).await;
    later(&db, 2).await;
    look(&db).await;
    assert_eq!(losses(&db).await, ["public.c|postgres|100|1|0|5000"]);
    later(&db, 4).await;
    look(&db).await;
    assert_eq!(losses(&db).await, [""; 0]);
    assert_eq!(health(&db).await, ["critical|rows lost|public.c"]);
    later(&db, 56).await;
    look(&db).await;
    assert_eq!(health(&db).await, [""; 0]);
}

#[tokio::test]
async fn a_long_transaction_counts_when_it_commits() {
    let db = database("monitor_long", FAMILY, MARKED).await;
    look(&db).await;
    let slow = db.session().await;
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&undelete_support::mark("c", "id <= 500"))
        .await
        .unwrap();
    look(&db).await;
    assert_eq!(losses(&db).await, [""; 0]);
    later(&db, 4).await;
    look(&db).await;
    later(&db, 4).await;
    look(&db).await;
    slow.batch_execute(
        "UPDATE reprieve.deletions SET statement_at = statement_at - interval '8 minutes'; COMMIT",
    )
    .await
    .unwrap();
    look(&db).await;
    assert_eq!(losses(&db).await, ["public.c|postgres|500|1|0|5000"]);
    assert_eq!(health(&db).await, ["critical|rows lost|public.c"]);
    // What UNDELETE is proposed finds it.
    let since = db
        .value("SELECT substring(what_to_do FROM 'UNDELETE SINCE ''([^'']*)''') FROM reprieve.show_health")
        .await;
    let lines = undelete(&db, &format!("since_v1('{since}', NULL, 'postgres')")).await;
    assert_eq!(lines.last().unwrap(), "(all)|500|0|0|COMPLETE");
}

#[tokio::test]
async fn a_ledger_of_another_cluster_is_no_loss() {
    let db = database("monitor_foreign", FAMILY, MARKED).await;
    look(&db).await;
    db.run(
        "INSERT INTO reprieve.deletions (id, xid, deleted_at, statement_at, role_name, session_role)
         VALUES (9000000000000001, '9000000000', now(), now(), 'x', 'x');
         INSERT INTO reprieve.deletion_tables (deletion_id, relid, schema_name, table_name, rows)
         VALUES (9000000000000001, 'p'::regclass, 'public', 'p', 1000)",
    )
    .await;
    later(&db, 6).await;
    look(&db).await;
    assert_eq!(losses(&db).await, [""; 0]);
}

#[tokio::test]
async fn a_dba_says_for_a_table_what_is_usual() {
    let db = database("monitor_watch", FAMILY, MARKED).await;
    look(&db).await;
    delete(&db, "c", "id <= 100").await;
    for (call, shown, found) in [
        ("'c', 3", "at 3 percent", 0),
        ("'c', 2", "at 2 percent", 1),
        ("'c', never => true", "never", 0),
        ("'c'", "as configured", 1),
    ] {
        let answer = db
            .value(&format!("SELECT * FROM reprieve.watch_v1({call})"))
            .await;
        assert_eq!(answer, format!("public.c|{shown}"));
        db.run("DELETE FROM reprieve.monitor_findings").await;
        look(&db).await;
        assert_eq!(health(&db).await.len(), found, "{call}");
    }
    for (call, code) in [
        ("'c', 0", "22023"),
        ("'c', 101", "22023"),
        ("'pg_class', 1", "42P01"),
    ] {
        let sql = format!("SELECT * FROM reprieve.watch_v1({call})");
        assert_eq!(failure(&db.session().await, &sql).await.0, code, "{call}");
    }
}

#[tokio::test]
async fn news_are_told_once_and_again_when_they_are_over() {
    let db = database("monitor_news", FAMILY, MARKED).await;
    let keeper = db.keeper().await;
    look(&db).await;
    assert!(keeper.monitor_news().await.unwrap().is_empty());
    let deletion = delete(&db, "c", "id <= 100").await;
    look(&db).await;
    look(&db).await;
    let news = keeper.monitor_news().await.unwrap();
    assert_eq!(news.len(), 1);
    assert_eq!(
        (news[0].severity, news[0].is_over, news[0].place.as_str()),
        (FindingSeverity::Critical, false, "public.c")
    );
    keeper.monitor_told(&news[0]).await.unwrap();
    look(&db).await;
    assert!(keeper.monitor_news().await.unwrap().is_empty());
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    look(&db).await;
    let over = keeper.monitor_news().await.unwrap();
    assert!(over[0].is_over && over[0].since == news[0].since);
    keeper.monitor_told(&over[0]).await.unwrap();
    look(&db).await;
    assert_eq!(
        db.value("SELECT count(*) FROM reprieve.monitor_findings")
            .await,
        "0"
    );
    // What was over before anybody was told is told to nobody.
    delete(&db, "c", "id <= 100").await;
    look(&db).await;
    let deletion = last(&db).await;
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    look(&db).await;
    assert!(keeper.monitor_news().await.unwrap().is_empty());
}

#[tokio::test]
async fn rows_are_counted_where_few_and_estimated_where_many() {
    const BIG: &str = "
        CREATE TABLE big (id int PRIMARY KEY, pad text) WITH (autovacuum_enabled = off);
        CREATE TABLE gone (id int PRIMARY KEY, pad text) WITH (autovacuum_enabled = off);
        INSERT INTO big SELECT i, repeat('x', 200) FROM generate_series(1, 60000) i;
        INSERT INTO gone SELECT i, repeat('x', 200) FROM generate_series(1, 60000) i;
        ANALYZE big; ANALYZE gone";
    let db = database("monitor_rows", FAMILY, MARKED).await;
    db.run(BIG).await;
    db.run("SELECT FROM reprieve.enable_v1('big', 'mark'); SELECT FROM reprieve.enable_v1('gone', 'bin'); SELECT reprieve.advance_v1()")
        .await;
    delete(&db, "big", "id <= 20000").await;
    db.run("DELETE FROM gone WHERE id <= 30000").await;
    delete(&db, "p", "id = 1").await;
    // A mark whose key is used again goes to the graveyard.
    db.run("INSERT INTO big SELECT i, 'again' FROM generate_series(1, 5000) i")
        .await;
    // A backend tells of its changes once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    db.run("SELECT").await;
    let other = db.session().await;
    other
        .batch_execute("ANALYZE big; ANALYZE gone")
        .await
        .unwrap();
    drop(other);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    look(&db).await;
    let rows = db
        .rows("SELECT \"table\", rows, how, tombstones, graveyard_rows FROM reprieve.show_rows WHERE \"table\" <> 'public.c' ORDER BY 1")
        .await;
    let close = |line: &str, name: &str, live: f64, rest: &str| {
        let fields: Vec<&str> = line.splitn(3, '|').collect();
        let off = (fields[1].parse::<f64>().unwrap() / live - 1.0).abs();
        assert!(
            fields[0] == name && off < 0.05 && fields[2] == rest,
            "{line}"
        );
    };
    close(&rows[0], "public.big", 45000.0, "estimate|15000|5000");
    close(&rows[1], "public.gone", 30000.0, "estimate|0|30000");
    assert_eq!(rows[2], "public.p|999|counted|1|0");
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let db = database("monitor_bounded", FAMILY, MARKED).await;
    db.run(
        "INSERT INTO reprieve.monitor_rows (relid, at, live, is_exact, tombstones, graves, dead, bytes, took)
         SELECT 'p'::regclass, date_trunc('hour', now()) - i * interval '5 minutes', i, true, 0, 0, 0, 0, '0' FROM generate_series(1, 12 * 24 * 40) i;
         INSERT INTO reprieve.monitor_ticks SELECT now() - i * interval '15 seconds', pg_current_snapshot(), '15 s' FROM generate_series(1, 1000) i",
    )
    .await;
    look(&db).await;
    let kept: usize = db
        .value("SELECT count(*) FROM reprieve.monitor_rows WHERE relid = 'p'::regclass")
        .await
        .parse()
        .unwrap();
    assert!((30 * 24 - 1..=30 * 24 + 3 * 12).contains(&kept), "{kept}");
    assert_eq!(
        db.value("SELECT count(*) FILTER (WHERE at < now() - interval '3 hours' AND extract(minute FROM at) <> 0) FROM reprieve.monitor_rows")
            .await,
        "0"
    );
    assert_eq!(
        db.value("SELECT count(*) BETWEEN 39 AND 42 FROM reprieve.monitor_ticks")
            .await,
        "t"
    );
    db.run("SELECT FROM reprieve.disable_v1('c'); SELECT FROM reprieve.disable_v1('p')")
        .await;
    look(&db).await;
    assert_eq!(
        db.value("SELECT count(*) FROM reprieve.monitor_rows").await,
        "0"
    );
}

#[tokio::test]
async fn an_orphan_is_found_and_stays_found_for_a_day() {
    let db = database("monitor_orphans", FAMILY, MARKED).await;
    look(&db).await;
    assert_eq!(
        db.rows("SELECT rows, orphans, is_whole FROM reprieve.monitor_keys")
            .await,
        ["5000|0|t"]
    );
    // As somebody does who goes behind everybody's back.
    db.run("SET session_replication_role = replica; UPDATE p SET deleted_at = now(), deletion_id = 1 WHERE id = 7; RESET session_replication_role")
        .await;
    later(&db, 11).await;
    look(&db).await;
    assert_eq!(
        health(&db).await,
        ["warning|orphans|public.c, foreign key c_p_id_fkey"]
    );
    assert_eq!(
        db.value("SELECT how_bad FROM reprieve.show_health").await,
        "5 live rows refer to no live row of public.p"
    );
    db.run("SET session_replication_role = replica; UPDATE p SET deleted_at = NULL, deletion_id = NULL WHERE id = 7; RESET session_replication_role")
        .await;
    later(&db, 11).await;
    look(&db).await;
    assert_eq!(health(&db).await, [""; 0]);
}

#[tokio::test]
async fn a_big_table_is_sampled_for_orphans() {
    let db = database("monitor_sampled", FAMILY, MARKED).await;
    db.run(
        "INSERT INTO c SELECT i, 1 + i % 1000, repeat('x', 300) FROM generate_series(5001, 60000) i",
    )
    .await;
    let key = db
        .value("SELECT oid FROM pg_constraint WHERE conname = 'c_p_id_fkey'")
        .await;
    let keeper = db.keeper().await;
    let sample = Sample::ForeignKey(key.parse().unwrap());
    db.run("SET session_replication_role = replica; UPDATE p SET deleted_at = now(), deletion_id = 1 WHERE id % 2 = 0; RESET session_replication_role")
        .await;
    keeper.monitor_sample(&sample).await.unwrap();
    let seen = db
        .value("SELECT rows BETWEEN 100 AND 10000 AND orphans BETWEEN rows / 3 AND rows * 2 / 3 AND NOT is_whole FROM reprieve.monitor_keys")
        .await;
    assert_eq!(seen, "t");
    // The next sample may miss them.
    db.run("SET session_replication_role = replica; UPDATE p SET deleted_at = NULL, deletion_id = NULL; RESET session_replication_role")
        .await;
    keeper.monitor_sample(&sample).await.unwrap();
    look(&db).await;
    assert_eq!(
        health(&db).await,
        ["warning|orphans|public.c, foreign key c_p_id_fkey"]
    );
    later(&db, 25 * 60).await;
    look(&db).await;
    assert_eq!(health(&db).await, [""; 0]);
}

#[tokio::test]
async fn one_connection_samples_and_the_next_one_goes_on() {
    let db = database("monitor_elected", FAMILY, MARKED).await;
    let (first, second) = (db.keeper().await, db.keeper().await);
    assert!(first.lead_monitor().await.unwrap());
    assert!(!second.lead_monitor().await.unwrap());
    assert!(first.lead_monitor().await.unwrap());
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(db.value(locks).await, "0");
    drop(first);
    for _ in 0..100 {
        if second.lead_monitor().await.unwrap() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nobody samples");
}

#[tokio::test]
async fn a_table_that_somebody_holds_is_left_alone_soon() {
    let db = database("monitor_locked", FAMILY, MARKED).await;
    let keeper = db.keeper().await;
    keeper.prepare_monitor().await.unwrap();
    let holder = db.session().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE p IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let table = db.value("SELECT 'p'::regclass::oid").await.parse().unwrap();
    let began = std::time::Instant::now();
    let error = keeper
        .monitor_sample(&Sample::Table(table))
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(began.elapsed().as_millis() < 900, "{:?}", began.elapsed());
    holder.batch_execute("COMMIT").await.unwrap();
    keeper.monitor_sample(&Sample::Table(table)).await.unwrap();
}

#[tokio::test]
async fn a_report_has_no_more_series_than_it_may() {
    let db = database("monitor_report", FAMILY, MARKED).await;
    db.run("CREATE ROLE monitor_other LOGIN; GRANT ALL ON p, c TO monitor_other")
        .await;
    look(&db).await;
    delete(&db, "c", "id <= 100").await;
    let other = db.session_as("monitor_other").await;
    other
        .batch_execute(&undelete_support::mark("p", "id <= 20"))
        .await
        .unwrap();
    look(&db).await;
    let keeper = db.keeper().await;
    let report = keeper.monitor_report(1).await.unwrap();
    let names = |report: &keeper::MonitorReport| {
        let tables = report.tables.iter().map(|it| it.table.clone());
        tables.collect::<Vec<_>>()
    };
    assert_eq!(names(&report), ["(other)", "public.c"]);
    assert_eq!(report.deletes.len(), 2);
    assert_eq!(
        report.deletes.iter().map(|it| it.per_minute).sum::<f64>(),
        201.0
    );
    let whole = keeper.monitor_report(100).await.unwrap();
    assert_eq!(names(&whole), ["public.c", "public.p"]);
    let p = &whole.tables[1];
    assert_eq!((p.lost, p.lost_ratio, p.live), (20.0, 0.02, 1000.0));
    assert_eq!(whole.findings[0].n, 2.0);
    assert_eq!(whole.keys[0].key, "public.c.c_p_id_fkey");
    assert!(whole.sampled.is_some() && whole.rehearsal.is_none());
}

#[tokio::test]
async fn ballast_and_rehearsals_are_findings() {
    let db = database("monitor_ballast", FAMILY, MARKED).await;
    db.run("INSERT INTO p SELECT i, 'x' FROM generate_series(1001, 12000) i")
        .await;
    let deletion = delete(&db, "p", "id > 1000").await;
    later(&db, 100 * 24 * 60).await;
    look(&db).await;
    assert_eq!(
        health(&db).await,
        [
            "notice|kept too long|public.p",
            "notice|many tombstones|public.p",
            "notice|no rehearsal|this database"
        ]
    );
    let report = db.keeper().await.monitor_report(10).await.unwrap();
    let p = report.tables.iter().find(|it| it.table == "public.p");
    let age = report.sampled.unwrap() - p.unwrap().oldest.unwrap();
    assert!((99.0..101.0).contains(&(age / 86400.0)), "{age}");
    db.run(&format!(
        "SELECT FROM reprieve.preview_undelete_deletion_v1({deletion}, rehearse => true)"
    ))
    .await;
    look(&db).await;
    assert_eq!(health(&db).await.len(), 2);
    let rehearsal = db
        .keeper()
        .await
        .monitor_report(10)
        .await
        .unwrap()
        .rehearsal;
    assert!(rehearsal.unwrap().is_complete);
}

#[tokio::test]
async fn nothing_of_it_is_for_clients() {
    let db = database("monitor_rights", FAMILY, MARKED).await;
    db.run("CREATE ROLE monitor_clerk LOGIN; CREATE ROLE monitor_dba LOGIN; GRANT reprieve_admin TO monitor_dba")
        .await;
    look(&db).await;
    let clerk = db.session_as("monitor_clerk").await;
    let calls = [
        "reprieve.show_health",
        "reprieve.show_rows",
        "reprieve.watch_v1('p', 1)",
        "reprieve.monitor_findings",
        "reprieve.monitor_tick_v1('{}')",
        "reprieve.monitor_table_v1(1)",
        "reprieve.monitor_key_v1(1)",
        "reprieve.monitor_bin_v1()",
        "reprieve.monitor_due_v1(1)",
        "reprieve.monitor_report_v1(1)",
        "reprieve.monitor_news_v1()",
        "reprieve.monitor_told_v1('', '', now(), false)",
    ];
    for call in calls {
        let (code, message, _) = failure(&clerk, &format!("SELECT * FROM {call}")).await;
        assert_eq!(code, "42501", "{call}: {message}");
    }
    let dba = db.session_as("monitor_dba").await;
    for call in &calls[..3] {
        dba.simple_query(&format!("SELECT * FROM {call}"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_database_without_keeper_is_not_watched() {
    let db = Database::new("monitor_plain").await;
    let keeper = db.keeper().await;
    let error = keeper.lead_monitor().await.unwrap_err();
    assert!(matches!(error, KeeperError::NotInstalled { .. }), "{error}");
}
