//! Enabling and disabling tables, and what the doctor says about them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;

use std::time::Duration;

use keeper::{
    Keeper, KeeperError, Progress, RequestedMode, Severity, Sidecar, Step, TableSettings,
};
use support::{Database, assert_same_lines};

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE);
    CREATE SCHEMA app;
    CREATE TABLE app.\"Odd Name\" (id int PRIMARY KEY);
    CREATE TABLE app.log (line text);
    INSERT INTO customers SELECT n, 'c' || n FROM generate_series(1, 10) n;
    INSERT INTO orders SELECT n, 1 + n % 10 FROM generate_series(1, 100) n;
";

/// As the rewriter sends it.
fn marking_delete(condition: &str) -> String {
    format!(
        "UPDATE orders SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'x'))
         WHERE orders.deleted_at IS NULL AND ({condition})"
    )
}

fn patterns(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

async fn shop(name: &str) -> (Database, Keeper) {
    let database = Database::new(name).await;
    database.run(SHOP).await;
    let mut keeper = database.keeper().await;
    keeper.install().await.unwrap();
    (database, keeper)
}

#[tokio::test]
async fn tables_are_enabled_by_name_and_glob() {
    let (database, mut keeper) = shop("by_name").await;
    let enable = patterns(&["public.orders", "app.*"]);
    let states = keeper
        .enable(&enable, RequestedMode::Auto, &mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|s| (s.table.as_str(), s.mode.as_str(), s.marking))
        .collect();
    assert_eq!(
        seen,
        [
            ("app.\"Odd Name\"", "mark", true),
            ("app.log", "bin", false),
            ("public.orders", "mark", true)
        ]
    );
    assert!(
        states[1].reason.contains("primary key"),
        "{}",
        states[1].reason
    );

    let loaded = keeper.load().await.unwrap();
    let mut names: Vec<_> = loaded
        .catalog
        .tables()
        .map(|t| t.qualified().to_string())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "\"app\".\"Odd Name\"",
            "\"app\".\"log\"",
            "\"public\".\"orders\""
        ]
    );
    assert_eq!(
        database.rows("SELECT md5(reprieve.catalog_v1())").await,
        [loaded.md5]
    );

    let again = keeper
        .enable(&enable, RequestedMode::Auto, &mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    assert_eq!(again, states);
    let missing = keeper
        .enable(&patterns(&["nothing.*"]), RequestedMode::Auto, &mut |_| {})
        .await;
    assert!(matches!(missing, Err(KeeperError::NoSuchTable { .. })));
}

#[tokio::test]
async fn disabling_hides_nothing_and_loses_nothing() {
    let database = Database::new("disabling").await;
    database.run(SHOP).await;
    let before = database.dump_schema();
    let mut keeper = database.keeper().await;
    keeper.install().await.unwrap();
    let every = patterns(&["public.*"]);
    keeper
        .enable(&every, RequestedMode::Auto, &mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    database.run(&marking_delete("id <= 30")).await;
    assert_eq!(database.rows("SELECT count(*) FROM orders").await, ["100"]);

    let error = keeper
        .uninstall(keeper::Graveyard::Keep, &mut |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(error, KeeperError::GraveyardNotEmpty { rows: 30, .. }),
        "{error}"
    );

    let states = keeper.disable(&every, &mut |_| {}).await.unwrap();
    assert_eq!(states.len(), 2);
    assert_eq!(database.rows("SELECT count(*) FROM orders").await, ["70"]);
    assert_eq!(
        database
            .rows("SELECT count(*) FROM reprieve.graveyard")
            .await,
        ["30"]
    );
    assert!(
        keeper
            .load()
            .await
            .unwrap()
            .catalog
            .tables()
            .next()
            .is_none()
    );

    let report = keeper
        .uninstall(keeper::Graveyard::Drop, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(report.lost_rows, 30);
    assert_same_lines(&before, &database.dump_schema());
}

#[tokio::test]
async fn a_locked_table_is_tried_again_and_others_get_their_turn() {
    let (database, mut keeper) = shop("locked").await;
    let blocker = database.session().await;
    blocker
        .batch_execute("BEGIN; LOCK TABLE orders IN ROW SHARE MODE")
        .await
        .unwrap();
    let release = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(900)).await;
        blocker.batch_execute("COMMIT").await.unwrap();
    });
    let mut steps = Vec::new();
    let mut note = |progress: Progress| steps.push(progress.step);
    let enable = patterns(&["public.orders"]);
    let states = keeper
        .enable(&enable, RequestedMode::Auto, &mut note)
        .await
        .unwrap()
        .all()
        .unwrap();
    release.await.unwrap();
    assert!(states[0].marking);
    assert!(
        steps.iter().any(|step| matches!(step, Step::Locked { .. })),
        "{steps:?}"
    );
    assert_eq!(steps.last(), Some(&Step::Done));
}

#[tokio::test]
async fn the_index_of_a_big_table_is_built_while_others_write() {
    let (database, mut keeper) = shop("big").await;
    database
        .run("INSERT INTO customers SELECT n, repeat('x', 1000) FROM generate_series(11, 80000) n")
        .await;
    // An old snapshot keeps CREATE INDEX CONCURRENTLY waiting; an old writer would keep a plain one.
    let old = database.session().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders")
        .await
        .unwrap();
    let enabling = tokio::spawn(async move {
        let enable = patterns(&["public.customers"]);
        let mut steps = Vec::new();
        let mut note = |progress: Progress| steps.push(progress.step);
        let states = keeper.enable(&enable, RequestedMode::Auto, &mut note).await;
        (keeper, states, steps)
    });
    let state =
        "SELECT mode, marking, signature FROM reprieve.tables WHERE table_name = 'customers'";
    while database.rows(state).await != ["mark|f|preparing"] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Meanwhile: the catalog hides our columns, others write and change the schema, nothing marks.
    database
        .run("UPDATE customers SET name = 'y' WHERE id = 1; DELETE FROM customers WHERE id = 2")
        .await;
    database
        .run("CREATE TABLE other (id int); SELECT reprieve.reconcile_v1()")
        .await;
    assert_eq!(database.rows(state).await, ["mark|f|preparing"]);
    let loaded = database.keeper().await.load().await.unwrap();
    let mut tables = loaded.catalog.tables();
    let table = tables
        .find(|t| t.qualified().to_string().contains("customers"))
        .unwrap();
    let visible: Vec<_> = table
        .visible_columns()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(visible, ["id", "name"]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    old.batch_execute("COMMIT").await.unwrap();
    let (keeper, states, steps) = enabling.await.unwrap();
    let states = states.unwrap().all().unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|s| (s.mode.as_str(), s.marking))
        .collect();
    assert_eq!(seen, [("mark", true), ("bin", false)]);
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, Step::BuildingIndex { .. })),
        "{steps:?}"
    );
    let problems: Vec<_> = keeper.doctor().await.unwrap();
    assert!(
        problems
            .iter()
            .all(|finding| finding.severity < Severity::Problem),
        "{problems:?}"
    );
}

#[tokio::test]
async fn marking_waits_for_a_sidecar_and_not_for_a_dead_one() {
    let (database, mut keeper) = shop("sidecars").await;
    let sidecar = Sidecar {
        id: "one".into(),
        version: "0.1.0".into(),
        lease: Duration::from_secs(2),
    };
    let other = database.keeper().await;
    other.acknowledge(&sidecar, "an old catalog").await.unwrap();
    let enabling = tokio::spawn(async move {
        let enable = patterns(&["public.orders"]);
        keeper
            .enable(&enable, RequestedMode::Auto, &mut |_| {})
            .await
            .unwrap()
            .all()
            .unwrap();
        keeper
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    let marking = "SELECT marking FROM reprieve.tables";
    assert_eq!(database.rows(marking).await, ["f"]);
    let loaded = other.load().await.unwrap();
    other.acknowledge(&sidecar, &loaded.md5).await.unwrap();
    let mut keeper = enabling.await.unwrap();
    assert_eq!(database.rows(marking).await, ["t"]);

    // It does not follow any more, and nobody waits longer than its lease.
    let began = std::time::Instant::now();
    let enable = patterns(&["public.customers"]);
    let states = keeper
        .enable(&enable, RequestedMode::Auto, &mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    assert!(states[0].marking);
    assert!(
        began.elapsed() > Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    other.acknowledge(&sidecar, "old again").await.unwrap();
    other.leave(&sidecar).await.unwrap();
    assert_eq!(
        database.rows("SELECT count(*) FROM reprieve.proxies").await,
        ["0"]
    );
}

#[tokio::test]
async fn configured_patterns_decide_about_existing_and_new_tables() {
    let (database, mut keeper) = shop("configured").await;
    let settings = TableSettings {
        enable: patterns(&["nothing.at_all", "public.*"]),
        exclude: patterns(&["public.customers"]),
        bin: patterns(&["*.orders"]),
        ..TableSettings::default()
    };
    keeper.set_table_settings(&settings).await.unwrap();
    let states = keeper
        .enable_configured(&mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|s| (s.table.as_str(), s.mode.as_str()))
        .collect();
    assert_eq!(seen, [("public.orders", "bin")]);
    assert_eq!(
        keeper
            .enable_configured(&mut |_| {})
            .await
            .unwrap()
            .all()
            .unwrap(),
        []
    );
    // The event trigger: this role is a superuser.
    database
        .run("CREATE TABLE later (id int PRIMARY KEY)")
        .await;
    let known = database
        .rows("SELECT table_name, mode FROM reprieve.tables ORDER BY 1")
        .await;
    assert_eq!(known, ["later|mark", "orders|bin"]);
}

#[tokio::test]
async fn the_doctor_names_what_reads_deleted_rows() {
    let (database, mut keeper) = shop("doctor").await;
    database
        .run(
            "CREATE FUNCTION totals() RETURNS bigint LANGUAGE plpgsql AS $$
             BEGIN
                 RETURN (SELECT count(*) FROM orders);
             END $$;
             CREATE VIEW recent AS SELECT id FROM orders;",
        )
        .await;
    let enable = patterns(&["public.orders"]);
    keeper
        .enable(&enable, RequestedMode::Mark, &mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    let findings = keeper.doctor().await.unwrap();
    let text = format!("{findings:#?}");
    assert!(text.contains("function public.totals() line 3"), "{text}");
    assert!(text.contains("view public.recent"), "{text}");

    // Through event triggers it would be turned on again at once.
    database
        .run("SET reprieve.reconciling = '1'; ALTER TABLE orders DISABLE TRIGGER \"~reprieve_capture\"; RESET reprieve.reconciling")
        .await;
    let worst = keeper.doctor().await.unwrap().remove(0);
    assert_eq!(worst.severity, Severity::Problem);
    assert!(worst.hint.unwrap().contains("ENABLE TRIGGER"));
}

#[tokio::test]
async fn the_doctor_of_a_plain_database_says_install() {
    let database = Database::new("plain").await;
    let findings = database.keeper().await.doctor().await.unwrap();
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("reprieve install")
    );
}
