//! What each sslmode believes, against a server with certificates of a private authority.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

#[path = "../../reprieve/src/demo/cluster.rs"]
#[allow(
    dead_code,
    reason = "shared with the demo; these tests need a part of it"
)]
mod cluster;

use std::path::Path;
use std::process::Command;

use cluster::{ClusterOptions, PrivateCluster};
use keeper::{Keeper, KeeperConfig, KeeperError};

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .current_dir(directory)
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority, another one, and a certificate for the name `localhost` by the first.
fn make_certificates(directory: &Path) {
    for authority in ["ca", "other"] {
        let name = format!("/CN={authority}");
        openssl(
            directory,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj {name} -keyout {authority}.key -out {authority}.pem"
            ),
        );
    }
    openssl(
        directory,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
    );
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
}

#[tokio::test]
async fn every_sslmode_believes_what_libpq_does() {
    let certificates = tempfile::tempdir().unwrap();
    make_certificates(certificates.path());
    let mut cluster = PrivateCluster::start(&ClusterOptions::default()).unwrap();
    // The server insists on files that are its own.
    let data = cluster.data_directory();
    for name in ["server.key", "server.pem"] {
        let target = data.join(name);
        std::fs::copy(certificates.path().join(name), &target).unwrap();
        let owner = std::fs::metadata(&data).unwrap();
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        std::os::unix::fs::chown(&target, Some(owner.uid()), Some(owner.gid())).unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = data.join("postgresql.conf");
    let settings = std::fs::read_to_string(&file).unwrap();
    let tls = "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n";
    std::fs::write(&file, settings + tls).unwrap();
    std::fs::write(data.join("pg_hba.conf"), "hostssl all all all trust\n").unwrap();
    cluster.restart().unwrap();

    let root = |name: &str| format!("&sslrootcert={}", certificates.path().join(name).display());
    for (host, options, believed) in [
        ("localhost", "sslmode=prefer".to_owned(), true),
        ("localhost", "sslmode=require".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        (
            "localhost",
            format!("sslmode=verify-full{}", root("ca.pem")),
            true,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full{}", root("ca.pem")),
            false,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca{}", root("ca.pem")),
            true,
        ),
        (
            "localhost",
            format!("sslmode=verify-ca{}", root("other.pem")),
            false,
        ),
        (
            "localhost",
            format!("sslmode=require{}", root("other.pem")),
            false,
        ),
        ("localhost", "sslmode=verify-full".to_owned(), false),
        ("localhost", "sslmode=disable".to_owned(), false),
    ] {
        let url = format!(
            "postgresql://postgres@{host}:{}/postgres?{options}",
            cluster.port()
        );
        let config = KeeperConfig::parse(&url).unwrap();
        let connected = Keeper::connect(&config, "postgres").await;
        assert_eq!(
            connected.is_ok(),
            believed,
            "{host} {options}: {:?}",
            connected.err()
        );
        if let Err(error) = connected {
            let told = match options.as_str() {
                "sslmode=disable" => matches!(error, KeeperError::LoginRefused { .. }),
                _ => matches!(error, KeeperError::Unreachable { .. }),
            };
            assert!(told, "{host} {options}: {error}");
        }
    }
    let missing = KeeperConfig::parse("host=h sslmode=verify-ca sslrootcert=/nowhere.pem").unwrap();
    let error = Keeper::connect(&missing, "d").await.unwrap_err();
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
}
