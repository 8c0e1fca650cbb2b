//! How clients get in: sockets, and every kind of authentication.

use std::process::Command;

use tests::cluster::Options;
use tests::pair::settle;
use tests::{Client, Cluster, Proxy, Target};

#[test]
fn unix_sockets_on_both_sides() {
    let cluster = Cluster::start();
    let dir = tempfile::tempdir().expect("a directory");
    let (upstream, listen) = (
        cluster.dir().display().to_string(),
        dir.path().display().to_string(),
    );
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[
            (
                "REPRIEVE__UPSTREAM__URL",
                &format!("postgres:///?host={upstream}&port={}", cluster.port()),
            ),
            ("REPRIEVE__LISTEN__APP", &format!("unix:{listen}")),
        ],
    );
    cluster.create_database("shop");
    let target = Target::Unix(dir.path().join(".s.PGSQL.6543"));
    let mut app = Client::connect(&target, "clerk", "shop")
        .unwrap_or_else(|error| panic!("{error}\n{}", proxy.log()));
    app.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'v1'), (2, 'v2')",
    );
    settle(&cluster, "shop");
    assert_eq!(app.command("DELETE FROM t WHERE id = 1"), "DELETE 1");
    assert_eq!(app.value("SELECT inet_client_addr() IS NULL"), "t");
}

/// psql knows every kind of authentication; our own client does not need to.
fn psql(target: &Target, more: &str, password: &str, sql: &str) -> Result<String, String> {
    let port = target.port();
    let output = Command::new("psql")
        .arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={port} dbname=shop gssencmode=disable {more}"
        ))
        .args(["-X", "-A", "-t", "-q", "-w", "-c", sql])
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10")
        .output()
        .expect("psql starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn every_kind_of_authentication_is_relayed() {
    let hba = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\nhost all clear 127.0.0.1/32 password\n\
        host all old 127.0.0.1/32 md5\nhost all new 127.0.0.1/32 scram-sha-256\nhost all open 127.0.0.1/32 trust\n\
        host all closed 127.0.0.1/32 reject\n";
    let cluster = Cluster::with(&Options {
        hba: Some(hba.to_owned()),
        ..Options::default()
    });
    let proxy = Proxy::start(cluster.port(), "*.*");
    let mut superuser = cluster.superuser("postgres");
    superuser.run("CREATE DATABASE shop");
    superuser.run(
        "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'secret';
         SET password_encryption = 'scram-sha-256'; CREATE ROLE new LOGIN PASSWORD 'secret'; CREATE ROLE clear LOGIN PASSWORD 'secret';
         CREATE ROLE open LOGIN; CREATE ROLE closed LOGIN",
    );
    for user in ["open", "clear", "old", "new"] {
        let answer = psql(
            &proxy.app(),
            &format!("user={user} sslmode=disable"),
            "secret",
            "SELECT current_user",
        );
        assert_eq!(answer.as_deref(), Ok(user));
    }
    for user in ["clear", "old", "new"] {
        let more = format!("user={user} sslmode=disable");
        let refused =
            psql(&proxy.app(), &more, "wrong", "SELECT 1").expect_err("the password is wrong");
        let expected =
            psql(&cluster.target(), &more, "wrong", "SELECT 1").expect_err("the password is wrong");
        let last = |text: &str| {
            text.rsplit("FATAL:")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        assert_eq!(last(&refused), last(&expected));
    }
    assert!(psql(&proxy.app(), "user=closed", "", "SELECT 1").is_err());
    assert!(!proxy.log().contains("secret"), "a password is in the log");
}

#[test]
fn tls_on_both_sides() {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-new",
        "-x509",
        "-days",
        "2",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/CN=localhost",
    ]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    tests::process::run(
        openssl
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key),
    );
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), readable).expect("chmod");
    let hba = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\nhostssl all clerk 127.0.0.1/32 scram-sha-256\n";
    let cluster = Cluster::with(&Options {
        hba: Some(hba.to_owned()),
        tls: Some((certificate.clone(), key.clone())),
        ..Options::default()
    });
    let mut superuser = cluster.superuser("postgres");
    superuser.run("ALTER ROLE clerk PASSWORD 'secret'");
    superuser.run("CREATE DATABASE shop OWNER clerk");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let upstream = format!("postgres://localhost:{}", cluster.port());
    let settings = [
        ("REPRIEVE__UPSTREAM__URL", upstream.as_str()),
        ("REPRIEVE__TLS__MODE", "allow"),
        ("REPRIEVE__TLS__CERT_FILE", certificate.as_str()),
        ("REPRIEVE__TLS__KEY_FILE", key.as_str()),
        ("REPRIEVE__TLS__UPSTREAM_MODE", "verify-full"),
        (
            "REPRIEVE__TLS__UPSTREAM_ROOT_CERT_FILE",
            certificate.as_str(),
        ),
    ];
    let proxy = Proxy::with(cluster.port(), "*.*", &settings);
    let in_tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let full = format!("user=clerk sslmode=verify-full sslrootcert={certificate}");
    // The same certificate on both sides, so that even channel binding holds.
    for more in [
        full.as_str(),
        "user=clerk sslmode=require",
        "user=clerk sslmode=require channel_binding=disable",
    ] {
        assert_eq!(
            psql(&proxy.app(), more, "secret", in_tls).as_deref(),
            Ok("t"),
            "{more}\n{}",
            proxy.log()
        );
    }
    // A client without TLS still reaches the server with it.
    assert_eq!(
        psql(&proxy.app(), "user=clerk sslmode=disable", "secret", in_tls).as_deref(),
        Ok("t"),
        "{}",
        proxy.log()
    );
    let refused =
        psql(&proxy.app(), &full, "wrong", "SELECT 1").expect_err("the password is wrong");
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    assert!(!proxy.log().contains("secret"));
}

#[test]
fn wrong_configuration_is_one_line_that_says_what_to_change() {
    for (key, value) in [
        ("REPRIEVE__LISTEN__APP", "nonsense"),
        ("REPRIEVE__UPSTREAM__URL", "mysql://x"),
        ("REPRIEVE__TLS__UPSTREAM_MODE", "perhaps"),
        ("REPRIEVE__LISTEN__APPP", "127.0.0.1:1"),
    ] {
        let output = Command::new(tests::proxy::binary())
            .arg("check-config")
            .env(key, value)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{key}={value} is accepted");
        assert!(
            said.to_lowercase()
                .contains(&key.rsplit("__").next().unwrap_or_default().to_lowercase()),
            "{key}: {said}"
        );
        assert!(said.trim().lines().count() <= 2, "{said}");
    }
}
