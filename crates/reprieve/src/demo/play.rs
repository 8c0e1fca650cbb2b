//! The incident, through the ports, with psql.

use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Ports;
use super::cluster::PrivateCluster;
use super::screen::{Screen, thousands};
use super::shop::{self, DATABASE, FATAL, Plain, TABLES, TAKEN};

/// psql as one role through one port.
struct Psql<'a> {
    cluster: &'a PrivateCluster,
    port: u16,
    role: &'a str,
    prompt: &'a str,
}

impl Psql<'_> {
    fn url(&self) -> String {
        let (role, port) = (self.role, self.port);
        format!("postgresql://{role}@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
    }

    /// Shows the command, runs it, shows what psql printed. Returns that and psql's own timing.
    async fn show(
        &self,
        screen: &Screen,
        statement: &str,
        flags: &[&str],
    ) -> Result<(String, Duration), String> {
        screen.command(self.prompt, &format!("{statement};"));
        let output = Command::new(self.cluster.programs().join("psql"))
            .args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--pset=footer=off"])
            .args(flags)
            .args([
                "--command",
                "\\timing on",
                "--command",
                statement,
                &self.url(),
            ])
            .env("PGCLIENTENCODING", "UTF8")
            .env_remove("PGOPTIONS")
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("psql: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text
            .strip_prefix("Timing is on.\n")
            .unwrap_or(&text)
            .to_owned();
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{statement}: {}", words.trim()));
        }
        screen.output(&text);
        let time = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("Time: "));
        let milliseconds = time.and_then(|time| time.split(' ').next()?.parse::<f64>().ok());
        let took = Duration::from_secs_f64(milliseconds.unwrap_or(0.0) / 1000.0);
        Ok((text, took))
    }
}

/// Deletes, looks, brings back, compares.
pub(super) async fn incident(
    cluster: &PrivateCluster,
    ports: Ports,
    plain: &Plain,
    screen: &mut Screen,
) -> Result<(), String> {
    let app = Psql {
        cluster,
        port: ports.app,
        role: "shop",
        prompt: "shop=>",
    };
    let admin = Psql {
        cluster,
        port: ports.admin,
        role: "dba",
        prompt: "shop=#",
    };

    screen.step(&format!(
        "The incident: somebody cleans up, on the app port {}",
        ports.app
    ));
    let (output, took) = app.show(screen, FATAL, &[]).await?;
    screen.check(
        output.starts_with("DELETE 1237\n"),
        "the application is told what a DELETE tells",
    );
    screen.remember("the fatal DELETE, natively", plain.native);
    screen.remember("the fatal DELETE, through Reprieve", took);
    look(&app, &admin, plain, screen).await?;

    screen.step(&format!(
        "What the DBA finds, on the admin port {}",
        ports.admin
    ));
    admin
        .show(screen, "SHOW DELETIONS LIMIT 1", &["--expanded"])
        .await?;
    let client = shop::connect(&admin.url()).await?;
    let entry = shop::first_row(
        &client,
        "SELECT id, rows, statement FROM reprieve.show_deletions LIMIT 1",
    );
    let entry = entry.await?;
    let cell = |i: usize| entry.get(i).map(String::as_str).unwrap_or_default();
    let total: i64 = TAKEN.iter().sum();
    screen.check(
        cell(1) == total.to_string(),
        &format!("one deletion of {} rows", thousands(total)),
    );
    screen.check(
        cell(2) == FATAL,
        "and the statement that did it, as it was typed",
    );

    screen.step("UNDELETE");
    let (_, took) = admin
        .show(screen, &format!("UNDELETE DELETION {}", cell(0)), &[])
        .await?;
    screen.remember("UNDELETE", took);
    compare(cluster, &app, plain, screen).await
}

/// The four tables as both ports see them.
async fn look(
    app: &Psql<'_>,
    admin: &Psql<'_>,
    plain: &Plain,
    screen: &mut Screen,
) -> Result<(), String> {
    screen.step("What is left?");
    let through_app = shop::counts(&shop::connect(&app.url()).await?).await?;
    let through_admin = shop::counts(&shop::connect(&admin.url()).await?).await?;
    let rows: Vec<[String; 4]> = (0..TABLES.len())
        .map(|i| {
            let number = |counts: &[i64; 5]| thousands(counts[i]);
            [
                TABLES[i].to_owned(),
                number(&plain.counts),
                number(&through_app),
                number(&through_admin),
            ]
        })
        .collect();
    screen.table(["", "before", "app port", "admin port"], &rows);
    let gone: Vec<i64> = plain
        .counts
        .iter()
        .zip(through_app)
        .map(|(was, is)| was - is)
        .collect();
    let total: i64 = gone.iter().sum();
    screen.check(
        gone == TAKEN,
        &format!("{} rows are gone for the application", thousands(total)),
    );
    screen.check(through_admin == plain.counts, "nothing is gone for the DBA");
    Ok(())
}

/// Every row of every table against what was there before Reprieve came.
async fn compare(
    cluster: &PrivateCluster,
    app: &Psql<'_>,
    plain: &Plain,
    screen: &mut Screen,
) -> Result<(), String> {
    screen.step("Is everything as it was?");
    let began = Instant::now();
    let through_app = shop::connect(&app.url()).await?;
    let direct = shop::connect(&cluster.url_as("shop", DATABASE)).await?;
    for (i, (query, before)) in plain.checksums.iter().enumerate() {
        screen.busy(&format!("checksum of {}", TABLES[i]));
        let (seen, stored) = tokio::try_join!(
            shop::first_row(&through_app, query),
            shop::first_row(&direct, query)
        )?;
        let same = seen.concat() == *before && stored.concat() == *before;
        let rows = thousands(plain.counts[i]);
        screen.check(
            same,
            &format!("{:<12} {rows:>12} rows   {before}", TABLES[i]),
        );
    }
    screen.timed(
        "through the app port and straight from the server",
        began.elapsed(),
    );
    Ok(())
}
