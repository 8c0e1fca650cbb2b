//! The keeper against private servers.

mod support;

use std::time::{Duration, Instant};

use keeper::{Graveyard, KEEPER_VERSION, Keeper, KeeperConfig, KeeperError};
use support::{Database, assert_same_lines};

#[tokio::test]
async fn install_is_idempotent_and_versioned() {
    let database = Database::new("idempotent").await;
    let mut keeper = database.keeper().await;
    assert_eq!(keeper.installed().await.unwrap(), None);
    assert!(matches!(
        keeper.load().await,
        Err(KeeperError::NotInstalled { .. })
    ));

    let first = keeper.install().await.unwrap();
    assert_eq!((first.version, first.previous), (KEEPER_VERSION, None));
    assert_eq!(first.shortcomings, Vec::<String>::new());
    assert_eq!(keeper.installed().await.unwrap(), Some(KEEPER_VERSION));

    let before = database.dump_schema();
    let again = keeper.install().await.unwrap();
    assert_eq!(again.previous, Some(KEEPER_VERSION));
    assert_same_lines(&before, &database.dump_schema());
}

/// Clients go on deleting behind an install over an older keeper, and behind one over the same.
#[tokio::test]
async fn tables_of_an_older_keeper_are_taken_over() {
    let database = Database::new("older").await;
    let mut keeper = database.keeper().await;
    keeper.install().await.unwrap();
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3);
             SELECT * FROM reprieve.enable_v1('t', 'mark'); SELECT reprieve.advance_v1();
             CREATE ROLE older_app LOGIN; GRANT ALL ON t TO older_app",
        )
        .await;
    let client = database.session_as("older_app").await;
    for (id, older) in [(1, true), (2, false)] {
        if older {
            database
                .run(
                    "DO $$ BEGIN EXECUTE format('DROP FUNCTION reprieve.%I(bigint)', 'count_' || 't'::regclass::oid); END $$;
                     DROP TRIGGER \"~reprieve_after_mark\" ON t; UPDATE reprieve.settings SET value = '3' WHERE key = 'keeper_version'",
                )
                .await;
        }
        keeper.install().await.unwrap();
        let delete = format!(
            "UPDATE t SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('x')) WHERE id = {id}"
        );
        client.batch_execute(&delete).await.unwrap();
        let counted = "SELECT sum(rows)::text FROM reprieve.deletion_tables";
        assert_eq!(database.value(counted).await, id.to_string());
    }
    let findings = "SELECT count(*)::text FROM reprieve.check_v1()";
    assert_eq!(database.value(findings).await, "0");
}

/// Event triggers find tables by their names in the text of a schema change, and our scripts are full of such words.
#[tokio::test]
async fn tables_named_like_aliases_stay_marked() {
    let db = Database::new("short_names").await;
    db.keeper().await.install().await.unwrap();
    let names = ["c", "t", "p", "g", "k", "x", "old", "tables", "columns"];
    for name in names {
        db.run(&format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, v text); INSERT INTO {name} VALUES (1, 'a'), (2, 'b'); SELECT reprieve.enable_v1('{name}');
             UPDATE {name} SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1"
        ))
        .await;
    }
    db.run("UPDATE reprieve.settings SET value = '3' WHERE key = 'keeper_version'")
        .await;
    db.keeper().await.install().await.unwrap();
    for name in names {
        let seen = format!(
            "SELECT t.mode, (SELECT count(*) FROM {name} r WHERE r.deletion_id IS NOT NULL) FROM reprieve.tables t WHERE t.table_name = '{name}'"
        );
        assert_eq!(db.value(&seen).await, "mark|1", "{name}");
    }
}

#[tokio::test]
async fn a_newer_keeper_is_left_alone() {
    let database = Database::new("newer").await;
    let mut keeper = database.keeper().await;
    keeper.install().await.unwrap();
    database
        .run("UPDATE reprieve.settings SET value = '999' WHERE key = 'keeper_version'")
        .await;
    let error = keeper.install().await.unwrap_err();
    assert!(
        matches!(error, KeeperError::Newer { installed: 999, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_plain_role_installs_and_hears_what_it_lacks() {
    let database = Database::new("plain_role").await;
    database
        .run("CREATE ROLE plain_keeper LOGIN CREATEROLE; GRANT CREATE ON DATABASE plain_role TO plain_keeper")
        .await;
    let mut keeper = database.keeper_as("plain_keeper").await;
    let report = keeper.install().await.unwrap();
    let text = report.shortcomings.join("\n");
    assert!(text.contains("event trigger"), "{text}");
    assert!(!text.contains("reprieve_admin"), "{text}");
    keeper.load().await.unwrap();
    assert_eq!(
        keeper.install().await.unwrap().previous,
        Some(KEEPER_VERSION)
    );
}

#[tokio::test]
async fn without_create_on_the_database_the_error_says_what_to_grant() {
    let database = Database::new("no_rights").await;
    database.run("CREATE ROLE no_rights_keeper LOGIN").await;
    let mut keeper = database.keeper_as("no_rights_keeper").await;
    let error = keeper.install().await.unwrap_err();
    assert!(matches!(error, KeeperError::Denied { .. }), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("GRANT CREATE ON DATABASE"), "{hint}");
    assert_eq!(keeper.installed().await.unwrap(), None);
}

#[tokio::test]
async fn two_installers_at_once_take_turns() {
    let database = Database::new("two_installers").await;
    let (mut one, mut two) = (database.keeper().await, database.keeper().await);
    let (first, second) = tokio::join!(one.install(), two.install());
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_watch_rings_on_notify_on_time_and_on_loss() {
    let database = Database::new("watching").await;
    let mut keeper = database.keeper().await;
    keeper.install().await.unwrap();
    let mut watch = keeper.watch(Duration::from_secs(60)).await.unwrap();
    let rung = tokio::spawn(async move {
        let result = watch.changed().await;
        (watch, result)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!rung.is_finished());
    database.run("NOTIFY reprieve_catalog").await;
    let (mut watch, result) = rung.await.unwrap();
    result.unwrap();

    let mut timer = keeper.watch(Duration::from_millis(100)).await.unwrap();
    let asked = Instant::now();
    timer.changed().await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(100));

    database
        .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reprieve keeper' AND datname = 'watching'")
        .await;
    let error = watch.changed().await.unwrap_err();
    assert!(matches!(error, KeeperError::Lost { .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn uninstall_leaves_a_plain_database() {
    let database = Database::new("uninstalled").await;
    let before = database.dump_schema();
    let mut keeper = database.keeper().await;
    keeper.install().await.unwrap();
    keeper
        .uninstall(Graveyard::Keep, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(keeper.installed().await.unwrap(), None);
    assert_same_lines(&before, &database.dump_schema());
}

#[tokio::test]
async fn whom_to_call_when_there_is_no_connection() {
    let port = support::cluster::free_port().unwrap();
    let config =
        KeeperConfig::parse(&format!("postgresql://u:hunter2@127.0.0.1:{port}/d")).unwrap();
    let error = Keeper::connect(&config, "d").await.unwrap_err();
    assert!(matches!(error, KeeperError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("u@127.0.0.1:{port}/d")),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hunter2"));

    let database = Database::new("refusing").await;
    let config = KeeperConfig::parse(&database.url_as("nobody_here")).unwrap();
    let error = Keeper::connect(&config, "refusing").await.unwrap_err();
    assert!(matches!(error, KeeperError::LoginRefused { .. }), "{error}");
    let config = KeeperConfig::parse(&database.url_as("postgres")).unwrap();
    let error = Keeper::connect(&config, "no_such_database")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no_such_database"), "{error}");
    assert!(
        error.hint().unwrap().contains("no such database"),
        "{error:?}"
    );
}
