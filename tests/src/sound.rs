//! CHECK INTEGRITY when a test is over: rows, ledger and triggers agree in every database that it has used.

use crate::client::{Client, Target};

/// What is wrong in a database; nothing if it has no keeper.
fn findings(target: &Target, database: &str) -> Vec<String> {
    let Ok(mut client) = Client::connect(target, "postgres", database) else {
        // It was dropped, or the server was stopped for good.
        return Vec::new();
    };
    if client.value("SELECT to_regprocedure('reprieve.check_v1()') IS NULL") == "t" {
        return Vec::new();
    }
    client.run("SET statement_timeout = '8s'");
    client
        .try_run("SELECT severity, finding, table_name, count, detail FROM reprieve.check_v1() WHERE severity <> 'notice'")
        .unwrap_or_else(|error| vec![error])
}

/// Fails if anything is wrong in a database.
pub fn check(target: &Target, database: &str) {
    let findings = findings(target, database);
    assert!(
        findings.is_empty(),
        "CHECK INTEGRITY of {database}:\n{}",
        findings.join("\n")
    );
}

/// Every database of a server.
pub fn check_all(target: &Target) {
    let Ok(mut client) = Client::connect(target, "postgres", "postgres") else {
        return;
    };
    for database in client.run("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1") {
        check(target, &database);
    }
}

/// Checks a database when it is dropped, unless the test has failed anyway.
pub struct Sound {
    target: Target,
    database: String,
}

impl Sound {
    pub fn new(target: Target, database: &str) -> Sound {
        Sound {
            target,
            database: database.to_owned(),
        }
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            check(&self.target, &self.database);
        }
    }
}
