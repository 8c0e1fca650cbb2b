//! What a statement costs through the proxy: pgbench's point select, directly, with nothing enabled, and with every table
//! enabled, in each protocol mode. Everything runs on this machine, so the proxy takes processor time from the server:
//! read the ratios, not the numbers.

use std::process::Command;

use tests::cluster::bin_dir;
use tests::pair::settle;
use tests::process::run;
use tests::{Cluster, Proxy, Target};

const CLIENTS: u32 = 4;
const SECONDS: u32 = 5;

fn main() {
    let cluster = Cluster::start();
    for database in ["plain", "kept"] {
        cluster.create_database(database);
    }
    let nothing = Proxy::start(cluster.port(), "");
    let everything = Proxy::start(cluster.port(), "*.*");
    let places = [
        ("direct", port(&cluster.target()), "plain"),
        ("nothing enabled", port(&nothing.app()), "plain"),
        ("every table enabled", port(&everything.app()), "kept"),
    ];
    for (_, port, database) in [&places[0], &places[2]] {
        run(pgbench(*port, database).args(["-i", "-q", "-s", "5"]));
    }
    settle(&cluster, "kept");
    println!("point selects a second, {CLIENTS} clients, {SECONDS} s each");
    for mode in ["simple", "extended", "prepared"] {
        let mut direct = None;
        for (name, port, database) in &places {
            let mut bench = pgbench(*port, database);
            let (clients, seconds) = (CLIENTS.to_string(), SECONDS.to_string());
            bench.args(["-n", "-S", "-M", mode, "-c", &clients, "-T", &seconds]);
            let output = run(&mut bench);
            let tps = output
                .lines()
                .find_map(|line| line.strip_prefix("tps = "))
                .expect("pgbench says tps");
            let tps: f64 = tps
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok())
                .expect("a number");
            let base = *direct.get_or_insert(tps);
            println!("{mode:9} {name:20} {tps:9.0}  {:.2}", tps / base);
        }
    }
}

fn port(target: &Target) -> u16 {
    match target {
        Target::Tcp(port) => *port,
        Target::Unix(path) => panic!("not a port: {}", path.display()),
    }
}

fn pgbench(port: u16, database: &str) -> Command {
    let mut command = Command::new(bin_dir().join("pgbench"));
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string());
    command.env("PGUSER", "clerk").env("PGDATABASE", database);
    command
}
