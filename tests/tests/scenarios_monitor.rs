//! Watching, from a DELETE on the app port to the webhook, /metrics, the log and SHOW HEALTH; and whether alerts and dashboard ask for
//! metrics that there are.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::pair::settle;
use tests::process::{root, run};
use tests::proxy::http_get;
use tests::{Cluster, Proxy};

const FAMILY: &str = "CREATE TABLE p (id int PRIMARY KEY, name text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, name text);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 1000) i;
    INSERT INTO c SELECT i, 1 + i % 1000, 'c' || i FROM generate_series(1, 3000) i;
    CREATE INDEX ON c (p_id)";

/// A webhook: what it was sent, request line and headers above the body. The first request fails.
fn webhook() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, received) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            let (head, body) = loop {
                let n = stream.read(&mut chunk).unwrap();
                assert!(n > 0, "a request ended early");
                request.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str::<Value>(body)
                {
                    break (head.to_owned(), body);
                }
            };
            let status = if number == 0 { "503 Later" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if number > 0 && send.send((head, body)).is_err() {
                return;
            }
        }
    });
    (url, received)
}

fn metrics(proxy: &Proxy) -> String {
    http_get(proxy.http(), "/metrics").expect("metrics").1
}

/// Waits for what takes a sample or two.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn sampled(cluster: &Cluster, database: &str) {
    let mut direct = cluster.superuser(database);
    wait("the tables are never sampled", || {
        let rows = direct.try_run(
            "SELECT 1 FROM reprieve.show_rows WHERE rows > 0 HAVING count(DISTINCT relid) = 2",
        );
        (rows == Ok(vec!["1".to_owned()])).then_some(())
    });
}

#[test]
fn a_loss_is_told_everywhere_and_by_whoever_lives() {
    let cluster = Cluster::start();
    let (url, told) = webhook();
    let start = || {
        Proxy::with(
            cluster.port(),
            "*.*",
            &[
                ("REPRIEVE__MONITOR__INTERVAL_SECONDS", "1"),
                ("REPRIEVE__WEBHOOK__URL", &url),
                ("REPRIEVE__WEBHOOK__AUTHORIZATION", "Bearer of bad news"),
                ("REPRIEVE__LOG__FORMAT", "json"),
            ],
        )
    };
    let (first, second) = (start(), start());
    cluster.create_database("lost");
    let mut app = first.connect("lost");
    app.run(FAMILY);
    sampled(&cluster, "lost");
    let mut admin = second.connect_admin("lost");
    settle(&cluster, "lost");
    assert_eq!(admin.run("SHOW HEALTH"), [""; 0]);

    app.run("DELETE FROM p WHERE id <= 100");
    let mut places = BTreeSet::new();
    while places.len() < 2 {
        let (head, news) = told
            .recv_timeout(Duration::from_secs(30))
            .expect("the webhook is told");
        assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer of bad news"), "{head}");
        assert!(
            news["event"] == "raised"
                && news["database"] == "lost"
                && news["severity"] == "critical",
            "{news}"
        );
        assert_eq!(news["value"], 10.0, "{news}");
        assert!(
            places.insert(news["place"].to_string()),
            "told twice: {news}"
        );
    }
    let lines = admin.run("SHOW HEALTH");
    assert!(
        lines.len() == 2 && lines[1].starts_with("critical|rows lost|public.p|"),
        "{lines:?}"
    );
    for proxy in [&first, &second] {
        wait("both show it", || {
            let text = metrics(proxy);
            [
                "reprieve_table_lost_ratio{database=\"lost\",table=\"public.p\"} 0.1",
                "reprieve_table_lost_rows{database=\"lost\",table=\"public.c\"} 300",
                "reprieve_deletes_per_minute{database=\"lost\",table=\"public.p\",role=\"clerk\"} 100",
                "reprieve_findings{database=\"lost\",finding=\"rows lost\",severity=\"critical\"} 2",
            ]
            .iter()
            .all(|line| text.contains(line))
            .then_some(())
        });
    }
    let logs = [first.log(), second.log()];
    let lines = logs
        .iter()
        .flat_map(|log| log.lines())
        .filter(|line| line.contains("\"message\":\"finding\"") && line.contains("public.p"))
        .collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "one sidecar logs it once: {lines:?}");
    assert!(lines[0].contains("\"level\":\"ERROR\"") && lines[0].contains("UNDELETE SINCE"));

    // Whoever watched dies; what it proposed is done; the other one tells of the end.
    let (leader, other) = if logs[0].contains("\"message\":\"finding\"") {
        (&first, &second)
    } else {
        (&second, &first)
    };
    let mut dba = other.connect_admin("lost");
    let proposed = dba.value("SELECT substring(what_to_do FROM 'UNDELETE SINCE [^;]*') FROM reprieve.show_health WHERE place = 'public.p'");
    leader.signal("KILL");
    let lines = dba.run(&proposed);
    assert_eq!(
        lines.last().map(String::as_str),
        Some("(all)|400|0|0|COMPLETE|")
    );
    for _ in 0..2 {
        let (_, news) = told
            .recv_timeout(Duration::from_secs(30))
            .expect("the webhook is told of the end");
        assert_eq!(news["event"], "over", "{news}");
        assert!(places.remove(&news["place"].to_string()));
    }
    assert_eq!(dba.run("SHOW HEALTH"), [""; 0]);
    assert_eq!(dba.value("SELECT count(*) FROM p"), "1000");
}

#[test]
fn a_database_without_clients_is_left_alone() {
    let cluster = Cluster::start();
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[("REPRIEVE__MONITOR__INTERVAL_SECONDS", "1")],
    );
    cluster.create_database("short");
    let mut app = proxy.connect("short");
    app.run(FAMILY);
    sampled(&cluster, "short");
    wait("it is shown", || {
        metrics(&proxy)
            .contains("reprieve_table_rows{database=\"short\"")
            .then_some(())
    });
    app.leave();
    wait("it is shown no longer", || {
        (!metrics(&proxy).contains("database=\"short\"")).then_some(())
    });
    // Neither sidecar nor monitor stands in its way.
    cluster.superuser("postgres").run("DROP DATABASE short");
}

#[test]
fn nobody_watches_where_the_interval_is_0() {
    let cluster = Cluster::start();
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[("REPRIEVE__MONITOR__INTERVAL_SECONDS", "0")],
    );
    cluster.create_database("unwatched");
    proxy.connect("unwatched").run(FAMILY);
    let mut admin = proxy.connect_admin("unwatched");
    let lines = admin.run("SHOW HEALTH");
    assert!(
        lines.len() == 1 && lines[0].starts_with("warning|nobody watches|"),
        "{lines:?}"
    );
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reprieve monitor'";
    assert_eq!(admin.value(count), "0");
}

#[test]
fn what_differs_for_a_table_is_said_with_a_verb() {
    let cluster = Cluster::start();
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[("REPRIEVE__MONITOR__INTERVAL_SECONDS", "1")],
    );
    cluster.create_database("watched");
    let mut app = proxy.connect("watched");
    app.run(FAMILY);
    sampled(&cluster, "watched");
    settle(&cluster, "watched");
    let mut admin = proxy.connect_admin("watched");
    assert_eq!(
        admin.run("WATCH TABLE c AT 20 PERCENT"),
        ["public.c|at 20 percent"]
    );
    assert_eq!(admin.run("WATCH TABLE p NEVER"), ["public.p|never"]);
    app.run("DELETE FROM p WHERE id <= 100");
    let tick = "SELECT count(*) FROM reprieve.monitor_losses";
    wait("it is counted", || (admin.value(tick) == "2").then_some(()));
    assert_eq!(admin.run("SHOW HEALTH"), [""; 0]);
    assert_eq!(
        admin.run("WATCH TABLE p DEFAULT"),
        ["public.p|as configured"]
    );
    wait("it is found", || {
        let lines = admin.run("SHOW HEALTH");
        (lines.len() == 1 && lines[0].contains("|public.p|")).then_some(())
    });
    let rows = admin.run("SHOW ROWS FROM c SINCE now() - interval '1 hour' LIMIT 1");
    assert!(
        rows.len() == 1 && rows[0].starts_with("public.c|"),
        "{rows:?}"
    );
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find("reprieve_") {
        rest = &rest[at..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        names.insert(rest[..end].to_owned());
        rest = &rest[end..];
    }
    names
}

/// What a scrape has samples of.
fn printed(text: &str) -> BTreeSet<String> {
    let mut printed = BTreeSet::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "gauge" => &[""],
                other => panic!("{other}"),
            };
            printed.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
        }
    }
    printed
}

fn deployed(path: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(path)).unwrap()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let cluster = Cluster::start();
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[("REPRIEVE__MONITOR__INTERVAL_SECONDS", "1")],
    );
    cluster.create_database("metrics");
    let mut app = proxy.connect("metrics");
    app.run(FAMILY);
    sampled(&cluster, "metrics");
    settle(&cluster, "metrics");
    app.run("DELETE FROM p WHERE id <= 100");
    let mut admin = proxy.connect_admin("metrics");
    let deletion = admin.value("SELECT max(id) FROM reprieve.deletions");
    admin.run(&format!("REHEARSE UNDELETE DELETION {deletion}"));
    admin.run("DELETE FROM reprieve.monitor_bin");
    // Without a label that was met a family prints nothing.
    let refused = app.try_run("SELECT query_to_xml('SELECT * FROM p', true, true, '')");
    refused.expect_err("W11 refuses it");
    let port = proxy.app().port();
    let mut stray = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stray.write_all(&[0, 0, 0, 1]).unwrap();
    // What is sampled is not only described, but there.
    let text = wait("all that is sampled is shown", || {
        let text = metrics(&proxy);
        let samples = text
            .lines()
            .filter(|line| line.contains("database=\"metrics\""));
        let there = samples
            .filter_map(|line| line.split('{').next())
            .collect::<BTreeSet<_>>();
        [
            "reprieve_table_rows",
            "reprieve_table_tombstones",
            "reprieve_table_graveyard_rows",
            "reprieve_table_dead_rows",
            "reprieve_table_size_bytes",
            "reprieve_table_lost_rows",
            "reprieve_table_lost_ratio",
            "reprieve_oldest_unpurged_timestamp_seconds",
            "reprieve_deletes_per_minute",
            "reprieve_orphans",
            "reprieve_references_sampled",
            "reprieve_findings",
            "reprieve_last_rehearsal_timestamp_seconds",
            "reprieve_last_rehearsal_duration_seconds",
            "reprieve_last_rehearsal_complete",
            "reprieve_monitor_sampled_timestamp_seconds",
            "reprieve_catalog_loaded_timestamp_seconds",
        ]
        .iter()
        .all(|name| there.contains(name))
        .then_some(text)
    });
    let printed = printed(&text);
    for path in [
        "prometheus/alerts.yml",
        "prometheus/alerts_test.yml",
        "grafana/dashboard.json",
    ] {
        let wanted = names(&deployed(path));
        assert!(wanted.len() > 8, "{path}: {wanted:?}");
        let missing = wanted.difference(&printed).collect::<Vec<_>>();
        assert!(missing.is_empty(), "{path} asks for {missing:?}");
    }
}

#[test]
fn the_alerts_fire_in_the_incident_and_not_on_a_normal_day() {
    let rules = root().join("deploy/prometheus");
    run(Command::new("promtool")
        .args(["check", "rules", "alerts.yml"])
        .current_dir(&rules));
    run(Command::new("promtool")
        .args(["test", "rules", "alerts_test.yml"])
        .current_dir(&rules));
    let (alerts, tested) = (
        deployed("prometheus/alerts.yml"),
        deployed("prometheus/alerts_test.yml"),
    );
    for line in alerts.lines() {
        if let Some((_, name)) = line.split_once("- alert: ") {
            assert!(tested.contains(name), "{name} is never tried");
        }
    }
}

#[test]
fn the_dashboard_is_one_that_loads() {
    let dashboard: Value = serde_json::from_str(&deployed("grafana/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(
            panel["gridPos"]["w"].as_u64().unwrap() + panel["gridPos"]["x"].as_u64().unwrap() <= 24
        );
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            let expression = target["expr"].as_str().unwrap().replace("$database", ".*");
            rules += &format!(
                "  - record: panel{}\n    expr: {}\n",
                ids.len(),
                Value::from(expression)
            );
        }
    }
    assert!(rules.lines().count() > 40, "{rules}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        assert!(["datasource", "database"].contains(&variable["name"].as_str().unwrap()));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.yml");
    std::fs::write(&path, rules).unwrap();
    run(Command::new("promtool").args(["check", "rules"]).arg(path));
}
